//! A packet that is followed through the rules, in the bytes that it would have.

use std::net::IpAddr;

use crate::core::sequence::Protocol;
use crate::firewall::own::expression::protocol_number;

/// The port that it comes from: one of those that clients use.
const SOURCE_PORT: u16 = 40_000;

/// A first packet to a port, as it arrives.
#[derive(Clone, Debug)]
pub struct Arrival<'a> {
    /// The device by which it comes in.
    pub device: &'a str,
    /// The device's index, if it is there.
    pub index: Option<u32>,
    /// Who sends it.
    pub source: IpAddr,
    /// This host's address, or that of a host behind it.
    pub destination: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// The sets that count as holding `source`: those of a door that is open for him. No other set of a door's holds
    /// it, whatever they hold now.
    pub sets: &'a [&'a str],
}

/// A packet on its way.
#[derive(Clone, Debug)]
pub struct Packet<'a> {
    pub(super) arrival: Arrival<'a>,
    /// From the network header on.
    pub(super) network: Vec<u8>,
    /// From the transport header on.
    pub(super) transport: Vec<u8>,
    /// Whether its destination is this host's: otherwise it is forwarded.
    pub(super) is_local: bool,
    /// Whether its destination was translated.
    pub(super) translated: bool,
    /// Its mark; none: not known.
    pub(super) mark: Option<u32>,
}

impl<'a> Packet<'a> {
    /// The packet as it arrives. `is_local` says whether its destination is this host's.
    pub fn new(arrival: &Arrival<'a>, is_local: bool) -> Self {
        let Arrival { protocol, port, source, destination, .. } = *arrival;
        let number = protocol_number(protocol);
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

    /// Whether it is an IPv4 packet.
    pub(super) const fn is_ipv4(&self) -> bool {
        self.arrival.destination.is_ipv4()
    }

    /// Its destination becomes another: an address, a port, or both.
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
}
