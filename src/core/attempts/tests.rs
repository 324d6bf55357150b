use core::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::attempt::Mark;
use crate::first_knocks::{FIRST_KNOCKS, NAMES_6};
use crate::testing::Keyed;

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
    keyed: Keyed,
}

impl Fixture {
    fn new() -> Self {
        Self { attempts: Box::new(Attempts::new()), keyed: Keyed::default() }
    }

    fn store(&mut self, ms: u64, source: IpAddr, steps: u8) -> bool {
        let knocker = self.knocker(source);
        let mut attempt = Attempt::begin(knocker, Deadline::new(at(ms), SPAN), Mark::default());
        for _ in 1..steps {
            attempt = attempt.advanced(at(ms), Mark::default());
        }
        self.attempts.store(&self.keyed, at(ms), knocker, attempt)
    }

    fn stage(&self, ms: u64, source: IpAddr) -> u8 {
        self.attempts.current(at(ms), self.knocker(source)).map_or(0, |attempt| attempt.taken)
    }

    fn knocker(&self, source: IpAddr) -> Knocker {
        Knocker::new(DOOR, source, &self.keyed)
    }

    /// Completes a sequence of one step.
    fn complete(&mut self, ms: u64, source: IpAddr) {
        let knocker = self.knocker(source);
        let attempt = Attempt::begin(knocker, Deadline::new(at(ms), SPAN), Mark::default());
        self.attempts.complete(&self.keyed, at(ms), knocker, attempt);
    }

    fn is_completed(&self, ms: u64, source: IpAddr) -> bool {
        self.attempts.completed(at(ms), self.knocker(source)).is_some()
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
        assert_eq!(f.stage(0, people[0]), 1, "the table is just full");
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
            let other = Knocker::new(DoorId(1), source, &f.keyed);
            assert!(f.attempts.current(at(0), other).is_none());
            f.attempts.forget(at(0), other);
            assert_eq!(f.stage(0, source), 1);
            let knocker = f.knocker(source);
            f.attempts.forget(at(0), knocker);
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
    f.complete(0, forged(1));
    assert_eq!(f.attempts.next_deadline(), Some(at(25_000)));
    assert_eq!(f.expire(25_000), [], "nobody was still knocking");
    assert_eq!(f.attempts.next_deadline(), None);
    assert!(!f.is_completed(30 * 24 * 3_600_000, forged(1)));
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
    f.complete(0, forged(9));
    f.attempts.clear_door(&f.keyed, DoorId(1));
    assert_eq!((f.attempts.len(), f.is_completed(0, forged(9))), (4, true));
    f.attempts.clear_door(&f.keyed, DOOR);
    assert_eq!((f.attempts.is_empty(), f.is_completed(0, forged(9))), (true, false));
}

#[test]
fn a_source_that_knocks_again_and_again_takes_one_place() {
    for (stage, room) in [(1, FIRST_KNOCKS), (2, SECOND_KNOCKS), (3, LATER_KNOCKS)] {
        let mut f = Fixture::new();
        f.store(0, forged(1), stage);
        assert!(!f.attempts.is_empty());
        (0..=room).for_each(|_| {
            f.store(0, forged(2), stage);
        });
        assert_eq!((f.stage(0, forged(1)), f.attempts.len()), (stage, 2));
    }
    let mut f = Fixture::new();
    f.complete(0, forged(1));
    (0..=COMPLETED).for_each(|_| f.complete(0, forged(2)));
    assert!(f.is_completed(0, forged(1)));
}
