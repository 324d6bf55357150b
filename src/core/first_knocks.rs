//! Everybody who has knocked once.

use core::hash::BuildHasher;
use core::net::{IpAddr, Ipv6Addr};

use super::attempt::Attempt;
use super::door::DoorId;
use super::fifo_table::{Entry, FifoTable};
use super::first_knock::{FirstKnock, Source};
use super::time::Instant;

/// First knocks. The pause between two knocks of `knock -d 100`, at 100,000 forged packets a second, is 10,000 of
/// them; this is 123 ms.
pub const FIRST_KNOCKS: usize = 12_288;
/// IPv6 sources whose addresses are remembered. Their first knocks hold a hash; without a flood there are fewer
/// than this at a time, and in a flood nobody reads the names of all.
pub const NAMES_6: usize = 64;

/// First knocks of both families. One lane, for what counts is how many packets a first knock outlives, and a flood
/// has only one rate.
#[derive(Debug)]
pub struct FirstKnocks {
    knocks: FifoTable<FirstKnock, FIRST_KNOCKS>,
    /// Of IPv6 sources that have knocked once, the last. Nothing is decided by these.
    names: FifoTable<Name, NAMES_6>,
}

/// The address of an IPv6 source.
#[derive(Clone, Copy, Debug)]
struct Name {
    source: Source,
    door: DoorId,
    address: Ipv6Addr,
}

impl Entry for Name {
    fn hash(&self, keyed: &impl BuildHasher) -> u64 {
        self.source.hash(self.door, keyed)
    }
}

impl FirstKnocks {
    /// Nobody's.
    pub const fn new() -> Self {
        Self { knocks: FifoTable::new(), names: FifoTable::new() }
    }

    /// The first knock of `source`, whose key at `door` is `hash`, if its time is not over.
    pub fn find(&self, hash: u64, now: Instant, door: DoorId, source: IpAddr) -> Option<Attempt> {
        let (_, first) = self.slot(hash, now, door, source)?;
        Some(Attempt::begin(source, door, first.deadline, first.mark))
    }

    /// Remembers the first knock of `attempt`; whether another had to be forgotten.
    pub fn insert(&mut self, keyed: &impl BuildHasher, hash: u64, attempt: &Attempt) -> bool {
        let Attempt { source: address, door, deadline, marks: [mark, ..], .. } = *attempt;
        let source = Source::new(address, hash);
        if let IpAddr::V6(address) = address {
            // Whose turn it is to be forgotten loses his name.
            let _ = self.names.insert(keyed, hash, Name { source, door, address });
        }
        self.knocks.insert(keyed, hash, FirstKnock { source, door, mark, deadline }).is_some()
    }

    /// Forgets the first knock of `source`.
    pub fn forget(&mut self, hash: u64, now: Instant, door: DoorId, source: IpAddr) {
        if let Some((slot, _)) = self.slot(hash, now, door, source) {
            self.knocks.remove(hash, slot);
        }
    }

    /// Removes every first knock that `keep` does not want. Its address is told if it is known.
    pub fn retain(
        &mut self,
        keyed: &impl BuildHasher,
        mut keep: impl FnMut(&FirstKnock, Option<IpAddr>) -> bool,
    ) {
        let Self { knocks, names } = self;
        knocks.retain(keyed, |first| {
            let name = || {
                let is_it = |name: &Name| (name.source, name.door) == (first.source, first.door);
                names.find(first.hash(keyed), is_it).map(|(_, name)| name.address.into())
            };
            keep(first, first.source.address().or_else(name))
        });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.knocks.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.knocks.is_empty()
    }

    fn slot(&self, hash: u64, now: Instant, door: DoorId, source: IpAddr) -> Option<(usize, FirstKnock)> {
        let source = Source::new(source, hash);
        self.knocks
            .find(hash, |first| first.source == source && first.door == door && !first.deadline.is_past(now))
    }
}

impl Default for FirstKnocks {
    fn default() -> Self {
        Self::new()
    }
}
