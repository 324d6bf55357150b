//! Grants on their way into the table and into the firewall.

use core::hash::BuildHasher;
use core::net::IpAddr;
use core::time::Duration;

use super::sessions::session_of;
use super::{Access, Close, Opening, Policy, Tables};
use crate::door::DoorId;
use crate::grants::{Grant, Opener};
use crate::moment::Moment;
use crate::session::{MARGIN, Session};
use crate::time::Instant;

/// What the firewall is to give a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The kernel's timer; `None`: no end.
    pub time: Option<Duration>,
    /// Whether the firewall is believed to have the grant already.
    pub is_there: bool,
    /// Who opened it: a restarted daemon reads this from the firewall.
    pub opener: Opener,
}

/// What an earlier daemon opened, as the firewall has kept it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The door.
    pub door: DoorId,
    /// For whom: an address, or the first one of a network.
    pub address: IpAddr,
    /// The time that the kernel's timer has left; `None`: no end.
    pub left: Option<Duration>,
    /// Who opened it.
    pub opener: Opener,
}

impl<S: BuildHasher> Access<'_, S> {
    /// Takes an opening into the table, just before the firewall is asked.
    pub fn commit(&mut self, moment: &Moment, policy: &impl Policy, opening: &Opening) {
        let Opening { opener, door, address, time, is_new, is_momentary, .. } = *opening;
        if is_momentary {
            return;
        }
        let now = moment.now;
        let until = time.map(|time| now.after(time));
        let Tables { grants, .. } = &mut *self.tables;
        if is_new {
            // Decided with a place free, and nothing was let in since.
            let _ = grants.insert(&self.keyed, Grant::new(now, door, address, until));
        }
        let Some(grant) = grants.get_mut(&self.keyed, door, address) else { return };
        grant.claim(now, opener, until);
        let close = policy.door(door).map_or(Close::Timeout, |rules| rules.close);
        grant.set_session(session_of(now, close, time, grant.session()));
    }

    /// What the firewall is to give this grant now.
    pub fn lease(&mut self, now: Instant, door: DoorId, address: IpAddr) -> Option<Lease> {
        let grant = self.tables.grants.get_mut(&self.keyed, door, address)?;
        let lease =
            Lease { time: grant.lease(now), is_there: grant.is_in_firewall(), opener: grant.opener(now) };
        if let (Some(session), Some(time)) = (grant.session_mut(), lease.time) {
            session.leased = now.after(time);
        }
        Some(lease)
    }

    /// The firewall has the grant. The first time this gives it back: only now is the door open, and may be told.
    pub fn confirm(&mut self, door: DoorId, address: IpAddr) -> Option<Grant> {
        let grant = self.tables.grants.get_mut(&self.keyed, door, address)?;
        grant.set_in_firewall(true);
        if grant.tell() { None } else { Some(*grant) }
    }

    /// The firewall does not have the grant, which is to be tried again.
    pub fn reject(&mut self, door: DoorId, address: IpAddr) {
        if let Some(grant) = self.tables.grants.get_mut(&self.keyed, door, address) {
            grant.set_in_firewall(false);
        }
    }

    /// Takes over what an earlier daemon opened. Of a session only the kernel's timer is known, not when it was opened.
    /// Whether there was room.
    pub fn adopt(&mut self, now: Instant, policy: &impl Policy, adopted: &Adopted) -> bool {
        let Adopted { door, address, left, opener } = *adopted;
        let Some(rules) = policy.door(door) else { return false };
        let until = left.map(|left| now.after(left));
        let mut grant = Grant::new(now, door, address, until);
        grant.claim(now, opener, until);
        grant.set_in_firewall(true);
        grant.tell();
        if let (Close::Session { max }, Some(left), Some(until)) = (rules.close, left, until) {
            let time = left.saturating_sub(MARGIN);
            grant.set_session(Some(Session { leased: until, ..Session::new(now, time, max) }));
            grant.set_until(Some(now.after(time)));
        }
        let Tables { grants, .. } = &mut *self.tables;
        grants.get(&self.keyed, door, address).is_none() && grants.insert(&self.keyed, grant).is_ok()
    }

    /// The firewall was loaded anew: it has only what [`Self::confirm`] names from now on.
    pub fn forget_firewall(&mut self) {
        self.tables.grants.iter_mut().for_each(|grant| grant.set_in_firewall(false));
    }
}
