//! The daemon's own table, `inet ketuk`: it cuts connections when a door with `kill 'on'` shuts.
//!
//! Deleting a connection from the kernel's tracking is not enough: with `nf_conntrack_tcp_loose`, the default, the next packet
//! of the server makes a connection again. So the address is put into a set of the door, and chains that run before those of
//! every firewall refuse the packets between it and the server through that door, until it is let in again. A table can deny
//! packets that another table accepts, but not the reverse, so this works beside fw4, any nftables ruleset, and iptables.

use std::fmt::{self, Write};
use std::net::IpAddr;

use crate::config::{Door, Opening, PortRange, Table, TableFamily};
use crate::core::sequence::Protocol;

use super::set_name::SetName;
use crate::core::network::AddressFamily;

/// The table's name. Its family is inet.
pub const NAME: &str = "ketuk";

/// Most addresses that are cut off from one door at one time. A full set refuses further ones, which is logged:
/// those connections live on.
const MAX_CUT: usize = 4096;

/// The table.
pub fn table() -> Table {
    Table { family: TableFamily::Inet, name: NAME.to_owned() }
}

/// What removes the table.
pub fn delete() -> String {
    format!("delete table inet {NAME}")
}

/// What makes the table with its chains, and empties them.
pub fn base() -> String {
    let mut text = format!("add table inet {NAME}; ");
    for chain in ["input", "forward", "output"] {
        // Ahead of priority 0, `filter`, where fw4 and iptables accept established connections.
        write!(
            text,
            "add chain inet {NAME} {chain} {{ type filter hook {chain} priority -10; policy accept; }}; \
             flush chain inet {NAME} {chain}; "
        )
        .expect("a String takes everything");
    }
    text
}

/// What adds a door's sets and rules.
pub fn door(door: &Door, opening: &Opening) -> String {
    let mut text = String::new();
    write_door(&mut text, door, opening).expect("a String takes everything");
    text
}

fn write_door(out: &mut String, door: &Door, opening: &Opening) -> fmt::Result {
    for family in AddressFamily::ALL {
        let set = SetName::new(door, family).expect("a door's name has at most MAX_NAME bytes");
        let (kind, ip) = match family {
            AddressFamily::V4 => ("ipv4_addr", "ip"),
            AddressFamily::V6 => ("ipv6_addr", "ip6"),
        };
        write!(out, "add set inet {NAME} {set} {{ type {kind}; flags {}; size {MAX_CUT}; }}; ", set.flags())?;
        for protocol in &opening.protocols {
            // The refusal itself, a reset, goes out by the same chain.
            let no_reset = if *protocol == Protocol::Tcp { "tcp flags & rst != rst " } else { "" };
            let refuse = match protocol {
                Protocol::Tcp => "reject with tcp reset",
                Protocol::Udp => "reject",
            };
            let ports = Ports(&opening.dest_port);
            let mut rule = |chain: &str, from: fmt::Arguments<'_>, to: fmt::Arguments<'_>, port: &str| {
                write!(
                    out,
                    "add rule inet {NAME} {chain} {from}{to}{protocol} {port} {ports} counter {refuse} comment \"ketuk: {}\"; ",
                    door.name
                )
            };
            let Some(forward) = &opening.forward else {
                rule("input", format_args!("{ip} saddr @{set} "), format_args!(""), "dport")?;
                rule("output", format_args!("{no_reset}"), format_args!("{ip} daddr @{set} "), "sport")?;
                continue;
            };
            for host in forward.dest_ip.iter().filter(|host| is_of(**host, family)) {
                rule(
                    "forward",
                    format_args!("{ip} saddr @{set} "),
                    format_args!("{ip} daddr {host} "),
                    "dport",
                )?;
                rule(
                    "forward",
                    format_args!("{ip} saddr {host} "),
                    format_args!("{ip} daddr @{set} "),
                    "sport",
                )?;
            }
        }
    }
    Ok(())
}

fn is_of(address: IpAddr, family: AddressFamily) -> bool {
    AddressFamily::of(address) == family
}

/// A set of ports in nft's words.
struct Ports<'a>(&'a [PortRange]);

impl fmt::Display for Ports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, range) in self.0.iter().enumerate() {
            write!(f, "{} {range}", if n == 0 { "{" } else { "," })?;
        }
        f.write_str(" }")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Forward;

    fn opening(forward: Option<Forward>) -> Opening {
        let dest_port =
            [(22, 22), (80, 90)].map(|(first, last)| PortRange::new(first, last).unwrap()).to_vec();
        Opening { protocols: vec![Protocol::Tcp], dest_port, forward }
    }

    #[test]
    fn both_directions_are_refused() {
        let text = door(&Door::named("ssh"), &opening(None));
        let rules: Vec<_> = text.split("; ").filter(|part| part.starts_with("add rule")).collect();
        assert_eq!(
            rules[..2],
            [
                "add rule inet ketuk input ip saddr @ketuk_ssh_4 tcp dport { 22, 80-90 } counter reject with tcp reset \
                 comment \"ketuk: ssh\"",
                "add rule inet ketuk output tcp flags & rst != rst ip daddr @ketuk_ssh_4 tcp sport { 22, 80-90 } counter reject with tcp reset \
                 comment \"ketuk: ssh\"",
            ]
        );
        assert_eq!(rules.len(), 4);
        let forward = Forward { src_dport: Vec::new(), dest_ip: vec!["2001:db8::1".parse().unwrap()] };
        let text = door(&Door::named("nas"), &opening(Some(forward)));
        assert!(!text.contains("input") && !text.contains("ip saddr"), "{text}");
        assert!(text.contains("forward ip6 saddr 2001:db8::1 ip6 daddr @ketuk_nas_6 tcp sport "), "{text}");
    }
}
