//! Carries out the ends of grants. Doors shut, and the audience is told.

use std::net::IpAddr;
use std::rc::Rc;

use log::info;

use super::gate::{FirewallAnswer, Leaver, Occasion};
use super::porter::Porter;
use super::run::StopReason;
use crate::config::OnStop;
use crate::core::access::{Cause, End};
use crate::core::auth::Refusal;
use crate::core::counters::{CountedEvent, Counter};
use crate::core::door::DoorId;
use crate::core::event::DoorEvent;
use crate::core::grants::Grant;
use crate::core::moment::Moment;
use crate::core::passage::Passage;
use crate::core::ports::DoorSet;

impl Porter<'_> {
    /// Shuts `doors` for an address, after a knock at a door that closes them.
    pub(super) fn shut_by_knock(&mut self, moment: &Moment, doors: DoorSet, address: IpAddr) {
        for id in doors.iter() {
            let Some(door) = self.household.slots.get(id) else { continue };
            let address = door.grant_prefix.group(address);
            self.shut(moment, id, Some(address), Cause::Knock);
        }
    }

    /// Shuts a door for one address, or for all if `address` is `None`. Returns the number of grants that ended.
    pub(super) fn shut(
        &mut self,
        moment: &Moment,
        id: DoorId,
        address: Option<IpAddr>,
        cause: Cause,
    ) -> usize {
        let ends: Vec<End> = std::iter::from_fn(|| self.keeper.access.end(id, address, cause)).collect();
        self.carry_out_ends(moment, &ends);
        ends.len()
    }

    /// Shuts the doors that are not to stay open when the daemon ends. Their commands still have to run.
    pub(super) fn stop_all(&mut self, moment: &Moment, ending: StopReason) {
        let in_sets = self.gate.backend_mut().sets().is_some();
        let slots = self.household.slots.clone();
        for (id, door) in slots.iter() {
            // Only sets have kernel timers that shut a door later.
            let stays = ending == StopReason::Handover || door.on_stop == OnStop::Keep;
            if !stays || !in_sets || !door.opens_ports() {
                self.shut(moment, id, None, Cause::Stop);
            }
        }
        self.tend_gate(moment);
    }

    /// Ends grants whose time is over. Counts the connections of sessions first.
    pub(super) fn end_what_is_due(&mut self, moment: &Moment) {
        self.count_connections(moment);
        let Self { keeper, household, .. } = self;
        let ends: Vec<End> = std::iter::from_fn(|| keeper.access.end_due(moment, household)).collect();
        self.carry_out_ends(moment, &ends);
    }

    /// Carries out endings, and tells the audience. The firewall's changes are one transaction.
    pub(super) fn carry_out_ends(&mut self, moment: &Moment, ends: &[End]) {
        if ends.is_empty() {
            return;
        }
        let Self { household, gate, audience, .. } = self;
        let leaver = |end: &End| {
            let End::Shut { grant, cause } = end else { return None };
            let door = Rc::clone(household.slots.get(grant.door())?);
            Some(Leaver { door, passage: grant.passage(), is_timed_out: is_timed_out(grant, *cause) })
        };
        let leavers: Vec<Leaver> = ends.iter().filter_map(leaver).collect();
        let refused = gate.shut(moment.now, &leavers);
        audience.counters.add(Counter::Event(CountedEvent::FirewallError), refused as u64);
        for end in ends {
            match end {
                End::Shut { grant, cause } => {
                    self.answer_waiting(grant.door(), grant.address(), Err(Refusal::Firewall));
                    self.audience.tell(
                        moment.now,
                        &self.household,
                        &DoorEvent::ended(grant, *cause, moment.now),
                    );
                }
                End::Operators { door, passage } => self.put_operators(moment, *door, *passage),
            }
        }
        self.watch_connections(moment);
    }

    /// Gives the operator's time and name to the firewall, after the user's part of a grant ended.
    fn put_operators(&mut self, moment: &Moment, id: DoorId, passage: Passage) {
        let Some(door) = self.household.slots.get(id).cloned() else { return };
        info!("{passage}: {}: the user's part is over, the operator's goes on", door.name);
        if self.put(moment, &door, id, passage, Occasion::First) == Some(FirewallAnswer::Done) {
            self.keeper.access.confirm(id, passage);
        }
    }
}

/// Whether the kernel's timer has shut the door. The timer of a session runs on beyond its end.
const fn is_timed_out(grant: &Grant, cause: Cause) -> bool {
    matches!(cause, Cause::TimeOver) && grant.session().is_none() && grant.is_in_firewall()
}
