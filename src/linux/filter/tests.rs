//! Compares the filter with the parser and the engine, on the kernel's own interpreter.

mod kernel;
mod packets;
mod program;

use std::hash::RandomState;

use proptest::prelude::*;

use self::kernel::Kernel;
use self::packets::{nearly_right, syn};
use super::*;
use crate::core::door::DoorKnock;
use crate::core::engine::{EngineTables, Listening};
use crate::core::packet;
use crate::core::place::{On, OwnAddress};
use crate::core::ports::ProtocolPorts;
use crate::core::sequence::{FlagMatch, Protocol, flag};

/// A door with the defaults and these steps, written as in the configuration.
fn door(steps: &[&str]) -> DoorKnock {
    let steps: String = steps.iter().flat_map(|step| ["list sequence ", step, "\n"]).collect();
    let text = format!("config door d\noption dest_port 22\n{steps}");
    let config = crate::config::parse("test", text.as_bytes()).unwrap();
    DoorKnock { sequence: config.doors[0].knock.sequence.clone(), ..DoorKnock::default() }
}

const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 1));
const TARGET: &str = "203.0.113.9";
const V6: &str = "2001:db8::1";

fn with_engine(body: impl FnOnce(&mut Engine<'_, RandomState>) + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(16 << 20).spawn_scoped(scope, || {
            let mut tables = Box::new(EngineTables::new());
            let mut engine = Engine::new(&mut tables, RandomState::new());
            let fin = FlagMatch::new(flag::FIN | flag::SYN, flag::FIN);
            let doors = [
                door(&["7000", "8000:udp", "9000"]),
                DoorKnock { tcp_flags: fin, ..door(&["7000", "1234"]) },
                DoorKnock { target: Some(TARGET.parse().unwrap()), ..door(&["5000", "5001:udp"]) },
            ];
            let never = [(7003, 7010), (19_990, 20_005), (40_000, 40_100)].map(|(first, last)| {
                ProtocolPorts { protocol: Protocol::Tcp, ports: PortRange::new(first, last).unwrap() }
            });
            engine.set_doors(&doors.map(Some), &never).unwrap();
            engine.set_listening(Listening {
                packets: std::num::NonZeroU16::new(6000),
                changing: PortRange::new(20_000, 29_999),
            });
            let own =
                |address: &str, prefix, on| OwnAddress { address: address.parse().unwrap(), prefix, on };
            let addresses = [
                OwnAddress { address: V4, prefix: 24, on: On::Listened },
                own(V6, 64, On::Listened),
                own("10.0.0.1", 8, On::Other),
                own("10.1.0.1", 16, On::Listened),
                own("2001:db8:1::1", 48, On::Other),
                own("127.0.0.1", 8, On::Loopback),
                own("::1", 128, On::Loopback),
            ];
            assert_eq!(engine.set_addresses(&addresses), 0);
            body(&mut engine);
        });
        thread.unwrap().join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// The exact filter for packets that come in over a device which leads to other hosts.
fn exact(engine: &Engine<'_, RandomState>, family: AddressFamily) -> Vec<sock_filter> {
    compile(engine, family, Via::Network, Form::Exact).unwrap()
}

#[test]
fn passes_what_the_engine_wants_and_nothing_else() {
    with_engine(|engine| {
        let kernels = [Via::Network, Via::Loopback].map(|via| {
            let load = |family, form| Kernel::load(&compile(engine, family, via, form).unwrap());
            let coarse =
                FORMS.map(|form| [AddressFamily::V4, AddressFamily::V6].map(|family| load(family, form)));
            (via, [AddressFamily::V4, AddressFamily::V6].map(|family| load(family, Form::Exact)), coarse)
        });
        let mut passed = [0_u32; 2];
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: 20_000,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let seen = std::cell::RefCell::new(&mut passed);
        runner
            .run(&nearly_right(), |bytes| {
                // The socket cuts the packet as the filter does.
                let captured = &bytes[..bytes.len().min(MAX_HEADERS)];
                let six = bytes.first().is_some_and(|first| first >> 4 == 6);
                for (via, exact, all) in &kernels {
                    let wanted = packet::parse(captured).is_ok_and(|probe| engine.matters(&probe, *via));
                    prop_assert_eq!(exact[0].passes(&bytes), wanted && !six, "{:?}", via);
                    prop_assert_eq!(exact[1].passes(&bytes), wanted && six, "{:?}", via);
                    for (form, kernels) in FORMS.iter().zip(all) {
                        prop_assert!(
                            !wanted || kernels[usize::from(six)].passes(&bytes),
                            "{:?} loses it",
                            form
                        );
                    }
                    seen.borrow_mut()[usize::from(six)] += u32::from(wanted);
                }
                Ok(())
            })
            .unwrap();
        assert!(
            passed[0] > 700 && passed[1] > 700,
            "too few packets were wanted to prove anything: {passed:?}"
        );
    });
}

#[test]
fn every_port_and_every_flag() {
    with_engine(|engine| {
        let v4 = Kernel::load(&exact(engine, AddressFamily::V4));
        let mut bytes = vec![0_u8; 40];
        bytes[0] = 0x45;
        bytes[3] = 40;
        bytes[9] = 6;
        bytes[12..16].copy_from_slice(&[198, 51, 100, 7]);
        bytes[16..20].copy_from_slice(&[203, 0, 113, 1]);
        bytes[32] = 0x50;
        let mut check = |port: u16, flags: u8| {
            bytes[22..24].copy_from_slice(&port.to_be_bytes());
            bytes[33] = flags;
            let wanted = engine.matters(&packet::parse(&bytes).unwrap(), Via::Network);
            assert_eq!(v4.passes(&bytes), wanted, "port {port} flags {flags:#x}");
            wanted
        };
        let wanted = (0..=u16::MAX).filter(|port| check(*port, flag::SYN)).count();
        // Changing sequences may begin anywhere in their range.
        assert!((10_600..11_200).contains(&wanted), "{wanted}");
        let wanted = (0..=u8::MAX).filter(|flags| check(7000, *flags)).count();
        assert_eq!(wanted, 16 + 64, "SYN alone of four flags, or FIN without SYN");
    });
}

#[test]
fn no_doors_or_no_addresses_pass_nothing() {
    with_engine(|engine| {
        let mut syn = vec![0_u8; 40];
        syn[..4].copy_from_slice(&[0x45, 0, 0, 40]);
        syn[9] = 6;
        syn[12..16].copy_from_slice(&[198, 51, 100, 7]);
        syn[16..20].copy_from_slice(&[203, 0, 113, 1]);
        syn[22..24].copy_from_slice(&7000_u16.to_be_bytes());
        (syn[32], syn[33]) = (0x50, flag::SYN);
        assert!(Kernel::load(&exact(engine, AddressFamily::V4)).passes(&syn));
        engine.set_addresses(&[]);
        assert!(!Kernel::load(&exact(engine, AddressFamily::V4)).passes(&syn));
        assert!(!Kernel::load(&nothing()).passes(&syn));
        engine.set_doors(&[], &[]).unwrap();
        engine.set_listening(Listening::default());
        assert!(!Kernel::load(&exact(engine, AddressFamily::V4)).passes(&syn));
    });
}

#[test]
fn packets_that_prove_something_are_read_whole_and_knocks_are_not() {
    with_engine(|engine| {
        let kernel = Kernel::load(&exact(engine, AddressFamily::V4));
        let datagram = |port: u16, len: u16| {
            let mut bytes = vec![0; 28 + usize::from(len)];
            bytes[0] = 0x45;
            bytes[2..4].copy_from_slice(&(28 + len).to_be_bytes());
            bytes[9] = 17;
            bytes[12..16].copy_from_slice(&[198, 51, 100, 7]);
            bytes[16..20].copy_from_slice(&[203, 0, 113, 1]);
            bytes[22..24].copy_from_slice(&port.to_be_bytes());
            bytes[24..26].copy_from_slice(&(8 + len).to_be_bytes());
            bytes
        };
        assert_eq!(kernel.receive(&datagram(8000, 1400)), Some(MAX_HEADERS));
        assert_eq!(kernel.receive(&datagram(6000, 1400)), Some(1428));
        assert_eq!(kernel.receive(&datagram(6000, 3000)), Some(MAX_PACKET));
        assert_eq!(packet::udp_payload(&datagram(6000, 1400)).len(), 1400);
        assert_eq!(packet::udp_payload(&datagram(6000, 1400)[..200]), [0; 0], "cut short");
    });
}
