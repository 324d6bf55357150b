//! Stage two of the packet's way: reads bytes into a [`Probe`], or gives the reason why they are none.
//!
//! The input is what a layer-3 packet socket delivers: it begins with the IP header, whatever the
//! link was. Only headers are looked at, and only within the first [`MAX_HEADERS`] bytes; the
//! kernel filter applies the same bounds, so that the two agree on every packet.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::sequence::Protocol;

/// How far into a packet the transport header may reach, in bytes. IPv4 with every option and a TCP
/// header needs 80; the rest is room for IPv6 extension headers.
pub const MAX_HEADERS: usize = 256;

/// Longest packet that is read whole, in bytes: Ethernet's MTU. Longer packets come in fragments.
pub const MAX_PACKET: usize = 1500;

/// Most IPv6 extension headers before the transport header. The kernel filter has no loops, so it unrolls the chain, which
/// must end. RFC 8200 (4.1) lets each of the five kinds that are read here come once, except destination options, which may
/// come twice.
pub const MAX_EXTENSIONS: usize = 6;

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;

/// One packet that could be a knock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Probe {
    /// The source address.
    pub source: IpAddr,
    /// The destination address.
    pub destination: IpAddr,
    /// The transport header.
    pub transport: Transport,
}

/// The transport header's part of a [`Probe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A TCP segment.
    Tcp {
        /// Source port.
        source_port: u16,
        /// Destination port.
        port: u16,
        /// Sequence number: with the source port it tells a retransmission from a second knock.
        sequence_number: u32,
        /// Flags, as in [`super::sequence::flag`].
        flags: u8,
    },
    /// A UDP datagram.
    Udp {
        /// Source port.
        source_port: u16,
        /// Destination port.
        port: u16,
        /// IPv4 identification and UDP checksum: the same in a frame that was doubled on the way, and in no other
        /// datagram for a while. 0 if there is no identification, as in IPv6 and in many datagrams that may not be
        /// fragmented (RFC 6864).
        frame: u32,
    },
}

impl Transport {
    /// The destination port.
    pub const fn port(&self) -> u16 {
        match *self {
            Self::Tcp { port, .. } | Self::Udp { port, .. } => port,
        }
    }

    /// The protocol.
    pub const fn protocol(&self) -> Protocol {
        match self {
            Self::Tcp { .. } => Protocol::Tcp,
            Self::Udp { .. } => Protocol::Udp,
        }
    }
}

/// Why a packet is no [`Probe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Malformed {
    /// Neither IPv4 nor IPv6.
    Version,
    /// It ends before its headers do, by its own length field or in fact.
    Truncated,
    /// A fragment. Only the kernel could reassemble it.
    Fragment,
    /// A header contradicts itself (RFC 791 IHL, RFC 9293 data offset, RFC 768 length).
    Header,
    /// More than [`MAX_EXTENSIONS`] extension headers, or headers beyond [`MAX_HEADERS`] bytes.
    Extensions,
    /// Neither TCP nor UDP.
    Protocol,
}

impl Malformed {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 6] =
        [Self::Version, Self::Truncated, Self::Fragment, Self::Header, Self::Extensions, Self::Protocol];

    /// The counter's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Version => "bad_version",
            Self::Truncated => "truncated",
            Self::Fragment => "fragment",
            Self::Header => "bad_header",
            Self::Extensions => "too_many_extensions",
            Self::Protocol => "other_protocol",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "neither IPv4 nor IPv6",
            Self::Truncated => "ends before its headers do",
            Self::Fragment => "is a fragment",
            Self::Header => "has a header that contradicts itself",
            Self::Extensions => "has too many extension headers",
            Self::Protocol => "is neither TCP nor UDP",
        })
    }
}

/// Reads a packet that begins with its IP header.
///
/// # Errors
/// The reason why the packet cannot be a knock.
pub fn parse(bytes: &[u8]) -> Result<Probe, Malformed> {
    let headers = headers(bytes)?;
    Ok(Probe { source: headers.source, destination: headers.destination, transport: transport(&headers)? })
}

/// The payload of a UDP datagram that [`parse`] has read; empty for TCP, and for a packet that was cut short.
pub fn udp_payload(bytes: &[u8]) -> &[u8] {
    headers(bytes).map_or(&[], |Headers { protocol, packet, at, .. }| {
        let datagram = packet.get(at..).filter(|_| protocol == 17).unwrap_or(&[]);
        let len = datagram.get(4..6).map_or(0, |_| usize::from(be16(datagram, 4)));
        datagram.get(UDP_HEADER..len).unwrap_or(&[])
    })
}

/// The content of the IP headers.
struct Headers<'b> {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    /// IPv4 identification; 0 if there is none.
    identification: u16,
    /// The packet without padding.
    packet: &'b [u8],
    /// Where in it the transport header begins.
    at: usize,
}

fn headers(bytes: &[u8]) -> Result<Headers<'_>, Malformed> {
    match bytes.first().map(|first| first >> 4) {
        Some(4) => parse_v4(bytes),
        Some(6) => parse_v6(bytes),
        Some(_) => Err(Malformed::Version),
        None => Err(Malformed::Truncated),
    }
}

/// IPv4, RFC 791.
fn parse_v4(bytes: &[u8]) -> Result<Headers<'_>, Malformed> {
    let header = bytes.get(..IPV4_HEADER).ok_or(Malformed::Truncated)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    if header_len < IPV4_HEADER {
        return Err(Malformed::Header);
    }
    // More Fragments, or any offset. Don't Fragment is ignored.
    if be16(header, 6) & 0x3fff != 0 {
        return Err(Malformed::Fragment);
    }
    Ok(Headers {
        source: IpAddr::V4(v4(header, 12)),
        destination: IpAddr::V4(v4(header, 16)),
        protocol: header[9],
        identification: be16(header, 4),
        packet: clip(bytes, usize::from(be16(header, 2))),
        at: header_len,
    })
}

/// IPv6 and its chain of extension headers, RFC 8200.
fn parse_v6(bytes: &[u8]) -> Result<Headers<'_>, Malformed> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION: u8 = 60;

    let header = bytes.get(..IPV6_HEADER).ok_or(Malformed::Truncated)?;
    let packet = clip(bytes, IPV6_HEADER + usize::from(be16(header, 4)));
    let mut next = header[6];
    let mut at = IPV6_HEADER;
    for _ in 0..MAX_EXTENSIONS {
        let len = match next {
            HOP_BY_HOP | ROUTING | DESTINATION => 8 * (1 + usize::from(byte(packet, at + 1)?)),
            // RFC 4302 counts in words of four bytes, less two.
            AUTHENTICATION => 4 * (2 + usize::from(byte(packet, at + 1)?)),
            FRAGMENT => {
                // An atomic fragment (RFC 6946) is a whole packet; the two reserved bits are ignored.
                if (u16::from(byte(packet, at + 2)?) << 8 | u16::from(byte(packet, at + 3)?)) & 0xfff9 != 0 {
                    return Err(Malformed::Fragment);
                }
                8
            }
            _ => break,
        };
        next = byte(packet, at)?;
        at += len;
    }
    match next {
        HOP_BY_HOP | ROUTING | DESTINATION | AUTHENTICATION | FRAGMENT => Err(Malformed::Extensions),
        protocol => Ok(Headers {
            source: IpAddr::V6(v6(header, 8)),
            destination: IpAddr::V6(v6(header, 24)),
            protocol,
            identification: 0,
            packet,
            at,
        }),
    }
}

/// TCP (RFC 9293) or UDP (RFC 768), behind the IP headers.
fn transport(headers: &Headers<'_>) -> Result<Transport, Malformed> {
    let Headers { protocol, identification, packet, at, .. } = *headers;
    let need = match protocol {
        6 => TCP_HEADER,
        17 => UDP_HEADER,
        _ => return Err(Malformed::Protocol),
    };
    if at + need > MAX_HEADERS {
        return Err(Malformed::Extensions);
    }
    let header = packet.get(at..at + need).ok_or(Malformed::Truncated)?;
    let (source_port, port) = (be16(header, 0), be16(header, 2));
    if protocol == 6 {
        if header[12] >> 4 < 5 {
            return Err(Malformed::Header);
        }
        Ok(Transport::Tcp {
            source_port,
            port,
            sequence_number: u32::from(be16(header, 4)) << 16 | u32::from(be16(header, 6)),
            flags: header[13],
        })
    } else {
        if usize::from(be16(header, 4)) < UDP_HEADER {
            return Err(Malformed::Header);
        }
        let checksum = be16(header, 6);
        let frame =
            if identification == 0 { 0 } else { u32::from(identification) << 16 | u32::from(checksum) };
        Ok(Transport::Udp { source_port, port, frame })
    }
}

/// The packet without the padding of short Ethernet frames.
fn clip(bytes: &[u8], len: usize) -> &[u8] {
    bytes.get(..len).unwrap_or(bytes)
}

fn byte(bytes: &[u8], at: usize) -> Result<u8, Malformed> {
    bytes.get(at).copied().ok_or(Malformed::Truncated)
}

/// Big-endian 16 bits; the caller has checked the length.
fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn v4(bytes: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3])
}

fn v6(bytes: &[u8], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&bytes[at..at + 16]);
    Ipv6Addr::from(octets)
}

#[cfg(test)]
mod tests;
