//! The attempts that have taken one step.

use core::hash::BuildHasher;
use core::net::{IpAddr, Ipv6Addr};

use super::attempt::{Attempt, Knocker, ShortDeadline};
use super::door::DoorId;
use super::fifo_table::{Entry, FifoTable};
use super::first_knock::{FirstKnock, Source};
use super::time::Instant;

/// First knocks that are remembered. A flood of 100,000 packets a second fills the table in 123 ms. That is longer than the
/// 100 ms that `knock -d 100` waits between two knocks.
pub const FIRST_KNOCKS: usize = 12_288;
/// IPv6 sources whose addresses are remembered, for log lines. Their first knocks hold only a hash. Without a flood there are
/// fewer sources than this at a time, and in a flood nobody reads all addresses.
pub const NAMES_6: usize = 64;

/// First knocks of both families, in one table. A first knock stays until [`FIRST_KNOCKS`] others of either family have come.
/// Two tables would need twice the memory for the same time.
#[derive(Debug)]
pub struct FirstKnocks {
    knocks: FifoTable<FirstKnock, FIRST_KNOCKS>,
    /// The last IPv6 sources that have knocked once. No decision depends on them.
    names: FifoTable<Address6, NAMES_6>,
}

/// The address of an IPv6 source.
#[derive(Clone, Copy, Debug)]
struct Address6 {
    source: Source,
    door: DoorId,
    address: Ipv6Addr,
}

impl Entry for Address6 {
    fn hash(&self, keyed: &impl BuildHasher) -> u64 {
        self.source.hash(self.door, keyed)
    }
}

impl FirstKnocks {
    /// An empty table.
    pub const fn new() -> Self {
        Self { knocks: FifoTable::new(), names: FifoTable::new() }
    }

    /// The first knock of a source at a door, if its time is not over.
    pub fn find(&self, now: Instant, knocker: Knocker) -> Option<Attempt> {
        let (_, first) = self.slot(now, knocker)?;
        let attempt = Attempt::begin(knocker, first.deadline.deadline(now), first.mark);
        Some(Attempt { trap: first.trap, ..attempt })
    }

    /// Adds the first knock of `attempt`. Returns whether an older one was removed for it.
    pub fn insert(&mut self, keyed: &impl BuildHasher, knocker: Knocker, attempt: &Attempt) -> bool {
        let first = first_knock(knocker, attempt);
        let FirstKnock { source, door, .. } = first;
        if let IpAddr::V6(address) = knocker.source {
            // The source that is removed for it loses its address.
            let _ = self.names.insert(keyed, knocker.hash, Address6 { source, door, address });
        }
        self.knocks.insert(keyed, knocker.hash, first).is_some()
    }

    /// Replaces the known first knock of the same source by `attempt`. Returns whether there was one.
    pub fn update(&mut self, now: Instant, knocker: Knocker, attempt: &Attempt) -> bool {
        let known = self.slot(now, knocker);
        if let Some((slot, _)) = known {
            *self.knocks.entry_mut(slot) = first_knock(knocker, attempt);
        }
        known.is_some()
    }

    /// Removes the first knock of a source at a door.
    pub fn forget(&mut self, now: Instant, knocker: Knocker) {
        if let Some((slot, _)) = self.slot(now, knocker) {
            self.knocks.remove(knocker.hash, slot);
        }
    }

    /// Removes each first knock for which `keep` returns false. `keep` gets the address if it is known.
    pub fn retain(
        &mut self,
        keyed: &impl BuildHasher,
        mut keep: impl FnMut(&FirstKnock, Option<IpAddr>) -> bool,
    ) {
        let Self { knocks, names } = self;
        knocks.retain(keyed, |first| {
            let name = || {
                let is_it = |name: &Address6| (name.source, name.door) == (first.source, first.door);
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

    fn slot(&self, now: Instant, knocker: Knocker) -> Option<(usize, FirstKnock)> {
        let Knocker { source, door, hash } = knocker;
        let source = Source::new(source, hash);
        self.knocks.find(hash, |first| {
            first.source == source && first.door == door && !first.deadline.deadline(now).is_past(now)
        })
    }
}

/// The part of an attempt with one step that is kept.
fn first_knock(knocker: Knocker, attempt: &Attempt) -> FirstKnock {
    let Attempt { door, deadline, trap, marks: [mark, ..], .. } = *attempt;
    let source = Source::new(knocker.source, knocker.hash);
    FirstKnock { source, door, mark, deadline: ShortDeadline::of(deadline), trap }
}

impl Default for FirstKnocks {
    fn default() -> Self {
        Self::new()
    }
}
