//! The rules of doors. They let knockers in, and shut all others out.

use core::net::IpAddr;

use super::expression::{Compare, Expressions, NftVerdict, SetPort, tcp_flag};
use super::set::set_of;
use super::{ANY, DOOR_CHAINS, DOOR_HOOKS, Plan, write_rule};
use crate::config::{Door, DoorPorts, Forward, PortRange};
use crate::core::network::AddressFamily;
use crate::core::ports::ProtocolPorts;
use crate::core::sequence::Protocol;
use crate::firewall::nft::batch::Batch;

const INPUT: &str = DOOR_CHAINS[0];
const FORWARD: &str = DOOR_CHAINS[1];
const DSTNAT: &str = DOOR_CHAINS[2];

/// Writes the rules of all doors, and the jumps to them from each device.
pub(super) fn write_doors(batch: &mut Batch<'_>, plan: &Plan<'_>, devices: &[String]) {
    for (hook, doors) in DOOR_HOOKS.iter().zip(DOOR_CHAINS) {
        // If the devices are not known yet, the ports are shut on all of them.
        if devices.is_empty() || devices.iter().any(|device| device == ANY) {
            write_rule(batch, hook.name, "", &mut |e| {
                e.device(Compare::NotEqual, "lo").verdict(NftVerdict::Jump(doors));
            });
            continue;
        }
        for device in devices {
            write_rule(batch, hook.name, "", &mut |e| {
                e.device(Compare::Equal, device).verdict(NftVerdict::Jump(doors));
            });
        }
    }
    // The rules that let in come first, because two doors may open the same port.
    for door in plan.openings() {
        for family in AddressFamily::ALL {
            let Some(opening) = &door.opening else {
                let_any_in(batch, door, family);
                continue;
            };
            let door = RuleWriter { batch: &mut *batch, door, opening, family };
            match &opening.forward {
                None => door.let_in(),
                Some(forward) => door.let_through(forward),
            }
        }
    }
    for door in plan.openings() {
        let all = door.any_port.iter();
        all.for_each(|ProtocolPorts { protocol, ports }| shut_ports(batch, door, *protocol, *ports));
        let Some(opening) = &door.opening else { continue };
        match &opening.forward {
            None => matches(opening, &opening.dest_port)
                .for_each(|(protocol, ports)| shut_ports(batch, door, protocol, ports)),
            Some(forward) => shut_through(batch, door, opening, forward),
        }
    }
}

/// Lets in the addresses in the sets of a door with `any_port`, each at the port of its element.
fn let_any_in(batch: &mut Batch<'_>, door: &Door, family: AddressFamily) {
    let set = set_of(door, family);
    write_rule(batch, INPUT, &door.name, &mut |e| {
        e.family(family).source_and_port_in(family, SetPort::Destination, set.as_str());
        e.counter().verdict(NftVerdict::Accept);
    });
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        write_rule(batch, FORWARD, &door.name, &mut |e| {
            // The set has the protocol too. Without it here nft could not read its own listing of the rule.
            e.family(family).protocol(protocol).translated();
            e.source_and_port_in(family, SetPort::BeforeTranslation, set.as_str());
            e.counter().verdict(NftVerdict::Accept);
        });
    }
}

/// Writes the rules that let the addresses of a door's sets in.
struct RuleWriter<'r, 'd> {
    batch: &'r mut Batch<'d>,
    door: &'r Door,
    opening: &'r DoorPorts,
    family: AddressFamily,
}

impl RuleWriter<'_, '_> {
    /// Lets them in at a port of this host, and to a container if another table translates the port to one.
    fn let_in(mut self) {
        for (protocol, ports) in matches(self.opening, &self.opening.dest_port) {
            self.rule(INPUT, protocol, &mut |e| {
                e.port(ports);
            });
            self.rule(FORWARD, protocol, &mut |e| {
                e.translated().port_before_translation(ports);
            });
        }
    }

    /// Lets them through to a host behind this one: translated for IPv4, routed for IPv6.
    fn let_through(mut self, forward: &Forward) {
        let family = self.family;
        let hosts = forward.dest_ip.iter().filter(|host| AddressFamily::of(**host) == family);
        for host in hosts {
            if let IpAddr::V4(host) = *host {
                // With one inside port, every outside port is translated to it. With more, both sides have the same
                // number and each port keeps its own.
                let to = match self.opening.dest_port[..] {
                    [port] if port.is_one() && self.opening.dest_port != forward.src_dport => {
                        Some(port.first())
                    }
                    _ => None,
                };
                for (protocol, ports) in matches(self.opening, &forward.src_dport) {
                    let (door, family) = (self.door, self.family);
                    write_rule(self.batch, DSTNAT, &door.name, &mut |e| {
                        e.family(family).protocol(protocol).port(ports);
                        e.source_in(family, set_of(door, family).as_str()).counter().translate(host, to);
                    });
                }
            }
            for (protocol, ports) in matches(self.opening, &self.opening.dest_port) {
                self.rule(FORWARD, protocol, &mut |e| {
                    e.destination(*host).port(ports);
                    if host.is_ipv4() {
                        // Only translated packets may pass: the host may also be reachable by its own address from
                        // outside.
                        e.translated();
                    }
                });
            }
        }
    }

    fn rule(&mut self, chain: &str, protocol: Protocol, to: &mut dyn FnMut(&mut Expressions<'_>)) {
        let (door, family) = (self.door, self.family);
        write_rule(self.batch, chain, &door.name, &mut |e| {
            e.family(family).protocol(protocol);
            to(e);
            e.source_in(family, set_of(door, family).as_str()).counter().verdict(NftVerdict::Accept);
        });
    }
}

/// Shuts ports of this host.
fn shut_ports(batch: &mut Batch<'_>, door: &Door, protocol: Protocol, ports: PortRange) {
    shut(batch, INPUT, door, protocol, &mut |e| {
        e.port(ports);
    });
    shut(batch, FORWARD, door, protocol, &mut |e| {
        e.translated().port_before_translation(ports);
    });
}

/// Shuts a port of a host behind this one.
fn shut_through(batch: &mut Batch<'_>, door: &Door, opening: &DoorPorts, forward: &Forward) {
    for host in &forward.dest_ip {
        for (protocol, ports) in matches(opening, &opening.dest_port) {
            shut(batch, FORWARD, door, protocol, &mut |e| {
                e.family(AddressFamily::of(*host)).destination(*host).port(ports);
            });
        }
    }
}

/// Drops packets that would begin a connection. For TCP these are SYNs, whatever connection tracking says. Tracking may have
/// started only now, and does not know existing connections, which must go on.
fn shut(
    batch: &mut Batch<'_>,
    chain: &str,
    door: &Door,
    protocol: Protocol,
    to: &mut dyn FnMut(&mut Expressions<'_>),
) {
    write_rule(batch, chain, &door.name, &mut |e| {
        e.protocol(protocol);
        // This match comes before the port's, because nft could not read back its own listing in another order.
        match protocol {
            Protocol::Tcp => e.tcp_flags(tcp_flag::SYN | tcp_flag::ACK, tcp_flag::SYN),
            Protocol::Udp => e.of_no_connection(),
        };
        to(e);
        e.counter().verdict(NftVerdict::Drop);
    });
}

/// Each protocol of a door with each range of ports.
fn matches(opening: &DoorPorts, ports: &[PortRange]) -> impl Iterator<Item = (Protocol, PortRange)> {
    opening.protocols.iter().flat_map(|protocol| ports.iter().map(|range| (*protocol, *range)))
}
