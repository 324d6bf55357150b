//! Doors that are open to everybody, and doors that stay shut for those who knocked, by the rules that are loaded.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::listeners::Listeners;
use super::loaded::{Arrival, ChainName, Outcome, Packet, Rules};
use super::own::{self, ANY};
use super::set_name::SetName;
use super::sets::Sets;
use crate::config::{self, Config, Door, Opening, PortRange};
use crate::core::network::AddressFamily;
use crate::core::sequence::Protocol;
use crate::linux::links::{self, DeviceAddress};

/// Most devices that are looked at where every device is listened on.
const MAX_DEVICES: usize = 16;

/// A stranger: addresses of example.com, which no firewall names.
const STRANGER: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(93, 184, 215, 14)),
    IpAddr::V6(Ipv6Addr::new(0x2606, 0x2800, 0x21f, 0xcb07, 0x6820, 0x80da, 0xaf6b, 0x8b2c)),
];

/// How doors are opened, as far as it says what somebody who knocked is let in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opens {
    /// By a set that loaded rules look into.
    BySets,
    /// By rules that are made when he knocks.
    ByRules,
}

/// Something about a door that is other than people believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The door's name.
    pub door: String,
    /// The protocol that it was found with.
    pub protocol: Protocol,
    /// The port, as strangers see it.
    pub port: u16,
    /// The device.
    pub device: String,
    /// What it is.
    pub fault: Fault,
}

/// What is wrong with a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Everybody gets in without a knock.
    Open {
        /// Whether something listens there now.
        answered: bool,
    },
    /// Nobody gets in, though he knocked: this chain drops it.
    Blocked {
        /// The chain.
        by: ChainName,
        /// Which program made the rules.
        maker: Maker,
    },
}

/// A program that makes rules of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// `ufw`
    Ufw,
    /// `firewalld`
    Firewalld,
    /// Docker
    Docker,
    /// OpenWrt's firewall.
    Fw4,
    /// Another.
    Other,
}

/// Looks at every door of a configuration, as `backend` opens them (see [`super::backend::resolve`]).
///
/// # Errors
/// As [`look`].
pub fn look_at(config: &Config, backend: config::Backend, devices: &[String]) -> io::Result<Vec<Finding>> {
    let doors: Vec<&Door> = config.doors.iter().collect();
    let opens = match backend {
        // Only commands are run: what they open nobody can know.
        config::Backend::None => return Ok(Vec::new()),
        config::Backend::Iptables => Opens::ByRules,
        _ => Opens::BySets,
    };
    let mut findings = look(&doors, devices, opens)?;
    // What the own table shuts is open only until it is made.
    let is_made =
        || Sets::connect(own::table()).is_ok_and(|mut sets| matches!(sets.table_exists(), Ok(true)));
    if backend == config::Backend::Own && !is_made() {
        findings.retain(|finding| !matches!(finding.fault, Fault::Open { .. }));
    }
    Ok(findings)
}

/// Looks at every door of `doors` on these devices. At most one [`Fault`] of each kind is found for a door.
///
/// # Errors
/// The rules that are loaded cannot be read.
pub fn look(doors: &[&Door], devices: &[String], opens: Opens) -> io::Result<Vec<Finding>> {
    let openings = doors.iter().copied().filter(|door| door.enabled);
    let openings: Vec<_> = openings.filter_map(|door| Some((door, door.opening.as_ref()?))).collect();
    if openings.is_empty() {
        return Ok(Vec::new());
    }
    let mut eyes = Eyes {
        rules: Rules::read()?,
        listeners: Listeners::read(),
        addresses: links::device_addresses()?.filter(|found| !found.is_loopback).collect(),
    };
    let mut findings = Vec::new();
    for (door, opening) in openings {
        let mut found: Vec<Finding> = Vec::new();
        for device in eyes.devices(devices) {
            for family in AddressFamily::ALL {
                for (protocol, port) in ports(opening) {
                    for finding in
                        eyes.at(door, opening, Entrance { device: &device, family, protocol, port }, opens)
                    {
                        let same = |other: &Finding| {
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

/// What is known of this host.
struct Eyes {
    rules: Rules,
    listeners: Listeners,
    addresses: Vec<DeviceAddress>,
}

/// Where a packet for a door comes in.
#[derive(Clone, Copy, Debug)]
struct Entrance<'a> {
    device: &'a str,
    family: AddressFamily,
    protocol: Protocol,
    port: u16,
}

impl Eyes {
    /// The devices by name.
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
        // A link-local address is only for the neighbours.
        let is_local = |address: IpAddr| match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        let of_device = self.addresses.iter().filter(|found| found.device == device);
        of_device
            .map(|found| found.address)
            .find(|address| AddressFamily::of(*address) == family && !is_local(*address))
    }

    /// What is wrong with a door at one entrance.
    fn at(&mut self, door: &Door, opening: &Opening, entrance: Entrance<'_>, opens: Opens) -> Vec<Finding> {
        let Entrance { device, family, protocol, port } = entrance;
        // For IPv6 the host behind is called by its own address and port.
        let behind = opening
            .forward
            .as_ref()
            .map(|forward| forward.dest_ip.iter().copied().find(|host| AddressFamily::of(*host) == family));
        let (destination, port) = match behind {
            Some(None) => return Vec::new(),
            Some(Some(host @ IpAddr::V6(_))) => {
                (Some(host), opening.dest_port.first().map_or(port, |range| range.first()))
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
        };
        let finding =
            |fault| Finding { door: door.name.clone(), protocol, port, device: device.to_owned(), fault };
        let mut findings = Vec::new();
        match self.rules.follow(&mut Packet::new(&arrival, !is_routed)) {
            // Nothing leads it to the host behind: at this host itself the port is no concern of the door's.
            Outcome::Passes { is_local: true } if opening.forward.is_some() => {}
            Outcome::Passes { is_local } => {
                let answered = !is_local || self.listeners.answers(protocol, destination, port);
                findings.push(finding(Fault::Open { answered }));
            }
            Outcome::Dropped { .. } | Outcome::Depends => {}
        }
        arrival.sets = &his;
        if opens == Opens::BySets
            && let Outcome::Dropped { by } = self.rules.follow(&mut Packet::new(&arrival, !is_routed))
            && !by.is_own()
        {
            let maker = self.maker(&by);
            findings.push(finding(Fault::Blocked { by, maker }));
        }
        findings
    }

    /// Who made a chain.
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

/// The protocols with the ports that strangers see, one of each range.
fn ports(opening: &Opening) -> impl Iterator<Item = (Protocol, u16)> {
    let ranges = opening.forward.as_ref().map_or(&opening.dest_port, |forward| &forward.src_dport);
    opening
        .protocols
        .iter()
        .flat_map(|protocol| ranges.iter().map(|range: &PortRange| (*protocol, range.first())))
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { door, protocol, port, device, fault } = self;
        write!(f, "door '{door}': {protocol} port {port} ")?;
        match fault {
            Fault::Open { answered } => {
                write!(f, "can be reached without a knock on {device}")?;
                if !answered {
                    f.write_str(" (nothing listens on it now)")?;
                }
                f.write_str(": close it in the firewall, or let ketuk do so with backend 'own'")
            }
            Fault::Blocked { by, maker } => {
                write!(f, "stays shut on {device} even after a knock: {by} drops what the door lets in")?;
                match maker {
                    Maker::Ufw => {
                        write!(f, "; run 'ufw allow {port}/{protocol}', the door keeps it shut for strangers")
                    }
                    Maker::Firewalld => write!(
                        f,
                        "; run 'firewall-cmd --permanent --add-port={port}/{protocol}' and 'firewall-cmd --reload', \
                         the door keeps it shut for strangers"
                    ),
                    Maker::Docker => write!(
                        f,
                        "; run 'iptables -I DOCKER-USER -i {device} -p {protocol} --dport {port} -j ACCEPT', the \
                         door keeps it shut for strangers"
                    ),
                    Maker::Fw4 => {
                        f.write_str("; reload the firewall, so that it takes up the rules of the doors")
                    }
                    Maker::Other => {
                        f.write_str("; accept the port there, the door keeps it shut for strangers")
                    }
                }
            }
        }
    }
}
