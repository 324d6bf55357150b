//! Short ways to write doors and probes in the core's tests.

use core::net::IpAddr;
use core::num::NonZeroU16;

use super::door::DoorKnock;
use super::packet::{Probe, Transport};
use super::sequence::{Protocol, Step, flag};

/// The hash functions of the tests, with a key that is always the same.
pub(crate) type Keyed = core::hash::BuildHasherDefault<std::hash::DefaultHasher>;

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

/// Runs a test that makes large tables on a stack that is large enough. A test thread's stack need not be.
pub(crate) fn on_stack<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(16 << 20)
            .spawn_scoped(scope, body)
            .expect("a thread")
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The bytes of an IPv4 probe.
pub(crate) fn packet(probe: &Probe) -> Vec<u8> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (probe.source, probe.destination) else {
        panic!("no IPv4 addresses")
    };
    let transport = match probe.transport {
        Transport::Tcp { source_port, port, sequence_number, flags } => {
            let [ports, number] = [u32::from(source_port) << 16 | u32::from(port), sequence_number];
            [&ports.to_be_bytes()[..], &number.to_be_bytes(), &[0; 4], &[5 << 4, flags], &[0; 6]].concat()
        }
        Transport::Udp { source_port, port, .. } => {
            [&source_port.to_be_bytes()[..], &port.to_be_bytes(), &[0, 8, 0, 0]].concat()
        }
    };
    let len = u8::try_from(20 + transport.len()).unwrap();
    let mut header = [0; 20];
    (header[0], header[3], header[9]) = (0x45, len, probe.transport.protocol().number());
    header[12..16].copy_from_slice(&source.octets());
    header[16..].copy_from_slice(&destination.octets());
    [&header[..], &transport].concat()
}
