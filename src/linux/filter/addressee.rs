//! The addressees of knocks: the addresses of this host and the doors' targets, with the ports that matter there.

use core::hash::BuildHasher;
use core::net::IpAddr;

use super::ranges::{join, merge};
use super::{FilterSpec, Form};
use crate::core::door::DoorKnock;
use crate::core::engine::Engine;
use crate::core::network::AddressFamily;
use crate::core::ports::{PortRange, Scattered};
use crate::core::sequence::{FlagMatch, Protocol};
use crate::core::totp_knocks;

/// One address or several, and the ports at which knocks to them matter.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Addressee {
    pub(super) addresses: Vec<IpAddr>,
    /// The kinds of segments that are knocks.
    pub(super) tcp: Vec<Segments>,
    pub(super) udp: Vec<PortRange>,
    /// UDP ports whose packets are read whole.
    pub(super) whole: Vec<PortRange>,
}

/// TCP segments with these flags.
#[derive(Debug, PartialEq)]
pub(super) struct Segments {
    pub(super) flags: FlagMatch,
    /// The ports that matter.
    pub(super) ports: Vec<PortRange>,
    /// The scattered traps, and the ports that are never traps.
    pub(super) scattered: Option<(Scattered, Vec<PortRange>)>,
}

/// All addressees of a family. For every form but the exact one they are merged into one.
pub(super) fn addressees<S: BuildHasher>(engine: &Engine<'_, S>, target: FilterSpec) -> Vec<Addressee> {
    let FilterSpec { family, via, form } = target;
    let of_family = |address: &IpAddr| address.is_ipv4() == (family == AddressFamily::V4);
    let reached = engine.place().reached(via);
    let targets = engine.doors().filter_map(|(_, door)| door.target);
    // A target that is an address of this host counts only on devices that reach it.
    let targets = targets.filter(|target| !engine.place().is_own(*target) || reached.contains(target));
    let mut addresses: Vec<IpAddr> = reached.iter().copied().chain(targets).filter(of_family).collect();
    addresses.sort_unstable();
    addresses.dedup();
    if form != Form::Exact {
        let all: Vec<&DoorKnock> = engine.doors().map(|(_, door)| door).collect();
        let mut one = addressee(engine, &all, true);
        let Form::Coarse(ranges) = form else { return vec![Addressee { addresses, ..coarse(one, 1) }] };
        one.addresses = addresses;
        return vec![coarse(one, ranges)];
    }
    let mut all: Vec<Addressee> = Vec::new();
    for address in addresses {
        let own = reached.contains(&address);
        let here: Vec<&DoorKnock> = engine
            .doors()
            .map(|(_, door)| door)
            .filter(|door| door.target.map_or(own, |target| target == address))
            .collect();
        let new = addressee(engine, &here, own);
        let same = |known: &&mut Addressee| {
            (&known.tcp, &known.udp, &known.whole) == (&new.tcp, &new.udp, &new.whole)
        };
        match all.iter_mut().find(same) {
            Some(known) => known.addresses.push(address),
            None => all.push(Addressee { addresses: vec![address], ..new }),
        }
    }
    all
}

/// The addressee for an address at which these doors are knocked. `own` says that the address is this host's.
fn addressee<S: BuildHasher>(engine: &Engine<'_, S>, doors: &[&DoorKnock], own: bool) -> Addressee {
    let ports = |wanted: &dyn Fn(&DoorKnock) -> bool, protocol| {
        let mut ranges = engine.ports().traps(protocol).to_vec();
        for door in doors.iter().filter(|door| wanted(door)) {
            let steps = door.sequence.iter().filter(|step| step.protocol == protocol);
            ranges.extend(steps.map(|step| PortRange::one(step.port)));
        }
        merge(ranges)
    };
    let scattered = engine.ports().scattered().map(|(scattered, exempt)| (scattered, exempt.to_vec()));
    let mut flags: Vec<FlagMatch> = doors.iter().map(|door| door.tcp_flags).collect();
    flags.sort_unstable();
    flags.dedup();
    let mut tcp: Vec<_> = flags
        .into_iter()
        .map(|flags| Segments {
            flags,
            ports: ports(&|door| door.tcp_flags == flags, Protocol::Tcp),
            scattered: scattered.clone().filter(|_| flags.is_first_segment()),
        })
        .collect();
    let udp = if doors.is_empty() { Vec::new() } else { ports(&|_| true, Protocol::Udp) };
    let listening = engine.listening();
    if let Some(range) = listening.changing.filter(|_| own) {
        match tcp.iter_mut().find(|segments| segments.flags == totp_knocks::FLAGS) {
            Some(Segments { ports, .. }) => *ports = merge(ports.iter().copied().chain([range]).collect()),
            None => tcp.push(Segments { flags: totp_knocks::FLAGS, ports: vec![range], scattered: None }),
        }
    }
    let whole = listening.packets.filter(|_| own).map(PortRange::one).into_iter().collect();
    Addressee { addresses: Vec::new(), tcp, udp, whole }
}

/// The same addressee with at most `ranges` ranges for each protocol, and one kind of segment.
fn coarse(mut addressee: Addressee, ranges: usize) -> Addressee {
    let all = addressee.tcp.iter().flat_map(|segments| &segments.ports).copied().collect();
    // The flags that all kinds of segments have in common.
    let flags = addressee.tcp.iter().map(|segments| segments.flags).reduce(FlagMatch::common);
    let scattered = addressee.tcp.iter().find_map(|segments| segments.scattered.as_ref());
    // A port that is never a trap also passes if its hash is that of a trap.
    let scattered = scattered.map(|(scattered, _)| (*scattered, Vec::new()));
    let segments = flags.map(|flags| Segments { flags, ports: join(merge(all), ranges), scattered });
    addressee.tcp = segments.into_iter().collect();
    addressee.udp = join(addressee.udp, ranges);
    addressee
}
