//! What the firewall must contain, as `nft -f` reads it: `ketukd ruleset` prints it.
//!
//! On OpenWrt fw4 makes the same of the service's data. Anywhere else the administrator loads this text
//! after his own table, once each time that table is made anew, or with `--replace` as often as he likes.

use core::fmt::{self, Write};
use core::net::IpAddr;

use crate::config::{Config, Door, Forward, MAX_PORT_RANGES, Opening, PortRange, Table, TableFamily};
use crate::core::sequence::Protocol;

use super::set_name::SetName;
use crate::core::network::AddressFamily;

/// The zone that strangers come from, which chains' names end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone<'a>(Option<&'a str>);

impl<'a> Zone<'a> {
    /// fw4's `wan`: chains `input_wan`, `forward_wan`, `dstnat_wan`.
    pub const WAN: Self = Self(Some("wan"));
    /// No zone: chains `input`, `forward`, `dstnat`.
    pub const NONE: Self = Self(None);

    /// A zone by its name, of letters, digits and underscores; `none` is [`Zone::NONE`].
    pub fn new(name: &'a str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        match name {
            "none" => Some(Self::NONE),
            "" => None,
            _ => name.bytes().all(plain).then_some(Self(Some(name))),
        }
    }
}

/// A chain: its own name, and the zone's after it.
#[derive(Clone, Copy)]
struct Chain<'a>(&'a str, Zone<'a>);

/// A rule that is loaded: its chain, and the kernel's number for it.
pub type LoadedRule = (String, u64);

/// Writes the sets of every enabled door that opens something, and the rules that let in who is in them.
///
/// # Errors
/// Only `out`'s own.
pub fn write(out: &mut impl Write, config: &Config, table: &Table, zone: Zone<'_>) -> fmt::Result {
    write_in_place_of(out, config, table, zone, &[])
}

/// The same, in the place of rules that are loaded. The text is one transaction.
///
/// # Errors
/// Only `out`'s own.
pub fn write_in_place_of(
    out: &mut impl Write,
    config: &Config,
    table: &Table,
    zone: Zone<'_>,
    loaded: &[LoadedRule],
) -> fmt::Result {
    let name = format_args!("{} {}", table.family.name(), table.name);
    writeln!(out, "# ketuk: the sets and rules of the doors. Load with nft -f after table {name}.")?;
    for (chain, handle) in loaded {
        writeln!(out, "delete rule {name} {chain} handle {handle}")?;
    }
    let forwards = |(_, opening): (&Door, &Opening)| opening.forward.is_some();
    if zone == Zone::NONE && table.family != TableFamily::Ip6 && openings(config).any(forwards) {
        // Few tables have one.
        writeln!(
            out,
            "add chain {name} dstnat {{ type nat hook prerouting priority dstnat; policy accept; }}"
        )?;
    }
    for (door, _) in openings(config) {
        writeln!(out)?;
        for family in families(table) {
            let words = Words::of(family);
            let (set, kind) = (set(door, family), words.set_type);
            writeln!(out, "add set {name} {set} {{ type {kind}; flags {}; }}", set.flags())?;
        }
    }
    for (door, opening) in openings(config) {
        writeln!(out)?;
        for family in families(table) {
            let rules = Rules { out: &mut *out, table, door, family, words: Words::of(family) };
            match &opening.forward {
                None => rules.local(opening, zone)?,
                Some(forward) => rules.forward(opening, forward, zone)?,
            }
        }
    }
    Ok(())
}

/// The doors that open something in the firewall, and what they open.
pub(super) fn openings(config: &Config) -> impl Iterator<Item = (&Door, &Opening)> {
    let enabled = config.doors.iter().filter(|door| door.enabled);
    enabled.filter_map(|door| door.opening.as_ref().map(|opening| (door, opening)))
}

/// The rules of one door for one family of addresses.
struct Rules<'a, W> {
    out: &'a mut W,
    table: &'a Table,
    door: &'a Door,
    family: AddressFamily,
    words: Words,
}

impl<W: Write> Rules<'_, W> {
    /// For a port of the router's own.
    fn local(mut self, opening: &Opening, zone: Zone<'_>) -> fmt::Result {
        let ports = Match { protocols: &opening.protocols, ports: &opening.dest_port };
        self.rule(Chain("input", zone), format_args!(""), ports, format_args!("accept"))
    }

    /// For a port of a host behind the router: translated for IPv4, let through for IPv6.
    fn forward(mut self, opening: &Opening, forward: &Forward, zone: Zone<'_>) -> fmt::Result {
        let protocols = &opening.protocols;
        let ip = self.words.ip;
        let inside = Match { protocols, ports: &opening.dest_port };
        for host in &forward.dest_ip {
            match (host, self.family) {
                (IpAddr::V4(host), AddressFamily::V4) => {
                    for (outside, port) in translations(&forward.src_dport, &opening.dest_port) {
                        let outside = Match { protocols, ports: outside };
                        let to = format_args!("dnat {ip} to {host}{port}");
                        self.rule(Chain("dstnat", zone), format_args!(""), outside, to)?;
                    }
                    // Only what came by the rule above: the host's address may be routed to from outside.
                    let daddr = format_args!("ct status dnat {ip} daddr {host} ");
                    self.rule(Chain("forward", zone), daddr, inside, format_args!("accept"))?;
                }
                (IpAddr::V6(host), AddressFamily::V6) => {
                    let daddr = format_args!("{ip} daddr {host} ");
                    self.rule(Chain("forward", zone), daddr, inside, format_args!("accept"))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// One rule, at the head of its chain: zones end by rejecting everything.
    fn rule(
        &mut self,
        chain: Chain<'_>,
        what: fmt::Arguments<'_>,
        ports: Match<'_>,
        verdict: fmt::Arguments<'_>,
    ) -> fmt::Result {
        let Words { ip, nfproto, .. } = self.words;
        let nfproto = if self.table.family == TableFamily::Inet { nfproto } else { "" };
        let (table, set, door) = (self.table, set(self.door, self.family), &self.door.name);
        writeln!(
            self.out,
            "insert rule {} {} {chain} {nfproto}{what}{ports} {ip} saddr @{set} counter {verdict} \
             comment \"ketuk: {door}\"",
            table.family.name(),
            table.name,
        )
    }
}

/// nft's words for a family of addresses.
#[derive(Clone, Copy)]
struct Words {
    set_type: &'static str,
    /// Only for family inet: in the others nft refuses it.
    nfproto: &'static str,
    ip: &'static str,
}

impl Words {
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

impl fmt::Display for Chain<'_> {
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

/// The port that a translation leads to, with its colon; nothing when the port stays as it is.
struct ToPort(Option<PortRange>);

impl fmt::Display for ToPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(port) = self.0 else { return Ok(()) };
        f.write_str(":")?;
        write!(f, "{port}")
    }
}

/// Which outside ports lead to which inside: all to the same port, or the first range to the first and so on.
/// As in fw4, a whole range is translated to another, not each port to its own.
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

/// The ranges in order, those that touch made one: nft refuses a set whose ranges overlap.
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

fn families(table: &Table) -> impl Iterator<Item = AddressFamily> {
    let table = table.family;
    AddressFamily::ALL.into_iter().filter(move |family| table.holds(*family))
}

pub(super) fn set(door: &Door, family: AddressFamily) -> SetName {
    SetName::new(door, family).expect("a door's name has at most MAX_NAME bytes")
}

#[cfg(test)]
mod tests;
