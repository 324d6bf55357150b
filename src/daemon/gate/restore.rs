//! Firewalls that were loaded anew, and daemons that were: who is in stays in.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use log::{Level, debug, info, log, warn};

use super::{Attempt, Gate};
use crate::config::{Close, Door};
use crate::core::counters::Counters;
use crate::core::door::DoorId;
use crate::core::grants::{Grant, MAX_GRANTS, Opened};
use crate::core::network::AddressFamily;
use crate::core::session::{MARGIN, Session};
use crate::core::time::Instant;
use crate::daemon::jobs::{Job, JobKind};
use crate::daemon::slots::Slots;
use crate::firewall::error::NftError;
use crate::firewall::sweep;

/// How long to look for lost rules of iptables, at most: packets wait meanwhile.
const LOOK: Duration = Duration::from_secs(10);

impl Gate {
    /// Puts everybody back who is in and whom the firewall has lost, with the time that is left. To be
    /// called when its tables changed.
    pub fn restore(&mut self, now: Instant, counters: &mut Counters, slots: &Slots) {
        self.load_cuts(slots, false);
        let Self { keyed, grants, backend, .. } = self;
        let Some(sets) = backend.sets() else { return };
        grants.iter_mut().for_each(|grant| grant.in_firewall = false);
        for (id, door) in slots.iter().filter(|(_, door)| door.opening.is_some()) {
            if !grants.iter().any(|grant| grant.door == id) {
                continue;
            }
            for family in AddressFamily::ALL {
                // A set that cannot be listed has lost everybody, as far as anyone knows.
                let _ = sets.list(&**door, family, &mut |element| {
                    let address = element.address;
                    if let Some(grant) = grants.get_mut(keyed, id, address) {
                        grant.in_firewall = true;
                    }
                });
            }
        }
        self.admit_waiting(now, counters, slots, Attempt::Restore);
    }

    /// The same for iptables, when a reload is asked for: that is how fw3's include says that it has made its
    /// chains anew.
    pub fn restore_rules(&mut self, now: Instant, slots: &Slots) {
        let Some(iptables) = self.backend.iptables() else { return };
        if self.grants.iter().next().is_none()
            || !self.jobs.are_rules_done()
            || !sweep::all_gone(iptables, LOOK)
        {
            return;
        }
        for grant in self.grants.iter().copied().collect::<heapless::Vec<Grant, MAX_GRANTS>>() {
            let room = self.has_room(1);
            if let Some(door) = slots.get(grant.door).filter(|door| room && door.opening.is_some()) {
                let (door, address, lease) = (Rc::clone(door), grant.address, grant.lease(now));
                self.push(now, Job { door, address, kind: JobKind::Restore, lease });
            }
        }
    }

    /// Takes over who is in the sets already: a daemon before this one let them in.
    pub fn adopt(&mut self, now: Instant, slots: &Slots) {
        let Self { keyed, grants, backend, .. } = self;
        let Some(sets) = backend.sets() else { return };
        for (id, door) in slots.iter().filter(|(_, door)| door.opening.is_some()) {
            let mut adopted = 0;
            for family in AddressFamily::ALL {
                let listed = sets.list(&**door, family, &mut |element| {
                    let (address, left) = (element.address, element.left);
                    if grants.open(keyed, now, id, address, left) == Opened::New {
                        adopted += 1;
                        if let Some(grant) = grants.get_mut(keyed, id, address) {
                            grant.in_firewall = true;
                            adopt_session(now, door, grant);
                        }
                    }
                });
                if let Err(error) = listed {
                    debug!("{}: {error}", door.name);
                }
            }
            if adopted > 0 {
                info!("{}: adopted {adopted} open from before", door.name);
            }
        }
        self.watch_sessions(now);
    }

    /// Says which doors cannot open yet because the firewall lacks their sets.
    pub fn check_sets(&mut self, slots: &Slots) {
        for (_, door) in slots.iter().filter(|(_, door)| door.opening.is_some()) {
            match self.missing(door) {
                Ok(None) => {}
                Ok(Some(what)) => {
                    // On OpenWrt the init script has asked for the reload already.
                    let level = if self.backend.name() == "fw4" { Level::Info } else { Level::Warn };
                    log!(
                        level,
                        "{}: {what} is not there: reload the firewall, or load what 'ketukd ruleset' prints; the door opens as soon as it is",
                        door.name
                    );
                }
                Err(error) => warn!("{}: {error}", door.name),
            }
        }
    }

    /// What of a door is missing in the firewall.
    ///
    /// # Errors
    /// The firewall cannot be asked.
    pub fn missing(&mut self, door: &Door) -> Result<Option<String>, NftError> {
        let Some(sets) = self.backend.sets() else { return Ok(None) };
        if !sets.table_exists()? {
            return Ok(Some(format!("table {}", self.backend.table_name())));
        }
        let missing = sets.missing(door)?;
        Ok(missing.first().map(|set| format!("set {set} in table {}", self.backend.table_name())))
    }

    /// Gets everybody into the firewall who is in and not there.
    pub(super) fn admit_waiting(
        &mut self,
        now: Instant,
        counters: &mut Counters,
        slots: &Slots,
        attempt: Attempt,
    ) {
        let waiting: heapless::Vec<(DoorId, IpAddr), MAX_GRANTS> = self
            .grants
            .iter()
            .filter(|grant| !grant.in_firewall)
            .map(|grant| (grant.door, grant.address))
            .collect();
        for (id, address) in waiting {
            if let Some(door) = slots.get(id).cloned() {
                self.admit(now, counters, &door, id, address, attempt);
            }
        }
    }
}

/// Of what a daemon before this one let in only the kernel's timer is known: not when it was opened.
fn adopt_session(now: Instant, door: &Door, grant: &mut Grant) {
    let (Close::Session { max }, Some(until)) = (door.close, grant.until) else { return };
    let time = until.since(now).saturating_sub(MARGIN);
    grant.session = Some(Session { leased: until, ..Session::new(now, time, max) });
    grant.until = Some(now.after(time));
}
