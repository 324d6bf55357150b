//! The filter against the parser and the engine, on the kernel's own interpreter: a filter can be attached
//! to any socket, so a pair of Unix datagram sockets runs it on any bytes, without privilege.

use std::hash::RandomState;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

use proptest::prelude::*;

use super::*;
use std::net::Ipv6Addr;

use crate::core::engine::{Listening, Tables};
use crate::core::packet;
use crate::core::place::{On, OwnAddress};
use crate::core::ports::NeverTrap;
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
            let never = [(7003, 7010), (19_990, 20_005), (40_000, 40_100)].map(|(first, last)| NeverTrap {
                protocol: Protocol::Tcp,
                ports: PortRange::new(first, last).unwrap(),
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

/// Sources of all kinds: true ones, martians, and their neighbours.
const SOURCES_4: [&str; 16] = [
    "198.51.100.7",
    "0.0.0.0",
    "0.255.255.255",
    "1.0.0.0",
    "127.0.0.1",
    "128.0.0.0",
    "223.255.255.255",
    "224.0.0.1",
    "255.255.255.255",
    "203.0.113.1",
    "203.0.113.255",
    "203.0.113.2",
    "10.2.3.4",
    "10.1.2.3",
    "10.0.0.1",
    "11.0.0.0",
];
const SOURCES_6: [&str; 14] = [
    "2001:db8:9::1",
    "::",
    "::1",
    "::2",
    "::ffff:198.51.100.7",
    "::fffe:ffff:ffff",
    "::1:0:0:0",
    "ff02::1",
    "fe80::1",
    "2001:db8::1",
    "2001:db8::2",
    "2001:db8:1::",
    "2001:db8:1:ffff:ffff:ffff:ffff:ffff",
    "2001:db8:2::",
];

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
    let address = prop_oneof![9 => address, 1 => Just("127.0.0.1".parse().unwrap()), 1 => Just("10.0.0.1".parse().unwrap())];
    let address6 =
        prop_oneof![6 => Just(V6), 1 => Just("2001:db8::2"), 1 => Just("2001:db8:1::1"), 1 => Just("::1")];
    let source = prop_oneof![2 => Just(0_usize), 1 => 0..16_usize];
    let flags = prop_oneof![4 => Just(flag::SYN), 2 => Just(flag::FIN), 2 => any::<u8>()];
    let extensions = prop::collection::vec(
        (
            prop_oneof![Just(0_u8), Just(43), Just(44), Just(51), Just(60), any::<u8>()],
            prop_oneof![9 => Just(0_u8), 2 => 0..4_u8, 1 => any::<u8>()],
        ),
        0..8,
    );
    (
        ((any::<bool>(), source), any::<bool>(), port, flags, address, address6, extensions),
        (
            0..4_usize,
            prop_oneof![9 => Just(None), 3 => (0..120_usize, any::<u8>()).prop_map(Some)],
            prop_oneof![9 => Just(None), 2 => (1..200_usize).prop_map(Some)],
        ),
    )
        .prop_map(
            |(((v6, source), udp, port, flags, v4_to, v6_to, extensions), (options, change, cut))| {
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
                    let from: Ipv6Addr = SOURCES_6[source % SOURCES_6.len()].parse().unwrap();
                    bytes[8..24].copy_from_slice(&from.octets());
                    bytes[24..40].copy_from_slice(&v6_to.parse::<Ipv6Addr>().unwrap().octets());
                    bytes.extend(rest);
                } else {
                    let header = 20 + 4 * options;
                    bytes = vec![0; header];
                    bytes[0] = 0x40 | u8::try_from(header / 4).unwrap();
                    bytes[2..4]
                        .copy_from_slice(&u16::try_from(header + transport.len()).unwrap().to_be_bytes());
                    bytes[9] = protocol;
                    let IpAddr::V4(to) = v4_to else { unreachable!("only IPv4 addresses are chosen") };
                    let from: std::net::Ipv4Addr = SOURCES_4[source].parse().unwrap();
                    bytes[12..16].copy_from_slice(&from.octets());
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
            },
        )
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
                // What the socket hands over is cut like the filter cuts it.
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
        // Sequences that change may begin anywhere in their range.
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

/// As much as a configuration may hold: the filter is there in some form, and hears every step.
#[test]
fn the_fullest_configuration_still_loads() {
    with_engine(|engine| {
        let mut port = 0;
        let mut doors: Vec<_> = (0..64_u8)
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
        assert_forms_hear(engine, "203.0.113.1", V6);
        for (n, door) in doors.iter_mut().flatten().enumerate() {
            let target = if n % 2 == 0 { format!("203.0.114.{n}") } else { format!("2001:db8:7::{n:x}") };
            door.target = Some(target.parse().unwrap());
        }
        engine.set_doors(&doors, &[]).unwrap();
        let own = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, n, n, n, n, n, n);
        engine.set_addresses(&(0..120).map(|n| OwnAddress::from(IpAddr::V6(own(n)))).collect::<Vec<_>>());
        assert_forms_hear(engine, "203.0.114.0", "2001:db8:7::1");
    });
}

/// Every form that fits hears a knock at the first steps of the first two doors, and the coarsest is short enough for any kernel.
fn assert_forms_hear(engine: &Engine<'_, RandomState>, v4: &str, v6: &str) {
    for (family, to) in [(AddressFamily::V4, v4), (AddressFamily::V6, v6)] {
        let to: IpAddr = to.parse().unwrap();
        let (_, door) =
            engine.doors().find(|(_, door)| door.target.is_none_or(|target| target == to)).unwrap();
        let syn = syn(to, door.sequence[0].port.get(), door.tcp_flags.value);
        assert!(engine.matters(&packet::parse(&syn).unwrap(), Via::Network));
        let mut lengths = Vec::new();
        for form in FORMS {
            let Some(program) = compile(engine, family, Via::Network, form) else { continue };
            assert!(Kernel::load(&program).passes(&syn), "{family:?} {form:?}");
            lengths.push(program.len());
        }
        assert!(lengths.len() >= 3 && lengths.is_sorted_by(|a, b| a > b), "{lengths:?}");
        assert!(lengths.last().is_some_and(|length| *length < 260), "{lengths:?}");
    }
}

/// A SYN to this address and port, or a segment with these flags.
fn syn(to: IpAddr, port: u16, flags: u8) -> Vec<u8> {
    let mut segment = vec![0; 20];
    segment[2..4].copy_from_slice(&port.to_be_bytes());
    (segment[12], segment[13]) = (0x50, flags);
    let mut packet = match to {
        IpAddr::V4(to) => {
            let mut header = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 198, 51, 100, 7];
            header.extend(to.octets());
            header
        }
        IpAddr::V6(to) => {
            let mut header = vec![0x60, 0, 0, 0, 0, 20, 6, 64];
            header.extend("2001:db8:9::1".parse::<Ipv6Addr>().unwrap().octets());
            header.extend(to.octets());
            header
        }
    };
    packet.extend(segment);
    packet
}

/// How many instructions a packet meets before it is dropped.
fn met(program: &[sock_filter], packet: &[u8]) -> usize {
    let (mut at, mut a, mut count) = (0, 0_u32, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        count += 1;
        at += 1;
        let jump = |holds| usize::from(if holds { jt } else { jf });
        match u32::from(code) {
            0x20 if k >= PACKET_TYPE => a = 0,
            0x20 => {
                let k = usize::try_from(k).unwrap();
                a = u32::from_be_bytes(packet[k..k + 4].try_into().unwrap());
            }
            0x15 => at += jump(a == k),
            0x35 => at += jump(a >= k),
            0x05 => at += usize::try_from(k).unwrap(),
            0x06 => return count,
            other => panic!("{other:#x} before the packet is dropped"),
        }
    }
}

/// A router's usual addresses, and 128 of them.
#[test]
fn a_forwarded_packet_meets_a_handful_of_instructions() {
    with_engine(|engine| {
        let forwarded = |to: &str| syn(to.parse().unwrap(), 443, flag::SYN);
        let v4 = exact(engine, AddressFamily::V4);
        assert!(met(&v4, &forwarded("192.0.2.1")) <= 8, "{}", met(&v4, &forwarded("192.0.2.1")));
        let v6 = exact(engine, AddressFamily::V6);
        for to in ["2001:db8::77", "2001:db8:99::2"] {
            assert!(met(&v6, &forwarded(to)) <= 8, "{to}: {}", met(&v6, &forwarded(to)));
        }
        let many: Vec<_> = (0..128_u8).map(|n| OwnAddress::from(IpAddr::from([203, 0, 113, n]))).collect();
        engine.set_addresses(&many);
        let v4 = exact(engine, AddressFamily::V4);
        for to in ["192.0.2.1", "203.0.113.200", "203.0.112.7"] {
            assert!(met(&v4, &forwarded(to)) <= 16, "{to}: {}", met(&v4, &forwarded(to)));
        }
    });
}

/// For one simple door the program's beginning and end, so that a change of them is seen.
#[test]
fn golden() {
    with_engine(|engine| {
        engine.set_doors(&[Some(door(&["7000"]))], &[]).unwrap();
        engine.set_listening(Listening::default());
        engine.set_addresses(&[OwnAddress { address: V4, prefix: 24, on: On::Listened }]);
        let program = exact(engine, AddressFamily::V4);
        let text: Vec<_> = program.iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect();
        let head = [
            (0x20, 0, 0, 0xffff_f004),  // ld packet type
            (0x15, 0, 78, 0),           // jeq for this host, else drop
            (0x20, 0, 0, 16),           // ld [16]            destination
            (0x15, 0, 76, 0xcb00_7101), // jeq 203.0.113.1, else drop
            (0x05, 0, 0, 0),            // ja to the headers
        ];
        assert_eq!(text[..head.len()], head, "{text:x?}");
        let (Scattered { factor }, exempt) = engine.ports().scattered().unwrap();
        // 7000 itself is among the near traps' range.
        assert_eq!(exempt, PortRange::new(7000, 7000).as_slice());
        let tail = [
            (0x60, 0, 0, 0),           // ld M[0]            flags
            (0x15, 10, 0, 0x100),      // jeq udp
            (0x60, 0, 0, 0),           // ld M[0]
            (0x54, 0, 0, 0x17),        // and fin|syn|rst|ack
            (0x15, 0, 6, 0x02),        // jeq syn
            (0x60, 0, 0, 1),           // ld M[1]            port
            (0x35, 0, 1, 6744),        // jge from the first trap
            (0x35, 0, 8, 7257),        // jge above the last: else a knock
            (0x60, 0, 0, 1),           // ld M[1]
            (0x24, 0, 0, factor),      // mul
            (0x35, 5, 0, 0xfe00_0000), // jge: a scattered trap
            (0x05, 0, 0, 17),          // ja drop: no flags are left
            (0x05, 0, 0, 0),           // ja: no UDP port is read whole
            (0x05, 0, 0, 15),          // ja drop: no UDP ports
            (0x00, 0, 0, 1500),        // whole: ld MAX_PACKET
            (0x05, 0, 0, 1),           // ja
            (0x00, 0, 0, 256),         // knock: ld MAX_HEADERS
            (0x02, 0, 0, 6),           // st M[6]
            (0x20, 0, 0, 12),          // ld [12]            source
            (0x35, 3, 0, 0xcb00_7101), // a tree over what it cannot be: 203.0.113.1,
            (0x35, 1, 0, 0x7f00_0000), // loopback,
            (0x35, 5, 7, 0x0100_0000), // 0.0.0.0/8,
            (0x35, 4, 6, 0x8000_0000),
            (0x35, 1, 0, 0xcb00_71ff), // broadcast,
            (0x35, 2, 4, 0xcb00_7102),
            (0x35, 0, 3, 0xcb00_7200),
            (0x35, 2, 0, 0xe000_0000), // multicast
            (0x60, 0, 0, 6),           // pass: ld M[6]
            (0x16, 0, 0, 0),           // ret A
            (0x06, 0, 0, 0),           // drop: ret 0
        ];
        assert_eq!(text[text.len() - tail.len()..], tail, "{text:x?}");
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
