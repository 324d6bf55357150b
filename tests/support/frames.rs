//! Frames that no ordinary program sends, put on a wire by tcpreplay.

use std::net::{IpAddr, Ipv4Addr};

use super::Scratch;
use super::host::Host;

/// An IPv4 packet with a TCP header and no options.
pub fn tcp(from: &str, to: &str, ports: (u16, u16), sequence_number: u32, flags: u8) -> Vec<u8> {
    let mut segment = vec![0; 20];
    segment[0..2].copy_from_slice(&ports.0.to_be_bytes());
    segment[2..4].copy_from_slice(&ports.1.to_be_bytes());
    segment[4..8].copy_from_slice(&sequence_number.to_be_bytes());
    segment[12] = 5 << 4;
    segment[13] = flags;
    segment[14..16].copy_from_slice(&1024_u16.to_be_bytes());
    ip(from, to, 6, &segment)
}

/// A packet of either family with these contents.
pub fn ip(from: &str, to: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match (from.parse().expect("an address"), to.parse().expect("an address")) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ipv4(from, to, protocol, payload),
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut packet = vec![0x60, 0, 0, 0];
            packet.extend(u16::try_from(payload.len()).expect("short").to_be_bytes());
            packet.extend([protocol, 64]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            packet.extend(payload);
            packet
        }
        _ => panic!("{from} and {to} are not of one family"),
    }
}

fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend(u16::try_from(20 + payload.len()).expect("short").to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

/// An Ethernet frame around a packet, with a VLAN tag (IEEE 802.1Q) if one is given.
pub fn ethernet(destination: [u8; 6], vlan: Option<u16>, packet: &[u8]) -> Vec<u8> {
    let mut frame = destination.to_vec();
    frame.extend([2, 0, 0, 0, 0, 0x99]);
    if let Some(vlan) = vlan {
        frame.extend([0x81, 0]);
        frame.extend(vlan.to_be_bytes());
    }
    frame.extend(if packet.first().is_some_and(|first| first >> 4 == 6) { [0x86, 0xdd] } else { [8, 0] });
    frame.extend(packet);
    frame
}

/// Puts frames on the wire of a device, in order.
pub fn send(host: &Host, device: &str, scratch: &Scratch, frames: &[Vec<u8>]) {
    let file = scratch.path("frames.pcap");
    std::fs::write(&file, capture(frames)).expect("a file");
    host.stdout("tcpreplay", &["--topspeed", "--quiet", "-i", device, file.to_str().expect("a plain path")]);
}

/// Frames as a pcap file (draft-ietf-opsawg-pcap, link type Ethernet).
pub fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let mut file = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65535, 1]);
    for (n, frame) in (0..).zip(frames) {
        let len = u32::try_from(frame.len()).expect("short");
        file.extend(words(&[n, 0, len, len]));
        file.extend(frame);
    }
    file
}
