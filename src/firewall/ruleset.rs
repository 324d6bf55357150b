//! The sets and rules that the firewall must contain, in nft's syntax: `ketukd ruleset` prints them.
//!
//! On OpenWrt, fw4 makes them from the service's data. Elsewhere the administrator loads this text after the host's own
//! table. The text can be loaded again at any time: it replaces the doors' rules that are loaded.

use core::fmt::{self, Write};
use core::net::IpAddr;

use crate::config::{Config, Door, DoorPorts, Forward, MAX_PORT_RANGES, NftTable, PortRange, TableFamily};
use crate::core::sequence::Protocol;

use super::set_name::{SetKey, SetName};
use crate::core::network::AddressFamily;

/// The firewall zone that strangers come from. Chain names end with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone<'a>(Option<&'a str>);

impl<'a> Zone<'a> {
    /// fw4's `wan`: chains `input_wan`, `forward_wan`, `dstnat_wan`.
    pub const WAN: Self = Self(Some("wan"));
    /// No zone: chains `input`, `forward`, `dstnat`.
    pub const NONE: Self = Self(None);

    /// The zone of this name; `none` is [`Zone::NONE`]. `None` if the name has other characters than letters, digits
    /// and underscores.
    pub fn new(name: &'a str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        match name {
            "none" => Some(Self::NONE),
            "" => None,
            _ => name.bytes().all(plain).then_some(Self(Some(name))),
        }
    }
}

/// A chain's name, followed by the zone's.
#[derive(Clone, Copy)]
struct ZoneChain<'a>(&'a str, Zone<'a>);

/// A rule of a door that is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedRule {
    /// Its chain.
    pub(crate) chain: String,
    /// The kernel's number for it.
    pub(crate) handle: u64,
}

/// Writes the sets of every enabled door that opens something, and the rules that let the sets' addresses in.
///
/// # Errors
/// Only errors of `out`.
pub fn write(out: &mut impl Write, config: &Config, table: &NftTable, zone: Zone<'_>) -> fmt::Result {
    write_in_place_of(out, config, table, zone, &[])
}

/// Does the same, and deletes the rules that are loaded. The text is one transaction.
///
/// # Errors
/// Only errors of `out`.
pub fn write_in_place_of(
    out: &mut impl Write,
    config: &Config,
    table: &NftTable,
    zone: Zone<'_>,
    loaded: &[LoadedRule],
) -> fmt::Result {
    let name = format_args!("{} {}", table.family.name(), table.name);
    writeln!(out, "# ketuk: the sets and rules of the doors. Load with nft -f after table {name}.")?;
    for LoadedRule { chain, handle } in loaded {
        writeln!(out, "delete rule {name} {chain} handle {handle}")?;
    }
    let forwards = |(_, opening): (&Door, &DoorPorts)| opening.forward.is_some();
    if zone == Zone::NONE && table.family != TableFamily::Ip6 && openings(config).any(forwards) {
        // Few tables have such a chain.
        writeln!(
            out,
            "add chain {name} dstnat {{ type nat hook prerouting priority dstnat; policy accept; }}"
        )?;
    }
    for door in doors(config) {
        writeln!(out)?;
        for family in families(table) {
            let (set, kind) = (set(door, family), FamilyWords::of(family).set_type);
            let kind_rest =
                if set.key() == SetKey::AddressProtocolPort { " . inet_proto . inet_service" } else { "" };
            writeln!(out, "add set {name} {set} {{ type {kind}{kind_rest}; flags {}; }}", set.flags())?;
        }
    }
    for door in doors(config) {
        writeln!(out)?;
        for family in families(table) {
            let rules = FamilyRules { out: &mut *out, table, door, family, words: FamilyWords::of(family) };
            match door.opening.as_ref().map(|opening| (opening, &opening.forward)) {
                None => rules.any_port(zone)?,
                Some((opening, None)) => rules.local(opening, zone)?,
                Some((opening, Some(forward))) => rules.forward(opening, forward, zone)?,
            }
        }
    }
    Ok(())
}

/// The doors that open ports in the firewall.
pub(super) fn doors(config: &Config) -> impl Iterator<Item = &Door> {
    config.doors.iter().filter(|door| door.enabled && door.opens_ports())
}

/// The doors whose ports are fixed, with these ports.
fn openings(config: &Config) -> impl Iterator<Item = (&Door, &DoorPorts)> {
    doors(config).filter_map(|door| door.opening.as_ref().map(|opening| (door, opening)))
}

/// The rules of one door for one address family.
struct FamilyRules<'a, W> {
    out: &'a mut W,
    table: &'a NftTable,
    door: &'a Door,
    family: AddressFamily,
    words: FamilyWords,
}

impl<W: Write> FamilyRules<'_, W> {
    /// Writes the rules for a port of the router.
    fn local(mut self, opening: &DoorPorts, zone: Zone<'_>) -> fmt::Result {
        let ports = Match { protocols: &opening.protocols, ports: &opening.dest_port };
        self.rule(ZoneChain("input", zone), format_args!(""), ports, format_args!("accept"))
    }

    /// Writes the rule for a door with `any_port`. The set names the port.
    fn any_port(mut self, zone: Zone<'_>) -> fmt::Result {
        self.write(
            ZoneChain("input", zone),
            format_args!(""),
            " . meta l4proto . th dport",
            format_args!("accept"),
        )
    }

    /// Writes the rules for a port of a host behind the router: translated for IPv4, let through for IPv6.
    fn forward(mut self, opening: &DoorPorts, forward: &Forward, zone: Zone<'_>) -> fmt::Result {
        let protocols = &opening.protocols;
        let ip = self.words.ip;
        let inside = Match { protocols, ports: &opening.dest_port };
        for host in &forward.dest_ip {
            match (host, self.family) {
                (IpAddr::V4(host), AddressFamily::V4) => {
                    for (outside, port) in translations(&forward.src_dport, &opening.dest_port) {
                        let outside = Match { protocols, ports: outside };
                        let to = format_args!("dnat {ip} to {host}{port}");
                        self.rule(ZoneChain("dstnat", zone), format_args!(""), outside, to)?;
                    }
                    // Only translated packets may pass: the host may also be reachable by its own address from
                    // outside.
                    let daddr = format_args!("ct status dnat {ip} daddr {host} ");
                    self.rule(ZoneChain("forward", zone), daddr, inside, format_args!("accept"))?;
                }
                (IpAddr::V6(host), AddressFamily::V6) => {
                    let daddr = format_args!("{ip} daddr {host} ");
                    self.rule(ZoneChain("forward", zone), daddr, inside, format_args!("accept"))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// One rule for the addresses in the door's set.
    fn rule(
        &mut self,
        chain: ZoneChain<'_>,
        what: fmt::Arguments<'_>,
        ports: Match<'_>,
        verdict: fmt::Arguments<'_>,
    ) -> fmt::Result {
        self.write(chain, format_args!("{what}{ports} "), "", verdict)
    }

    /// Writes one rule, at the head of its chain, because the chains of zones end by rejecting everything. `key` names the
    /// parts of the set's elements after the source address.
    fn write(
        &mut self,
        chain: ZoneChain<'_>,
        condition: fmt::Arguments<'_>,
        key: &str,
        verdict: fmt::Arguments<'_>,
    ) -> fmt::Result {
        let FamilyWords { ip, nfproto, .. } = self.words;
        let nfproto = if self.table.family == TableFamily::Inet { nfproto } else { "" };
        let (table, set, door) = (self.table, set(self.door, self.family), &self.door.name);
        writeln!(
            self.out,
            "insert rule {} {} {chain} {nfproto}{condition}{ip} saddr{key} @{set} counter {verdict} \
             comment \"ketuk: {door}\"",
            table.family.name(),
            table.name,
        )
    }
}

/// nft's words for an address family.
#[derive(Clone, Copy)]
struct FamilyWords {
    set_type: &'static str,
    /// Only for tables of family inet. nft refuses it in others.
    nfproto: &'static str,
    ip: &'static str,
}

impl FamilyWords {
    const fn of(family: AddressFamily) -> Self {
        match family {
            AddressFamily::V4 => Self { set_type: "ipv4_addr", nfproto: "meta nfproto ipv4 ", ip: "ip" },
            AddressFamily::V6 => Self { set_type: "ipv6_addr", nfproto: "meta nfproto ipv6 ", ip: "ip6" },
        }
    }
}

impl fmt::Display for Zone<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.unwrap_or("*"))
    }
}

impl fmt::Display for ZoneChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1.0 {
            Some(zone) => write!(f, "{}_{zone}", self.0),
            None => f.write_str(self.0),
        }
    }
}

/// The expression for protocols and destination ports.
#[derive(Clone, Copy)]
struct Match<'a> {
    protocols: &'a [Protocol],
    ports: &'a [PortRange],
}

impl fmt::Display for Match<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |protocol| self.protocols.contains(&protocol);
        f.write_str(match (has(Protocol::Tcp), has(Protocol::Udp)) {
            (true, false) => "tcp dport ",
            (false, true) => "udp dport ",
            _ => "meta l4proto { tcp, udp } th dport ",
        })?;
        match &merged(self.ports)[..] {
            [one] => write!(f, "{one}"),
            several => {
                for (index, one) in several.iter().enumerate() {
                    f.write_str(if index == 0 { "{ " } else { ", " })?;
                    write!(f, "{one}")?;
                }
                f.write_str(" }")
            }
        }
    }
}

/// The port that a translation leads to, with a colon; empty if the port stays.
struct ToPort(Option<PortRange>);

impl fmt::Display for ToPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(port) = self.0 else { return Ok(()) };
        f.write_str(":")?;
        write!(f, "{port}")
    }
}

/// Pairs outside ports with inside ports: all with the same port, or the first range with the first and so on. As in
/// fw4, a whole range is translated to another, not each port to its own.
fn translations<'a>(
    outside: &'a [PortRange],
    inside: &'a [PortRange],
) -> impl Iterator<Item = (&'a [PortRange], ToPort)> {
    let same = outside == inside;
    let together = same || inside.len() == 1;
    outside.chunks(if together { outside.len().max(1) } else { 1 }).enumerate().map(move |(index, ports)| {
        let to = inside.get(index).or(inside.last()).copied();
        (ports, ToPort(to.filter(|to| !same && ports != [*to])))
    })
}

/// The ranges in order, with touching ones merged: nft refuses a set whose ranges overlap.
pub(super) fn merged(ports: &[PortRange]) -> heapless::Vec<PortRange, MAX_PORT_RANGES> {
    let mut sorted = heapless::Vec::<PortRange, MAX_PORT_RANGES>::new();
    sorted.extend(ports.iter().copied().take(MAX_PORT_RANGES));
    sorted.sort_unstable();
    let mut merged = heapless::Vec::<PortRange, MAX_PORT_RANGES>::new();
    for range in sorted {
        let joined = merged.last().and_then(|last| last.joined(range));
        match (merged.last_mut(), joined) {
            (Some(last), Some(joined)) => *last = joined,
            _ => merged.push(range).expect("no more than there were"),
        }
    }
    merged
}

fn families(table: &NftTable) -> impl Iterator<Item = AddressFamily> {
    let table = table.family;
    AddressFamily::ALL.into_iter().filter(move |family| table.holds(*family))
}

pub(super) fn set(door: &Door, family: AddressFamily) -> SetName {
    SetName::new(door, family).expect("a door's name has at most MAX_NAME bytes")
}

#[cfg(test)]
mod tests;
