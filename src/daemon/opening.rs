//! Carries out decisions to open. The audience is told only after the firewall has answered. `closing.rs` carries out the
//! ends.

use std::rc::Rc;

use log::{error, info, trace, warn};

use super::audience::LogBudget;
use super::gate::{FirewallAnswer, Occasion};
use super::household::Household;
use super::jobs::{self, JobKind};
use super::porter::Porter;
use crate::config::Door;
use crate::core::access::{Decision, OpenRequest, Opening};
use crate::core::auth::Refusal;
use crate::core::counters::{CountedEvent, Counter, Judged};
use crate::core::door::DoorId;
use crate::core::event::DoorEvent;
use crate::core::grants::Opener;
use crate::core::moment::Moment;
use crate::core::network::AddressFamily;
use crate::core::passage::Passage;
use crate::core::reason::Reason;
use crate::firewall::error::NftError;
use crate::firewall::nft::{ElementNote, OpenedBy};
use crate::linux::clock;

/// The result of a request to open a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The door is open.
    Open,
    /// The door was open already, and the request does not change its time.
    Unchanged,
    /// A program is changing the firewall.
    Asked,
    /// The firewall refused the grant. The daemon tries again.
    Pending,
    /// The request shut other doors.
    Shut,
    /// The request was refused.
    Refused(Refusal),
}

impl Outcome {
    /// The reason, as `ketukd watch` shows it.
    pub(super) const fn reason(self) -> Reason {
        match self {
            Self::Open => Reason::Judged(Judged::Opened),
            Self::Unchanged => Reason::Judged(Judged::Unchanged),
            Self::Asked => Reason::Asked,
            Self::Pending => Reason::Refused(Refusal::Firewall),
            Self::Shut => Reason::Shut,
            Self::Refused(refusal) => Reason::Refused(refusal),
        }
    }

    /// Whether the door is open for the sender, or is about to open.
    pub(super) const fn is_in(self) -> bool {
        matches!(self, Self::Open | Self::Asked)
    }
}

impl Porter<'_> {
    /// Asks the core to decide, and carries out the decision.
    pub(super) fn open(&mut self, moment: &Moment, request: &OpenRequest) -> Outcome {
        let Some(door) = self.household.slots.get(request.door).cloned() else {
            return Outcome::Refused(Refusal::NoDoor);
        };
        let passage = Passage { address: door.grant_prefix.group(request.address), port: request.port };
        let access = &mut self.keeper.access;
        let load = self.gate.load(&door, passage, access.grants().len());
        match access.decide(moment, &self.household, request, load) {
            Decision::Open(opening) => self.carry_out(moment, &door, request, &opening),
            Decision::Unchanged => {
                self.audience.counters.count(Counter::Judged(Judged::Unchanged));
                Outcome::Unchanged
            }
            Decision::Shut { doors, address } => {
                self.shut_by_knock(moment, doors, address);
                Outcome::Shut
            }
            Decision::Refused(refusal) => self.refuse(moment, request, refusal),
        }
    }

    fn carry_out(
        &mut self,
        moment: &Moment,
        door: &Rc<Door>,
        request: &OpenRequest,
        opening: &Opening,
    ) -> Outcome {
        let (id, address, passage) = (opening.door(), opening.address(), opening.passage());
        if opening.uses_line()
            && let Err(error) = self.lines.mark(id, self.gate.monitor())
        {
            if self.audience.may_log(moment.now, LogBudget::Refused(id)) {
                error!("{error}: not marked as used, so the door stays shut");
            }
            return self.refuse(moment, request, Refusal::Line);
        }
        if opening.is_momentary() {
            self.gate.run_once(door, passage);
            self.audience.tell(moment.now, &self.household, &DoorEvent::opened(opening, true));
            return Outcome::Open;
        }
        self.gate.own.uncut(door, address);
        self.keeper.access.commit(moment, &self.household, opening);
        self.watch_connections(moment);
        match self.put(moment, door, id, passage, Occasion::First) {
            Some(FirewallAnswer::Done) => {
                let first = self.keeper.access.confirm(id, passage).is_some();
                if first {
                    self.gate.start_commands(door, passage);
                    self.begin_session(door, id, passage);
                }
                self.audience.tell(moment.now, &self.household, &DoorEvent::opened(opening, first));
                Outcome::Open
            }
            Some(FirewallAnswer::Queued) => Outcome::Asked,
            None => Outcome::Pending,
        }
    }

    /// Puts a grant of the table into the firewall. `None` means that the firewall refused it.
    pub(super) fn put(
        &mut self,
        moment: &Moment,
        door: &Rc<Door>,
        id: DoorId,
        passage: Passage,
        occasion: Occasion,
    ) -> Option<FirewallAnswer> {
        // The turn may have begun some time ago. The kernel's timer starts now, and must not end later than the grant, because
        // a daemon that is killed cannot shorten it.
        let lease = self.keeper.access.lease(clock::now(), id, passage)?;
        let by = opened_by(&self.household, lease.opener());
        let note = ElementNote { by, is_held: lease.is_held() };
        match self.gate.open(moment.now, door, passage, &lease, note) {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.keeper.access.reject(id, passage);
                // While a firewall is loaded anew, its sets are missing for a moment. `watch` logs and counts those that
                // stay away.
                let missing = matches!(error, NftError::MissingSet { .. } | NftError::MissingTable { .. });
                let is_loading = missing && occasion != Occasion::First;
                if !is_loading {
                    self.audience.counters.count(Counter::Event(CountedEvent::FirewallError));
                }
                if is_loading || occasion == Occasion::Retry {
                    trace!("{passage}: {}: {error}", door.name);
                } else {
                    self.gate.complain(moment.now, door, passage, &error);
                }
                None
            }
        }
    }

    /// Tries again to put the grants that the firewall lacks into it.
    pub(super) fn put_waiting(&mut self, moment: &Moment, occasion: Occasion) {
        if self.gate.backend().iptables().is_some() {
            return;
        }
        let waiting: Vec<(DoorId, Passage)> = self
            .keeper
            .access
            .grants()
            .iter()
            .filter(|grant| !grant.is_in_firewall())
            .map(|grant| (grant.door(), grant.passage()))
            .collect();
        // The kernel takes some hundredths of a second to refuse a change. So each missing set is tried once only.
        let mut missing = Vec::new();
        for (id, passage) in waiting {
            let Some(door) = self.household.slots.get(id).cloned() else { continue };
            let set = (id, AddressFamily::of(passage.address), passage.port.map(|port| port.protocol));
            if missing.contains(&set) {
                continue;
            }
            match self.put(moment, &door, id, passage, occasion) {
                Some(FirewallAnswer::Done) => {
                    info!("{passage}: {}: let in, now that the firewall can", door.name);
                    self.confirm_late(moment, &door, id, passage);
                }
                Some(FirewallAnswer::Queued) => {}
                None if matches!(self.gate.missing(&door), Ok(None)) => {}
                None => missing.push(set),
            }
        }
    }

    /// Reports a grant as open that the firewall accepted late.
    fn confirm_late(&mut self, moment: &Moment, door: &Rc<Door>, id: DoorId, passage: Passage) {
        let first = self.keeper.access.confirm(id, passage);
        self.answer_waiting(id, passage.address, Ok(()));
        if let Some(grant) = first {
            self.gate.start_commands(door, passage);
            self.begin_session(door, id, passage);
            self.audience.tell(moment.now, &self.household, &DoorEvent::opened_late(&grant, moment.now));
        }
    }

    fn refuse(&mut self, moment: &Moment, request: &OpenRequest, refusal: Refusal) -> Outcome {
        self.audience.counters.count(Counter::Refused(refusal));
        // The operator gets the refusal as the answer to the request.
        if request.opener != Opener::Hand {
            let event = DoorEvent::refused(request, refusal);
            self.audience.tell(moment.now, &self.household, &event);
        }
        Outcome::Refused(refusal)
    }

    /// Whether the gate or the hotplug scripts still have work to do.
    pub(super) fn is_busy(&self) -> bool {
        self.gate.is_busy() || self.gate.is_anyone_leaving() || self.audience.hotplug.is_busy()
    }

    /// Retries refused changes of the firewall, and runs commands that are due.
    pub(super) fn tend_gate(&mut self, moment: &Moment) {
        if self.gate.retry(moment.now) {
            self.put_waiting(moment, Occasion::Retry);
        }
        for report in self.gate.run(moment.now) {
            match report.event {
                jobs::JobEvent::Ruled(done) => self.on_rules(moment, &report, done),
                jobs::JobEvent::Printed(_) => self.tell_printed(moment, &report),
                _ if report.event.is_fault() => warn!("{report}"),
                _ => info!("{report}"),
            }
        }
    }

    /// Logs a line that a failed command has printed.
    fn tell_printed(&mut self, moment: &Moment, report: &jobs::Report) {
        // A reload may have removed the door.
        let door = self.household.slots.find(&report.door.name);
        if self.audience.may_log(moment.now, door.map_or(LogBudget::Strangers, LogBudget::Printed)) {
            warn!("{}: {report}", report.passage);
        }
    }

    /// Handles the end of a door's iptables commands.
    fn on_rules(&mut self, moment: &Moment, report: &jobs::Report, done: bool) {
        self.gate.chains.forget();
        let Some(id) = self.household.slots.find(&report.door.name) else { return };
        if !matches!(report.kind, JobKind::Start | JobKind::Restore) {
            return;
        }
        if done {
            self.confirm_late(moment, &report.door, id, report.passage);
        } else {
            self.keeper.access.reject(id, report.passage);
            self.answer_waiting(id, report.passage.address, Err(Refusal::Firewall));
            warn!("{}: {}: not opened: {}", report.passage, report.door.name, Refusal::Firewall);
        }
    }
}

/// The opener of a grant, in the form that the firewall keeps.
fn opened_by(household: &Household, opener: Opener) -> OpenedBy<'_> {
    match opener {
        Opener::Knock => OpenedBy::Knock,
        Opener::User(user) => match household.users.name(user) {
            Some(name) => OpenedBy::User(name, household.users.secrets(user)),
            None => OpenedBy::Knock,
        },
        Opener::Hand => OpenedBy::Hand,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_refused_or_waits_is_not_in() {
        assert!(Outcome::Open.is_in());
        assert!(Outcome::Asked.is_in(), "the door is about to open");
        for outcome in
            [Outcome::Unchanged, Outcome::Pending, Outcome::Shut, Outcome::Refused(Refusal::NoDoor)]
        {
            assert!(!outcome.is_in(), "{outcome:?}");
        }
    }
}
