//! The kernel filter beside the parser and the engine. The input chooses doors, addresses and packets.
//!
//! The exact filter passes the packets that the engine wants and no others. Each coarser form passes at least these. This
//! program interprets the filter as the kernel does, so that no packet needs a socket.
#![no_main]

mod coverage;

use std::cell::RefCell;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::net::IpAddr;
use std::num::NonZeroU16;

use ketuk::core::door::DoorKnock;
use ketuk::core::engine::{self, Engine, Listening};
use ketuk::core::network::AddressFamily;
use ketuk::core::packet::{self, MAX_HEADERS};
use ketuk::core::place::{On, OwnAddress, Via};
use ketuk::core::ports::PortRange;
use ketuk::core::sequence::{FlagMatch, Protocol, Sequence, Step};
use ketuk::linux::filter::{FORMS, Form, compile};
use libfuzzer_sys::fuzz_target;

type Keyed = BuildHasherDefault<DefaultHasher>;

/// Addresses that the router may have, that doors may be for, and that packets may be to or from.
const ADDRESSES: [&str; 12] = [
    "203.0.113.1",
    "203.0.113.9",
    "203.0.113.255",
    "10.0.0.1",
    "127.0.0.1",
    "198.51.100.7",
    "0.0.0.0",
    "2001:db8::1",
    "2001:db8::9",
    "2001:db8:1::1",
    "::1",
    "::ffff:198.51.100.7",
];

thread_local! {
    /// Its tables are made once.
    static ENGINE: RefCell<Engine<'static, Keyed>> =
        RefCell::new(Engine::new(Box::leak(Box::new(engine::EngineTables::new())), Keyed::default()));
}

/// The bytes of the input, one after the other, and 0 after its end.
struct Bytes<'d>(&'d [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn port(&mut self) -> u16 {
        u16::from_be_bytes([self.next(), self.next()])
    }

    fn address(&mut self) -> IpAddr {
        ADDRESSES[usize::from(self.next()) % ADDRESSES.len()].parse().expect("an address")
    }
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes(data);
    ENGINE.with_borrow_mut(|engine| {
        let steps = configure(engine, &mut bytes);
        let via = [Via::Network, Via::Loopback, Via::Any][usize::from(bytes.next()) % 3];
        let programs = [AddressFamily::V4, AddressFamily::V6]
            .map(|family| FORMS.map(|form| (form, compile(engine, family, via, form))));
        let (device, met) = match via {
            Via::Any if bytes.next() & 1 == 0 => (1, Via::Loopback),
            Via::Loopback => (1, via),
            _ => (2, Via::Network),
        };
        for _ in 0..8 {
            if bytes.0.is_empty() {
                break;
            }
            let packet = made_up(&mut bytes, &steps);
            let six = packet.first().is_some_and(|first| first >> 4 == 6);
            let captured = &packet[..packet.len().min(MAX_HEADERS)];
            let is_wanted = packet::parse(captured).is_ok_and(|probe| engine.matters(&probe, met));
            for (form, program) in &programs[usize::from(six)] {
                let Some(program) = program else { continue };
                let code: Vec<Op> = program.iter().map(|op| (op.code, op.jt, op.jf, op.k)).collect();
                let passes = run(&code, &packet, device) > 0;
                match form {
                    Form::Exact => assert_eq!(passes, is_wanted, "{packet:?} {via:?}"),
                    _ => assert!(passes || !is_wanted, "{form:?} loses {packet:?}"),
                }
            }
            for (form, program) in &programs[usize::from(!six)] {
                let Some(program) = program else { continue };
                let code: Vec<Op> = program.iter().map(|op| (op.code, op.jt, op.jf, op.k)).collect();
                assert_eq!(run(&code, &packet, device), 0, "{form:?} passes the other family's {packet:?}");
            }
        }
    });
});

/// Doors, addresses and ports for users; the steps.
fn configure(engine: &mut Engine<'static, Keyed>, bytes: &mut Bytes<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    let doors: Vec<_> = (0..bytes.next() % 5)
        .map(|_| {
            let kind = bytes.next();
            let mut sequence = Sequence::new();
            for n in 0..=kind % 4 {
                let protocol = if kind >> 4 & 1 << n == 0 { Protocol::Tcp } else { Protocol::Udp };
                let port = NonZeroU16::new(bytes.port()).unwrap_or(NonZeroU16::MIN);
                sequence.push(Step { protocol, port }).expect("few");
            }
            steps.extend(sequence.iter().copied());
            let tcp_flags =
                if kind & 4 == 0 { FlagMatch::SYN } else { FlagMatch::new(bytes.next(), bytes.next()) };
            let target = (kind & 8 != 0).then(|| bytes.address());
            Some(DoorKnock { sequence, tcp_flags, target, ..DoorKnock::default() })
        })
        .collect();
    // More ports than the tables hold leave the doors as they were.
    let _ = engine.set_doors(&doors, &[]);
    let listening = bytes.next();
    engine.set_listening(Listening {
        packets: NonZeroU16::new(if listening & 1 == 0 { 0 } else { 62_201 }),
        changing: if listening & 2 == 0 { None } else { PortRange::new(20_000, 29_999) },
    });
    let addresses: Vec<_> = (0..1 + bytes.next() % 4)
        .map(|_| {
            let address = bytes.address();
            let kind = bytes.next();
            let prefix = if address.is_ipv4() { kind % 33 } else { kind % 129 };
            let on = [On::Listened, On::Listened, On::Other, On::Loopback][usize::from(kind >> 6)];
            OwnAddress { address, prefix, on }
        })
        .collect();
    engine.set_addresses(&addresses);
    steps
}

/// A right packet with the changes that the input makes.
fn made_up(bytes: &mut Bytes<'_>, steps: &[Step]) -> Vec<u8> {
    let kind = bytes.next();
    let mut to = bytes.address();
    let mut from = bytes.address();
    if kind & 1 == 0 {
        to = ADDRESSES[0].parse().expect("an address");
    }
    if kind & 2 == 0 || from.is_ipv4() != to.is_ipv4() {
        from = if to.is_ipv4() { "198.51.100.9" } else { "2001:db8:9::1" }.parse().expect("an address");
    }
    let step = steps.get(usize::from(bytes.next()) % steps.len().max(1));
    let port = step.filter(|_| kind & 4 == 0).map_or_else(|| bytes.port(), |step| step.port.get());
    let is_udp = step.map_or(kind & 8 != 0, |step| (step.protocol == Protocol::Udp) != (kind & 8 != 0));
    let mut transport = vec![0; if is_udp { 8 } else { 20 }];
    transport[2..4].copy_from_slice(&port.to_be_bytes());
    if is_udp {
        transport[5] = 8;
    } else {
        transport[12] = 0x50;
        transport[13] = if kind & 16 == 0 { 2 } else { bytes.next() };
    }
    let protocol = if is_udp { 17 } else { 6 };
    let mut packet = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let options = 4 * usize::from(if kind & 32 == 0 { 0 } else { bytes.next() % 11 });
            let mut header = vec![0; 20 + options];
            header[0] = 0x40 | u8::try_from(header.len() / 4).expect("few");
            header[9] = protocol;
            header[12..16].copy_from_slice(&from.octets());
            header[16..20].copy_from_slice(&to.octets());
            let len = u16::try_from(header.len() + transport.len()).expect("short");
            header[2..4].copy_from_slice(&len.to_be_bytes());
            header
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut header = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
            header.extend(from.octets());
            header.extend(to.octets());
            // Where the number of the next header stands.
            let mut at = 6;
            for _ in 0..if kind & 32 == 0 { 0 } else { bytes.next() % 9 } {
                let extension = [0, 43, 44, 51, 60][usize::from(bytes.next()) % 5];
                let units = usize::from(bytes.next() % 4);
                let len = match extension {
                    51 => 4 * (units + 2),
                    44 => 8,
                    _ => 8 * (units + 1),
                };
                header[at] = extension;
                at = header.len();
                header.resize(at + len, 0);
                header[at] = protocol;
                if extension != 44 {
                    header[at + 1] = u8::try_from(units).expect("few");
                }
            }
            let len = u16::try_from(header.len() - 40 + transport.len()).expect("short");
            header[4..6].copy_from_slice(&len.to_be_bytes());
            header
        }
        _ => unreachable!("of one family"),
    };
    packet.extend(transport);
    if kind & 64 != 0 {
        let at = usize::from(bytes.next()) % packet.len();
        packet[at] = bytes.next();
    }
    if kind & 128 != 0 {
        packet.truncate(usize::from(bytes.next()));
    }
    packet
}

/// An instruction: its operation, the length of its jump if a test holds, the length if it does not, and its number.
type Op = (u16, u8, u8, u32);

/// The offset from which Linux counts values that are no bytes of the packet (`SKF_AD_OFF`).
const ANCILLARY: u32 = 0xffff_f000;

/// Runs a program of classic BPF on a packet for this host that came in over a device. Returns the number of bytes that pass.
///
/// A load after the packet's end drops the packet, as in the kernel. An instruction that the filter does not use panics.
fn run(program: &[Op], packet: &[u8], device: u32) -> u32 {
    let (mut a, mut x, mut memory, mut at) = (0_u32, 0_u32, [0_u32; 16], 0_usize);
    loop {
        let (code, jt, jf, k) = program[at];
        at += 1;
        let load = |offset: u32, len: usize| {
            let offset = usize::try_from(offset).expect("32 bits");
            let bytes = packet.get(offset..offset.checked_add(len)?)?;
            Some(bytes.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)))
        };
        // Word, half word, byte.
        let len = [4, 2, 1, 0][usize::from(code >> 3 & 3)];
        let operand = if code & 8 == 0 { k } else { x };
        match code & 7 {
            // BPF_LD: a number, a byte of the packet, there or behind X, memory.
            0 => {
                a = match code >> 5 {
                    0 => k,
                    1 if k == ANCILLARY + 4 => 0,
                    1 if k == ANCILLARY + 8 => device,
                    1 | 2 => {
                        let offset = if code >> 5 == 1 { Some(k) } else { x.checked_add(k) };
                        let Some(loaded) = offset.and_then(|offset| load(offset, len)) else { return 0 };
                        loaded
                    }
                    3 => memory[usize::try_from(k).expect("32 bits")],
                    _ => panic!("a load {code:#x}"),
                }
            }
            // BPF_LDX: the same for X, and the length of an IPv4 header.
            1 => {
                x = match code >> 5 {
                    0 => k,
                    3 => memory[usize::try_from(k).expect("32 bits")],
                    5 => {
                        let Some(byte) = load(k, 1) else { return 0 };
                        4 * (byte & 0xf)
                    }
                    _ => panic!("a load of X {code:#x}"),
                }
            }
            // BPF_ST, BPF_STX
            2 => memory[usize::try_from(k).expect("32 bits")] = a,
            3 => memory[usize::try_from(k).expect("32 bits")] = x,
            // BPF_ALU
            4 => {
                a = match code & 0xf0 {
                    0x00 => a.wrapping_add(operand),
                    0x10 => a.wrapping_sub(operand),
                    0x20 => a.wrapping_mul(operand),
                    0x50 => a & operand,
                    0x60 => a << operand,
                    0x70 => a >> operand,
                    _ => panic!("arithmetic {code:#x}"),
                }
            }
            // BPF_JMP
            5 => {
                let holds = match code & 0xf0 {
                    0x00 => {
                        at += usize::try_from(k).expect("32 bits");
                        continue;
                    }
                    0x10 => a == operand,
                    0x20 => a > operand,
                    0x30 => a >= operand,
                    0x40 => a & operand != 0,
                    _ => panic!("a jump {code:#x}"),
                };
                at += usize::from(if holds { jt } else { jf });
            }
            // BPF_RET: A or a number.
            6 => return if code & 0x18 == 0x10 { a } else { k },
            // BPF_MISC: TAX, TXA.
            _ => {
                if code & 0xf8 == 0 {
                    x = a;
                } else {
                    a = x;
                }
            }
        }
    }
}
