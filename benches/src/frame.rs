//! Ethernet frames with an IP packet inside, as they are on the wire.

use std::net::IpAddr;
use std::str::FromStr;

/// The hardware address of the router's side of the cable, which `run.py` sets.
const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SENDER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;

/// The longest frame of Ethernet.
pub const MAX_FRAME: usize = 1514;

/// The kind of packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP with SYN, which is a knock.
    Syn,
    /// TCP with ACK, which is no knock.
    Ack,
    /// UDP.
    Udp,
}

impl FromStr for Protocol {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "syn" => Ok(Self::Syn),
            "ack" => Ok(Self::Ack),
            "udp" => Ok(Self::Udp),
            _ => Err(()),
        }
    }
}

/// The fields of a packet.
pub struct Packet<'a> {
    /// The source, of the destination's family.
    pub source: IpAddr,
    pub source_port: u16,
    pub destination: IpAddr,
    pub port: u16,
    pub sequence_number: u32,
    pub protocol: Protocol,
    pub payload: &'a [u8],
}

impl Packet<'_> {
    /// Replaces the contents of `frame` by the frame.
    pub fn write(&self, frame: &mut Vec<u8>) {
        let is_udp = self.protocol == Protocol::Udp;
        let protocol = if is_udp { 17 } else { 6 };
        let segment = if is_udp { 8 } else { 20 } + self.payload.len();
        let len = |bytes: usize| u16::try_from(bytes).expect("a frame is at most 1514 bytes").to_be_bytes();

        frame.clear();
        frame.extend_from_slice(&ROUTER_MAC);
        frame.extend_from_slice(&SENDER_MAC);
        let (header, addresses) = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend_from_slice(&[0x08, 0x00, 0x45, 0]);
                frame.extend_from_slice(&len(IPV4 + segment));
                frame.extend_from_slice(&[0, 0, 0x40, 0, 64, protocol, 0, 0]);
                frame.extend_from_slice(&source.octets());
                frame.extend_from_slice(&destination.octets());
                let sum = fold(add(0, &frame[ETHERNET..]));
                frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
                (IPV4, 8)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend_from_slice(&len(segment));
                frame.extend_from_slice(&[protocol, 64]);
                frame.extend_from_slice(&source.octets());
                frame.extend_from_slice(&destination.octets());
                (IPV6, 32)
            }
            _ => panic!("a packet has one family"),
        };

        frame.extend_from_slice(&self.source_port.to_be_bytes());
        frame.extend_from_slice(&self.port.to_be_bytes());
        if is_udp {
            frame.extend_from_slice(&len(segment));
            frame.extend_from_slice(&[0, 0]);
        } else {
            frame.extend_from_slice(&self.sequence_number.to_be_bytes());
            frame.extend_from_slice(&[0, 0, 0, 0, 0x50]);
            frame.push(if self.protocol == Protocol::Syn { 0x02 } else { 0x10 });
            frame.extend_from_slice(&[0xfa, 0xf0, 0, 0, 0, 0]);
        }
        frame.extend_from_slice(self.payload);
        // The pseudo header: both addresses, the protocol, the segment's length.
        let start = ETHERNET + header;
        let pseudo = add(0, &frame[start - addresses..start]) + u64::from(protocol) + segment as u64;
        let sum = fold(add(pseudo, &frame[start..]));
        let at = start + if is_udp { 6 } else { 16 };
        frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Adds more bytes to an Internet checksum (RFC 1071).
fn add(sum: u64, bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2);
    sum + words
        .map(|word| u64::from(word[0]) << 8 | word.get(1).map_or(0, |low| u64::from(*low)))
        .sum::<u64>()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).expect("folded")
}
