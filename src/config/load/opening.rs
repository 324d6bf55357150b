//! The options of `config door` about the firewall.

use std::net::IpAddr;

use super::options::{SectionOptions, Text};
use super::value::{blanks, other_host, port_range, protocol};
use crate::config::error::Fault;
use crate::config::{DoorPorts, Forward, MAX_PORT_RANGES, PortRange};
use crate::core::sequence::Protocol;

/// Reads the ports that a door opens, if it opens any.
pub(super) fn read(options: &SectionOptions<'_>) -> Result<Option<DoorPorts>, Fault> {
    let protocols = protocols(options)?;
    let dest_port = ports(options, "dest_port")?;
    let src_dport = ports(options, "src_dport")?;
    let dest_ip = hosts(options)?;

    if dest_ip.is_empty() {
        if !src_dport.is_empty() {
            return Err(Fault::new(options.place("src_dport"), "src_dport without dest_ip")
                .help("dest_ip names the host to forward to; for a port on the router use dest_port alone"));
        }
        if dest_port.is_empty() {
            return match protocols {
                None => Ok(None),
                Some(_) => Err(Fault::new(options.place("proto"), "proto without dest_port")
                    .help("dest_port names the port to open")),
            };
        }
    } else if dest_port.is_empty() && src_dport.is_empty() {
        return Err(Fault::new(options.place("dest_ip"), "dest_ip without a port")
            .help("src_dport names the port on the router, dest_port the one on that host"));
    }

    let (dest_port, forward) = if dest_ip.is_empty() {
        (dest_port, None)
    } else {
        let src_dport = if src_dport.is_empty() { dest_port.clone() } else { src_dport };
        let dest_port = if dest_port.is_empty() { src_dport.clone() } else { dest_port };
        let one_port = matches!(dest_port[..], [range] if range.is_one());
        // A translation rule either gives every packet the same port or keeps the port of the packet. If a rule names a
        // range as target, the kernel takes any free port of it.
        if !one_port && dest_port != src_dport {
            return Err(Fault::new(
                options.place("dest_port"),
                "a forward goes to one port, or to the same ports as src_dport",
            )
            .help("leave dest_port out, or write a door for each port"));
        }
        (dest_port, Some(Forward { src_dport, dest_ip }))
    };
    let protocols = protocols.unwrap_or_else(|| vec![Protocol::Tcp, Protocol::Udp]);
    Ok(Some(DoorPorts { protocols, dest_port, forward }))
}

/// `proto`, without duplicates.
fn protocols(options: &SectionOptions<'_>) -> Result<Option<Vec<Protocol>>, Fault> {
    let mut protocols = Vec::new();
    for value in options.many("proto", blanks)? {
        let named: &[Protocol] = match value.text.to_ascii_lowercase().as_str() {
            "tcpudp" => &[Protocol::Tcp, Protocol::Udp],
            _ => &[protocol(value)?],
        };
        for protocol in named {
            if !protocols.contains(protocol) {
                protocols.push(*protocol);
            }
        }
    }
    Ok(if protocols.is_empty() { None } else { Some(protocols) })
}

/// A list of ports and ranges, no port twice.
fn ports(options: &SectionOptions<'_>, name: &str) -> Result<Vec<PortRange>, Fault> {
    let mut ranges: Vec<PortRange> = Vec::new();
    for value in options.many(name, blanks)? {
        let new = port_range(value)?;
        // nft refuses a set whose intervals overlap.
        if ranges.iter().any(|old| new.overlaps(*old)) {
            return Err(value.fault(format!("{} is named twice in {name}", value.quoted())));
        }
        if ranges.len() == MAX_PORT_RANGES {
            return Err(value.fault(format!("more than {MAX_PORT_RANGES} ports or ranges in {name}")));
        }
        ranges.push(new);
    }
    Ok(ranges)
}

/// `dest_ip`: one host of each family.
fn hosts(options: &SectionOptions<'_>) -> Result<Vec<IpAddr>, Fault> {
    let mut hosts: Vec<IpAddr> = Vec::new();
    for value in options.many("dest_ip", blanks)? {
        let host = other_host(value)?;
        if hosts.iter().any(|other| other.is_ipv4() == host.is_ipv4()) {
            return Err(second_host(value));
        }
        hosts.push(host);
    }
    Ok(hosts)
}

fn second_host(value: Text<'_>) -> Fault {
    value
        .fault("a second address of the same family")
        .help("dest_ip takes one IPv4 address and one IPv6 address; write a door for each host")
}
