//! The attempts in progress, in fixed tables that drop their oldest entries when they are full.
//!
//! There is one table for attempts with one step taken, one for those with two, one for those further on, and one for
//! completed ones. Each table drops only entries of its own. So:
//!
//! - A flood of forged first knocks displaces first knocks only. A first knock lives until the flood has filled the
//!   table: 123 ms at 100,000 packets a second, 1.2 s at 10,000.
//! - An attempt with two steps taken can be displaced only by sources that know two steps, and so on.
//! - The cost of a packet does not depend on how many entries there are.

use core::hash::BuildHasher;
use core::net::IpAddr;
use core::time::Duration;

use super::attempt::{Attempt, Deadline, Knocker};
use super::door::DoorId;
use super::fifo_table::FifoTable;
use super::first_knocks::FirstKnocks;
use super::time::Instant;

/// Attempts with two steps taken. Only a sender who knows the first two ports can fill this table.
pub const SECOND_KNOCKS: usize = 1_024;
/// Attempts with more steps taken.
pub const LATER_KNOCKS: usize = 512;
/// Completed attempts. They are remembered until their `seq_timeout`, so that a late retransmission is not taken for a new
/// knock.
pub const COMPLETED: usize = 256;

/// Least time between two sweeps for timeouts, so that thousands of timeouts cause ten sweeps a second and not thousands. A
/// timeout takes effect on time, and is reported at most this late.
pub const SWEEP_SPACING: Duration = Duration::from_millis(100);

/// The attempts in progress. All zero bytes when new, so that they take no memory until they are used.
#[derive(Debug)]
pub struct Attempts {
    first: FirstKnocks,
    second: FifoTable<Attempt, SECOND_KNOCKS>,
    later: FifoTable<Attempt, LATER_KNOCKS>,
    completed: FifoTable<Attempt, COMPLETED>,
    /// No attempt ends before this moment. It may be too early, but not too late. `None` if there is no attempt.
    earliest: Option<Instant>,
    swept: Instant,
}

/// An attempt whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut {
    /// The source; `None` for an IPv6 source that knocked once and whose address was dropped since.
    pub source: Option<IpAddr>,
    /// The door.
    pub door: DoorId,
    /// Steps taken.
    pub stage: u8,
}

impl Attempts {
    /// Empty tables.
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

    /// The attempt of a source at a door, if there is one and its time is not over.
    pub fn current(&self, now: Instant, knocker: Knocker) -> Option<Attempt> {
        find(&self.later, now, knocker)
            .or_else(|| find(&self.second, now, knocker))
            .map(|(_, attempt)| attempt)
            .or_else(|| self.first.find(now, knocker))
    }

    /// The knocks that a source completed at a door within the door's `seq_timeout`.
    pub fn completed(&self, now: Instant, knocker: Knocker) -> Option<Attempt> {
        find(&self.completed, now, knocker).map(|(_, attempt)| attempt)
    }

    /// Stores an attempt in the place of its earlier state. Returns whether another attempt was dropped for it.
    pub fn store(
        &mut self,
        keyed: &impl BuildHasher,
        now: Instant,
        knocker: Knocker,
        attempt: Attempt,
    ) -> bool {
        self.sweep_by(now, attempt.deadline);
        // If it stays in its table, it keeps its place and its age there.
        match attempt.taken {
            1 if self.first.update(now, knocker, &attempt) => return false,
            2 if replace(&mut self.second, now, knocker, attempt) => return false,
            3.. if replace(&mut self.later, now, knocker, attempt) => return false,
            _ => {}
        }
        self.forget(now, knocker);
        match attempt.taken {
            1 => self.first.insert(keyed, knocker, &attempt),
            2 => self.second.insert(keyed, knocker.hash, attempt).is_some(),
            _ => self.later.insert(keyed, knocker.hash, attempt).is_some(),
        }
    }

    /// Stores a completed attempt, so that its knocks are recognised when they are sent again.
    pub fn complete(&mut self, keyed: &impl BuildHasher, now: Instant, knocker: Knocker, attempt: Attempt) {
        self.sweep_by(now, attempt.deadline);
        self.forget(now, knocker);
        if !replace(&mut self.completed, now, knocker, attempt) {
            // The attempt that is dropped for it loses only the protection from retransmissions.
            let _ = self.completed.insert(keyed, knocker.hash, attempt);
        }
    }

    /// Removes the attempt of a source at a door.
    pub fn forget(&mut self, now: Instant, knocker: Knocker) {
        if let Some((slot, _)) = find(&self.later, now, knocker) {
            self.later.remove(knocker.hash, slot);
        } else if let Some((slot, _)) = find(&self.second, now, knocker) {
            self.second.remove(knocker.hash, slot);
        } else {
            self.first.forget(now, knocker);
        }
    }

    /// Removes all attempts at a door.
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

    /// Makes a sweep due at `deadline`.
    fn sweep_by(&mut self, now: Instant, deadline: Deadline) {
        if let Some(due) = deadline.due(now) {
            self.earliest = Some(self.earliest.map_or(due, |earliest| earliest.min(due)));
        }
    }

    /// Removes every attempt whose time is over, and reports those that were not completed.
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
            stays(entry.deadline.deadline(now), TimedOut { source, door: entry.door, stage: 1 })
        });
        let mut attempt_stays = |entry: &Attempt| {
            let source = Some(entry.source);
            stays(entry.deadline, TimedOut { source, door: entry.door, stage: entry.taken })
        };
        self.second.retain(keyed, &mut attempt_stays);
        self.later.retain(keyed, &mut attempt_stays);
        self.earliest = earliest;
    }

    /// Number of attempts.
    pub fn len(&self) -> usize {
        self.first.len() + self.second.len() + self.later.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty() && self.second.is_empty() && self.later.is_empty()
    }
}

impl Default for Attempts {
    fn default() -> Self {
        Self::new()
    }
}

fn find<const N: usize>(
    table: &FifoTable<Attempt, N>,
    now: Instant,
    knocker: Knocker,
) -> Option<(usize, Attempt)> {
    table.find(knocker.hash, |entry| {
        entry.source == knocker.source && entry.door == knocker.door && !entry.deadline.is_past(now)
    })
}

/// Replaces an attempt in a table. Returns whether it was there.
fn replace<const N: usize>(
    table: &mut FifoTable<Attempt, N>,
    now: Instant,
    knocker: Knocker,
    attempt: Attempt,
) -> bool {
    let known = find(table, now, knocker);
    if let Some((slot, _)) = known {
        *table.entry_mut(slot) = attempt;
    }
    known.is_some()
}

#[cfg(test)]
mod tests;
