//! The packet's way, from bytes to an open door: the core decides, the porter carries out and tells.

use std::net::IpAddr;

use log::{debug, error, info, warn};

use super::audience::Budget;
use super::opening::Outcome;
use super::porter::Porter;
use crate::control::message::Knock;
use crate::core::access::{self, Policy as _};
use crate::core::auth::{self, Refusal, Refused};
use crate::core::counters::{Counter, Event, Judged};
use crate::core::door::DoorId;
use crate::core::doorkeeper::{Heard, Proven};
use crate::core::engine::{Listening, Verdict};
use crate::core::moment::Moment;
use crate::core::packet::Probe;
use crate::core::place::Via;
use crate::core::recent::Recent;
use crate::core::time::Instant;
use crate::core::user::UserId;

impl Porter<'_> {
    /// The packet's way, from bytes to an open door.
    pub(super) fn on_packet(&mut self, moment: &Moment, via: Via, bytes: &[u8]) {
        let heard = match self.keeper.hear(moment, &self.household, via, bytes) {
            Ok(heard) => heard,
            Err(reason) => return self.audience.counters.count(reason.counter()),
        };
        if let Some(proven) = heard.proof {
            self.on_users_knock(moment, &heard, proven);
        }
        if heard.judgement.is_some() {
            self.on_plain_knock(moment, &heard);
        }
    }

    /// A knock at a port of users' knocks. What a door's own sequence names too is counted there.
    fn on_users_knock(&mut self, moment: &Moment, heard: &Heard, proven: Proven) {
        let probe = &heard.probe;
        let result = match proven {
            Proven::Request(request) => self.admit(moment, probe, &request),
            Proven::Noted { displaced } => {
                if displaced {
                    self.audience.counters.count(Counter::Event(Event::Displaced));
                }
                Ok(Some(Judged::TotpKnock))
            }
            Proven::Again => Ok(Some(Judged::Retransmission)),
            Proven::Refused(refused) => Err(refused),
        };
        if heard.judgement.is_some() {
            return;
        }
        match result {
            Ok(Some(judged)) => {
                self.audience.counters.count(Counter::Judged(judged));
                self.tell_knock(moment.now, probe, None, judged.name(), None);
            }
            Ok(None) => {}
            Err(refused) => self.refuse_packet(moment.now, probe, refused),
        }
    }

    /// Opens what a user asks for, if he may have all of it.
    fn admit(
        &mut self,
        moment: &Moment,
        probe: &Probe,
        request: &auth::Request,
    ) -> Result<Option<Judged>, Refused> {
        let user = request.user;
        let refused = |refusal| (refusal, Some(user));
        // Before anything opens: a later start must not take it again.
        if let Err(error) = self.clock.remember(request.time) {
            if self.audience.may_log(moment.now, Budget::UserRefused(user)) {
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
            let recent = noted(moment.now, probe, Some(request.door), 0, outcome.word());
            self.audience.recents.note(Recent { user: Some(user), ..recent });
        }
        Ok(None)
    }

    /// Says why a knock opened nothing: to the log if it was a user's, for strangers' are many.
    fn refuse_packet(&mut self, now: Instant, probe: &Probe, (refusal, user): Refused) {
        let source = probe.source;
        self.audience.counters.count(Counter::Refused(refusal));
        let recent = noted(now, probe, None, 0, refusal.name());
        self.audience.recents.note(Recent { user, ..recent });
        if let Some(id) = user {
            if self.audience.may_log(now, Budget::UserRefused(id)) {
                let name = self.household.users.name(id).unwrap_or_default();
                warn!("{source}: user {name}: not opened: {refusal}");
            }
        } else if self.audience.may_debug(now) {
            debug!("{source}: not opened: {refusal}");
        }
        self.tell_knock(now, probe, None, refusal.name(), user);
    }

    /// A knock at the doors' own sequences.
    fn on_plain_knock(&mut self, moment: &Moment, heard: &Heard) {
        let (probe, Some(judgement)) = (&heard.probe, &heard.judgement) else { return };
        if judgement.judged != Judged::Opened {
            self.audience.counters.count(Counter::Judged(judgement.judged));
        }
        if judgement.verdicts.is_empty() {
            self.tell_knock(moment.now, probe, None, judgement.judged.name(), None);
        }
        for verdict in &judgement.verdicts {
            self.log_verdict(moment.now, probe.source, *verdict);
            // Those who watch read of the knock before they read what it did.
            self.audience.hold_events();
            let word = match heard.request(verdict) {
                Some(request) => self.open(moment, &request).word(),
                None => verdict.judged.name(),
            };
            if !matches!(verdict.judged, Judged::Retransmission | Judged::Repeat) {
                let recent = noted(moment.now, probe, Some(verdict.door), verdict.stage, word);
                self.audience.recents.note(recent);
            }
            if verdict.displaced {
                self.audience.counters.count(Counter::Event(Event::Displaced));
            }
            self.tell_knock(moment.now, probe, Some(verdict), word, None);
            self.audience.release_events(moment.now, &self.household);
        }
    }

    /// Logs a verdict in knockd's words.
    fn log_verdict(&mut self, now: Instant, source: IpAddr, verdict: Verdict) {
        let Some(door) = self.household.name(verdict.door) else { return };
        let step = matches!(verdict.judged, Judged::Opened | Judged::Advanced | Judged::WrongStep);
        if step && verdict.stage > 0 {
            if self.audience.may_log(now, Budget::Strangers) {
                info!("{source}: {door}: Stage {}", verdict.stage);
            }
        } else if self.audience.may_debug(now) {
            debug!("{source}: {door}: {}", verdict.judged.name());
        }
    }

    /// Tells whoever watches what became of a knock.
    fn tell_knock(
        &mut self,
        now: Instant,
        probe: &Probe,
        verdict: Option<&Verdict>,
        word: &str,
        user: Option<UserId>,
    ) {
        if !self.audience.is_watched() {
            return;
        }
        let address = probe.source.to_string();
        let port = format!("{}:{}", probe.transport.port(), probe.transport.protocol());
        let steps = verdict.map_or(0, |verdict| self.steps(verdict.door));
        let knock = Knock {
            address: &address,
            port: &port,
            door: verdict.and_then(|verdict| self.household.name(verdict.door)),
            stage: verdict.map_or(0, |verdict| verdict.stage),
            steps,
            judged: word,
            user: user.and_then(|user| self.household.users.name(user)),
        };
        self.audience.tell_knock(now, &knock);
    }

    /// Steps of the door's sequence, also of one whose turn it is.
    fn steps(&self, id: DoorId) -> u8 {
        let door = self.keeper.engine.doors().find(|(door, _)| *door == id);
        door.map_or(0, |(_, door)| u8::try_from(door.sequence.len()).expect("at most MAX_STEPS"))
    }

    /// Believes the clock as soon as there is reason to, where there are users.
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

    /// Ends what has run out of time, and runs what is due.
    pub(super) fn expire(&mut self, moment: &Moment) {
        let Self { keeper, household, audience, .. } = self;
        keeper.engine.expire(moment.now, |timed_out| {
            audience.counters.count(Counter::Event(Event::TimedOut));
            let (Some(door), Some(source)) = (household.name(timed_out.door), timed_out.source) else {
                return;
            };
            let stage = timed_out.stage;
            audience.recents.note(Recent {
                source,
                door: Some(timed_out.door),
                user: None,
                port: None,
                stage,
                reason: Event::TimedOut.name(),
                times: 1,
                at: moment.now,
            });
            if audience.may_log(moment.now, Budget::Strangers) {
                info!("{source}: {door}: sequence timeout (stage {stage})");
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

/// What is noted of a probe at one door.
fn noted(now: Instant, probe: &Probe, door: Option<DoorId>, stage: u8, reason: &'static str) -> Recent {
    let port = Some((probe.transport.port(), probe.transport.protocol()));
    Recent { source: probe.source, door, user: None, port, stage, reason, times: 1, at: now }
}
