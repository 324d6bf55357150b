//! Endings: users who lose a right, and doors that the operator opened.

use super::*;

/// Opens in this order, one second after the other, and then removes the user. Returns the remaining grant's opener, and the
/// second of its end.
fn after_deletion(openers: &[(Opener, u64)]) -> Option<(Opener, u64)> {
    let mut left = None;
    empty(|access| {
        let house = House::new();
        for (second, (opener, time)) in (0..).zip(openers) {
            let time = AskedTime::For(Duration::from_secs(*time));
            open(access, &at(second), &house, &OpenRequest { time, ..asks(*opener, CLIENT) });
        }
        let gone = House { users: [None, house.users[1]], ..house };
        let now = at(10);
        let end = access.end_due(&now, &gone);
        left = access
            .grant(SSH, ip(CLIENT))
            .map(|grant| (grant.opener(now.now), grant.until().unwrap().as_millis() / 1000));
        match end {
            Some(End::Operators { .. }) => assert!(left.is_some()),
            Some(End::Shut { cause, .. }) => assert_eq!((cause, left), (Cause::User, None)),
            None => {}
        }
        assert_eq!(access.end_due(&now, &gone), None, "one ending each");
    });
    left
}

#[test]
fn a_users_end_takes_what_he_opened_and_leaves_the_operators() {
    let (knock, alice, bob, hand) = (Opener::Knock, Opener::User(ALICE), Opener::User(BOB), Opener::Hand);
    assert_eq!(after_deletion(&[(alice, 100)]), None);
    assert_eq!(
        after_deletion(&[(alice, 100), (knock, 300)]),
        None,
        "a plain knock takes nothing of that away"
    );
    assert_eq!(after_deletion(&[(knock, 300), (alice, 100)]), None);
    assert_eq!(after_deletion(&[(alice, 100), (hand, 3000)]), Some((hand, 3001)));
    assert_eq!(after_deletion(&[(hand, 3000), (alice, 100)]), Some((hand, 3000)));
    assert_eq!(after_deletion(&[(alice, 100), (hand, 60)]), Some((hand, 61)), "the operator's own time");
    assert_eq!(after_deletion(&[(hand, 5), (alice, 100)]), None, "the operator's time is over");
    assert_eq!(after_deletion(&[(alice, 100), (bob, 50)]), Some((bob, 100)));
    assert_eq!(after_deletion(&[(knock, 100)]), Some((knock, 100)));
}

#[test]
fn a_user_who_expires_is_shut_out_then_and_the_daemon_wakes_for_it() {
    let house = House::with_user(|user| user.expires = Some(WALL_S + 20));
    empty(|access| {
        open(access, &at(0), &house, &asks(Opener::User(ALICE), CLIENT));
        // Somebody else's plain knock from his address gives it more time.
        open(access, &at(10), &house, &asks(Opener::Knock, CLIENT));
        assert_eq!(access.next_deadline(&at(10), &house), Some(at(20).now));
        assert_eq!(access.end_due(&at(19), &house), None);
        assert!(matches!(access.end_due(&at(20), &house), Some(End::Shut { cause: Cause::User, .. })));
    });
}

#[test]
fn each_ends_when_its_time_is_over_and_not_before() {
    let house = House::new();
    empty(|access| {
        open(access, &at(0), &house, &asks(Opener::Knock, CLIENT));
        open(access, &at(5), &house, &asks(Opener::Knock, STRANGER));
        assert_eq!(access.next_deadline(&at(5), &house), Some(at(30).now));
        assert_eq!(access.end_due(&at(29), &house), None);
        let Some(End::Shut { grant, cause }) = access.end_due(&at(30), &house) else { panic!("it is over") };
        assert_eq!((grant.address(), cause), (ip(CLIENT), Cause::TimeOver));
        assert_eq!(access.end_due(&at(30), &house), None);
        assert!(matches!(access.end(SSH, None, Cause::Stop), Some(End::Shut { cause: Cause::Stop, .. })));
        assert_eq!(access.end(SSH, None, Cause::Stop), None);
    });
}

#[test]
fn what_an_earlier_daemon_let_in_keeps_its_time_and_its_name() {
    let house = House::new();
    for (opener, left) in [(Opener::Knock, Some(20)), (Opener::User(ALICE), Some(20)), (Opener::Hand, None)] {
        empty(|access| {
            let left = left.map(Duration::from_secs);
            let adopted = Adopted { door: SSH, passage: ip(CLIENT).into(), left, opener, is_held: false };
            assert!(access.adopt(at(5).now, &house, &adopted));
            assert!(!access.adopt(at(5).now, &house, &adopted), "once");
            let grant = access.grant(SSH, ip(CLIENT)).unwrap();
            assert_eq!((grant.opener(at(6).now), grant.left(at(5).now)), (opener, left));
            assert!(grant.is_in_firewall() && grant.is_told());
            let gone = House { users: [None; 2], ..House::new() };
            let ends = access.end_due(&at(6), &gone).is_some();
            assert_eq!(ends, opener == Opener::User(ALICE));
        });
    }
}

#[test]
fn a_session_goes_on_while_connections_are_counted() {
    let house = House::with(|door| door.session = true);
    empty(|access| {
        open(access, &at(0), &house, &asks(Opener::Knock, CLIENT));
        assert!(!access.is_count_due(at(29).now) && access.is_count_due(at(30).now));
        access.count_connections(at(30).now, [1].into_iter());
        assert_eq!(access.end_due(&at(30), &house), None);
        assert_eq!(access.lease_due(at(30).now), Some((SSH, ip(CLIENT).into())));
        access.lease(at(30).now, SSH, ip(CLIENT));
        assert_eq!(access.lease_due(at(30).now), None, "the kernel has its time");
        access.count_connections(at(70).now, [0].into_iter());
        assert_eq!(access.lease_due(at(70).now), None, "it is over");
        assert!(matches!(access.end_due(&at(70), &house), Some(End::Shut { cause: Cause::TimeOver, .. })));
    });
}

#[test]
fn a_knock_renews_a_session_and_its_limit() {
    let house = House::with(|door| (door.session, door.max_time) = (true, Some(Duration::from_secs(60))));
    empty(|access| {
        open(access, &at(0), &house, &asks(Opener::Knock, CLIENT));
        open(access, &at(20), &house, &asks(Opener::Knock, CLIENT));
        access.count_connections(at(30).now, [0].into_iter());
        assert_eq!(access.end_due(&at(49), &house), None, "open_time runs from the second knock");
        access.count_connections(at(50).now, [1].into_iter());
        let grant = *access.grant(SSH, ip(CLIENT)).unwrap();
        assert_eq!(grant.until(), Some(at(51).now), "the connection is looked for each second");
        assert_eq!((grant.is_held(at(49).now), grant.is_held(at(50).now)), (false, true));
        let left = |s| grant.time_left(at(s).now).map(|left| left.as_secs());
        assert_eq!((left(49), left(50)), (Some(2), Some(30)));
        access.set_announced(SSH, ip(CLIENT).into(), true);
        access.count_connections(at(51).now, [1].into_iter());
        let until = access.grant(SSH, ip(CLIENT)).unwrap().until();
        assert_eq!(until, Some(at(80).now), "its end is announced, and max_time comes first");
        access.count_connections(at(80).now, [1].into_iter());
        assert!(access.end_due(&at(80), &house).is_some());
    });
}

/// The kernel shuts the door at the end of its own timer, so nothing is to be set anew before that.
#[test]
fn of_a_session_that_is_adopted_the_kernels_timer_is_known() {
    let house = House::with(|door| (door.session, door.max_time) = (true, Some(Duration::from_secs(20))));
    empty(|access| {
        let left = Some(Duration::from_secs(20));
        let (passage, opener, is_held) = (ip(CLIENT).into(), Opener::Knock, false);
        let adopted = Adopted { door: SSH, passage, left, opener, is_held };
        assert!(access.adopt(at(5).now, &house, &adopted));
        access.count_connections(at(23).now, [1].into_iter());
        assert_eq!(access.grant(SSH, ip(CLIENT)).unwrap().until(), Some(at(24).now));
        assert_eq!(access.lease_due(at(23).now), None);
    });
}

/// The kernel's timer of a session that only connections hold open tells nothing about the time that the door was opened for.
#[test]
fn a_session_that_outlived_its_time_ends_with_its_last_connection_also_after_a_crash() {
    let house = House::with(|door| (door.session, door.max_time) = (true, None));
    empty(|access| {
        let (passage, opener, left) = (ip(CLIENT).into(), Opener::Knock, Some(Duration::from_secs(55)));
        let adopted = Adopted { door: SSH, passage, left, opener, is_held: true };
        assert!(access.adopt(at(5).now, &house, &adopted));
        assert!(access.is_count_due(at(5).now), "whether it goes on is seen at once");
        access.count_connections(at(5).now, [1].into_iter());
        assert_eq!(access.end_due(&at(5), &house), None);
        access.count_connections(at(6).now, [0].into_iter());
        assert!(access.end_due(&at(6), &house).is_some());
    });
}

/// What the firewall keeps of a grant tells the next daemon whether its time was over.
#[test]
fn a_lease_says_whether_only_connections_hold_the_door_open() {
    let house = House::with(|door| (door.session, door.max_time) = (true, None));
    empty(|access| {
        open(access, &at(0), &house, &asks(Opener::Knock, CLIENT));
        let is_held = |s| access.lease(at(s).now, SSH, ip(CLIENT)).unwrap().is_held();
        assert_eq!([0, 29, 30, 90].map(is_held), [false, false, true, true]);
    });
}
