//! The host's place in its networks: which packets its kernel would take where they came in.
//!
//! What is refused here is refused before anything is judged: a source that cannot be true where the packet came in
//! (RFC 1812, 5.3.7: martian addresses), and a destination that nobody reaches that way.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address_ranges::{AddressRange, AddressRanges};
use super::network::Network;

/// Most addresses of this host that count; more are not listened at.
pub const MAX_ADDRESSES: usize = 128;

/// Over what a packet came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// A device that leads to other hosts.
    Network,
    /// The loopback device: every packet on it is this host's own.
    Loopback,
    /// One of all devices; the kernel filter has looked at which.
    Any,
}

/// On which device an address of this host is.
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
    /// Where it is.
    pub on: On,
}

/// The addresses of this host, and what follows from them.
#[derive(Debug)]
pub struct Place {
    /// All, sorted.
    own: heapless::Vec<IpAddr, MAX_ADDRESSES>,
    /// Those that are reached over a device that leads to other hosts, sorted.
    reached: heapless::Vec<IpAddr, MAX_ADDRESSES>,
    /// Sources that cannot be true there.
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

    /// Sets the addresses of this host; how many there was no room for. Those that are a door's target are reached
    /// wherever they are.
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

    /// How many addresses and networks there was no room for.
    fn set_martians(&mut self, addresses: &[OwnAddress]) -> usize {
        let mut left_out = 0;
        for (martians, never) in [(&mut self.martians_4, &NEVER_4[..]), (&mut self.martians_6, &NEVER_6[..])]
        {
            martians.clear();
            left_out += never.iter().filter(|range| martians.add(**range).is_err()).count();
        }
        // The networks that are connected, from the widest to the narrowest: the narrowest one decides, as in the
        // kernel's routes. Where two are the same, the one at a device that is listened on does.
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

    /// Every address of this host, sorted.
    pub fn own(&self) -> &[IpAddr] {
        &self.own
    }

    /// Whether this is an address of this host.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.own.binary_search(&address).is_ok()
    }

    /// The addresses of this host that packets reach which came in `via`; with [`Via::Any`] all.
    pub fn reached(&self, via: Via) -> &[IpAddr] {
        if via == Via::Network { &self.reached } else { &self.own }
    }

    /// The sources of a family that cannot be true of a packet that came in over a device which leads to other hosts.
    pub fn martians(&self, v4: bool) -> &AddressRanges {
        if v4 { &self.martians_4 } else { &self.martians_6 }
    }

    /// Whether the kernel would take such a packet where it came in. A destination that is no address of this host is
    /// not looked at: a door may have it as its target.
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
    /// Whether other hosts reach it over a device that is listened on: it is that device's, or `lo` has it without its
    /// being a loopback address, or it is a public one, which may be routed to this host whatever device it is on.
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

/// The sources of a family that no packet has, not on the loopback device either.
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

/// An address as a value that a test or `explain` knows no more of.
impl From<IpAddr> for OwnAddress {
    fn from(address: IpAddr) -> Self {
        let on = if address.is_loopback() { On::Loopback } else { On::Listened };
        let prefix = if address.is_ipv4() { Ipv4Addr::BITS } else { Ipv6Addr::BITS };
        Self { address, prefix: u8::try_from(prefix).expect("at most 128"), on }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(address: &str, on: On) -> OwnAddress {
        let (address, prefix) = address.split_once('/').unwrap();
        OwnAddress { address: address.parse().unwrap(), prefix: prefix.parse().unwrap(), on }
    }

    /// A router: WAN listened on, a LAN, a tunnel.
    fn router() -> Place {
        let mut place = Place::new();
        let addresses = [
            own("127.0.0.1/8", On::Loopback),
            own("::1/128", On::Loopback),
            own("203.0.113.1/24", On::Listened),
            own("2001:db8::1/64", On::Listened),
            own("fe80::1/64", On::Listened),
            own("192.168.1.1/24", On::Other),
            own("2001:db8:1::1/64", On::Other),
            own("fd00::1/64", On::Other),
            own("fe80::2/64", On::Other),
            own("198.51.100.1/32", On::Loopback),
        ];
        assert_eq!(place.set(&addresses, |_| false), 0);
        place
    }

    fn takes(place: &Place, source: &str, destination: &str, via: Via) -> bool {
        place.is_plausible(source.parse().unwrap(), destination.parse().unwrap(), via)
    }

    #[test]
    fn sources_that_cannot_be_true_are_refused() {
        let place = router();
        for source in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.9.9.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "203.0.113.1",
            "203.0.113.255",
            "192.168.1.1",
            "192.168.1.77",
            "192.168.1.255",
            "198.51.100.1",
        ] {
            assert!(!takes(&place, source, "203.0.113.1", Via::Network), "{source}");
        }
        for source in [
            "::",
            "::1",
            "ff02::1",
            "::ffff:192.0.2.1",
            "2001:db8::1",
            "2001:db8:1::77",
            "fd00::5",
            "fe80::2",
        ] {
            assert!(!takes(&place, source, "2001:db8::1", Via::Network), "{source}");
        }
        for (source, to) in [
            ("192.0.2.1", "203.0.113.1"),
            ("203.0.113.2", "203.0.113.1"),
            ("192.168.2.1", "203.0.113.1"),
            ("223.255.255.255", "203.0.113.1"),
            ("2001:db8::2", "2001:db8::1"),
            ("fe80::7", "fe80::1"),
            ("2001:db8:1:1::", "2001:db8::1"),
        ] {
            assert!(takes(&place, source, to, Via::Network), "{source}");
        }
    }

    #[test]
    fn on_the_loopback_device_the_hosts_own_addresses_are_right() {
        let place = router();
        for source in ["127.0.0.1", "203.0.113.1", "192.168.1.1"] {
            assert!(takes(&place, source, "127.0.0.1", Via::Loopback), "{source}");
            assert!(takes(&place, source, "127.0.0.1", Via::Any), "{source}");
        }
        assert!(takes(&place, "::1", "::1", Via::Loopback));
        for source in ["0.0.0.0", "224.0.0.1", "255.255.255.255"] {
            assert!(!takes(&place, source, "127.0.0.1", Via::Loopback), "{source}");
        }
        assert!(!takes(&place, "::ffff:127.0.0.1", "::1", Via::Loopback));
    }

    #[test]
    fn destinations_that_other_hosts_do_not_reach_that_way_are_refused() {
        let place = router();
        for (to, reached) in [
            ("127.0.0.1", false),
            ("192.168.1.1", false),
            ("203.0.113.1", true),
            ("198.51.100.1", true),
            // No own address: some door's target.
            ("203.0.113.9", true),
        ] {
            assert_eq!(takes(&place, "192.0.2.1", to, Via::Network), reached, "{to}");
        }
        let mut place = place;
        let lan = [own("192.168.1.1/24", On::Other)];
        place.set(&lan, |address| address == lan[0].address);
        assert!(takes(&place, "192.0.2.1", "192.168.1.1", Via::Network), "a door's target");
        let place = router();
        for (to, reached) in [("::1", false), ("fd00::1", false), ("fe80::2", false), ("2001:db8:1::1", true)]
        {
            assert_eq!(takes(&place, "2001:db8:9::1", to, Via::Network), reached, "{to}");
        }
    }

    #[test]
    fn the_narrowest_network_decides() {
        let mut place = Place::new();
        let networks =
            [own("10.0.0.1/8", On::Other), own("10.1.2.3/24", On::Listened), own("10.1.2.129/26", On::Other)];
        place.set(&networks, |_| false);
        for (source, right) in
            [("10.9.9.9", false), ("10.1.2.77", true), ("10.1.2.130", false), ("10.1.2.200", true)]
        {
            assert_eq!(takes(&place, source, "10.1.2.3", Via::Network), right, "{source}");
        }
        // The same network at both: somebody may be there.
        place.set(&[own("10.1.2.3/24", On::Listened), own("10.1.2.4/24", On::Other)], |_| false);
        assert!(takes(&place, "10.1.2.77", "10.1.2.3", Via::Network));
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let mut place = Place::new();
        let many: Vec<_> = (0..200_u8).map(|n| OwnAddress::from(IpAddr::from([203, 0, 113, n]))).collect();
        assert_eq!(place.set(&many, |_| false), 200 - MAX_ADDRESSES);
    }
}
