//! The quotas: no knocker and no user can use up the room of others.

use super::*;

fn host(n: u32) -> String {
    core::net::Ipv4Addr::from_bits(0x0a00_0000 + n).to_string()
}

/// An attacker who has overheard one door's sequence fills that door's quota, and no other.
#[test]
fn a_listener_at_a_plain_door_keeps_nobody_out_but_its_knockers() {
    let house = House::new();
    empty(|access| {
        let mut refusals = [0, 0];
        for n in 0..1000 {
            let moment = at(u64::from(n) / 44);
            match open(access, &moment, &house, &asks(Opener::Knock, &host(n))) {
                Decision::Refused(Refusal::GrantsFull) => refusals[0] += 1,
                Decision::Refused(Refusal::OpenRate) => refusals[1] += 1,
                _ => {}
            }
        }
        let now = at(22);
        assert_eq!(access.grants().len(), DOOR_KNOCK_GRANTS);
        assert_eq!(refusals, [1000 - DOOR_KNOCK_GRANTS, 0]);
        let other = OpenRequest { door: NAS, ..asks(Opener::Knock, CLIENT) };
        assert!(matches!(open(access, &now, &house, &other), Decision::Open(_)), "another door");
        for opener in [Opener::User(ALICE), Opener::Hand] {
            for n in 0..18 {
                let request = asks(opener, &host(50_000 + n));
                assert!(matches!(open(access, &now, &house, &request), Decision::Open(_)), "{n} {opener:?}");
                assert!(access.end(SSH, Some(request.address), Cause::Hand).is_some());
            }
        }
    });
}

#[test]
fn one_user_cannot_use_up_what_others_need_and_the_operator_has_no_quota() {
    let house = House::new();
    empty(|access| {
        let (mut opened, mut most) = (0, 0);
        for n in 0..100 {
            let decision = open(access, &at(u64::from(n)), &house, &asks(Opener::User(ALICE), &host(n)));
            opened += usize::from(matches!(decision, Decision::Open(_)));
            most = most.max(access.grants().len());
            while access.end_due(&at(u64::from(n)), &house).is_some() {}
        }
        assert_eq!(most, USER_GRANTS);
        assert!(opened > USER_GRANTS, "those whose time is over make room");
        assert!(matches!(open(access, &at(99), &house, &asks(Opener::User(BOB), CLIENT)), Decision::Open(_)));
        let room = crate::grants::MAX_GRANTS - access.grants().len();
        for n in 0..=u32::try_from(room).unwrap() {
            let decision = open(access, &at(99), &house, &asks(Opener::Hand, &host(90_000 + n)));
            let expected = usize::try_from(n).unwrap() < room;
            assert_eq!(matches!(decision, Decision::Open(_)), expected, "{n}: {decision:?}");
        }
    });
}

#[test]
fn commands_of_one_door_leave_room_for_users_and_a_start_that_waits_is_not_started_twice() {
    let house = House::new();
    for (opener, load, expected) in [
        (
            Opener::Knock,
            CommandLoad { is_starting: true, waiting_at_door: 0, free: 100 },
            Some(Decision::Unchanged),
        ),
        (
            Opener::Knock,
            CommandLoad { is_starting: false, waiting_at_door: DOOR_KNOCK_COMMANDS, free: 500 },
            Some(Decision::Refused(Refusal::CommandsFull)),
        ),
        (
            Opener::Knock,
            CommandLoad { is_starting: false, waiting_at_door: 0, free: COMMANDS_FOR_USERS + 1 },
            Some(Decision::Refused(Refusal::CommandsFull)),
        ),
        (
            Opener::Knock,
            CommandLoad { is_starting: false, waiting_at_door: 0, free: COMMANDS_FOR_USERS + 2 },
            None,
        ),
        (Opener::User(ALICE), CommandLoad { is_starting: false, waiting_at_door: 400, free: 2 }, None),
        (
            Opener::User(ALICE),
            CommandLoad { is_starting: false, waiting_at_door: 0, free: 1 },
            Some(Decision::Refused(Refusal::CommandsFull)),
        ),
    ] {
        empty(|access| {
            let decision = access.decide(&at(0), &house, &asks(opener, CLIENT), Some(load));
            match expected {
                Some(expected) => assert_eq!(decision, expected, "{opener:?} {load:?}"),
                None => assert!(matches!(decision, Decision::Open(_)), "{opener:?} {load:?} {decision:?}"),
            }
        });
    }
}

#[test]
fn what_users_and_the_operator_opened_takes_no_room_from_knockers() {
    let house = House::new();
    empty(|access| {
        for n in 0..40 {
            let opener = if n < 15 { Opener::User(ALICE) } else { Opener::Hand };
            open(access, &at(0), &house, &asks(opener, &host(1000 + n)));
        }
        assert_eq!(access.grants().len(), 40);
        for n in 0..=u32::try_from(DOOR_KNOCK_GRANTS).unwrap() {
            let decision = open(access, &at(0), &house, &asks(Opener::Knock, &host(n)));
            let has_room = usize::try_from(n).unwrap() < DOOR_KNOCK_GRANTS;
            assert_eq!(matches!(decision, Decision::Open(_)), has_room, "{n}: {decision:?}");
        }
    });
}

#[test]
fn knocks_open_a_door_so_many_times_at_once() {
    let house = House::new();
    empty(|access| {
        for n in 0..60 {
            let decision = open(access, &at(0), &house, &asks(Opener::Knock, &host(n)));
            match decision {
                Decision::Open(_) => assert!(n < 50 && access.end(SSH, None, Cause::Hand).is_some(), "{n}"),
                _ => {
                    assert!(n >= 50 && decision == Decision::Refused(Refusal::OpenRate), "{n}: {decision:?}");
                }
            }
        }
    });
}

#[test]
fn some_addresses_are_no_hosts() {
    for no_host in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "127.0.0.1", "::1", "255.255.255.255"] {
        assert!(!is_host(ip(no_host)), "{no_host}");
    }
    assert!([CLIENT, "10.0.0.1", "2001:db8::1", "fe80::1"].into_iter().all(|host| is_host(ip(host))));
}
