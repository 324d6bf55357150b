//! The filter against the parser and the engine, on the kernel's own interpreter: a filter can be attached
//! to any socket, so a pair of Unix datagram sockets runs it on any bytes, without privilege.

use std::hash::RandomState;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

use proptest::prelude::*;

use super::*;
use crate::core::engine::Tables;
use crate::core::packet;
use crate::core::sequence::flag;

/// A door with the defaults and these steps, written as in the configuration.
fn door(steps: &[&str]) -> Door {
    let steps: String = steps.iter().flat_map(|step| ["list sequence ", step, "\n"]).collect();
    let text = format!("config door d\noption dest_port 22\n{steps}");
    let config = crate::config::parse("test", text.as_bytes()).unwrap();
    Door { sequence: config.doors[0].knock.sequence.clone(), ..Door::default() }
}

/// Runs a filter on packets.
struct Kernel {
    to: UnixDatagram,
    from: UnixDatagram,
}

impl Kernel {
    fn load(program: &[sock_filter]) -> Self {
        let (to, from) = UnixDatagram::pair().unwrap();
        let program = libc::sock_fprog {
            len: u16::try_from(program.len()).unwrap(),
            filter: program.as_ptr().cast_mut(),
        };
        // SAFETY: the pointer is to a live value of the size that goes with it.
        let attached = unsafe {
            libc::setsockopt(
                from.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const program).cast(),
                u32::try_from(size_of_val(&program)).unwrap(),
            )
        };
        assert_eq!(attached, 0, "{}", std::io::Error::last_os_error());
        from.set_nonblocking(true).unwrap();
        Self { to, from }
    }

    fn passes(&self, packet: &[u8]) -> bool {
        self.receive(packet).is_some()
    }

    /// How much of a packet the filter lets through, if it does.
    fn receive(&self, packet: &[u8]) -> Option<usize> {
        // An empty datagram would tell nothing, and no IP packet is empty.
        if packet.is_empty() {
            return None;
        }
        let sent = self.to.send(packet);
        let received = self.from.recv(&mut [0; 4096]).ok();
        assert!(
            received.is_some()
                || sent.is_ok()
                || sent.unwrap_err().kind() == std::io::ErrorKind::PermissionDenied
        );
        received
    }
}

const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 1));
const TARGET: &str = "203.0.113.9";
const V6: &str = "2001:db8::1";

fn with_engine(body: impl FnOnce(&mut Engine<'_, RandomState>) + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(16 << 20).spawn_scoped(scope, || {
            let mut tables = Box::new(Tables::new());
            let mut engine = Engine::new(&mut tables, RandomState::new());
            let fin = FlagMatch { mask: flag::FIN | flag::SYN, value: flag::FIN };
            let doors = [
                door(&["7000", "8000:udp", "9000"]),
                Door { tcp_flags: fin, ..door(&["7000", "1234"]) },
                Door { target: Some(TARGET.parse().unwrap()), ..door(&["5000", "5001:udp"]) },
            ];
            engine.set_doors(&doors.map(Some), &[]).unwrap();
            engine.set_listening(Listening {
                packets: std::num::NonZeroU16::new(6000),
                changing: Some(Ports { first: 20_000, last: 29_999 }),
            });
            engine.set_addresses([V4, V6.parse().unwrap(), "10.0.0.1".parse().unwrap()].into_iter());
            body(&mut engine);
        });
        thread.unwrap().join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// A packet that is right in most of its fields, from a few choices each.
fn nearly_right() -> impl Strategy<Value = Vec<u8>> {
    let port = prop_oneof![
        Just(7000_u16),
        Just(8000),
        Just(9000),
        Just(1234),
        Just(5000),
        Just(5001),
        Just(7001),
        Just(8001),
        Just(6000),
        Just(20_000),
        Just(29_999),
        Just(30_000),
        6900..7100_u16,
        any::<u16>()
    ];
    let address = prop_oneof![4 => Just(V4), 2 => Just(TARGET.parse().unwrap()), 1 => Just("203.0.113.2".parse().unwrap())];
    let address6 = prop_oneof![4 => Just(V6), 1 => Just("2001:db8::2")];
    let flags = prop_oneof![4 => Just(flag::SYN), 2 => Just(flag::FIN), 2 => any::<u8>()];
    let extensions = prop::collection::vec(
        (
            prop_oneof![Just(0_u8), Just(43), Just(44), Just(51), Just(60), any::<u8>()],
            prop_oneof![9 => Just(0_u8), 2 => 0..4_u8, 1 => any::<u8>()],
        ),
        0..8,
    );
    (
        (any::<bool>(), any::<bool>(), port, flags, address, address6, extensions),
        (
            0..4_usize,
            prop_oneof![9 => Just(None), 3 => (0..120_usize, any::<u8>()).prop_map(Some)],
            prop_oneof![9 => Just(None), 2 => (1..200_usize).prop_map(Some)],
        ),
    )
        .prop_map(|((v6, udp, port, flags, v4_to, v6_to, extensions), (options, change, cut))| {
            let mut transport = vec![0_u8; if udp { 8 } else { 20 }];
            transport[2..4].copy_from_slice(&port.to_be_bytes());
            if udp {
                transport[5] = 8;
            } else {
                transport[12] = 0x50;
                transport[13] = flags;
            }
            let protocol = if udp { 17 } else { 6 };
            let mut bytes;
            if v6 {
                let mut rest = Vec::new();
                for (at, (number, units)) in extensions.iter().enumerate() {
                    let len = if *number == 51 {
                        4 * (2 + usize::from(*units))
                    } else if *number == 44 {
                        8
                    } else {
                        8 * (1 + usize::from(*units))
                    };
                    let mut header = vec![0; len];
                    header[0] = extensions.get(at + 1).map_or(protocol, |(next, _)| *next);
                    header[1] = *units;
                    rest.extend(header);
                }
                rest.extend(&transport);
                bytes = vec![0; 40];
                bytes[0] = 0x60;
                bytes[4..6].copy_from_slice(&u16::try_from(rest.len()).unwrap().to_be_bytes());
                bytes[6] = extensions.first().map_or(protocol, |(first, _)| *first);
                bytes[24..40].copy_from_slice(&v6_to.parse::<std::net::Ipv6Addr>().unwrap().octets());
                bytes.extend(rest);
            } else {
                let header = 20 + 4 * options;
                bytes = vec![0; header];
                bytes[0] = 0x40 | u8::try_from(header / 4).unwrap();
                bytes[2..4].copy_from_slice(&u16::try_from(header + transport.len()).unwrap().to_be_bytes());
                bytes[9] = protocol;
                let IpAddr::V4(to) = v4_to else { unreachable!("only IPv4 addresses are chosen") };
                bytes[16..20].copy_from_slice(&to.octets());
                bytes.extend(transport);
            }
            if let Some((at, value)) = change {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut);
            }
            bytes
        })
}

#[test]
fn passes_what_the_engine_wants_and_nothing_else() {
    with_engine(|engine| {
        let (v4, v6) =
            (Kernel::load(&compile(engine, Family::V4)), Kernel::load(&compile(engine, Family::V6)));
        let mut passed = [0_u32; 2];
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: 20_000,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let seen = std::cell::RefCell::new(&mut passed);
        runner
            .run(&nearly_right(), |bytes| {
                // What the socket hands over is cut like the filter cuts it.
                let captured = &bytes[..bytes.len().min(MAX_HEADERS)];
                let wanted = packet::parse(captured).is_ok_and(|probe| engine.matters(&probe));
                let six = bytes.first().is_some_and(|first| first >> 4 == 6);
                prop_assert_eq!(v4.passes(&bytes), wanted && !six);
                prop_assert_eq!(v6.passes(&bytes), wanted && six);
                seen.borrow_mut()[usize::from(six)] += u32::from(wanted);
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
        let v4 = Kernel::load(&compile(engine, Family::V4));
        let mut bytes = vec![0_u8; 40];
        bytes[0] = 0x45;
        bytes[3] = 40;
        bytes[9] = 6;
        bytes[16..20].copy_from_slice(&[203, 0, 113, 1]);
        bytes[32] = 0x50;
        let mut check = |port: u16, flags: u8| {
            bytes[22..24].copy_from_slice(&port.to_be_bytes());
            bytes[33] = flags;
            let wanted = engine.matters(&packet::parse(&bytes).unwrap());
            assert_eq!(v4.passes(&bytes), wanted, "port {port} flags {flags:#x}");
            wanted
        };
        let wanted = (0..=u16::MAX).filter(|port| check(*port, flag::SYN)).count();
        // Sequences that change may begin anywhere in their range.
        assert!((10_300..10_600).contains(&wanted), "{wanted}");
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
        syn[16..20].copy_from_slice(&[203, 0, 113, 1]);
        syn[22..24].copy_from_slice(&7000_u16.to_be_bytes());
        (syn[32], syn[33]) = (0x50, flag::SYN);
        assert!(Kernel::load(&compile(engine, Family::V4)).passes(&syn));
        engine.set_addresses(core::iter::empty());
        assert!(!Kernel::load(&compile(engine, Family::V4)).passes(&syn));
        assert!(!Kernel::load(&nothing()).passes(&syn));
        engine.set_doors(&[], &[]).unwrap();
        engine.set_listening(Listening::default());
        assert_eq!(compile(engine, Family::V4).len(), program(Family::V4, &[]).assemble().unwrap().len());
    });
}

#[test]
fn the_fullest_configuration_still_loads() {
    with_engine(|engine| {
        let mut port = 0;
        let doors: Vec<_> = (0..64_u8)
            .map(|n| {
                let steps: Vec<String> = (0..8)
                    .map(|_| {
                        port += 120;
                        port.to_string()
                    })
                    .collect();
                let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
                Some(Door { tcp_flags: FlagMatch { mask: 0xff, value: n }, ..door(&steps) })
            })
            .collect();
        engine.set_doors(&doors, &[]).unwrap();
        for family in [Family::V4, Family::V6] {
            let program = compile(engine, family);
            assert!(program.len() > 200, "coarse, but there: {}", program.len());
            Kernel::load(&program);
        }
    });
}

/// For one simple door the whole program, so that a change of it is seen.
#[test]
fn golden() {
    with_engine(|engine| {
        engine.set_doors(&[Some(door(&["7000"]))], &[]).unwrap();
        engine.set_listening(Listening::default());
        engine.set_addresses([V4].into_iter());
        let program = compile(engine, Family::V4);
        let tail: Vec<_> = program[program.len() - 17..].iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect();
        let expected = [
            (0x20, 0, 0, 16),          // ld [16]            destination
            (0x15, 1, 0, 0xcb00_7101), // jeq 203.0.113.1
            (0x05, 0, 0, 11),          // ja to the next section: there is none
            (0x60, 0, 0, 0),           // ld M[0]            flags
            (0x15, 8, 0, 0x100),       // jeq udp
            (0x60, 0, 0, 0),           // ld M[0]
            (0x54, 0, 0, 0x17),        // and fin|syn|rst|ack
            (0x15, 0, 4, 0x02),        // jeq syn
            (0x60, 0, 0, 1),           // ld M[1]            port
            (0x25, 1, 0, 7256),        // jgt above the last trap
            (0x35, 4, 1, 6744),        // jge from the first: pass
            (0x05, 0, 0, 0),           // ja: no range is left
            (0x05, 0, 0, 1),           // ja: no flags are left
            (0x05, 0, 0, 0),           // ja: no UDP ports
            (0x05, 0, 0, 1),           // ja drop
            (0x06, 0, 0, 256),         // pass: ret MAX_HEADERS
            (0x06, 0, 0, 0),           // drop: ret 0
        ];
        assert_eq!(tail, expected, "{tail:x?}");
    });
}

#[test]
fn packets_that_prove_something_are_read_whole_and_knocks_are_not() {
    with_engine(|engine| {
        let kernel = Kernel::load(&compile(engine, Family::V4));
        let datagram = |port: u16, len: u16| {
            let mut bytes = vec![0; 28 + usize::from(len)];
            bytes[0] = 0x45;
            bytes[2..4].copy_from_slice(&(28 + len).to_be_bytes());
            bytes[9] = 17;
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
