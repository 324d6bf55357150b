//! A test packet, in the bytes that it would have on the wire.

use std::net::IpAddr;

use crate::core::sequence::Protocol;

/// The source port: one of those that clients use.
const SOURCE_PORT: u16 = 40_000;

/// The first packet of a connection to a port, as it arrives.
#[derive(Clone, Debug)]
pub struct Arrival<'a> {
    /// The device that the packet comes in by.
    pub device: &'a str,
    /// The device's index, if the device exists.
    pub index: Option<u32>,
    /// The sender's address.
    pub source: IpAddr,
    /// The destination: an address of this host or of a host behind it.
    pub destination: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// The sets that count as holding `source`: those of the door that is open for it. The sets of other doors count as not
    /// holding it, whatever they really hold.
    pub sets: &'a [&'a str],
    /// The chains of iptables' table `filter` that accept the packet, because the door's rules are at their front.
    pub accepted_in: &'a [&'a str],
}

/// The packet while it passes the chains.
#[derive(Clone, Debug)]
pub struct Packet<'a> {
    pub(super) arrival: Arrival<'a>,
    /// The packet's bytes from the network header on.
    pub(super) network: Vec<u8>,
    /// The packet's bytes from the transport header on.
    pub(super) transport: Vec<u8>,
    /// Whether the destination is this host. Otherwise the packet is forwarded.
    pub(super) is_local: bool,
    /// Whether the destination was translated.
    pub(super) translated: bool,
    /// The packet's mark; `None` if it is unknown.
    pub(super) mark: Option<u32>,
}

impl<'a> Packet<'a> {
    /// The packet as it arrives. `is_local` says whether its destination is this host.
    pub fn new(arrival: &Arrival<'a>, is_local: bool) -> Self {
        let Arrival { protocol, port, source, destination, .. } = *arrival;
        let number = protocol.number();
        let mut transport = vec![0; 20];
        transport[..2].copy_from_slice(&SOURCE_PORT.to_be_bytes());
        transport[2..4].copy_from_slice(&port.to_be_bytes());
        match protocol {
            Protocol::Tcp => transport[12..14].copy_from_slice(&[5 << 4, 0x02]), // a SYN
            Protocol::Udp => transport.truncate(8),
        }
        let network = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, number, 0, 0];
                header.extend(source.octets());
                header.extend(destination.octets());
                header
            }
            (source, destination) => {
                let mut header = vec![0x60, 0, 0, 0, 0, 20, number, 64];
                for address in [source, destination] {
                    header.extend(match address {
                        IpAddr::V6(address) => address.octets(),
                        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                    });
                }
                header
            }
        };
        Self { arrival: arrival.clone(), network, transport, is_local, translated: false, mark: Some(0) }
    }

    /// Whether this is an IPv4 packet.
    pub(super) const fn is_ipv4(&self) -> bool {
        self.arrival.destination.is_ipv4()
    }

    /// The sender's address, and the destination's after translation.
    pub(super) fn ends(&self) -> (IpAddr, IpAddr) {
        let destination = if self.is_ipv4() {
            self.network.get(16..).and_then(<[u8]>::first_chunk::<4>).map(|bytes| IpAddr::from(*bytes))
        } else {
            self.network.get(24..).and_then(<[u8]>::first_chunk::<16>).map(|bytes| IpAddr::from(*bytes))
        };
        (self.arrival.source, destination.unwrap_or(self.arrival.destination))
    }

    /// The protocol's number.
    pub(super) const fn protocol(&self) -> u8 {
        self.arrival.protocol.number()
    }

    /// Replaces the destination's address, port or both.
    pub(super) fn translate(&mut self, address: Option<&[u8]>, port: Option<u16>) {
        if let Some(address) = address {
            let at = if self.is_ipv4() { 16 } else { 24 };
            if let Some(place) = self.network.get_mut(at..at + address.len()) {
                place.copy_from_slice(address);
                self.is_local = false;
            }
        }
        if let Some(port) = port {
            self.transport[2..4].copy_from_slice(&port.to_be_bytes());
        }
        self.translated = true;
    }

    /// `enum nft_meta_keys`.
    pub(super) fn meta(&self, key: u32) -> Option<Vec<u8>> {
        let arrival = &self.arrival;
        Some(match key {
            // NFT_META_PROTOCOL
            1 => if self.is_ipv4() { 0x0800_u16 } else { 0x86dd }.to_be_bytes().to_vec(),
            3 => self.mark?.to_ne_bytes().to_vec(),
            4 => arrival.index?.to_ne_bytes().to_vec(),
            6 => {
                let mut name = arrival.device.as_bytes().to_vec();
                name.resize(16, 0);
                name
            }
            15 => vec![if self.is_ipv4() { 2 } else { 10 }],
            16 => vec![arrival.protocol.number()],
            // NFT_META_PKTTYPE: for this host. NFT_META_SECPATH: without IPsec.
            18 | 25 => vec![0],
            _ => return None,
        })
    }

    /// `enum nft_ct_keys`, for a connection that begins with this packet.
    pub(super) fn connection(&self, key: u32) -> Option<Vec<u8>> {
        let arrival = &self.arrival;
        Some(match key {
            // NFT_CT_STATE: new
            0 => 8_u32.to_ne_bytes().to_vec(),
            1 => vec![0],
            // NFT_CT_STATUS: IPS_DST_NAT
            2 => u32::from(self.translated).wrapping_shl(5).to_ne_bytes().to_vec(),
            // NFT_CT_MARK
            3 => vec![0; 4],
            7 => vec![if self.is_ipv4() { 2 } else { 10 }],
            10 => vec![arrival.protocol.number()],
            // NFT_CT_PROTO_DST, of the original direction
            12 => arrival.port.to_be_bytes().to_vec(),
            _ => return None,
        })
    }

    /// Bytes of the network header (`NFT_PAYLOAD_NETWORK_HEADER`) or of the transport header.
    pub(super) fn payload(&self, base: u32, offset: u32, len: usize) -> Option<&[u8]> {
        let header = match base {
            1 => &self.network,
            2 => &self.transport,
            _ => return None,
        };
        let offset = usize::try_from(offset).ok()?;
        header.get(offset..offset.checked_add(len)?)
    }

    /// The answer of the routing table. The destination is local or not; the source is routed back by the right device.
    pub(super) fn fib(&self, result: u32, flags: u32) -> Option<u32> {
        const UNICAST: u32 = 1;
        const LOCAL: u32 = 2;
        let of_source = flags & 1 != 0;
        match result {
            // NFT_FIB_RESULT_ADDRTYPE
            3 if of_source || !self.is_local => Some(UNICAST),
            3 => Some(LOCAL),
            // NFT_FIB_RESULT_OIF: the device that the packet came in by, or only whether there is one
            1 if of_source => self.arrival.index.or(Some(1)),
            _ => None,
        }
    }
}
