//! Decisions are carried out here: a door opens or shuts, the firewall answers, and only then it is told.

use std::net::IpAddr;
use std::rc::Rc;

use log::{error, info, trace, warn};

use super::audience::Budget;
use super::gate::{Answer, Attempt, Leaver, connections};
use super::household::Household;
use super::jobs::{self, JobKind};
use super::porter::Porter;
use crate::config::{Door, OnStop};
use crate::core::access::{Cause, Decision, End, OpenRequest, Opening};
use crate::core::auth::Refusal;
use crate::core::counters::{Counter, Event, Judged};
use crate::core::door::DoorId;
use crate::core::event::DoorEvent;
use crate::core::grants::{Grant, Opener};
use crate::core::moment::Moment;
use crate::core::ports::DoorSet;
use crate::firewall::error::NftError;
use crate::firewall::nft::OpenedBy;

/// What became of a request to open a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The door is open.
    Open,
    /// The door stays open, and the time that was asked for does not change it.
    Unchanged,
    /// The firewall is being asked, by a program.
    Asked,
    /// The firewall does not have it, and will be asked again.
    Pending,
    /// Other doors shut.
    Shut,
    /// Nothing opens.
    Refused(Refusal),
}

impl Outcome {
    /// A word for those who watch, which stays the same for programs.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Open => Judged::Opened.name(),
            Self::Unchanged => Judged::Unchanged.name(),
            Self::Asked => "asked",
            Self::Pending => Refusal::Firewall.name(),
            Self::Shut => "shut",
            Self::Refused(refusal) => refusal.name(),
        }
    }

    /// Whether somebody is in now.
    pub(super) const fn is_in(self) -> bool {
        matches!(self, Self::Open | Self::Asked)
    }
}

impl Porter<'_> {
    /// Asks the core, and carries out what it decides.
    pub(super) fn open(&mut self, moment: &Moment, request: &OpenRequest) -> Outcome {
        let Some(door) = self.household.slots.get(request.door).cloned() else {
            return Outcome::Refused(Refusal::NoDoor);
        };
        let access = &mut self.keeper.access;
        let load = self.gate.load(&door, door.grant_prefix.group(request.address), access.grants().len());
        match access.decide(moment, &self.household, request, load) {
            Decision::Open(opening) => self.carry_out(moment, &door, &opening),
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

    fn carry_out(&mut self, moment: &Moment, door: &Rc<Door>, opening: &Opening) -> Outcome {
        let Opening { opener, door: id, address, is_momentary, .. } = *opening;
        if opening.uses_line
            && let Err(error) = self.lines.mark(id)
        {
            if self.audience.may_log(moment.now, Budget::Refused(id)) {
                error!("{error}: not marked as used, so the door stays shut");
            }
            return self.refuse_opening(moment, opener, id, address, Refusal::Line);
        }
        if is_momentary {
            self.gate.run_once(door, address);
            self.audience.tell(moment.now, &self.household, &DoorEvent::opened(opening, true));
            return Outcome::Open;
        }
        self.gate.own.uncut(door, address);
        self.keeper.access.commit(moment, &self.household, opening);
        self.watch_connections(moment);
        match self.put(moment, door, id, address, Attempt::First) {
            Some(Answer::Done) => {
                let first = self.keeper.access.confirm(id, address).is_some();
                if first {
                    self.gate.start_commands(door, address);
                    self.begin_session(door, id, address);
                }
                self.audience.tell(moment.now, &self.household, &DoorEvent::opened(opening, first));
                Outcome::Open
            }
            Some(Answer::Queued) => Outcome::Asked,
            None => Outcome::Pending,
        }
    }

    /// Asks the firewall for a grant that is in the table; none if it would not take it.
    pub(super) fn put(
        &mut self,
        moment: &Moment,
        door: &Rc<Door>,
        id: DoorId,
        address: IpAddr,
        attempt: Attempt,
    ) -> Option<Answer> {
        let lease = self.keeper.access.lease(moment.now, id, address)?;
        let by = opened_by(&self.household, lease.opener);
        match self.gate.open(moment.now, door, address, &lease, by) {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.keeper.access.reject(id, address);
                // A firewall that is loaded anew refuses for a moment. What lasts is counted when it is said.
                let missing = matches!(error, NftError::MissingSet { .. } | NftError::MissingTable { .. });
                if attempt == Attempt::First || !missing {
                    self.audience.counters.count(Counter::Event(Event::FirewallError));
                }
                if attempt == Attempt::Retry {
                    trace!("{address}: {}: {error}", door.name);
                } else {
                    self.gate.complain(moment.now, door, address, &error);
                }
                None
            }
        }
    }

    /// Asks the firewall once more for those whom it does not have.
    pub(super) fn put_waiting(&mut self, moment: &Moment, attempt: Attempt) {
        if self.gate.backend().iptables().is_some() {
            return;
        }
        let waiting: Vec<(DoorId, IpAddr)> = self
            .keeper
            .access
            .grants()
            .iter()
            .filter(|grant| !grant.is_in_firewall())
            .map(|grant| (grant.door(), grant.address()))
            .collect();
        for (id, address) in waiting {
            let Some(door) = self.household.slots.get(id).cloned() else { continue };
            if self.put(moment, &door, id, address, attempt) == Some(Answer::Done) {
                info!("{address}: {}: let in, now that the firewall can", door.name);
                self.confirm_late(moment, &door, id, address);
            }
        }
    }

    /// The firewall has what was decided earlier.
    fn confirm_late(&mut self, moment: &Moment, door: &Rc<Door>, id: DoorId, address: IpAddr) {
        let first = self.keeper.access.confirm(id, address);
        self.answer_waiting(id, address, Ok(()));
        if let Some(grant) = first {
            self.gate.start_commands(door, address);
            self.begin_session(door, id, address);
            self.audience.tell(moment.now, &self.household, &DoorEvent::opened_late(&grant, moment.now));
        }
    }

    fn refuse(&mut self, moment: &Moment, request: &OpenRequest, refusal: Refusal) -> Outcome {
        let OpenRequest { opener, door, address, .. } = *request;
        self.refuse_opening(moment, opener, door, address, refusal)
    }

    fn refuse_opening(
        &mut self,
        moment: &Moment,
        opener: Opener,
        door: DoorId,
        address: IpAddr,
        refusal: Refusal,
    ) -> Outcome {
        self.audience.counters.count(Counter::Refused(refusal));
        // The operator reads it as the answer to his request.
        if opener != Opener::Hand {
            let event = DoorEvent::refused(opener, door, address, refusal);
            self.audience.tell(moment.now, &self.household, &event);
        }
        Outcome::Refused(refusal)
    }

    /// A door was knocked at whose knock shuts others.
    fn shut_by_knock(&mut self, moment: &Moment, doors: DoorSet, address: IpAddr) {
        for id in doors.iter() {
            let Some(door) = self.household.slots.get(id) else { continue };
            let address = door.grant_prefix.group(address);
            self.shut(moment, id, Some(address), Cause::Knock);
        }
    }

    /// Shuts a door for one address, or for everybody; for how many.
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

    /// Shuts everything for a clean stop; the commands are still to run.
    pub(super) fn stop_all(&mut self, moment: &Moment) {
        let in_sets = self.gate.backend_mut().sets().is_some();
        let slots = self.household.slots.clone();
        for (id, door) in slots.iter() {
            // Only a set has a timer of its own that shuts the door later.
            if door.on_stop != OnStop::Keep || !in_sets || door.opening.is_none() {
                self.shut(moment, id, None, Cause::Stop);
            }
        }
        self.tend_gate(moment);
    }

    /// Whether anything is still to be done of what was decided.
    pub(super) fn is_busy(&self) -> bool {
        self.gate.is_busy() || self.gate.is_anyone_leaving() || self.audience.hotplug.is_busy()
    }

    /// Ends whose time is over, after a look at the connections of sessions.
    pub(super) fn end_what_is_due(&mut self, moment: &Moment) {
        self.count_connections(moment);
        let Self { keeper, household, .. } = self;
        let ends: Vec<End> = std::iter::from_fn(|| keeper.access.end_due(moment, household)).collect();
        self.carry_out_ends(moment, &ends);
    }

    /// Carries out endings, those of the firewall in one transaction, and tells of them.
    pub(super) fn carry_out_ends(&mut self, moment: &Moment, ends: &[End]) {
        if ends.is_empty() {
            return;
        }
        let Self { household, gate, audience, .. } = self;
        let leaver = |end: &End| {
            let End::Shut { grant, cause } = end else { return None };
            let door = Rc::clone(household.slots.get(grant.door())?);
            Some(Leaver { door, address: grant.address(), is_timed_out: is_timed_out(grant, *cause) })
        };
        let leavers: Vec<Leaver> = ends.iter().filter_map(leaver).collect();
        let refused = gate.shut(moment.now, &leavers);
        audience.counters.add(Counter::Event(Event::FirewallError), refused as u64);
        for end in ends {
            match end {
                End::Shut { grant, cause } => {
                    self.answer_waiting(grant.door(), grant.address(), Err(Refusal::Firewall));
                    self.audience.tell(moment.now, &self.household, &DoorEvent::shut(grant, *cause));
                }
                End::Operators { door, address } => self.put_operators(moment, *door, *address),
            }
        }
        self.watch_connections(moment);
    }

    /// A user's part of a grant is over: the firewall is told the operator's time and name.
    fn put_operators(&mut self, moment: &Moment, id: DoorId, address: IpAddr) {
        let Some(door) = self.household.slots.get(id).cloned() else { return };
        info!("{address}: {}: the user's part is over, the operator's goes on", door.name);
        if self.put(moment, &door, id, address, Attempt::First) == Some(Answer::Done) {
            self.keeper.access.confirm(id, address);
        }
    }

    /// Runs what is due of the gate: changes that the firewall has refused so far, and commands.
    pub(super) fn tend_gate(&mut self, moment: &Moment) {
        if self.gate.retry(moment.now) {
            self.put_waiting(moment, Attempt::Retry);
        }
        for report in self.gate.run(moment.now) {
            match report.event {
                jobs::Event::Ruled(done) => self.on_rules(moment, &report, done),
                _ if report.event.is_fault() => warn!("{report}"),
                _ => info!("{report}"),
            }
        }
    }

    /// The iptables commands of a door have ended.
    fn on_rules(&mut self, moment: &Moment, report: &jobs::Report, done: bool) {
        let Some(id) = self.household.slots.find(&report.door.name) else { return };
        if !matches!(report.kind, JobKind::Start | JobKind::Restore) {
            return;
        }
        if done {
            self.confirm_late(moment, &report.door, id, report.address);
        } else {
            self.keeper.access.reject(id, report.address);
            self.answer_waiting(id, report.address, Err(Refusal::Firewall));
            warn!("{}: {}: not opened: {}", report.address, report.door.name, Refusal::Firewall);
        }
    }

    /// Counts connections when that is due, and gives sessions that go on their time in the kernel.
    fn count_connections(&mut self, moment: &Moment) {
        let Self { keeper, household, gate, .. } = self;
        let access = &mut keeper.access;
        if !access.is_count_due(moment.now) && !gate.connections.is_recount_due(moment.now) {
            return;
        }
        let counts = gate.connections.count(moment.now, access.grants(), &household.slots);
        access.count_connections(moment.now, counts.into_iter());
        while let Some((id, address)) = self.keeper.access.lease_due(moment.now) {
            let Some(door) = self.household.slots.get(id).cloned() else { return };
            if self.put(moment, &door, id, address, Attempt::First) == Some(Answer::Done) {
                self.keeper.access.confirm(id, address);
            }
        }
    }

    /// After a door opened anew: if nothing goes through it yet, whatever will is announced when it ends.
    fn begin_session(&mut self, door: &Door, id: DoorId, address: IpAddr) {
        let access = &mut self.keeper.access;
        if access.grant(id, address).is_some_and(|grant| grant.session().is_some()) {
            let announced = self.gate.connections.is_announced() && connections::are_none(door, address);
            access.set_announced(id, address, announced);
        }
    }

    pub(super) fn watch_connections(&mut self, moment: &Moment) {
        let Self { keeper, household, gate, .. } = self;
        gate.connections.watch(moment.now, keeper.access.grants(), &household.slots);
    }
}

/// Whether the kernel's own timer has shut the door. A session's timer runs on beyond its end.
const fn is_timed_out(grant: &Grant, cause: Cause) -> bool {
    matches!(cause, Cause::TimeOver) && grant.session().is_none() && grant.is_in_firewall()
}

/// Who opened a door, as the firewall keeps it.
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
