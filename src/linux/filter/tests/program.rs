//! The program itself: its length, its first and last instructions, and the number of them that a forwarded packet
//! meets.

use std::net::Ipv6Addr;

use super::*;

/// With the largest possible configuration some form of the filter still loads, and passes every step.
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
                Some(DoorKnock { tcp_flags: FlagMatch::new(0xff, n), ..door(&steps) })
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

/// Every form that fits passes a knock at the first steps of the first two doors. The coarsest is short enough for any
/// kernel.
fn assert_forms_hear(engine: &Engine<'_, RandomState>, v4: &str, v6: &str) {
    for (family, to) in [(AddressFamily::V4, v4), (AddressFamily::V6, v6)] {
        let to: IpAddr = to.parse().unwrap();
        let (_, door) =
            engine.doors().find(|(_, door)| door.target.is_none_or(|target| target == to)).unwrap();
        let syn = syn(to, door.sequence[0].port.get(), door.tcp_flags.value());
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

/// The number of instructions that run before a packet is dropped.
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

/// Tested with a router's usual addresses, and with 128.
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

/// The beginning and end of the program for one simple door, so that a change of them is seen.
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
