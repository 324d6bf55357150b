//! Random numbers that are the same for the same seed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `SplitMix64`. It needs one addition and three multiplications for a number, and every seed is good.
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        u32::try_from(self.next() >> 32).expect("32 bits are left")
    }

    /// A number less than `bound`.
    pub fn below(&mut self, bound: u16) -> u16 {
        u16::try_from((u64::from(self.bits()) * u64::from(bound)) >> 32).expect("less than bound")
    }

    /// An address of the same family that a packet may come from. IPv4 addresses are not in networks 0, 10 (the
    /// benchmark's own) and 127, and not multicast. IPv6 addresses are global unicast.
    pub fn source(&mut self, like: IpAddr) -> IpAddr {
        if like.is_ipv6() {
            let bits = u128::from(self.next()) << 64 | u128::from(self.next());
            return IpAddr::V6(Ipv6Addr::from_bits(bits >> 3 | 1 << 125));
        }
        loop {
            let address = Ipv4Addr::from_bits(self.bits());
            if !matches!(address.octets()[0], 0 | 10 | 127 | 224..) {
                return IpAddr::V4(address);
            }
        }
    }

    /// Puts `items` in random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            let other = (u64::from(self.bits()) * (end as u64 + 1)) >> 32;
            items.swap(end, usize::try_from(other).expect("less than the length"));
        }
    }
}
