//! Everybody who is knocking: fixed tables, and who is forgotten when they are full.
//!
//! One table for first knocks, one for those who took two steps, one for those further on, one for those who are
//! done. Each table forgets its own oldest entry and never another table's. So:
//!
//! - a flood of forged first knocks costs first knocks only, and a first knock lives for as long as the
//!   flood needs to fill the table: 123 ms at 100,000 packets a second, 1.2 s at 10,000;
//! - who has taken two steps can be displaced only by others who know two steps, and so on;
//! - what a packet costs does not depend on how many entries there are.

use core::hash::BuildHasher;
use core::net::IpAddr;
use core::time::Duration;

use super::attempt::{Attempt, Deadline, key};
use super::door::DoorId;
use super::fifo_table::FifoTable;
use super::first_knocks::FirstKnocks;
use super::time::Instant;

/// Those who took two steps: a flood of these must know the first two ports.
pub const SECOND_KNOCKS: usize = 1_024;
/// Those further on.
pub const LATER_KNOCKS: usize = 512;
/// Those who are done, remembered until their `seq_timeout` so that a late retransmission does not
/// knock again.
pub const COMPLETED: usize = 256;

/// Least time between two sweeps for timeouts: with thousands of attempts running out, ten sweeps a
/// second instead of thousands. A timeout is announced at most this late; it takes effect on time.
pub const SWEEP_SPACING: Duration = Duration::from_millis(100);

/// Everybody who is knocking. All zero bytes when new, so that it lies in memory that is not there
/// until it is used.
#[derive(Debug)]
pub struct Attempts {
    first: FirstKnocks,
    second: FifoTable<Attempt, SECOND_KNOCKS>,
    later: FifoTable<Attempt, LATER_KNOCKS>,
    completed: FifoTable<Attempt, COMPLETED>,
    /// No attempt ends before this moment, done or not; it may be too early, never too late. `None`: no attempt.
    earliest: Option<Instant>,
    swept: Instant,
}

/// An attempt that ran out of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut {
    /// Whose; `None` of an IPv6 source that only knocked once, if too many did since then.
    pub source: Option<IpAddr>,
    /// At which door.
    pub door: DoorId,
    /// Steps taken.
    pub stage: u8,
}

impl Attempts {
    /// Nobody.
    pub const fn new() -> Self {
        Self {
            first: FirstKnocks::new(),
            second: FifoTable::new(),
            later: FifoTable::new(),
            completed: FifoTable::new(),
            earliest: None,
            swept: Instant::from_millis(0),
        }
    }

    /// How far `source` is at `door`, if it has begun and its time is not over.
    pub fn current(
        &self,
        keyed: &impl BuildHasher,
        now: Instant,
        door: DoorId,
        source: IpAddr,
    ) -> Option<Attempt> {
        let hash = key(door, source, keyed);
        find(&self.later, hash, now, door, source)
            .or_else(|| find(&self.second, hash, now, door, source))
            .map(|(_, attempt)| attempt)
            .or_else(|| self.first.find(hash, now, door, source))
    }

    /// The knocks that `source` completed at `door` within the door's `seq_timeout`.
    pub fn completed(
        &self,
        keyed: &impl BuildHasher,
        now: Instant,
        door: DoorId,
        source: IpAddr,
    ) -> Option<Attempt> {
        find(&self.completed, key(door, source, keyed), now, door, source).map(|(_, attempt)| attempt)
    }

    /// Remembers an attempt in place of what was known of it; whether another had to be forgotten.
    pub fn store(&mut self, keyed: &impl BuildHasher, now: Instant, attempt: Attempt) -> bool {
        let Attempt { source, door, deadline, .. } = attempt;
        self.sweep_by(now, deadline);
        let hash = key(door, source, keyed);
        if let Some((slot, _)) = find(&self.later, hash, now, door, source)
            && attempt.taken > 2
        {
            *self.later.entry_mut(slot) = attempt;
            return false;
        }
        self.forget(keyed, now, door, source);
        match attempt.taken {
            1 => self.first.insert(keyed, hash, &attempt),
            2 => self.second.insert(keyed, hash, attempt).is_some(),
            _ => self.later.insert(keyed, hash, attempt).is_some(),
        }
    }

    /// Remembers that an attempt is done, so that its knocks can be told when they come again.
    pub fn complete(&mut self, keyed: &impl BuildHasher, now: Instant, attempt: Attempt) {
        let Attempt { source, door, deadline, .. } = attempt;
        self.sweep_by(now, deadline);
        self.forget(keyed, now, door, source);
        let hash = key(door, source, keyed);
        if let Some((slot, _)) = find(&self.completed, hash, now, door, source) {
            *self.completed.entry_mut(slot) = attempt;
        } else {
            // Whose turn it is to be forgotten loses nothing but protection from retransmissions.
            let _ = self.completed.insert(keyed, hash, attempt);
        }
    }

    /// Forgets how far `source` is at `door`.
    pub fn forget(&mut self, keyed: &impl BuildHasher, now: Instant, door: DoorId, source: IpAddr) {
        let hash = key(door, source, keyed);
        if let Some((slot, _)) = find(&self.later, hash, now, door, source) {
            self.later.remove(hash, slot);
        } else if let Some((slot, _)) = find(&self.second, hash, now, door, source) {
            self.second.remove(hash, slot);
        } else {
            self.first.forget(hash, now, door, source);
        }
    }

    /// Forgets everybody at a door.
    pub fn clear_door(&mut self, keyed: &impl BuildHasher, door: DoorId) {
        self.first.retain(keyed, |entry, _| entry.door != door);
        self.second.retain(keyed, |entry| entry.door != door);
        self.later.retain(keyed, |entry| entry.door != door);
        self.completed.retain(keyed, |entry| entry.door != door);
    }

    /// When [`Self::expire`] must be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.earliest.map(|earliest| earliest.max(self.swept.after(SWEEP_SPACING)))
    }

    /// Has what ends at `deadline` swept then.
    fn sweep_by(&mut self, now: Instant, deadline: Deadline) {
        if let Some(due) = deadline.due(now) {
            self.earliest = Some(self.earliest.map_or(due, |earliest| earliest.min(due)));
        }
    }

    /// Forgets every attempt whose time is over, and names it if it was not done.
    pub fn expire(&mut self, keyed: &impl BuildHasher, now: Instant, mut each: impl FnMut(TimedOut)) {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        self.swept = now;
        let mut earliest: Option<Instant> = None;
        let mut is_due = |deadline: Deadline| {
            let due = deadline.due(now);
            earliest = earliest.into_iter().chain(due).min();
            due.is_none()
        };
        self.completed.retain(keyed, |entry| !is_due(entry.deadline));
        let mut stays = |deadline: Deadline, timed_out: TimedOut| {
            let over = is_due(deadline);
            if over {
                each(timed_out);
            }
            !over
        };
        self.first.retain(keyed, |entry, source| {
            stays(entry.deadline, TimedOut { source, door: entry.door, stage: 1 })
        });
        let mut attempt_stays = |entry: &Attempt| {
            let source = Some(entry.source);
            stays(entry.deadline, TimedOut { source, door: entry.door, stage: entry.taken })
        };
        self.second.retain(keyed, &mut attempt_stays);
        self.later.retain(keyed, &mut attempt_stays);
        self.earliest = earliest;
    }

    /// How many are knocking.
    pub fn len(&self) -> usize {
        self.first.len() + self.second.len() + self.later.len()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Attempts {
    fn default() -> Self {
        Self::new()
    }
}

fn find<const N: usize>(
    table: &FifoTable<Attempt, N>,
    hash: u64,
    now: Instant,
    door: DoorId,
    source: IpAddr,
) -> Option<(usize, Attempt)> {
    table.find(hash, |entry| entry.source == source && entry.door == door && !entry.deadline.is_past(now))
}

#[cfg(test)]
mod tests;
