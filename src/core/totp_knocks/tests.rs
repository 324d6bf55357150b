//! Sources and their knocks in fixed tables, and sequences among other knocks.

use super::*;
use crate::testing::Keyed;

#[test]
fn entries_are_small() {
    assert_eq!((size_of::<First>(), size_of::<Later>()), (16, 32));
}

#[test]
fn knocks_are_forgotten_for_good() {
    let keyed = Keyed::default();
    for knocks in [1, 2, 65] {
        for day in [0, 1, 30, 400] {
            let mut heard = Box::new(LastKnocks::new());
            let mut hear =
                |now, port| heard.hear(&keyed, now, "192.0.2.1".parse().unwrap(), port, Mark::default());
            (1..=knocks).for_each(|port| {
                hear(Instant::from_millis(0), port);
            });
            // The last port again: new to a table that has forgotten.
            let again = hear(Instant::from_millis(day * 24 * 3_600_000), knocks);
            assert_eq!(again == Heard::Noted(false), day > 0, "{knocks} knocks, {day} days ago: {again:?}");
        }
    }
}

#[test]
fn the_oldest_source_with_two_knocks_is_forgotten_first() {
    let (keyed, mut heard) = (Keyed::default(), Box::new(LastKnocks::new()));
    let mut hear = |n: u32, port| {
        heard.hear(&keyed, Instant::from_millis(0), IpAddr::from(n.to_be_bytes()), port, Mark::default())
    };
    let last = u32::try_from(LATER_KNOCKS).unwrap();
    for n in 0..=last {
        let noted = [1, 2].map(|port| hear(n, port));
        assert_eq!(noted, [Heard::Noted(false), Heard::Noted(n == last)]);
    }
    assert_eq!([1, 0].map(|n| hear(n, 2)), [Heard::Again, Heard::Noted(false)]);
}

#[test]
fn the_ports_in_order_with_at_most_one_foreign_one() {
    let current = CurrentSequence { ports: [1, 2, 3, 4], user: UserId(0), door: DoorId(0), window: 0 };
    for (knocks, right) in [
        (&[1, 2, 3, 4][..], true),
        // A port that is heard again.
        (&[1, 1, 2, 2, 3, 3, 4], true),
        (&[1, 2, 1, 3, 2, 4], true),
        // A packet was lost, and all were sent again.
        (&[1, 3, 4, 1, 2, 3, 4], true),
        (&[2, 3, 4, 1, 2, 3, 4], true),
        (&[1, 2, 3, 1, 2, 3, 4], true),
        // Something else of the same source.
        (&[1, 2, 9, 3, 4], true),
        (&[1, 9, 2, 9, 3, 9, 4], true),
        (&[9, 8, 7, 1, 2, 3, 4], true),
        (&[1, 9, 2, 8, 3, 4], false),
        (&[1, 2, 3, 9, 8, 4], false),
        (&[1, 2, 3, 4, 9], false),
        (&[2, 3, 4], false),
        (&[1, 3, 2, 4], false),
        (&[4, 3, 2, 1], false),
        (&[1, 2, 3, 4, 3], false),
    ] {
        let mut last = [0; REMEMBERED];
        last[REMEMBERED - knocks.len()..].copy_from_slice(knocks);
        assert_eq!(current.is_end_of(&last), right, "{knocks:?}");
    }
}
