//! A network: all addresses with the same first bits.

pub use ketuk_protocol::AddressFamily;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its first address.
    address: IpAddr,
    /// Length of its prefix, in bits.
    prefix: u8,
}

impl Network {
    /// The network with a prefix of `bits` bits that contains `address`; `None` if such addresses have fewer bits.
    pub const fn of(address: IpAddr, prefix: u8) -> Option<Self> {
        let (address, bits) = match address {
            IpAddr::V4(address) => {
                let mask = if prefix == 0 { 0 } else { u32::MAX << (32 - min(prefix, 32)) };
                (IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask)), 32)
            }
            IpAddr::V6(address) => {
                let mask = if prefix == 0 { 0 } else { u128::MAX << (128 - min(prefix, 128)) };
                (IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask)), 128)
            }
        };
        if prefix > bits { None } else { Some(Self { address, prefix }) }
    }

    /// Its first address.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits its addresses share.
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether `address` is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && Self::of(address, self.prefix) == Some(*self)
    }
}

const fn min(a: u8, b: u8) -> u8 {
    if a < b { a } else { b }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str, prefix: u8) -> String {
        Network::of(address.parse().unwrap(), prefix).map_or("none".to_owned(), |network| network.to_string())
    }

    #[test]
    fn the_network_of_an_address() {
        assert_eq!(network("198.51.100.77", 24), "198.51.100.0/24");
        assert_eq!(network("198.51.100.77", 32), "198.51.100.77/32");
        assert_eq!(network("198.51.100.77", 0), "0.0.0.0/0");
        assert_eq!(network("198.51.100.77", 33), "none");
        assert_eq!(network("2001:db8:1:2:3::4", 64), "2001:db8:1:2::/64");
        assert_eq!(network("2001:db8::1", 128), "2001:db8::1/128");
        assert_eq!(network("2001:db8::1", 0), "::/0");
        assert_eq!(network("2001:db8::1", 129), "none");
        assert_eq!(network("2001:db8::1", 255), "none");
        assert_eq!(network("198.51.100.77", 255), "none");
    }

    #[test]
    fn a_network_contains_its_own_family_only() {
        let all = Network::of("0.0.0.0".parse().unwrap(), 0).unwrap();
        assert!(all.contains("198.51.100.1".parse().unwrap()) && !all.contains("::1".parse().unwrap()));
        let net = Network::of("198.51.100.0".parse().unwrap(), 24).unwrap();
        assert!(net.contains("198.51.100.255".parse().unwrap()));
        assert!(!net.contains("198.51.101.0".parse().unwrap()));
    }
}
