//! Every attempt that has taken one step.

use core::hash::BuildHasher;
use core::net::{IpAddr, Ipv6Addr};

use super::attempt::{Attempt, Knocker, ShortDeadline};
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

/// First knocks of both families. They share one table: what counts is how many packets a first knock outlives, and
/// a flood has one rate, of whatever families it is.
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

    /// The first knock of a source at a door, if its time is not over.
    pub fn find(&self, now: Instant, knocker: Knocker) -> Option<Attempt> {
        let (_, first) = self.slot(now, knocker)?;
        let attempt = Attempt::begin(knocker, first.deadline.deadline(now), first.mark);
        Some(Attempt { trap: first.trap, ..attempt })
    }

    /// Remembers the first knock of `attempt`; whether another had to be forgotten.
    pub fn insert(&mut self, keyed: &impl BuildHasher, knocker: Knocker, attempt: &Attempt) -> bool {
        let first = first_knock(knocker, attempt);
        let FirstKnock { source, door, .. } = first;
        if let IpAddr::V6(address) = knocker.source {
            // The source that is forgotten for it loses its name.
            let _ = self.names.insert(keyed, knocker.hash, Name { source, door, address });
        }
        self.knocks.insert(keyed, knocker.hash, first).is_some()
    }

    /// Puts `attempt` in the place of the first knock that is known of it; whether there is one.
    pub fn update(&mut self, now: Instant, knocker: Knocker, attempt: &Attempt) -> bool {
        let known = self.slot(now, knocker);
        if let Some((slot, _)) = known {
            *self.knocks.entry_mut(slot) = first_knock(knocker, attempt);
        }
        known.is_some()
    }

    /// Forgets the first knock of a source at a door.
    pub fn forget(&mut self, now: Instant, knocker: Knocker) {
        if let Some((slot, _)) = self.slot(now, knocker) {
            self.knocks.remove(knocker.hash, slot);
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

    fn slot(&self, now: Instant, knocker: Knocker) -> Option<(usize, FirstKnock)> {
        let Knocker { source, door, hash } = knocker;
        let source = Source::new(source, hash);
        self.knocks.find(hash, |first| {
            first.source == source && first.door == door && !first.deadline.deadline(now).is_past(now)
        })
    }
}

/// What is kept of an attempt that has taken one step.
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
