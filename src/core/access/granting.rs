//! Grants on their way into the table and into the firewall.

use core::hash::BuildHasher;
use core::time::Duration;

use super::sessions::session_of;
use super::{Access, AccessTables, Close, Opening, Policy};
use crate::door::DoorId;
use crate::grants::{Grant, Opener};
use crate::moment::Moment;
use crate::passage::Passage;
use crate::session::{MARGIN, Session};
use crate::time::Instant;

/// The element that the firewall must have for a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The kernel's timer; `None` means no timer.
    pub(crate) time: Option<Duration>,
    /// Whether the firewall is believed to have the grant already.
    pub(crate) is_there: bool,
    /// The opener. A restarted daemon reads it from the firewall.
    pub(crate) opener: Opener,
    /// Whether the grant's time is over, and only connections hold it open. A restarted daemon reads it from the firewall.
    pub(crate) is_held: bool,
}

impl Lease {
    /// The kernel's timer; `None` means no timer.
    pub const fn time(&self) -> Option<Duration> {
        self.time
    }

    /// Whether the firewall is believed to have the grant already.
    pub const fn is_there(&self) -> bool {
        self.is_there
    }

    /// The opener. A restarted daemon reads it from the firewall.
    pub const fn opener(&self) -> Opener {
        self.opener
    }

    /// Whether the grant's time is over, and only connections hold it open.
    pub const fn is_held(&self) -> bool {
        self.is_held
    }
}

/// A grant that an earlier daemon made, as the firewall has kept it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The door.
    pub door: DoorId,
    /// The address that is let in, and its port.
    pub passage: Passage,
    /// The time that the kernel's timer has left; `None` means no timer.
    pub left: Option<Duration>,
    /// The opener, from the element's comment.
    pub opener: Opener,
    /// Whether the grant's own time was over, and only connections held it open.
    pub is_held: bool,
}

impl<S: BuildHasher> Access<'_, S> {
    /// Takes an opening into the table, just before the firewall is asked.
    pub fn commit(&mut self, moment: &Moment, policy: &impl Policy, opening: &Opening) {
        let Opening { opener, door, time, is_new, is_momentary, .. } = *opening;
        if is_momentary {
            return;
        }
        let (now, passage) = (moment.now, opening.passage());
        let until = time.map(|time| now.after(time));
        let AccessTables { grants, .. } = &mut *self.tables;
        if is_new {
            // `decide` found a free place, and no grant was added since.
            let _ = grants.insert(&self.keyed, Grant::new(now, door, passage, until));
        }
        let Some(grant) = grants.get_mut(&self.keyed, door, passage) else { return };
        grant.claim(now, opener, until);
        let close = policy.door(door).map_or(Close::Timeout, |rules| rules.close);
        grant.set_session(session_of(now, close, time, grant.session()));
    }

    /// The element that the firewall must have for this grant now.
    pub fn lease(&mut self, now: Instant, door: DoorId, passage: impl Into<Passage>) -> Option<Lease> {
        let grant = self.tables.grants.get_mut(&self.keyed, door, passage)?;
        let lease = Lease {
            time: grant.lease(now),
            is_there: grant.is_in_firewall(),
            opener: grant.opener(now),
            is_held: grant.is_held(now),
        };
        if let (Some(session), Some(time)) = (grant.session_mut(), lease.time) {
            session.leased = now.after(time);
        }
        Some(lease)
    }

    /// The firewall has the grant. The first call for a grant returns it: only now is the door open, and only now may the
    /// daemon say so.
    pub fn confirm(&mut self, door: DoorId, passage: impl Into<Passage>) -> Option<Grant> {
        let grant = self.tables.grants.get_mut(&self.keyed, door, passage)?;
        grant.set_in_firewall(true);
        if grant.tell() { None } else { Some(*grant) }
    }

    /// The firewall does not have the grant, which is to be tried again.
    pub fn reject(&mut self, door: DoorId, passage: impl Into<Passage>) {
        if let Some(grant) = self.tables.grants.get_mut(&self.keyed, door, passage) {
            grant.set_in_firewall(false);
        }
    }

    /// Takes over a grant of an earlier daemon. Of a session the kernel's timer is known, but not when it began. If its own time
    /// was over, it ends at the first count that finds no connection. Returns whether the grant was added: its door must
    /// exist, its passage must be new, and there must be room.
    pub fn adopt(&mut self, now: Instant, policy: &impl Policy, adopted: &Adopted) -> bool {
        let Adopted { door, passage, left, opener, is_held } = *adopted;
        let Some(rules) = policy.door(door) else { return false };
        let until = left.map(|left| now.after(left));
        let mut grant = Grant::new(now, door, passage, until);
        grant.claim(now, opener, until);
        grant.set_in_firewall(true);
        grant.tell();
        if let (Close::Session { max }, Some(left), Some(until)) = (rules.close, left, until) {
            let time = if is_held { Duration::ZERO } else { left.saturating_sub(MARGIN) };
            grant.set_session(Some(Session { leased: until, ..Session::new(now, time, max) }));
            grant.set_until(Some(now.after(time)));
        }
        let AccessTables { grants, .. } = &mut *self.tables;
        grants.get(&self.keyed, door, passage).is_none() && grants.insert(&self.keyed, grant).is_ok()
    }

    /// The firewall was loaded anew. From now on it has only the grants that [`Self::confirm`] names.
    pub fn forget_firewall(&mut self) {
        self.tables.grants.iter_mut().for_each(|grant| grant.set_in_firewall(false));
    }
}
