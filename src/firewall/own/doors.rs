//! The rules of doors: whoever knocked is let in, everybody else is shut out.

use core::net::IpAddr;

use super::expression::{Compare, Expressions, Verdict, tcp_flag};
use super::{ANY, DOOR_CHAINS, DOOR_HOOKS, Plan, set_of, write_rule};
use crate::config::{Door, Forward, Opening, PortRange};
use crate::core::network::AddressFamily;
use crate::core::sequence::Protocol;
use crate::firewall::nft::batch::Batch;

const INPUT: &str = DOOR_CHAINS[0];
const FORWARD: &str = DOOR_CHAINS[1];
const DSTNAT: &str = DOOR_CHAINS[2];

/// Writes the rules of all doors, and those that lead to them from each device.
pub(super) fn write_doors(batch: &mut Batch<'_>, plan: &Plan<'_>, devices: &[String]) {
    for (hook, doors) in DOOR_HOOKS.iter().zip(DOOR_CHAINS) {
        // Where the devices are not known yet, all of them are shut.
        if devices.is_empty() || devices.iter().any(|device| device == ANY) {
            write_rule(batch, hook.name, "", |e| {
                e.device(Compare::NotEqual, "lo").verdict(Verdict::Jump(doors));
            });
            continue;
        }
        for device in devices {
            write_rule(batch, hook.name, "", |e| {
                e.device(Compare::Equal, device).verdict(Verdict::Jump(doors));
            });
        }
    }
    // First all that lets somebody in: two doors may open the same port.
    for (door, opening) in plan.openings() {
        for family in AddressFamily::ALL {
            let door = Rules { batch: &mut *batch, door, opening, family };
            match &opening.forward {
                None => door.let_in(),
                Some(forward) => door.let_through(forward),
            }
        }
    }
    for (door, opening) in plan.openings() {
        match &opening.forward {
            None => shut_out(batch, door, opening),
            Some(forward) => shut_through(batch, door, opening, forward),
        }
    }
}

/// The rules that let in whoever is in one of a door's sets.
struct Rules<'r, 'd> {
    batch: &'r mut Batch<'d>,
    door: &'r Door,
    opening: &'r Opening,
    family: AddressFamily,
}

impl Rules<'_, '_> {
    /// To a port of this host, wherever another table leads it: to a container, say.
    fn let_in(mut self) {
        for (protocol, ports) in matches(self.opening, &self.opening.dest_port) {
            self.rule(INPUT, protocol, |e| {
                e.port(ports);
            });
            self.rule(FORWARD, protocol, |e| {
                e.translated().port_before_translation(ports);
            });
        }
    }

    /// To a host behind this one: translated for IPv4, routed for IPv6.
    fn let_through(mut self, forward: &Forward) {
        let family = self.family;
        let hosts = forward.dest_ip.iter().filter(|host| AddressFamily::of(**host) == family);
        for host in hosts {
            if let IpAddr::V4(host) = *host {
                // Every port leads to this one; more than one is as many as outside, and each keeps its number.
                let to = match self.opening.dest_port[..] {
                    [port] if port.is_one() && self.opening.dest_port != forward.src_dport => {
                        Some(port.first())
                    }
                    _ => None,
                };
                for (protocol, ports) in matches(self.opening, &forward.src_dport) {
                    let (door, family) = (self.door, self.family);
                    write_rule(self.batch, DSTNAT, &door.name, |e| {
                        e.family(family).protocol(protocol).port(ports);
                        e.source_in(family, set_of(door, family).as_str()).counter().translate(host, to);
                    });
                }
            }
            for (protocol, ports) in matches(self.opening, &self.opening.dest_port) {
                self.rule(FORWARD, protocol, |e| {
                    e.destination(*host).port(ports);
                    if host.is_ipv4() {
                        // Only what came by the translation: the host's address may be routed to from outside.
                        e.translated();
                    }
                });
            }
        }
    }

    fn rule(&mut self, chain: &str, protocol: Protocol, to: impl FnOnce(&mut Expressions<'_>)) {
        let (door, family) = (self.door, self.family);
        write_rule(self.batch, chain, &door.name, |e| {
            e.family(family).protocol(protocol);
            to(e);
            e.source_in(family, set_of(door, family).as_str()).counter().verdict(Verdict::Accept);
        });
    }
}

/// Shuts a port of this host.
fn shut_out(batch: &mut Batch<'_>, door: &Door, opening: &Opening) {
    for (protocol, ports) in matches(opening, &opening.dest_port) {
        shut(batch, INPUT, door, protocol, |e| {
            e.port(ports);
        });
        shut(batch, FORWARD, door, protocol, |e| {
            e.translated().port_before_translation(ports);
        });
    }
}

/// Shuts a port of a host behind this one.
fn shut_through(batch: &mut Batch<'_>, door: &Door, opening: &Opening, forward: &Forward) {
    for host in &forward.dest_ip {
        for (protocol, ports) in matches(opening, &opening.dest_port) {
            shut(batch, FORWARD, door, protocol, |e| {
                e.family(AddressFamily::of(*host)).destination(*host).port(ports);
            });
        }
    }
}

/// Drops what would begin a connection. Of TCP that is a SYN, whatever connection tracking knows: it may have begun to
/// look only now, and connections that exist go on.
fn shut(
    batch: &mut Batch<'_>,
    chain: &str,
    door: &Door,
    protocol: Protocol,
    to: impl FnOnce(&mut Expressions<'_>),
) {
    write_rule(batch, chain, &door.name, |e| {
        e.protocol(protocol);
        // Before the port: nft lists the rules in this order, and could not read them in another.
        match protocol {
            Protocol::Tcp => e.tcp_flags(tcp_flag::SYN | tcp_flag::ACK, tcp_flag::SYN),
            Protocol::Udp => e.of_no_connection(),
        };
        to(e);
        e.counter().verdict(Verdict::Drop);
    });
}

/// Each protocol of a door with each range of ports.
fn matches(opening: &Opening, ports: &[PortRange]) -> impl Iterator<Item = (Protocol, PortRange)> {
    opening.protocols.iter().flat_map(|protocol| ports.iter().map(|range| (*protocol, *range)))
}
