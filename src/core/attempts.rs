//! Everybody who is knocking: fixed tables, and who is forgotten when they are full.
//!
//! One lane for first knocks, one for those who took two steps, one for those further on, one for those who are
//! done. Each lane forgets its own oldest entry and never another lane's. So:
//!
//! - a flood of forged first knocks costs first knocks only, and a first knock lives for as long as the
//!   flood needs to fill the lane: 123 ms at 100,000 packets a second, 1.2 s at 10,000;
//! - who has taken two steps can be displaced only by others who know two steps, and so on;
//! - what a packet costs does not depend on how many entries there are.

use core::hash::BuildHasher;
use core::net::IpAddr;
use core::time::Duration;

use super::attempt::{Attempt, Deadline, key};
use super::door::DoorId;
use super::first_knocks::FirstKnocks;
use super::lane::Lane;
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
    second: Lane<Attempt, SECOND_KNOCKS>,
    later: Lane<Attempt, LATER_KNOCKS>,
    completed: Lane<Attempt, COMPLETED>,
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
            second: Lane::new(),
            later: Lane::new(),
            completed: Lane::new(),
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
    lane: &Lane<Attempt, N>,
    hash: u64,
    now: Instant,
    door: DoorId,
    source: IpAddr,
) -> Option<(usize, Attempt)> {
    lane.find(hash, |entry| entry.source == source && entry.door == door && !entry.deadline.is_past(now))
}

#[cfg(test)]
mod tests {
    use core::hash::BuildHasherDefault;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use std::hash::DefaultHasher;

    use super::*;
    use crate::core::attempt::Mark;
    use crate::core::first_knocks::{FIRST_KNOCKS, NAMES_6};

    const DOOR: DoorId = DoorId(0);
    const SPAN: Duration = Duration::from_secs(25);

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn forged(n: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + n))
    }

    fn forged_6(n: u32) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n)))
    }

    /// From both families, one after the other.
    fn forged_either(n: u32) -> IpAddr {
        if n.is_multiple_of(2) { forged(n) } else { forged_6(n) }
    }

    struct Fixture {
        attempts: Box<Attempts>,
        keyed: BuildHasherDefault<DefaultHasher>,
    }

    impl Fixture {
        fn new() -> Self {
            Self { attempts: Box::new(Attempts::new()), keyed: BuildHasherDefault::default() }
        }

        fn store(&mut self, ms: u64, source: IpAddr, steps: u8) -> bool {
            let mut attempt = Attempt::begin(source, DOOR, Deadline::new(at(ms), SPAN), Mark::default());
            for _ in 1..steps {
                attempt = attempt.advanced(Mark::default());
            }
            self.attempts.store(&self.keyed, at(ms), attempt)
        }

        fn stage(&self, ms: u64, source: IpAddr) -> u8 {
            self.attempts.current(&self.keyed, at(ms), DOOR, source).map_or(0, |attempt| attempt.taken)
        }

        fn expire(&mut self, ms: u64) -> Vec<TimedOut> {
            let mut all = Vec::new();
            self.attempts.expire(&self.keyed, at(ms), |timed_out| all.push(timed_out));
            all
        }
    }

    #[test]
    fn a_flood_of_first_knocks_displaces_only_first_knocks_and_the_oldest_first() {
        for (flood, person) in [forged, forged_6, forged_either].iter().zip([forged_6, forged, forged]) {
            let mut f = Fixture::new();
            let people: Vec<_> = (0..4).map(|n| person(9_000_000 + n)).collect();
            for (source, stage) in people.iter().zip(1..) {
                assert!(!f.store(0, *source, stage));
            }
            let room = u32::try_from(FIRST_KNOCKS).unwrap() - 1;
            for n in 0..room {
                assert!(!f.store(0, flood(n), 1), "{n}");
            }
            assert_eq!(f.stage(0, people[0]), 1, "the lane is just full");
            assert!(f.store(0, flood(room), 1));
            assert_eq!(f.stage(0, people[0]), 0, "its turn came");
            for n in 0..1_000_000 {
                f.store(0, flood(n), 1);
            }
            assert_eq!(people[1..].iter().map(|source| f.stage(0, *source)).collect::<Vec<_>>(), [2, 3, 4]);
            assert_eq!(f.attempts.len(), 3 + FIRST_KNOCKS);
        }
    }

    #[test]
    fn a_first_knock_of_either_family_outlives_the_pause_of_knock_with_some_to_spare() {
        const PACKETS: u32 = 12_000; // in 120 ms at 100,000 a second
        for flood in [forged, forged_6, forged_either] {
            let mut f = Fixture::new();
            (0..PACKETS).for_each(|n| {
                f.store(0, flood(n), 1);
            });
            let people = [forged(9_000_000), forged_6(9_000_000)];
            for person in people {
                f.store(0, person, 1);
            }
            (PACKETS..2 * PACKETS).for_each(|n| {
                f.store(0, flood(n), 1);
            });
            assert_eq!(people.map(|person| f.stage(0, person)), [1, 1]);
        }
    }

    #[test]
    fn of_two_doors_each_has_its_own_first_knock() {
        for forged in [forged, forged_6] {
            let mut f = Fixture::new();
            // So many that some have both doors in one chain.
            for source in (0..100_000).map(forged) {
                f.store(0, source, 1);
                assert!(f.attempts.current(&f.keyed, at(0), DoorId(1), source).is_none());
                f.attempts.forget(&f.keyed, at(0), DoorId(1), source);
                assert_eq!(f.stage(0, source), 1);
                f.attempts.forget(&f.keyed, at(0), DOOR, source);
                assert_eq!(f.stage(0, source), 0);
            }
            assert!(f.attempts.is_empty());
        }
    }

    #[test]
    fn of_ipv6_sources_that_knocked_once_the_last_are_named() {
        let (mut f, names) = (Fixture::new(), u32::try_from(NAMES_6).unwrap());
        (0..=names).for_each(|n| {
            f.store(n.into(), forged_6(n), 1);
        });
        let seen: Vec<_> = f.expire(30_000).iter().map(|timed_out| timed_out.source).collect();
        assert_eq!(
            seen,
            core::iter::once(None).chain((1..=names).map(|n| Some(forged_6(n)))).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_flood_of_second_knocks_spares_those_further_on_and_those_behind() {
        let mut f = Fixture::new();
        f.store(0, forged(9_000_001), 1);
        f.store(0, forged(9_000_003), 3);
        for n in 0..10_000 {
            f.store(0, forged(n), 2);
        }
        assert_eq!((f.stage(0, forged(9_000_001)), f.stage(0, forged(9_000_003))), (1, 3));
        assert_eq!(f.attempts.len(), 2 + SECOND_KNOCKS);
    }

    #[test]
    fn an_attempt_is_in_one_lane_at_a_time() {
        let mut f = Fixture::new();
        for stage in [1, 2, 3, 4, 2, 1] {
            f.store(0, forged(1), stage);
            f.store(0, forged_6(1), stage);
            assert_eq!([f.stage(0, forged(1)), f.stage(0, forged_6(1))], [stage; 2]);
            assert_eq!(f.attempts.len(), 2);
        }
    }

    #[test]
    fn timeouts_are_named_once_when_they_are_due() {
        let mut f = Fixture::new();
        f.store(0, forged(1), 1);
        f.store(1000, forged(2), 2);
        f.store(3000, "2001:db8::9".parse().unwrap(), 3);
        assert_eq!(f.attempts.next_deadline(), Some(at(25_000)));
        assert_eq!(f.expire(24_999), []);
        assert_eq!(f.stage(25_000, forged(1)), 0, "over, announced or not");
        assert_eq!(f.expire(25_000), [TimedOut { source: Some(forged(1)), door: DOOR, stage: 1 }]);
        assert_eq!(f.attempts.next_deadline(), Some(at(26_000)));
        let two: Vec<_> = f.expire(40_000).iter().map(|timed_out| timed_out.stage).collect();
        assert_eq!(two, [2, 3]);
        assert_eq!((f.attempts.next_deadline(), f.attempts.len()), (None, 0));
    }

    #[test]
    fn what_is_done_is_forgotten_too_before_its_clock_wraps() {
        let mut f = Fixture::new();
        // A door of one step: nothing was stored before.
        let done = Attempt::begin(forged(1), DOOR, Deadline::new(at(0), SPAN), Mark::default());
        f.attempts.complete(&f.keyed, at(0), done);
        assert_eq!(f.attempts.next_deadline(), Some(at(25_000)));
        assert_eq!(f.expire(25_000), [], "nobody was still knocking");
        assert_eq!(f.attempts.next_deadline(), None);
        let later = at(30 * 24 * 3_600_000);
        assert!(f.attempts.completed(&f.keyed, later, DOOR, forged(1)).is_none());
    }

    #[test]
    fn many_timeouts_in_a_row_are_swept_together() {
        let mut f = Fixture::new();
        for n in 0..1000 {
            f.store(u64::from(n), forged(n), 1);
        }
        let (mut sweeps, mut named, mut now) = (0, 0, 0);
        while let Some(deadline) = f.attempts.next_deadline() {
            now = now.max(deadline.as_millis());
            named += f.expire(now).len();
            sweeps += 1;
        }
        assert_eq!(named, 1000);
        assert!(sweeps <= 12, "{sweeps}");
    }

    #[test]
    fn a_door_can_be_cleared() {
        let mut f = Fixture::new();
        (1..5).for_each(|stage| {
            f.store(0, forged(u32::from(stage)), stage);
        });
        f.attempts.clear_door(&f.keyed, DoorId(1));
        assert_eq!(f.attempts.len(), 4);
        f.attempts.clear_door(&f.keyed, DOOR);
        assert!(f.attempts.is_empty());
    }
}
