//! Counts the failures of sources whose fwknop packets fit no key.

use core::hash::BuildHasher;
use core::net::IpAddr;
use core::time::Duration;

use super::attempt::{CoarseDeadline, key};
use super::door::DoorId;
use super::fifo_table::{Entry, FifoTable};
use super::time::Instant;

/// Sources remembered. A flood from more addresses than this is bounded by the limit for all sources together.
pub const SOURCES: usize = 1_024;
/// Failures of one source within [`MEMORY`] after which its packets are ignored while HMACs are short. A person tries a
/// wrong key a few times only.
pub const MAX_FAILURES: u16 = 20;
/// How long failures count, from the first one. The time is short, because a stranger who forges a user's address during a
/// flood keeps that user out for this long.
pub const MEMORY: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
struct Failing {
    source: u64,
    deadline: CoarseDeadline,
    failures: u16,
}

impl Entry for Failing {
    fn hash(&self, _: &impl BuildHasher) -> u64 {
        self.source
    }
}

/// How often each source failed.
#[derive(Debug)]
pub struct Failures(FifoTable<Failing, SOURCES>);

impl Failures {
    /// An empty table.
    pub const fn new() -> Self {
        Self(FifoTable::new())
    }

    /// Whether a source has failed too often.
    pub fn are_too_many(&self, keyed: &impl BuildHasher, now: Instant, source: IpAddr) -> bool {
        let known = self.find(keyed, source);
        known.is_some_and(|(_, known)| !known.deadline.is_past(now) && known.failures >= MAX_FAILURES)
    }

    /// A source failed.
    pub fn count(&mut self, keyed: &impl BuildHasher, now: Instant, source: IpAddr) {
        let fresh = |source| Failing { source, deadline: CoarseDeadline::new(now, MEMORY), failures: 1 };
        match self.find(keyed, source) {
            Some((slot, known)) if known.deadline.is_past(now) => {
                *self.0.entry_mut(slot) = fresh(known.source);
            }
            Some((slot, known)) => self.0.entry_mut(slot).failures = known.failures.saturating_add(1),
            None => {
                let source = key(DoorId(u8::MAX), source, keyed);
                // The source that is removed for it may try as often again.
                let _ = self.0.insert(keyed, source, fresh(source));
            }
        }
    }

    fn find(&self, keyed: &impl BuildHasher, source: IpAddr) -> Option<(usize, Failing)> {
        let source = key(DoorId(u8::MAX), source, keyed);
        self.0.find(source, |entry| entry.source == source)
    }
}

impl Default for Failures {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Keyed;

    #[test]
    fn the_oldest_of_too_many_sources_is_forgotten() {
        let (keyed, mut failures) = (Keyed::default(), Box::new(Failures::new()));
        let (now, source) = (Instant::from_millis(0), |n: u32| IpAddr::from(n.to_be_bytes()));
        let last = u32::try_from(SOURCES).unwrap();
        for n in 0..=last {
            (0..MAX_FAILURES).for_each(|_| failures.count(&keyed, now, source(n)));
        }
        let limited = [0, 1, last].map(|n| failures.are_too_many(&keyed, now, source(n)));
        assert_eq!(limited, [false, true, true]);
    }

    #[test]
    fn failures_are_forgotten_for_good() {
        let (keyed, mut failures) = (Keyed::default(), Box::new(Failures::new()));
        let source = "192.0.2.1".parse().unwrap();
        for _ in 0..MAX_FAILURES {
            failures.count(&keyed, Instant::from_millis(0), source);
        }
        let limited = |day: u64| {
            let now = Instant::from_millis(day * 24 * 3_600_000);
            failures.are_too_many(&keyed, now, source)
        };
        assert_eq!((0..400).filter(|day| limited(*day)).collect::<Vec<_>>(), [0]);
    }
}
