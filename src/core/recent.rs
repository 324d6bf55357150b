//! The last judgements of knocks. The page and `ketukd status` show them to explain why a door did not open; no
//! decision depends on them.
//!
//! Each source has one entry for each door: a new judgement replaces the one before. The entries are in two halves. One half
//! is for users, and for sources that have taken two steps, which guessing seldom does. The other half is for strangers. So a
//! flood of forged first knocks or packets fills only the strangers' half.

use core::net::IpAddr;

use super::door::DoorId;
use super::reason::KnockReport;
use super::time::Instant;
use super::user::UserId;

/// Entries in each half, as many as fit on one screen. Noting a judgement searches these entries only.
pub const ENTRIES: usize = 16;

/// A source that has taken this many steps counts as known.
const KNOWN_STAGE: u8 = 2;

/// A judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recent {
    /// The source of the knock.
    pub source: IpAddr,
    /// The door; `None` if the knock named no door that this user may open.
    pub door: Option<DoorId>,
    /// The user, if the knock proved one.
    pub user: Option<UserId>,
    /// The result of it.
    pub report: KnockReport,
    /// How many times in a row this result came.
    pub times: u32,
    /// When it came last.
    pub at: Instant,
}

/// The last judgements.
#[derive(Clone, Debug)]
pub struct Recents {
    known: Half,
    strangers: Half,
}

type Half = heapless::Vec<Recent, ENTRIES>;

impl Recents {
    /// No judgements yet.
    pub const fn new() -> Self {
        Self { known: Half::new(), strangers: Half::new() }
    }

    /// Adds a judgement and counts its `times`. If its half is full, the oldest entry there is removed.
    pub fn note(&mut self, mut new: Recent) {
        new.times = 1;
        let is_same = |old: &Recent| (old.source, old.door, old.user) == (new.source, new.door, new.user);
        let was_known = self.known.iter().position(is_same);
        // A known source stays in its half when it begins again.
        let is_known = new.user.is_some() || new.report.stage >= KNOWN_STAGE;
        let half = if was_known.is_some() || is_known {
            if let Some(at) = self.strangers.iter().position(is_same) {
                self.strangers.remove(at);
            }
            &mut self.known
        } else {
            &mut self.strangers
        };
        if let Some(old) = half.iter_mut().find(|old| is_same(old)) {
            let is_again = (old.report.reason, old.report.port) == (new.report.reason, new.report.port);
            if is_again {
                new.times = old.times.saturating_add(1);
            }
            *old = new;
        } else if let Err(new) = half.push(new) {
            let oldest = half.iter_mut().min_by_key(|old| old.at).expect("it is full");
            *oldest = new;
        }
    }

    /// Removes the entries of a door, whose slot another door may get.
    pub fn forget(&mut self, door: DoorId) {
        self.retain(|entry| entry.door != Some(door));
    }

    /// Removes the entries of a user, whose slot another user may get.
    pub fn forget_user(&mut self, user: UserId) {
        self.retain(|entry| entry.user != Some(user));
    }

    fn retain(&mut self, stays: impl Fn(&Recent) -> bool) {
        self.known.retain(&stays);
        self.strangers.retain(&stays);
    }

    /// All, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Recent> {
        self.known.iter().chain(&self.strangers)
    }
}

impl Default for Recents {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::counters::Judged;
    use super::super::reason::{KnockedPort, Reason};
    use super::super::sequence::Protocol;
    use super::*;
    use core::net::Ipv4Addr;

    fn knock(source: u32, stage: u8, at: u64) -> Recent {
        Recent {
            source: IpAddr::V4(Ipv4Addr::from_bits(source)),
            door: Some(DoorId(0)),
            user: None,
            report: KnockReport {
                reason: Reason::Judged(Judged::Trap),
                port: Some(KnockedPort { port: 7000, protocol: Protocol::Tcp }),
                stage,
                steps: 3,
                due: None,
            },
            times: 0,
            at: Instant::from_millis(at),
        }
    }

    #[test]
    fn a_source_has_one_entry_a_door_and_repeats_are_counted() {
        let mut recents = Recents::new();
        for at in 0..1000 {
            recents.note(knock(1, 1, at));
        }
        assert_eq!(recents.iter().map(|entry| entry.times).collect::<Vec<_>>(), [1000]);
        let mut right = knock(1, 1, 1000);
        right.report.reason = Reason::Judged(Judged::Advanced);
        recents.note(right);
        recents.note(Recent { door: Some(DoorId(1)), ..knock(1, 1, 1001) });
        assert_eq!(recents.iter().map(|entry| entry.times).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn a_flood_of_first_knocks_leaves_those_alone_who_got_further() {
        let mut recents = Recents::new();
        recents.note(knock(1, 2, 0));
        // After a new beginning it is still the same person.
        recents.note(knock(1, 1, 1));
        recents.note(Recent { user: Some(UserId(0)), door: None, ..knock(1, 0, 1) });
        for source in 2..100_000 {
            recents.note(knock(source, 1, source.into()));
        }
        assert_eq!(recents.iter().count(), ENTRIES + 2);
        assert!(recents.iter().any(|entry| *entry == Recent { times: 2, ..knock(1, 1, 1) }));
        assert!(recents.iter().any(|entry| entry.user.is_some()));
        // Of the strangers, the last.
        assert!(recents.iter().skip(2).all(|entry| entry.at >= Instant::from_millis(100_000 - 16)));
    }

    #[test]
    fn who_gets_further_moves_over_and_the_oldest_goes() {
        let mut recents = Recents::new();
        for source in 1..=17 {
            recents.note(knock(source, 1, source.into()));
            recents.note(knock(source, 2, source.into()));
        }
        let sources: Vec<_> = recents.iter().map(|entry| entry.at.as_millis()).collect();
        assert_eq!((sources.len(), sources.iter().min()), (ENTRIES, Some(&2)));
    }

    #[test]
    fn a_door_is_forgotten() {
        let mut recents = Recents::new();
        recents.note(knock(1, 2, 0));
        recents.note(Recent { door: Some(DoorId(1)), ..knock(2, 1, 0) });
        recents.forget(DoorId(0));
        assert_eq!(recents.iter().map(|entry| entry.door).collect::<Vec<_>>(), [Some(DoorId(1))]);
        recents.note(Recent { user: Some(UserId(3)), door: None, ..knock(3, 0, 0) });
        recents.forget_user(UserId(3));
        assert_eq!(recents.iter().map(|entry| entry.user).collect::<Vec<_>>(), [None]);
    }
}
