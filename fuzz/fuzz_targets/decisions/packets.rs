//! The bytes of an input, and packets made of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::stage::{ROUTER, ROUTER_6};

/// The bytes of the input, one after the other; 0 behind its end.
pub(super) struct Bytes<'d>(pub(super) &'d [u8]);

impl Bytes<'_> {
    pub(super) fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(super) fn some(&mut self, most: usize) -> &[u8] {
        let len = usize::from(self.next()).min(most).min(self.0.len());
        let (some, rest) = self.0.split_at(len);
        self.0 = rest;
        some
    }
}

fn ipv4(source: Ipv4Addr, protocol: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend(u16::try_from(20 + body.len()).expect("short").to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(ROUTER);
    packet.extend(body);
    packet
}

fn ipv6(source: Ipv6Addr, protocol: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(body.len()).expect("short").to_be_bytes());
    packet.extend([protocol, 64]);
    packet.extend(source.octets());
    packet.extend(ROUTER_6);
    packet.extend(body);
    packet
}

fn ip(source: IpAddr, protocol: u8, body: &[u8]) -> Vec<u8> {
    match source {
        IpAddr::V4(source) => ipv4(source, protocol, body),
        IpAddr::V6(source) => ipv6(source, protocol, body),
    }
}

pub(super) fn syn(source: IpAddr, from_port: u16, port: u16, number: u32) -> Vec<u8> {
    let mut body = [0; 20];
    body[0..2].copy_from_slice(&from_port.to_be_bytes());
    body[2..4].copy_from_slice(&port.to_be_bytes());
    body[4..8].copy_from_slice(&number.to_be_bytes());
    body[12..14].copy_from_slice(&[0x50, 2]);
    ip(source, 6, &body)
}

pub(super) fn datagram(source: IpAddr, from_port: u16, port: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::from(from_port.to_be_bytes());
    body.extend(port.to_be_bytes());
    body.extend(u16::try_from(8 + payload.len()).expect("short").to_be_bytes());
    body.extend([0, 0]);
    body.extend(payload);
    ip(source, 17, &body)
}
