//! Finds doors that the loaded rules open to everybody, and doors that stay shut after a knock.

mod finding;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use self::finding::{DoorFault, DoorFinding, Maker, Obstacle, PortShutter};
use super::backend::BackendKind;
use super::iptables::{FW3, OPENING, Shutting};
use super::listeners::Listeners;
use super::loaded::{Arrival, ChainName, LoadedRules, Packet, PacketFate};
use super::own::{self, ANY};
use super::set_name::SetName;
use super::sets::Sets;
use crate::config::{Config, Door, DoorPorts};
use crate::core::network::AddressFamily;
use crate::core::ports::ProtocolPorts;
use crate::core::sequence::Protocol;
use crate::linux::links::{self, DeviceAddress};

/// The most devices that are checked where the daemon listens on every device.
const MAX_DEVICES: usize = 16;

/// The widest range of a door with `any_port` whose services are checked one by one, in ports. In a wider range some services
/// may be meant for everybody, so only its first port is checked.
const WIDEST_RANGE: u16 = 1024;

/// The most services that are checked in one range. Each costs a walk through the rules.
const MAX_LISTENED: usize = 32;

/// A stranger's addresses: former addresses of example.com, which no firewall names.
const STRANGER: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(93, 184, 215, 14)),
    IpAddr::V6(Ipv6Addr::new(0x2606, 0x2800, 0x21f, 0xcb07, 0x6820, 0x80da, 0xaf6b, 0x8b2c)),
];

/// The way in which the backend lets a knocker in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMethod {
    /// It adds the address to a set that loaded rules look up.
    BySets,
    /// It makes rules at the knock, at the front of chains of iptables.
    ByRules(Shutting),
}

impl OpenMethod {
    /// What should shut the doors' ports.
    const fn shutting(self) -> PortShutter {
        match self {
            Self::BySets | Self::ByRules(Shutting::Firewall) => PortShutter::Firewall,
            Self::ByRules(Shutting::OwnChain) => PortShutter::OwnChain,
        }
    }
}

/// Checks every door of a configuration with this backend (see [`super::backend::resolve`]).
///
/// # Errors
/// Those of [`look`].
pub fn look_at(config: &Config, backend: BackendKind, devices: &[String]) -> io::Result<Vec<DoorFinding>> {
    let doors: Vec<&Door> = config.doors.iter().collect();
    let opens = match backend {
        // Only commands are run, and their effect is unknown.
        BackendKind::None => return Ok(Vec::new()),
        BackendKind::Iptables(shutting) => OpenMethod::ByRules(shutting),
        _ => OpenMethod::BySets,
    };
    let mut findings = look(&doors, devices, opens)?;
    // Before the own table is loaded, open ports are no finding, because it will shut them.
    let is_made =
        || Sets::connect(own::table()).is_ok_and(|mut sets| matches!(sets.table_exists(), Ok(true)));
    if backend == BackendKind::Own && !is_made() {
        findings.retain(|finding| !matches!(finding.fault, DoorFault::Open { .. } | DoorFault::Unknown(_)));
    }
    for finding in &mut findings {
        match (backend, &config.globals.nft_table) {
            (BackendKind::Own, _) => finding.fault.note_own_table(),
            (BackendKind::Nft, Some(table)) => finding.fault.note_table_of_doors(table),
            _ => {}
        }
    }
    Ok(findings)
}

/// Checks every door of `doors` on these devices. Reports at most one [`DoorFault`] of each kind for a door.
///
/// # Errors
/// The loaded rules cannot be read.
pub fn look(doors: &[&Door], devices: &[String], opens: OpenMethod) -> io::Result<Vec<DoorFinding>> {
    let doors: Vec<&Door> = doors.iter().copied().filter(|door| door.enabled && door.opens_ports()).collect();
    if doors.is_empty() {
        return Ok(Vec::new());
    }
    let rules = LoadedRules::read()?;
    let mut addresses = links::device_addresses()?;
    addresses.retain(|found| !found.is_loopback);
    let mut eyes = Eyes { rules, listeners: Listeners::read(), addresses };
    let mut findings = Vec::new();
    for door in doors {
        let mut found: Vec<DoorFinding> = Vec::new();
        let ports = eyes.ports(door);
        for device in eyes.devices(devices) {
            for family in AddressFamily::ALL {
                for &(protocol, port) in &ports {
                    for finding in eyes.at(door, Entrance { device: &device, family, protocol, port }, opens)
                    {
                        let same = |other: &DoorFinding| {
                            std::mem::discriminant(&other.fault) == std::mem::discriminant(&finding.fault)
                        };
                        if !found.iter().any(same) {
                            found.push(finding);
                        }
                    }
                }
            }
        }
        findings.extend(found);
    }
    Ok(findings)
}

/// The state of this host that the check reads.
struct Eyes {
    rules: LoadedRules,
    listeners: Listeners,
    addresses: Vec<DeviceAddress>,
}

/// The test packet's device, family, protocol and port.
#[derive(Clone, Copy, Debug)]
struct Entrance<'a> {
    device: &'a str,
    family: AddressFamily,
    protocol: Protocol,
    port: u16,
}

impl Eyes {
    /// The names of the devices to check.
    fn devices(&self, devices: &[String]) -> Vec<String> {
        if !devices.iter().any(|device| device == ANY) {
            return devices.to_vec();
        }
        let mut names: Vec<String> = Vec::new();
        for DeviceAddress { device, .. } in &self.addresses {
            if names.len() < MAX_DEVICES && !names.contains(device) {
                names.push(device.clone());
            }
        }
        names
    }

    /// This host's address on a device.
    fn address(&self, device: &str, family: AddressFamily) -> Option<IpAddr> {
        // Only neighbours can reach a link-local address.
        let is_local = |address: IpAddr| match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        let of_device = self.addresses.iter().filter(|found| found.device == device);
        of_device
            .map(|found| found.address)
            .find(|address| AddressFamily::of(*address) == family && !is_local(*address))
    }

    /// Each protocol with the ports to check: the first port of each range that strangers see. At a door with
    /// `any_port` also the ports that programs listen on, if `allow_port` bounds them narrowly.
    fn ports(&self, door: &Door) -> Vec<(Protocol, u16)> {
        let mut found = door.opening.as_ref().map_or(Vec::new(), ports);
        for ProtocolPorts { protocol, ports } in &door.any_port {
            found.push((*protocol, ports.first()));
            if ports.last() - ports.first() < WIDEST_RANGE {
                let listened = self.listeners.ports(*protocol).filter(|port| ports.contains(*port));
                found.extend(listened.take(MAX_LISTENED).map(|port| (*protocol, port)));
            }
        }
        found
    }

    /// The faults of a door for one test packet.
    fn at(&mut self, door: &Door, entrance: Entrance<'_>, opens: OpenMethod) -> Vec<DoorFinding> {
        let Entrance { device, family, protocol, port } = entrance;
        let opening = door.opening.as_ref();
        let forward = opening.and_then(|opening| opening.forward.as_ref());
        // With IPv6, strangers address the host behind the router by its own address and port.
        let behind = forward
            .map(|forward| forward.dest_ip.iter().copied().find(|host| AddressFamily::of(*host) == family));
        let (destination, port) = match behind {
            Some(None) => return Vec::new(),
            Some(Some(host @ IpAddr::V6(_))) => {
                let inside = opening.and_then(|opening| opening.dest_port.first());
                (Some(host), inside.map_or(port, |range| range.first()))
            }
            _ => (self.address(device, family), port),
        };
        let Some(destination) = destination else { return Vec::new() };
        let is_routed = matches!(behind, Some(Some(IpAddr::V6(_))));
        let set = SetName::new(door, family);
        let his = [set.as_ref().map_or("", SetName::as_str)];
        let source = STRANGER[usize::from(family == AddressFamily::V6)];
        let mut arrival = Arrival {
            device,
            index: links::state_of(device).map(|state| state.index),
            source,
            destination,
            protocol,
            port,
            sets: &[],
            accepted_in: &[],
        };
        let finding =
            |fault| DoorFinding { door: door.name.clone(), protocol, port, device: device.to_owned(), fault };
        let mut findings = Vec::new();
        match self.rules.follow(&mut Packet::new(&arrival, !is_routed)) {
            // No rule translates the packet to the host behind. The router's own port is not the door's.
            PacketFate::Passes { is_local: true } if forward.is_some() => {}
            // A rule that was not read may drop it.
            PacketFate::Passes { .. } if self.rules.is_partial() => {
                findings.push(finding(DoorFault::Unknown(Obstacle::Unread)));
            }
            PacketFate::Passes { is_local } => {
                let answered = !is_local || self.listeners.answers(protocol, destination, port);
                findings.push(finding(DoorFault::Open { answered, shutting: opens.shutting() }));
            }
            PacketFate::Depends if forward.is_none() || is_routed => {
                findings.push(finding(DoorFault::Unknown(Obstacle::Rule)));
            }
            PacketFate::Dropped { .. } | PacketFate::Depends => {}
        }
        // Which port a door with any_port opens is known only at the knock.
        if opening.is_none() {
            return findings;
        }
        let accepted_in = self.knockers_chains(opens);
        match opens {
            OpenMethod::BySets => arrival.sets = &his,
            // The rule that would translate the packet is made at the knock.
            OpenMethod::ByRules(_) if forward.is_some() && !is_routed => return findings,
            OpenMethod::ByRules(_) => arrival.accepted_in = &accepted_in,
        }
        if let PacketFate::Dropped { by } = self.rules.follow(&mut Packet::new(&arrival, !is_routed))
            && !by.is_own()
        {
            let maker = self.maker(&by);
            findings.push(finding(DoorFault::Blocked { by, maker }));
        }
        findings
    }

    /// The chains of iptables at whose front the rules for knockers are.
    fn knockers_chains(&self, opens: OpenMethod) -> [&'static str; 2] {
        match opens {
            OpenMethod::BySets => ["", ""],
            // The chains do not exist before the daemon's start. They will be the first.
            OpenMethod::ByRules(Shutting::OwnChain) if self.rules.has_chain("filter", OPENING[0]) => OPENING,
            OpenMethod::ByRules(Shutting::Firewall) if self.rules.has_chain("filter", FW3[0]) => FW3,
            OpenMethod::ByRules(_) => ["INPUT", "FORWARD"],
        }
    }

    /// The program that made a chain.
    fn maker(&self, by: &ChainName) -> Maker {
        let has = |chain: &str| self.rules.has_chain(&by.table, chain);
        match by.table.as_str() {
            "firewalld" => Maker::Firewalld,
            "fw4" => Maker::Fw4,
            _ if has("ufw-before-input") || has("ufw6-before-input") => Maker::Ufw,
            _ if has("DOCKER-USER") => Maker::Docker,
            _ => Maker::Other,
        }
    }
}

/// Each protocol with the ports that strangers see: the first port of each range.
fn ports(opening: &DoorPorts) -> Vec<(Protocol, u16)> {
    let ranges = opening.forward.as_ref().map_or(&opening.dest_port, |forward| &forward.src_dport);
    let mut found = Vec::new();
    for protocol in &opening.protocols {
        found.extend(ranges.iter().map(|range| (*protocol, range.first())));
    }
    found
}
