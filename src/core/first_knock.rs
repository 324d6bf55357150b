//! The memory of a source that has knocked once. A flood makes thousands of these entries, so they are small.

use core::hash::BuildHasher;
use core::net::IpAddr;

use super::attempt::{Mark, ShortDeadline, TouchedTrap, key};
use super::door::DoorId;
use super::fifo_table::Entry;

/// A source at a door in 40 bits: an IPv4 address itself, or a hash of an IPv6 address.
///
/// Two IPv6 sources can have the same 40 bits. Nobody can find two such addresses on purpose: the key of the hash is random
/// for each start, and no sender sees the result. By chance, one packet in 2^26 matches a first knock in a full table. Its
/// sender then goes on from that first knock, or ends that attempt. Going on helps less than guessing the first port of a
/// sequence, which succeeds once in 2^16 packets. Ending an attempt does no more harm than a packet with a forged source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source([u8; 5]);

/// The first byte of an IPv4 source. An IPv6 source never begins with it.
const IPV4: u8 = 0;

impl Source {
    /// `source`, whose [`key`] at the door is `hash`.
    pub fn new(source: IpAddr, hash: u64) -> Self {
        let (first, [a, b, c, d]) = match source {
            IpAddr::V4(v4) => (IPV4, v4.octets()),
            IpAddr::V6(_) => {
                let [.., high, a, b, c, d] = hash.to_be_bytes();
                (high.max(IPV4 + 1), [a, b, c, d])
            }
        };
        Self([first, a, b, c, d])
    }

    /// The address, of an IPv4 source.
    pub fn address(self) -> Option<IpAddr> {
        let [first, octets @ ..] = self.0;
        (first == IPV4).then(|| octets.into())
    }

    /// A hash that selects the same chain as [`key`] does. An IPv6 source holds the low 32 bits of that hash.
    pub fn hash(self, door: DoorId, keyed: &impl BuildHasher) -> u64 {
        let [_, low @ ..] = self.0;
        self.address().map_or(u32::from_be_bytes(low).into(), |address| key(door, address, keyed))
    }
}

/// An attempt that has taken one step.
#[derive(Clone, Copy, Debug)]
pub struct FirstKnock {
    /// Its source.
    pub(crate) source: Source,
    /// Its door.
    pub(crate) door: DoorId,
    /// The knock.
    pub(crate) mark: Mark,
    /// When the time for the other steps ends.
    pub(crate) deadline: ShortDeadline,
    /// The first trap that it has touched.
    pub(crate) trap: Option<TouchedTrap>,
}

impl Entry for FirstKnock {
    fn hash(&self, keyed: &impl BuildHasher) -> u64 {
        self.source.hash(self.door, keyed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash_index::HashIndex;
    use crate::testing::Keyed;

    const DOOR: DoorId = DoorId(3);

    #[test]
    fn a_first_knock_is_small() {
        assert_eq!(size_of::<FirstKnock>(), 12);
    }

    #[test]
    fn an_ipv6_source_is_no_ipv4_source_whatever_its_hash() {
        let v4 = "192.0.2.1".parse().unwrap();
        let v6 = "2001:db8::1".parse().unwrap();
        for hash in [0xc000_0201, 0xffff_ff00_c000_0201, 1 << 32 | 0xc000_0201] {
            assert_ne!(Source::new(v6, hash), Source::new(v4, hash), "{hash:x}");
            assert_eq!(Source::new(v6, hash).address(), None);
        }
        assert_eq!(Source::new(v4, 7).address(), Some(v4));
    }

    #[test]
    fn of_the_hash_of_an_ipv6_source_forty_bits_count() {
        let source = "2001:db8::1".parse().unwrap();
        let hash = 0x12_3456_789a;
        for bit in 0..40 {
            assert_ne!(Source::new(source, hash), Source::new(source, hash ^ 1 << bit), "{bit}");
        }
    }

    proptest! {
        /// Only so can an entry be taken out of its chain.
        #[test]
        fn what_is_held_leads_to_the_chain_of_the_whole_hash(v4: [u8; 4], v6: [u8; 16]) {
            let keyed = Keyed::default();
            for source in [IpAddr::from(v4), IpAddr::from(v6)] {
                let hash = key(DOOR, source, &keyed);
                let mut index = HashIndex::<12_288>::new();
                index.link(hash, 5);
                let held = Source::new(source, hash).hash(DOOR, &keyed);
                prop_assert_eq!(index.slots(held).collect::<Vec<_>>(), [5]);
            }
        }
    }
}
