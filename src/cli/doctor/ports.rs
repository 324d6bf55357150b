//! The points about services at the ports of knocks.

use std::net::IpAddr;
use std::num::NonZeroU16;

use super::finding::Finding;
use super::subject::Subject;
use crate::config::{Config, Door, DoorPorts, FirewallFile};
use crate::core::door::DoorId;
use crate::core::ports::{PortMap, PortRange};
use crate::core::sequence::{Protocol, Step};
use crate::daemon::slots::never_traps;
use crate::firewall::exposure::{self, DoorFault, OpenMethod};
use crate::firewall::iptables::Shutting;
use crate::firewall::listeners::Listeners;

/// The services that answer everybody at a knock's port. They show a scanner that the port is in use, and each of their
/// clients sends a knock.
pub(super) fn services(subject: &Subject<'_>) -> Vec<Finding> {
    let config = match subject.config() {
        Ok(config) => config,
        Err(unknown) => return unknown,
    };
    let packets = Step { port: config.globals.auth.spa_port, protocol: Protocol::Udp };
    let sends_packets = config.users.iter().any(|user| user.enabled && user.sends_packets());
    let mut steps: Vec<_> = enabled(config).flat_map(|door| door.knock.sequence.iter().copied()).collect();
    steps.extend(sends_packets.then_some(packets));
    answered(subject, &steps, &|port| {
        Finding::wrong(
            format!("a program answers everybody at {port}, to which knocks are sent"),
            "choose another port, or end that program",
        )
    })
}

/// The services that answer everybody at a trap. A client that uses one during its attempt may have to begin again.
pub(super) fn traps(subject: &Subject<'_>) -> Vec<Finding> {
    let config = match subject.config() {
        Ok(config) => config,
        Err(unknown) => return unknown,
    };
    let mut ports = Box::new(PortMap::new());
    let doors = (0..).map(DoorId).zip(enabled(config).map(|door| &door.knock));
    let never = never_traps(config, FirewallFile::beside(&subject.path).exposed_ports(config));
    // Only the traps near the sequences are checked: each start of the daemon scatters the others anew.
    if ports.draw(doors, &never, None).is_err() {
        return vec![Finding::not_known("the sequences name too many ports")];
    }
    let mut steps = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for range in ports.traps(protocol) {
            let near = (range.first()..=range.last()).filter_map(NonZeroU16::new);
            steps.extend(near.map(|port| Step { port, protocol }));
        }
    }
    answered(subject, &steps, &|port| {
        Finding::wrong(
            format!(
                "a program answers everybody at {port}, a trap: a client that uses it while knocking may have to begin again"
            ),
            format!("add list trap_except '{}' to the globals", port.replace('/', ":")),
        )
    })
}

fn enabled(config: &Config) -> impl Iterator<Item = &Door> {
    config.doors.iter().filter(|door| door.enabled)
}

/// The findings for those ports of `steps` where a program answers every client that the firewall lets through.
fn answered(subject: &Subject<'_>, steps: &[Step], finding: &dyn Fn(&str) -> Finding) -> Vec<Finding> {
    let (devices, addresses) = match (subject.devices(), subject.addresses()) {
        (Ok(devices), Ok(addresses)) => (devices, addresses),
        (Err(unknown), _) | (_, Err(unknown)) => return unknown,
    };
    let listeners = Listeners::read();
    if listeners.is_incomplete() {
        return vec![Finding::not_known("the sockets in /proc/net cannot be read")];
    }
    let answers = |step: &Step| {
        let at = |address: IpAddr| listeners.answers(step.protocol, address, step.port.get());
        addresses.iter().any(|(_, address)| at(*address))
    };
    let listened: Vec<_> = steps.iter().copied().filter(answers).map(as_door).collect();
    match exposure::look(
        &listened.iter().collect::<Vec<_>>(),
        devices,
        OpenMethod::ByRules(Shutting::Firewall),
    ) {
        Ok(found) => found
            .iter()
            .filter(|found| matches!(found.fault, DoorFault::Open { answered: true, .. }))
            .map(|found| finding(&format!("{}/{}", found.port, found.protocol)))
            .collect(),
        Err(error) => vec![Finding::unreadable("the loaded rules", &error)],
    }
}

/// A door that opens this port, so that the check of doors can check the port.
fn as_door(step: Step) -> Door {
    let opening = DoorPorts {
        protocols: vec![step.protocol],
        dest_port: vec![PortRange::one(step.port)],
        forward: None,
    };
    Door { opening: Some(opening), ..Door::named("port") }
}
