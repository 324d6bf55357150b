//! The host's place in its networks: decides which packets the kernel would take from the device that they came in over.
//!
//! Packets are refused here before they are judged: those whose source cannot be true at the device where they came in
//! (RFC 1812, 5.3.7: martian addresses), and those whose destination cannot be reached over that device.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address_ranges::{AddressRange, AddressRanges};
use super::network::Network;

/// Most addresses of this host. Knocks at further addresses do not count.
pub const MAX_ADDRESSES: usize = 128;

/// The kind of device that a packet came in over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// A device that leads to other hosts.
    Network,
    /// The loopback device: every packet on it is this host's own.
    Loopback,
    /// An unknown device. A packet is refused only if neither of the other kinds could have brought it.
    Any,
}

/// The kind of device that has an address of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The loopback device.
    Loopback,
    /// A device that is listened on.
    Listened,
    /// Another device.
    Other,
}

/// An address of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnAddress {
    /// The address.
    pub address: IpAddr,
    /// How many bits the addresses of its network share.
    pub prefix: u8,
    /// The kind of device that has it.
    pub on: On,
}

/// The addresses of this host, and the sets that follow from them.
#[derive(Debug)]
pub struct Place {
    /// All, sorted.
    own: heapless::Vec<IpAddr, MAX_ADDRESSES>,
    /// The addresses that other hosts reach over a device that is listened on, sorted.
    reached: heapless::Vec<IpAddr, MAX_ADDRESSES>,
    /// Sources that no packet can have that comes in over a device that is listened on.
    martians_4: AddressRanges,
    martians_6: AddressRanges,
}

impl Place {
    /// A host without addresses.
    pub const fn new() -> Self {
        Self {
            own: heapless::Vec::new(),
            reached: heapless::Vec::new(),
            martians_4: AddressRanges::new(),
            martians_6: AddressRanges::new(),
        }
    }

    /// Sets the addresses of this host. An address that is a door's target is reached over every device. Returns the number
    /// of addresses and networks that there was no room for.
    pub fn set(&mut self, addresses: &[OwnAddress], is_target: impl Fn(IpAddr) -> bool) -> usize {
        self.own.clear();
        self.reached.clear();
        let mut left_out = 0;
        for own in addresses {
            left_out += usize::from(!insert(&mut self.own, own.address));
            if own.is_reached() || is_target(own.address) {
                // `own` has as much room, and has counted it.
                insert(&mut self.reached, own.address);
            }
        }
        left_out + self.set_martians(addresses)
    }

    /// Returns the number of addresses and networks that there was no room for.
    fn set_martians(&mut self, addresses: &[OwnAddress]) -> usize {
        self.martians_4.clear();
        self.martians_6.clear();
        // First, so that there is room for them.
        let mut left_out = self.add_impossible();
        // The networks that are connected, from the widest to the narrowest: the narrowest one decides, as in the
        // kernel's routes. Of two equal networks, the one at a device that is listened on decides.
        for prefix in 0..=128 {
            for on in [On::Other, On::Listened] {
                for own in addresses.iter().filter(|own| own.prefix == prefix && own.on == on) {
                    let Some(network) = Network::of(own.address, own.prefix) else { continue };
                    let martians = self.martians_mut(own.address);
                    let range = range_of(network);
                    let changed = if on == On::Other { martians.add(range) } else { martians.remove(range) };
                    left_out += usize::from(changed.is_err());
                }
            }
        }
        // A connected network that contains impossible sources has removed them above.
        left_out += self.add_impossible();
        for own in addresses {
            let martians = self.martians_mut(own.address);
            let broadcast = Network::of(own.address, own.prefix)
                .filter(|network| own.address.is_ipv4() && network.prefix() < 31)
                .map(|network| range_of(network).1);
            for address in [Some(bits(own.address)), broadcast].into_iter().flatten() {
                left_out += usize::from(martians.add((address, address)).is_err());
            }
        }
        left_out
    }

    /// Adds the sources that no packet from another host has. Returns the number of ranges that there was no room for.
    fn add_impossible(&mut self) -> usize {
        let of_v4 = NEVER_4.iter().filter(|range| self.martians_4.add(**range).is_err()).count();
        of_v4 + NEVER_6.iter().filter(|range| self.martians_6.add(**range).is_err()).count()
    }

    /// Every address of this host, sorted.
    pub fn own(&self) -> &[IpAddr] {
        &self.own
    }

    /// Whether this is an address of this host.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.own.binary_search(&address).is_ok()
    }

    /// The addresses of this host that packets over such a device can reach; all addresses for [`Via::Any`].
    pub fn reached(&self, via: Via) -> &[IpAddr] {
        if via == Via::Network { &self.reached } else { &self.own }
    }

    /// The sources that a packet cannot have if it came in over a device that leads to other hosts.
    pub fn martians(&self, v4: bool) -> &AddressRanges {
        if v4 { &self.martians_4 } else { &self.martians_6 }
    }

    /// Whether the kernel would take such a packet from this device. A destination that is no address of this host is
    /// not checked, because a door may have it as its `target`.
    pub fn is_plausible(&self, source: IpAddr, destination: IpAddr, via: Via) -> bool {
        let by_network = || {
            (!self.is_own(destination) || self.reached.binary_search(&destination).is_ok())
                && !self.martians(source.is_ipv4()).contains(bits(source))
        };
        let by_loopback = || !never_on_loopback(source.is_ipv4()).iter().any(|range| holds(*range, source));
        match via {
            Via::Network => by_network(),
            Via::Loopback => by_loopback(),
            Via::Any => by_network() || by_loopback(),
        }
    }

    fn martians_mut(&mut self, address: IpAddr) -> &mut AddressRanges {
        if address.is_ipv4() { &mut self.martians_4 } else { &mut self.martians_6 }
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl OwnAddress {
    /// Whether other hosts reach it over a device that is listened on. They do if it is an address of that device, if `lo`
    /// has it and it is no loopback address, or if it is public: a public address may be routed to this host over any device.
    fn is_reached(&self) -> bool {
        match self.on {
            On::Listened | On::Loopback => !self.address.is_loopback(),
            On::Other => is_public(self.address),
        }
    }
}

/// Whether an address means the same host everywhere.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64; // RFC 6598
            !(v4.is_private() || v4.is_link_local() || v4.is_loopback() || v4.is_unspecified() || shared)
        }
        IpAddr::V6(v6) => v6.octets()[0] & 0xe0 == 0x20, // 2000::/3, RFC 4291
    }
}

/// Sources that no IPv4 packet from another host has: 0.0.0.0/8, 127.0.0.0/8, and from 224.0.0.0 on multicast,
/// reserved and broadcast addresses.
const NEVER_4: [AddressRange; 3] = [(0, 0x00ff_ffff), (0x7f00_0000, 0x7fff_ffff), (0xe000_0000, 0xffff_ffff)];
/// The same on the loopback device, where loopback addresses are right.
const NEVER_ON_LOOPBACK_4: [AddressRange; 2] = [NEVER_4[0], NEVER_4[2]];
/// Sources that no IPv6 packet from another host has: `::`, `::1`, IPv4-mapped and multicast addresses.
const NEVER_6: [AddressRange; 3] = [(0, 1), (0xffff_0000_0000, 0xffff_ffff_ffff), (0xff << 120, u128::MAX)];
/// The same on the loopback device.
const NEVER_ON_LOOPBACK_6: [AddressRange; 3] = [(0, 0), NEVER_6[1], NEVER_6[2]];

/// The sources of a family that no packet has, even on the loopback device.
pub const fn never_on_loopback(v4: bool) -> &'static [AddressRange] {
    if v4 { &NEVER_ON_LOOPBACK_4 } else { &NEVER_ON_LOOPBACK_6 }
}

/// The sources of a family that no packet from another host has, wherever this host is.
pub const fn never(v4: bool) -> &'static [AddressRange] {
    if v4 { &NEVER_4 } else { &NEVER_6 }
}

/// An address as a number.
pub const fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits() as u128,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn holds((first, last): AddressRange, address: IpAddr) -> bool {
    (first..=last).contains(&bits(address))
}

/// The addresses of a network.
fn range_of(network: Network) -> AddressRange {
    let first = bits(network.address());
    let host_bits = match network.address() {
        IpAddr::V4(_) => 32 - u32::from(network.prefix()),
        IpAddr::V6(_) => 128 - u32::from(network.prefix()),
    };
    (first, first | 1_u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1))
}

/// Puts `address` in its place; `false` if there is no room.
fn insert(addresses: &mut heapless::Vec<IpAddr, MAX_ADDRESSES>, address: IpAddr) -> bool {
    match addresses.binary_search(&address) {
        Ok(_) => true,
        Err(at) => addresses.insert(at, address).is_ok(),
    }
}

/// An address of which nothing else is known, as in tests and in `explain`.
impl From<IpAddr> for OwnAddress {
    fn from(address: IpAddr) -> Self {
        let on = if address.is_loopback() { On::Loopback } else { On::Listened };
        let prefix = if address.is_ipv4() { Ipv4Addr::BITS } else { Ipv6Addr::BITS };
        Self { address, prefix: u8::try_from(prefix).expect("at most 128"), on }
    }
}

#[cfg(test)]
mod tests;
