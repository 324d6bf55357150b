//! Restores grants after the firewall was loaded anew, and adopts grants when the daemon starts.

use std::rc::Rc;

use log::{debug, info, warn};

use super::gate::{Leaver, Occasion, lets_nobody_in};
use super::household::Household;
use super::porter::Porter;
use crate::core::access::{Adopted, Policy as _};
use crate::core::grants::{Grant, Opener};
use crate::core::moment::Moment;
use crate::core::network::AddressFamily;
use crate::core::time::Instant;
use crate::firewall::nft::{ElementNote, OpenedBy, SecretsId};

impl Porter<'_> {
    /// Puts back the grants that the firewall has lost, with their remaining time. Call it when the firewall's tables
    /// changed.
    pub(super) fn restore(&mut self, moment: &Moment) {
        let Self { keeper, household, gate, .. } = self;
        self.watch.on_change(moment.now);
        gate.own.mend(moment.now, &household.slots);
        let Some(sets) = gate.backend_mut().sets() else { return };
        keeper.access.forget_firewall();
        for (id, door) in household.slots.iter().filter(|(_, door)| door.opens_ports()) {
            if !keeper.access.grants().iter().any(|grant| grant.door() == id) {
                continue;
            }
            let mut there = Vec::new();
            for family in AddressFamily::ALL {
                // A set that cannot be listed counts as empty.
                let _ = sets.list(&**door, family, &mut |element| there.push(element.passage));
            }
            for passage in there {
                if keeper.access.grant(id, passage).is_some_and(Grant::is_told) {
                    keeper.access.confirm(id, passage);
                }
            }
        }
        self.put_waiting(moment, Occasion::Restore);
    }

    /// Makes the daemon's own chains again if another program changed them, and inserts rules that were lost.
    pub(super) fn mend_chains(&mut self, now: Instant) {
        let Self { gate, watch, .. } = self;
        if !gate.chains.is_used() {
            return;
        }
        if gate.mend_chains(now) {
            watch.on_change(now);
        }
        self.restore_rules(now);
    }

    /// Inserts the rules of open doors again if iptables has lost them, at a reload. fw3's include asks for a reload when fw3
    /// has made its chains anew.
    pub(super) fn restore_rules(&mut self, now: Instant) {
        let Self { keeper, household, gate, .. } = self;
        let access = &mut keeper.access;
        if access.grants().is_empty() || !gate.are_rules_done() || !gate.are_rules_gone() {
            return;
        }
        let all: Vec<_> = access.grants().iter().map(|grant| (grant.door(), grant.passage())).collect();
        for (id, passage) in all {
            let Some(door) = household.slots.get(id).filter(|door| door.opens_ports()) else { continue };
            let Some(lease) = access.lease(now, id, passage) else { continue };
            gate.restore_rules(door, passage, lease.time());
        }
    }

    /// Adopts the sets' elements, which an earlier run of the daemon added. Elements of users who may no longer open
    /// the door are removed.
    pub(super) fn adopt(&mut self, moment: &Moment) {
        let Self { keeper, household, gate, .. } = self;
        let mut strays = Vec::new();
        for (id, door) in household.slots.iter().filter(|(_, door)| door.opens_ports()) {
            let mut there = Vec::new();
            for family in AddressFamily::ALL {
                let Some(sets) = gate.backend_mut().sets() else { return };
                let listed = sets.list(&**door, family, &mut |element| {
                    let ElementNote { by, is_held } = element.note;
                    there.push((element.passage, element.left, opener(household, by), is_held));
                });
                match listed {
                    Ok(()) => {}
                    Err(error) if lets_nobody_in(&error) => debug!("{}: {error}", door.name),
                    Err(error) => {
                        warn!(
                            "{}: addresses that were let in before this start may stay in: {error}",
                            door.name
                        );
                    }
                }
            }
            let mut adopted = 0;
            for (passage, left, opener, is_held) in there {
                let may = match opener {
                    Some(Opener::User(user)) => household
                        .user(user)
                        .is_some_and(|rules| rules.may_open(id) && !rules.is_expired(moment.wall_s)),
                    Some(_) => true,
                    None => false,
                };
                if !may {
                    info!("{passage}: {}: shut: its user may not open it any more", door.name);
                    strays.push(Leaver { door: Rc::clone(door), passage, is_timed_out: false });
                } else if let Some(opener) = opener
                    && keeper.access.adopt(
                        moment.now,
                        household,
                        &Adopted { door: id, passage, left, opener, is_held },
                    )
                {
                    gate.adopt(door, passage);
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

/// The opener that an element names; `None` if it is a user who no longer exists or has other secrets now.
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
