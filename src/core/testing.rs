//! Short ways to write doors and probes in the core's tests.

use core::net::IpAddr;
use core::num::NonZeroU16;

use super::door::DoorKnock;
use super::packet::{Probe, Transport};
use super::sequence::{Protocol, Step, flag};

/// A step written as in the configuration.
pub(crate) fn step(text: &str) -> Step {
    let (port, protocol) = match text.split_once(':') {
        Some((port, "udp")) => (port, Protocol::Udp),
        Some((port, _)) => (port, Protocol::Tcp),
        None => (text, Protocol::Tcp),
    };
    Step { protocol, port: port.parse::<NonZeroU16>().unwrap() }
}

/// A door with the defaults and this sequence.
pub(crate) fn door(steps: &[&str]) -> DoorKnock {
    DoorKnock { sequence: steps.iter().map(|text| step(text)).collect(), ..DoorKnock::default() }
}

/// The address that the tests' router has.
pub(crate) const ROUTER: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(203, 0, 113, 1));

/// A knock at the router: SYN for TCP; `id` is the source port and the sequence number.
pub(crate) fn probe(source: &str, at: &str, id: u16) -> Probe {
    let Step { protocol, port } = step(at);
    let port = port.get();
    Probe {
        source: source.parse().unwrap(),
        destination: ROUTER,
        transport: match protocol {
            Protocol::Tcp => {
                Transport::Tcp { source_port: id, port, sequence_number: u32::from(id), flags: flag::SYN }
            }
            Protocol::Udp => Transport::Udp { source_port: id, port, frame: 0 },
        },
    }
}
