//! Claims of openers, and the table against a map.

use core::net::Ipv4Addr;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::testing::Keyed;

const DOOR: DoorId = DoorId(3);

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn host(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(n))
}

fn keyed() -> Keyed {
    Keyed::default()
}

fn until(grant: &Grant) -> Option<u64> {
    grant.until.map(Instant::as_millis)
}

#[test]
fn renewing_lengthens_never_shortens_and_not_too_often() {
    let mut grant = Grant::new(at(0), DOOR, host(1), Some(at(30_000)));
    let mut renew = |ms, end: Option<u64>| {
        let end = end.map(at);
        let changes = grant.is_renewed_by(at(ms), Opener::Knock, end);
        if changes {
            grant.claim(at(ms), Opener::Knock, end);
        }
        (changes, until(&grant))
    };
    assert_eq!(renew(50, Some(30_100)), (false, Some(30_000)));
    assert_eq!(renew(99, Some(30_099)), (false, Some(30_000)));
    assert_eq!(renew(100, Some(30_100)), (true, Some(30_100)));
    assert_eq!(renew(150, Some(31_150)), (true, Some(31_150)), "much more time is given at once");
    assert_eq!(renew(200, Some(30_200)), (false, Some(31_150)));
    assert_eq!(renew(1000, Some(2000)), (true, Some(31_150)));
    assert_eq!(renew(2000, None), (true, None));
    assert_eq!(renew(3000, Some(33_000)), (true, None));
}

#[test]
fn a_weaker_opener_takes_nothing_off() {
    let (alice, bob) = (UserId(1), UserId(2));
    let mut grant = Grant::new(at(0), DOOR, host(1), Some(at(0)));
    let mut claims = |claims: &[(Opener, u64)]| {
        for (opener, ms) in claims {
            grant.claim(at(1), *opener, Some(at(*ms)));
        }
        grant.opener(at(1))
    };
    assert_eq!(claims(&[(Opener::Knock, 10)]), Opener::Knock);
    assert_eq!(claims(&[(Opener::User(alice), 20), (Opener::Knock, 30)]), Opener::User(alice));
    assert_eq!(claims(&[(Opener::User(bob), 30)]), Opener::User(bob));
    assert_eq!(claims(&[(Opener::Hand, 25)]), Opener::User(bob), "the operator's time ends first");
    assert_eq!(claims(&[(Opener::Hand, 40), (Opener::Knock, 35)]), Opener::Hand);
    assert!(grant.disown(at(2)));
    assert_eq!((until(&grant), grant.opener(at(2))), (Some(40), Opener::Hand));
    assert!(grant.is_by_hand(at(39)) && !grant.is_by_hand(at(40)));
    assert!(!grant.disown(at(40)), "the operator's time is over");
    let mut grant = Grant::new(at(0), DOOR, host(1), Some(at(0)));
    grant.claim(at(1), Opener::Hand, Some(at(20)));
    grant.claim(at(1), Opener::Knock, Some(at(30)));
    assert_eq!([19, 20].map(|ms| grant.opener(at(ms))), [Opener::Hand, Opener::Knock]);
}

#[test]
fn a_new_name_is_taken_at_once() {
    let mut grant = Grant::new(at(0), DOOR, host(1), Some(at(30_000)));
    let user = Opener::User(UserId(1));
    assert!(!grant.is_renewed_by(at(1), Opener::Knock, Some(at(30_001))));
    assert!(grant.is_renewed_by(at(1), user, Some(at(30_001))));
    grant.claim(at(1), user, Some(at(30_001)));
    assert!(!grant.is_renewed_by(at(2), user, Some(at(30_002))));
    assert!(grant.is_renewed_by(at(2), Opener::Hand, Some(at(20_000))));
}

proptest! {
    /// Against a map.
    #[test]
    fn behaves_like_a_map(operations in prop::collection::vec((0..2_u8, 0..2_u8, 0..300_u32), 0..700)) {
        let (mut grants, mut model) = (Grants::new(), BTreeMap::new());
        for (step, (operation, door, n)) in operations.into_iter().enumerate() {
            let (door, address) = (DoorId(door), host(n));
            let end = Some(at(step as u64));
            if operation == 0 && !model.contains_key(&(door, address)) {
                let inserted = grants.insert(&keyed(), Grant::new(at(0), door, address, end)).is_ok();
                prop_assert_eq!(inserted, model.len() < MAX_GRANTS);
                if inserted {
                    model.insert((door, address), step as u64);
                }
            } else {
                let removed = grants.remove(&keyed(), door, address);
                prop_assert_eq!(removed.as_ref().and_then(until), model.remove(&(door, address)));
            }
            prop_assert_eq!(grants.get(&keyed(), door, address).and_then(until), model.get(&(door, address)).copied());
            prop_assert_eq!(grants.len(), model.len());
            prop_assert_eq!(grants.next_deadline().map(Instant::as_millis), model.values().min().copied());
        }
    }
}
