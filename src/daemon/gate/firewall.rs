//! A grant's way into the firewall and out of it, however often that takes.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use log::{error, info, trace};

use super::Gate;
use crate::config::Door;
use crate::core::counters::{Counter, Counters, Event};
use crate::core::door::DoorId;
use crate::core::grants::Grant;
use crate::core::time::Instant;
use crate::daemon::jobs::{Job, JobKind};
use crate::firewall::error::NftError;
use crate::firewall::sets::Sets;

/// How soon a change that the firewall refused is tried again, besides at once when its tables change.
const RETRY: Duration = Duration::from_millis(500);

/// How often the firewall has been asked to let somebody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::daemon) enum Attempt {
    /// For the first time since he knocked.
    First,
    /// Its tables changed.
    Restore,
    /// It refused last time.
    Retry,
}

impl Gate {
    /// Gets the grant of `address` into the firewall, now or later. Only the first failure is logged: it may
    /// be tried again for days.
    pub(in crate::daemon) fn admit(
        &mut self,
        now: Instant,
        counters: &mut Counters,
        door: &Rc<Door>,
        id: DoorId,
        address: IpAddr,
        attempt: Attempt,
    ) {
        self.leaving.cancel(&door.name, address);
        let Some(grant) = self.grants.get_mut(&self.keyed, id, address) else { return };
        let lease = grant.lease(now);
        if let (Some(session), Some(lease)) = (&mut grant.session, lease) {
            session.leased = now.after(lease);
        }
        let (Some(sets), true) = (self.backend.sets(), door.opening.is_some()) else {
            let renewed = std::mem::replace(&mut grant.in_firewall, true);
            if renewed && self.backend.iptables().is_some_and(|it| it.sets) && self.has_room(1) {
                self.push(now, Job { door: Rc::clone(door), address, kind: JobKind::Renew, lease });
            }
            return;
        };
        match sets.open(&**door, address, lease, grant.in_firewall) {
            Ok(()) => {
                grant.in_firewall = true;
                if attempt != Attempt::First {
                    info!("{address}: {}: let in, now that the firewall can", door.name);
                }
            }
            Err(error) => {
                grant.in_firewall = false;
                counters.count(Counter::Event(Event::FirewallError));
                self.retry = Some(now.after(RETRY));
                if attempt == Attempt::Retry {
                    trace!("{address}: {}: {error}", door.name);
                } else {
                    self.complain(now, door, address, &error);
                }
            }
        }
    }

    /// Gets `grant`, which is over, out of the firewall.
    pub(super) fn expel(&mut self, now: Instant, counters: &mut Counters, door: &Rc<Door>, grant: Grant) {
        if door.opening.is_some()
            && let Some(sets) = self.backend.sets()
        {
            match Sets::shut(sets, &**door, grant.address) {
                // What is not there lets nobody in.
                Ok(()) | Err(NftError::MissingSet { .. } | NftError::MissingTable { .. }) => {}
                Err(error) => {
                    counters.count(Counter::Event(Event::FirewallError));
                    self.complain(now, door, grant.address, &error);
                    self.leaving.add(door, grant.address);
                    self.retry = Some(now.after(RETRY));
                }
            }
        }
        self.cut(door, grant.address);
        if self.needs_jobs(door) {
            self.stop(now, door, grant.address);
        }
    }

    /// Tries again to get those out whom the firewall would not let go.
    pub(super) fn retry_leaving(&mut self, now: Instant) {
        let Self { leaving, backend, .. } = self;
        let Some(sets) = backend.sets() else { return };
        leaving.retry(|door, address| match sets.shut(door, address) {
            Ok(()) | Err(NftError::MissingSet { .. } | NftError::MissingTable { .. }) => {
                info!("{address}: {}: shut, now that the firewall can", door.name);
                true
            }
            Err(error) => {
                trace!("{address}: {}: {error}", door.name);
                false
            }
        });
        if !leaving.is_empty() {
            self.retry = Some(now.after(RETRY));
        }
    }

    fn complain(&mut self, now: Instant, door: &Door, address: IpAddr, error: &NftError) {
        if self.complaints.allow(now) {
            error!("{address}: {}: {error}", door.name);
        }
    }
}
