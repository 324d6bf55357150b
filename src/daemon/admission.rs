//! The packet's way for knocks that prove who sent them, from what they carry to an open door.

use std::net::IpAddr;
use std::time::Duration;

use log::{debug, error, info, warn};

use super::gate::Entry;
use super::porter::{Porter, allows, log_allowed, noted, tell_event};
use super::wanted;
use crate::config::MAX_OPEN_TIME_S;
use crate::control::message::Knock;
use crate::control::server::Server;
use crate::core::auth::{Knocked, Refusal, Refused, Request};
use crate::core::counters::{self, Counter, Judged};
use crate::core::door::DoorId;
use crate::core::packet::Probe;
use crate::core::recent::Recent;
use crate::core::time::Instant;
use crate::core::user::UserId;

/// Time between two complaints that the time is not known: strangers cause them.
const CLOCK_COMPLAINTS: Duration = Duration::from_secs(60);

impl Porter<'_> {
    /// A datagram came to the port of packets; whether that is all it can be.
    pub(super) fn on_datagram(
        &mut self,
        server: &mut Server,
        now: Instant,
        probe: &Probe,
        payload: &[u8],
    ) -> bool {
        self.look_at_clock(now);
        let request = self.auth.packet(now, self.wall.seconds(), probe.source, payload);
        let admitted = request.and_then(|request| self.admit(server, now, probe, &request));
        // A port that a door's own sequence names too is counted there.
        if self.engine.is_step(probe) {
            return false;
        }
        match admitted {
            Ok(()) => self.counters.count(Counter::Judged(Judged::Opened)),
            Err(refused) => self.refuse(server, now, probe, refused),
        }
        true
    }

    /// A knock came to a port of changing sequences; whether that is all it can be.
    pub(super) fn on_totp_knock(&mut self, server: &mut Server, now: Instant, probe: &Probe) -> bool {
        self.look_at_clock(now);
        let Self { auth, slots, wall, .. } = self;
        let name = |id| slots.get(id).map(|door| door.name.as_str());
        let knocked = auth.knock(now, wall.seconds(), probe, name);
        let judged = match knocked {
            Knocked::Again => Ok(Judged::Retransmission),
            Knocked::Noted(_) => Ok(Judged::TotpKnock),
            Knocked::Request(request) => self.admit(server, now, probe, &request).map(|()| Judged::Opened),
            Knocked::Refused(refused) => Err(refused),
        };
        if knocked == Knocked::Noted(true) {
            self.counters.count(Counter::Event(counters::Event::Displaced));
        }
        // A port that a door's own sequence names too is counted there.
        if self.engine.is_step(probe) {
            return false;
        }
        match judged {
            Ok(judged) => {
                self.counters.count(Counter::Judged(judged));
                tell(server, now, probe, judged.name(), None);
            }
            Err(refused) => self.refuse(server, now, probe, refused),
        }
        true
    }

    /// Believes the clock as soon as there is reason to.
    pub(super) fn look_at_clock(&mut self, now: Instant) {
        if let Some(floor) = self.wall.look(now, self.auth.rules().max_age_s) {
            self.auth.trust_clock(floor);
            let wait = floor.saturating_sub(self.wall.seconds());
            if wait > 0 {
                info!("users' knocks are taken in {wait} s: what was used before the start may come again");
            } else if self.complained.is_some() {
                info!("the time is known: users' knocks are taken");
            }
        } else if !self.auth.trusts_clock()
            && self.complained.is_none_or(|last| now >= last.after(CLOCK_COMPLAINTS))
        {
            self.complained = Some(now);
            warn!(
                "the time is not known, for the clock was not set since this host started: users' knocks are refused until it is synchronised; plain sequences work"
            );
        }
    }

    /// Opens what a user asks for, if he may have all of it.
    fn admit(
        &mut self,
        server: &mut Server,
        now: Instant,
        probe: &Probe,
        request: &Request,
    ) -> Result<(), Refused> {
        let refused = |refusal| (refusal, Some(request.user));
        let user = self.users.get(request.user).cloned().ok_or((Refusal::Unknown, None))?;
        if let Err(error) = self.wall.remember(request.time) {
            if log_allowed(&mut self.knock_lines, &mut self.counters, now) {
                error!(
                    "{}: {error}: a knock that is ahead of the clock cannot be taken",
                    self.wall.file().display()
                );
            }
            return Err(refused(Refusal::Age));
        }
        if !user.src.is_empty() && !user.src.iter().any(|network| network.contains(probe.source)) {
            return Err(refused(Refusal::Source));
        }
        if user.require_address && request.address.is_none() {
            return Err(refused(Refusal::NoAddress));
        }
        let address = request.address.unwrap_or(probe.source);
        if address != probe.source && (!user.other_address || !is_host(address)) {
            return Err(refused(Refusal::Address));
        }
        let doors =
            wanted::doors(&self.slots, self.engine.place().own(), &user, &request.wanted).map_err(refused)?;
        for id in doors {
            self.let_in(server, now, probe, (id, address), request);
        }
        Ok(())
    }

    /// Opens one door for a user.
    fn let_in(
        &mut self,
        server: &mut Server,
        now: Instant,
        probe: &Probe,
        (id, address): (DoorId, IpAddr),
        request: &Request,
    ) {
        let Some(door) = self.slots.get(id).cloned() else { return };
        // Whoever may name another address is somewhere himself.
        let allowed = allows(&door, probe.source);
        if allowed.is_ok() && !door.closes.is_empty() {
            return self.close(server, now, &door, address);
        }
        let address = door.grant_prefix.group(address);
        let user = self.users.name(request.user).unwrap_or_default().to_owned();
        let asked = request.seconds.map(|seconds| Duration::from_secs(seconds.min(MAX_OPEN_TIME_S).into()));
        let time = match (asked, door.max_time) {
            (None, _) => door.open_time,
            (Some(asked), Some(max)) => Some(asked.min(max)),
            (asked, None) => asked,
        };
        let entry =
            allowed.and_then(|()| self.gate.open(now, &mut self.counters, (id, &door), address, time));
        let (event, reason) = match entry {
            Ok(Entry::New) => ("open", "user"),
            Ok(Entry::Renewed) => ("renew", "user"),
            Ok(Entry::Unchanged) => return,
            Err(refused) => {
                let counter = refused.counter();
                self.counters.count(Counter::Event(counter));
                self.note_user(now, probe, id, counter.name(), request.user);
                warn!("{address}: {}: user {user}: not opened: {refused}", door.name);
                ("refuse", refused.reason())
            }
        };
        if entry.is_ok() {
            self.note_user(now, probe, id, Judged::Opened.name(), request.user);
            self.gate.set_user(id, address, Some(request.user));
            self.users.see(request.user, now);
            if log_allowed(&mut self.open_lines, &mut self.counters, now) {
                let from = probe.source;
                let from = if from == address { String::new() } else { format!(", asked by {from}") };
                info!("{address}: {}: OPEN SESAME, user {user}{from}", door.name);
            }
        }
        let seconds = time.map(|time| time.as_secs());
        tell_event(
            (server, &mut self.hotplug),
            now,
            (event, reason),
            (&door.name, address),
            seconds,
            Some(&user),
        );
    }

    /// Says why a knock opened nothing: to the log if it was a user's, for strangers' are many.
    fn refuse(&mut self, server: &mut Server, now: Instant, probe: &Probe, (refusal, user): Refused) {
        self.counters.count(Counter::Refused(refusal));
        self.recents.note(Recent { user, ..noted(now, probe, (None, 0, refusal.name())) });
        let source = probe.source;
        let user = user.and_then(|user| self.users.name(user)).map(str::to_owned);
        if let Some(user) = &user {
            if log_allowed(&mut self.knock_lines, &mut self.counters, now) {
                warn!("{source}: user {user}: not opened: {refusal}");
            }
        } else if log::log_enabled!(log::Level::Debug)
            && log_allowed(&mut self.knock_lines, &mut self.counters, now)
        {
            debug!("{source}: not opened: {refusal}");
        }
        tell(server, now, probe, refusal.name(), user.as_deref());
    }

    /// Notes what became of a user's knock.
    fn note_user(&mut self, now: Instant, probe: &Probe, door: DoorId, reason: &'static str, user: UserId) {
        self.recents.note(Recent { user: Some(user), ..noted(now, probe, (Some(door), 0, reason)) });
    }
}

/// Tells whoever watches what became of a knock.
fn tell(server: &mut Server, now: Instant, probe: &Probe, judged: &str, user: Option<&str>) {
    if server.is_watched() {
        let address = probe.source.to_string();
        let port = format!("{}:{}", probe.transport.port(), probe.transport.protocol());
        let knock = Knock { address: &address, port: &port, door: None, stage: 0, steps: 0, judged, user };
        server.tell(now, "knock", &knock);
    }
}

/// Whether an address can be a host's.
pub(super) fn is_host(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(address.is_unspecified() || address.is_multicast() || address.is_loopback() || broadcast)
}
