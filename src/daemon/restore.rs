//! Firewalls that were loaded anew, and daemons that were: who is in stays in.

use std::rc::Rc;
use std::time::Duration;

use log::{debug, info};

use super::gate::{Attempt, Leaver};
use super::household::Household;
use super::porter::Porter;
use crate::core::access::{Adopted, Policy as _};
use crate::core::grants::{Grant, Opener};
use crate::core::moment::Moment;
use crate::core::network::AddressFamily;
use crate::core::time::Instant;
use crate::firewall::nft::{OpenedBy, SecretsId};
use crate::firewall::sweep;

/// How long to look for lost rules of iptables, at most: packets wait meanwhile.
const LOOK: Duration = Duration::from_secs(10);

impl Porter<'_> {
    /// Puts everybody back who is in and whom the firewall has lost, with the time that is left. To be
    /// called when its tables changed.
    pub(super) fn restore(&mut self, moment: &Moment) {
        let Self { keeper, household, gate, .. } = self;
        self.watch.on_change(moment.now);
        if gate.own.mend(moment.now, &household.slots) {
            // That was this daemon's own doing.
            gate.backend_mut().changed();
        }
        let Some(sets) = gate.backend_mut().sets() else { return };
        keeper.access.forget_firewall();
        for (id, door) in household.slots.iter().filter(|(_, door)| door.opening.is_some()) {
            if !keeper.access.grants().iter().any(|grant| grant.door() == id) {
                continue;
            }
            let mut there = Vec::new();
            for family in AddressFamily::ALL {
                // A set that cannot be listed has lost everybody, as far as anyone knows.
                let _ = sets.list(&**door, family, &mut |element| there.push(element.address));
            }
            for address in there {
                if keeper.access.grant(id, address).is_some_and(Grant::is_told) {
                    keeper.access.confirm(id, address);
                }
            }
        }
        self.put_waiting(moment, Attempt::Restore);
    }

    /// The same for iptables, when a reload is asked for: that is how fw3's include says that it has made its
    /// chains anew.
    pub(super) fn restore_rules(&mut self, now: Instant) {
        let Self { keeper, household, gate, .. } = self;
        let Some(iptables) = gate.backend().iptables() else { return };
        let access = &mut keeper.access;
        if access.grants().is_empty() || !gate.are_rules_done() || !sweep::all_gone(iptables, LOOK) {
            return;
        }
        let all: Vec<_> = access.grants().iter().map(|grant| (grant.door(), grant.address())).collect();
        for (id, address) in all {
            let Some(door) = household.slots.get(id).filter(|door| door.opening.is_some()) else { continue };
            let Some(lease) = access.lease(now, id, address) else { continue };
            gate.restore_rules(door, address, lease.time);
        }
    }

    /// Takes over who is in the sets already: a daemon before this one let them in. A user who may not open the door any
    /// more is shut out.
    pub(super) fn adopt(&mut self, moment: &Moment) {
        let Self { keeper, household, gate, .. } = self;
        let mut strays = Vec::new();
        for (id, door) in household.slots.iter().filter(|(_, door)| door.opening.is_some()) {
            let mut there = Vec::new();
            for family in AddressFamily::ALL {
                let Some(sets) = gate.backend_mut().sets() else { return };
                let listed = sets.list(&**door, family, &mut |element| {
                    there.push((element.address, element.left, opener(household, element.by)));
                });
                if let Err(error) = listed {
                    debug!("{}: {error}", door.name);
                }
            }
            let mut adopted = 0;
            for (address, left, opener) in there {
                let may = match opener {
                    Some(Opener::User(user)) => household
                        .user(user)
                        .is_some_and(|rules| rules.may_open(id) && !rules.is_expired(moment.wall_s)),
                    Some(_) => true,
                    None => false,
                };
                if !may {
                    info!("{address}: {}: shut: its user may not open it any more", door.name);
                    strays.push(Leaver { door: Rc::clone(door), address, is_timed_out: false });
                } else if let Some(opener) = opener
                    && keeper.access.adopt(
                        moment.now,
                        household,
                        &Adopted { door: id, address, left, opener },
                    )
                {
                    adopted += 1;
                }
            }
            if adopted > 0 {
                info!("{}: adopted {adopted} open from before", door.name);
            }
        }
        if !strays.is_empty() {
            gate.shut(moment.now, &strays);
        }
        self.watch_connections(moment);
    }
}

/// Who opened a door; none for a user who is not there any more, or has other secrets now.
fn opener(household: &Household, by: OpenedBy<'_>) -> Option<Opener> {
    match by {
        OpenedBy::Knock => Some(Opener::Knock),
        OpenedBy::User(name, secrets) => {
            let user = household.users.find(name)?;
            let has_them = secrets == SecretsId::default() || secrets == household.users.secrets(user);
            has_them.then_some(Opener::User(user))
        }
        OpenedBy::Hand => Some(Opener::Hand),
    }
}
