//! The packet's way, from bytes to an open door. The core decides; the porter carries out the decision and tells the
//! audience.

use log::{debug, error, info, warn};

use super::audience::LogBudget;
use super::opening::Outcome;
use super::porter::Porter;
use crate::core::access::{self, Policy as _};
use crate::core::attempts::TimedOut;
use crate::core::auth::{self, Refusal, Refused};
use crate::core::counters::{CountedEvent, Counter, Judged};
use crate::core::door::DoorId;
use crate::core::doorkeeper::{JudgedPacket, Proven};
use crate::core::engine::{Listening, Verdict};
use crate::core::moment::Moment;
use crate::core::packet::Probe;
use crate::core::place::Via;
use crate::core::reason::{KnockReport, Reason};
use crate::core::recent::Recent;
use crate::core::time::Instant;
use crate::core::user::UserId;

/// The door and the user that a knock was for, as far as they are known.
#[derive(Clone, Copy, Debug, Default)]
struct KnockSubject {
    door: Option<DoorId>,
    user: Option<UserId>,
}

impl Porter<'_> {
    /// Handles one packet, from bytes to an open door.
    pub(super) fn on_packet(&mut self, moment: &Moment, via: Via, bytes: &[u8]) {
        let heard = match self.keeper.hear(moment, &self.household, via, bytes) {
            Ok(heard) => heard,
            Err(reason) => return self.audience.counters.count(reason.counter()),
        };
        if let Some(proven) = heard.proof() {
            self.on_users_knock(moment, &heard, proven);
        }
        if heard.judgement().is_some() {
            self.on_plain_knock(moment, &heard);
        }
    }

    /// Handles a packet at a users' port. If a door's own sequence names the port too, the packet counts there as
    /// well.
    fn on_users_knock(&mut self, moment: &Moment, heard: &JudgedPacket, proven: Proven) {
        let probe = heard.probe();
        let result = match proven {
            Proven::Request(request) => self.admit(moment, probe, &request),
            Proven::Noted { displaced } => {
                if displaced {
                    self.audience.counters.count(Counter::Event(CountedEvent::Displaced));
                }
                Ok(Some(Judged::TotpKnock))
            }
            Proven::Again => Ok(Some(Judged::Retransmission)),
            Proven::Refused(refused) => Err(refused),
        };
        if heard.judgement().is_some() {
            return;
        }
        match result {
            Ok(Some(judged)) => {
                self.audience.counters.count(Counter::Judged(judged));
                let report = KnockReport::without_door(Reason::Judged(judged), probe);
                let knock = noted(moment.now, probe, report, KnockSubject::default());
                self.audience.tell_knock(&self.household, 0, &knock);
            }
            Ok(None) => {}
            Err(refused) => self.refuse_packet(moment.now, probe, refused),
        }
    }

    /// Opens the doors that a user asks for, if the user may open all of them.
    fn admit(
        &mut self,
        moment: &Moment,
        probe: &Probe,
        request: &auth::UserRequest,
    ) -> Result<Option<Judged>, Refused> {
        let user = request.user();
        let refused = |refusal: Refusal| refusal.of(user);
        // The time is written before anything opens, because a later start must not take the packet again.
        if let Err(error) = self.clock.remember(request.time()) {
            if self.audience.may_log(moment.now, LogBudget::UserRefused(user)) {
                error!("{error}: users' knocks cannot be taken");
            }
            return Err(refused(Refusal::Memory));
        }
        let own = self.keeper.engine.place().own();
        let requests = access::requests(&self.household, own, probe.source, request).map_err(refused)?;
        for request in requests {
            let outcome = self.open(moment, &request);
            if outcome == Outcome::Unchanged {
                continue;
            }
            if outcome.is_in() {
                self.household.users.see(user, moment.now);
            }
            let report = KnockReport::without_door(outcome.reason(), probe);
            let subject = KnockSubject { door: Some(request.door), user: Some(user) };
            self.audience.recents.note(noted(moment.now, probe, report, subject));
        }
        Ok(None)
    }

    /// Tells the audience why a packet was refused. The log names its address.
    fn refuse_packet(&mut self, now: Instant, probe: &Probe, refused: Refused) {
        let Refused { refusal, user } = refused;
        let source = probe.source;
        self.audience.counters.count(Counter::Refused(refusal));
        let report = KnockReport::without_door(Reason::Refused(refusal), probe);
        let subject = KnockSubject { door: None, user };
        let knock = noted(now, probe, report, subject);
        self.audience.recents.note(knock);
        if self.audience.may_log(now, user.map_or(LogBudget::Unproved, LogBudget::UserRefused)) {
            match user.and_then(|id| self.household.users.name(id)) {
                Some(name) => warn!("{source}: user {name}: {report}"),
                None => info!("{source}: {report}"),
            }
        }
        self.audience.tell_knock(&self.household, 0, &knock);
    }

    /// Handles a knock at a door's own sequence.
    fn on_plain_knock(&mut self, moment: &Moment, heard: &JudgedPacket) {
        let (probe, Some(judgement)) = (heard.probe(), heard.judgement()) else { return };
        if judgement.judged() != Judged::Opened {
            self.audience.counters.count(Counter::Judged(judgement.judged()));
        }
        if judgement.verdicts().is_empty() {
            let report = KnockReport::without_door(Reason::Judged(judgement.judged()), probe);
            let knock = noted(moment.now, probe, report, KnockSubject::default());
            self.audience.tell_knock(&self.household, 0, &knock);
        }
        for verdict in judgement.verdicts() {
            self.log_verdict(moment.now, probe, *verdict);
            // `ketukd watch` shows the knock before the event that it caused.
            self.audience.hold_events();
            let reason = match heard.request(verdict) {
                Some(request) => self.open(moment, &request).reason(),
                None => Reason::Judged(verdict.judged()),
            };
            let report = self.keeper.engine.report(probe, verdict, reason);
            let subject = KnockSubject { door: Some(verdict.door()), user: None };
            let knock = noted(moment.now, probe, report, subject);
            if !matches!(verdict.judged(), Judged::Retransmission | Judged::Repeat) {
                self.audience.recents.note(knock);
            }
            if verdict.has_displaced() {
                self.audience.counters.count(Counter::Event(CountedEvent::Displaced));
            }
            self.audience.tell_knock(&self.household, verdict.stage(), &knock);
            self.audience.release_events(moment.now, &self.household);
        }
    }

    /// Logs a right step in knockd's words. The reason of a wrong step names steps of the sequence, so only `log_level debug`
    /// logs it.
    fn log_verdict(&mut self, now: Instant, probe: &Probe, verdict: Verdict) {
        let Some(door) = self.household.name(verdict.door()) else { return };
        let source = probe.source;
        let step = matches!(verdict.judged(), Judged::Opened | Judged::Advanced | Judged::WrongStep);
        if step && verdict.stage() > 0 {
            if self.audience.may_log(now, LogBudget::Strangers) {
                info!("{source}: {door}: Stage {}", verdict.stage());
            }
        } else if self.audience.may_debug(now) {
            let report = self.keeper.engine.report(probe, &verdict, Reason::Judged(verdict.judged()));
            debug!("{source}: {door}: {report}");
        }
    }

    /// Checks the clock, if there are users, and tells the core when it can be trusted.
    pub(super) fn look_at_clock(&mut self, moment: &Moment) {
        if self.keeper.engine.listening() == Listening::default() {
            return;
        }
        let auth = &mut self.keeper.auth;
        if let Some(floor) = self.clock.look(moment, auth.rules().max_age_s) {
            auth.trust_clock(floor);
        }
        self.clock.complain(moment, auth.trusts_clock());
    }

    /// Ends attempts and grants whose time is over, and runs commands and scripts that are due.
    pub(super) fn expire(&mut self, moment: &Moment) {
        let Self { keeper, household, audience, .. } = self;
        keeper.engine.expire(moment.now, |TimedOut { source, door, stage }, report| {
            audience.counters.count(Counter::Event(CountedEvent::TimedOut));
            let (Some(name), Some(source)) = (household.name(door), source) else { return };
            let ended = Recent { source, door: Some(door), user: None, report, times: 1, at: moment.now };
            audience.recents.note(ended);
            audience.tell_knock(household, 0, &ended);
            if audience.may_log(moment.now, LogBudget::Strangers) {
                info!("{source}: {name}: sequence timeout (stage {stage})");
            }
        });
        self.end_what_is_due(moment);
        self.tend_gate(moment);
        self.audience.hotplug.tend(moment.now);
    }

    /// When [`Self::expire`] must be called next.
    pub(super) fn next_deadline(&self, moment: &Moment) -> Option<Instant> {
        let Self { keeper, household, gate, audience, .. } = self;
        let deadlines = [
            keeper.engine.next_deadline(),
            keeper.access.next_deadline(moment, household),
            gate.next_deadline(),
            audience.hotplug.next_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }
}

/// The entry for a probe in the list of recent judgements.
fn noted(
    now: Instant,
    probe: &Probe,
    report: KnockReport,
    KnockSubject { door, user }: KnockSubject,
) -> Recent {
    Recent { source: probe.source, door, user, report, times: 1, at: now }
}
