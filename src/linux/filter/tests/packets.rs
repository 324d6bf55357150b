//! Packets that are nearly knocks.

use std::net::{IpAddr, Ipv6Addr};

use proptest::prelude::*;

use super::{TARGET, V4, V6};
use crate::core::sequence::flag;

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
pub(super) fn nearly_right() -> impl Strategy<Value = Vec<u8>> {
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

/// A TCP segment with these flags to this address and port.
pub(super) fn syn(to: IpAddr, port: u16, flags: u8) -> Vec<u8> {
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
