//! The packet's way, from bytes to an open door.

use std::hash::RandomState;
use std::net::IpAddr;

use log::{debug, error, info, warn};

use super::gate::{Entry, Gate, Refused};
use super::hotplug::Hotplug;
use super::one_time::{self, Line, MarkError};
use super::slots::Slots;
use super::systemd;
use super::users::Users;
use super::wall::Wall;
use crate::config::Door;
use crate::control::message::{Event, Knock};
use crate::control::server::Server;
use crate::core::auth::Auth;
use crate::core::counters::{self, Counter, Counters, Judged};
use crate::core::door::DoorId;
use crate::core::engine::{Engine, Judgement, Proof};
use crate::core::grants::Grant;
use crate::core::limit::Limit;
use crate::core::packet::{self, Probe};
use crate::core::place::Via;
use crate::core::recent::{Recent, Recents};
use crate::core::time::Instant;
use crate::linux::clock;

/// Log lines about knocks a second, and at once. Strangers cause these, so a flood must not fill the log;
/// a person's own three knocks always fit.
const KNOCK_LINES: (u32, u32) = (20, 100);

/// Who stands at the doors: judges each packet, and opens.
#[derive(Debug)]
pub struct Porter<'t> {
    /// Who has knocked what.
    pub engine: Engine<'t, RandomState>,
    /// The doors.
    pub slots: Slots,
    /// Who proves who he is.
    pub auth: Auth<'t, RandomState>,
    /// The users.
    pub users: Users,
    /// Who is in.
    pub gate: Gate,
    /// The time of day.
    pub wall: Wall,
    /// The sequences for one time whose turn it is.
    pub one_time: Vec<(DoorId, Line)>,
    /// A sequence for one time was used: the doors must be set anew.
    pub is_used_up: bool,
    /// What happened how often.
    pub counters: Counters,
    /// The scripts that are told of doors that open and shut.
    pub hotplug: Hotplug,
    /// The last judgements.
    pub recents: Recents,
    /// When it was last said that the time is not known.
    pub(super) complained: Option<Instant>,
    pub(super) knock_lines: Limit,
    /// Apart, so that no flood of first knocks hides who came in.
    pub(super) open_lines: Limit,
    /// Apart too: whoever reads that a door opened must be able to read that it did not.
    refusal_lines: Limit,
}

impl<'t> Porter<'t> {
    /// A porter without doors.
    pub fn new(engine: Engine<'t, RandomState>, auth: Auth<'t, RandomState>, gate: Gate, wall: Wall) -> Self {
        Self {
            engine,
            slots: Slots::default(),
            auth,
            users: Users::default(),
            gate,
            wall,
            one_time: Vec::new(),
            is_used_up: false,
            counters: Counters::new(),
            hotplug: Hotplug::default(),
            recents: Recents::new(),
            complained: None,
            knock_lines: Limit::new(KNOCK_LINES.0, KNOCK_LINES.1),
            open_lines: Limit::new(KNOCK_LINES.0, KNOCK_LINES.1),
            refusal_lines: Limit::new(KNOCK_LINES.0, KNOCK_LINES.1),
        }
    }

    /// The packet's way, from bytes to an open door.
    pub fn on_packet(&mut self, server: &mut Server, now: Instant, via: Via, bytes: &[u8]) {
        let probe = match packet::parse(bytes) {
            Ok(probe) => probe,
            Err(reason) => return self.counters.count(Counter::Malformed(reason)),
        };
        if !self.engine.is_plausible(&probe, via) {
            return self.counters.count(Counter::Judged(Judged::Implausible));
        }
        match self.engine.proof(&probe) {
            Some(Proof::Packet) if self.on_datagram(server, now, &probe, packet::udp_payload(bytes)) => {
                return;
            }
            Some(Proof::Totp) if self.on_totp_knock(server, now, &probe) => return,
            _ => {}
        }
        let judgement = self.engine.judge(now, &probe);
        self.counters.count(Counter::Judged(judgement.judged));
        self.report(server, now, &probe, &judgement);
        for verdict in judgement.verdicts.iter().filter(|verdict| verdict.judged == Judged::Opened) {
            self.open(server, now, verdict.door, &probe);
        }
    }

    /// A door was knocked at in full.
    fn open(&mut self, server: &mut Server, now: Instant, id: DoorId, probe: &Probe) {
        let Some(door) = self.slots.get(id).cloned() else { return };
        let source = probe.source;
        let allowed = allows(&door, source);
        if allowed.is_ok() && door.one_time.is_some() && !self.use_up(now, id) {
            return;
        }
        // Who is turned away is not let in, in the log neither: scripts act on this line.
        if allowed.is_ok() && log_allowed(&mut self.open_lines, &mut self.counters, now) {
            info!("{source}: {}: OPEN SESAME", door.name);
        }
        let address = door.grant_prefix.group(source);
        let entry = match allowed {
            Ok(()) if !door.closes.is_empty() => return self.close(server, now, &door, source),
            Ok(()) => self.gate.open(now, &mut self.counters, (id, &door), address, door.open_time),
            Err(refused) => Err(refused),
        };
        let seconds = door.open_time.map(|time| time.as_secs());
        if matches!(entry, Ok(Entry::New | Entry::Renewed)) {
            self.gate.set_user(id, address, None);
        }
        let (event, reason) = match entry {
            Ok(Entry::New) => ("open", "knock"),
            Ok(Entry::Renewed) => ("renew", "knock"),
            Ok(Entry::Unchanged) => return,
            Err(refused) => {
                let counter = refused.counter();
                self.counters.count(Counter::Event(counter));
                let steps = u8::try_from(door.knock.sequence.len()).expect("at most MAX_STEPS");
                self.recents.note(noted(now, probe, (Some(id), steps, counter.name())));
                if log_allowed(&mut self.refusal_lines, &mut self.counters, now) {
                    warn!("{address}: {}: not opened: {refused}", door.name);
                }
                ("refuse", refused.reason())
            }
        };
        tell_event((server, &mut self.hotplug), now, (event, reason), (&door.name, address), seconds, None);
    }

    /// Uses up the sequence for one time that was just knocked; whether the door may open.
    fn use_up(&mut self, now: Instant, id: DoorId) -> bool {
        let Some(at) = self.one_time.iter().position(|(door, _)| *door == id) else { return false };
        let (_, line) = &self.one_time[at];
        let marked = line.mark();
        if let Err(error) = &marked
            && log_allowed(&mut self.refusal_lines, &mut self.counters, now)
        {
            error!("{line}: not marked as used, so the door stays shut: {error}");
        }
        // What cannot be written stays as it is, so that whoever repeats the knock has nothing read anew.
        if !matches!(marked, Err(MarkError::Io(..))) {
            self.one_time.swap_remove(at);
            self.is_used_up = true;
        }
        marked.is_ok()
    }

    /// The doors as the core is to know them, with the sequences for one time whose turn it is.
    pub fn knocks(&mut self) -> Vec<Option<crate::core::door::Door>> {
        let mut knocks = self.slots.knocks();
        self.is_used_up = false;
        self.one_time.clear();
        for (id, door) in self.slots.iter() {
            let (Some(file), Some(Some(knock))) = (&door.one_time, knocks.get_mut(id.index())) else {
                continue;
            };
            match one_time::next_line(file) {
                Ok(Some(line)) => {
                    knock.sequence.clone_from(&line.sequence);
                    self.one_time.push((id, line));
                }
                Ok(None) => warn!("{}: {}: no sequence is left", door.name, file.display()),
                Err(error) => {
                    let advice = systemd::advice(&error, file);
                    error!("{}: {}: {error}{advice}", door.name, file.display());
                }
            }
        }
        knocks
    }

    /// A door was knocked at whose knock shuts others.
    pub(super) fn close(&mut self, server: &mut Server, now: Instant, door: &Door, address: IpAddr) {
        let Self { gate, slots, users, counters, hotplug, .. } = self;
        for name in &door.closes {
            // It may be there and not enabled.
            let Some(id) = slots.find(name) else { continue };
            let Some(closed) = slots.get(id) else { continue };
            let address = closed.grant_prefix.group(address);
            gate.shut(now, counters, (id, closed), Some(address), &mut |grant| {
                tell_closed((server, hotplug), now, users, closed, grant, "knock");
            });
        }
    }

    /// Logs a judgement in knockd's words, and tells whoever watches.
    fn report(&mut self, server: &mut Server, now: Instant, probe: &Probe, judgement: &Judgement) {
        let source = probe.source;
        for verdict in &judgement.verdicts {
            let Some(door) = self.slots.get(verdict.door) else { continue };
            if !matches!(verdict.judged, Judged::Retransmission | Judged::Repeat) {
                self.recents.note(noted(
                    now,
                    probe,
                    (Some(verdict.door), verdict.stage, verdict.judged.name()),
                ));
            }
            if verdict.displaced {
                self.counters.count(Counter::Event(counters::Event::Displaced));
            }
            let step = matches!(verdict.judged, Judged::Opened | Judged::Advanced | Judged::WrongStep);
            if step && verdict.stage > 0 {
                if log_allowed(&mut self.knock_lines, &mut self.counters, now) {
                    info!("{source}: {}: Stage {}", door.name, verdict.stage);
                }
            } else if log::log_enabled!(log::Level::Debug)
                && log_allowed(&mut self.knock_lines, &mut self.counters, now)
            {
                debug!("{source}: {}: {}", door.name, verdict.judged.name());
            }
        }
        if server.is_watched() {
            self.tell_knock(server, now, probe, judgement);
        }
    }

    fn tell_knock(&self, server: &mut Server, now: Instant, probe: &Probe, judgement: &Judgement) {
        let address = probe.source.to_string();
        let port = format!("{}:{}", probe.transport.port(), probe.transport.protocol());
        let knock = |door, stage, steps, judged: Judged| Knock {
            address: &address,
            port: &port,
            door,
            stage,
            steps,
            judged: judged.name(),
            user: None,
        };
        if judgement.verdicts.is_empty() {
            server.tell(now, "knock", &knock(None, 0, 0, judgement.judged));
        }
        for verdict in &judgement.verdicts {
            let Some(door) = self.slots.get(verdict.door) else { continue };
            let one_time = self.one_time.iter().find(|(id, _)| *id == verdict.door);
            let sequence = one_time.map_or(&door.knock.sequence, |(_, line)| &line.sequence);
            let steps = u8::try_from(sequence.len()).expect("at most MAX_STEPS");
            server.tell(now, "knock", &knock(Some(&door.name), verdict.stage, steps, verdict.judged));
        }
    }

    /// Ends what has run out of time, and runs what is due.
    pub fn expire(&mut self, server: &mut Server, now: Instant) {
        let Self { engine, gate, slots, users, counters, recents, knock_lines, hotplug, .. } = self;
        engine.expire(now, |timed_out| {
            counters.count(Counter::Event(counters::Event::TimedOut));
            let (Some(door), Some(source)) = (slots.get(timed_out.door), timed_out.source) else { return };
            recents.note(Recent {
                source,
                door: Some(timed_out.door),
                user: None,
                port: None,
                stage: timed_out.stage,
                reason: counters::Event::TimedOut.name(),
                times: 1,
                at: now,
            });
            if log_allowed(knock_lines, counters, now) {
                let stage = timed_out.stage;
                info!("{source}: {}: sequence timeout (stage {stage})", door.name);
            }
        });
        gate.expire(now, counters, slots, &mut |door, grant| {
            tell_closed((server, hotplug), now, users, door, grant, "timeout");
        });
        gate.tend(now, counters, slots);
        hotplug.tend(now);
    }

    /// When [`Self::expire`] must be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines =
            [self.engine.next_deadline(), self.gate.next_deadline(), self.hotplug.next_deadline()];
        deadlines.into_iter().flatten().min()
    }
}

/// Tells whoever watches that a door opened or shut for an address, and why; and the scripts.
pub fn tell_event(
    (server, hotplug): (&mut Server, &mut Hotplug),
    now: Instant,
    (event, reason): (&str, &str),
    (door, address): (&str, IpAddr),
    seconds: Option<u64>,
    user: Option<&str>,
) {
    hotplug.call(now, event, (door, address), seconds, user);
    if server.is_watched() {
        let address = &address.to_string();
        server.tell(now, "event", &Event { event, door, address, seconds, reason, user });
    }
}

/// The same for a door that was shut.
pub fn tell_closed(
    audience: (&mut Server, &mut Hotplug),
    now: Instant,
    users: &Users,
    door: &Door,
    grant: &Grant,
    reason: &str,
) {
    let user = grant.user.and_then(|user| users.name(user));
    tell_event(audience, now, ("close", reason), (&door.name, grant.address), Some(0), user);
}

/// What is noted of a probe at one door.
pub(super) fn noted(
    now: Instant,
    probe: &Probe,
    (door, stage, reason): (Option<DoorId>, u8, &'static str),
) -> Recent {
    let port = Some((probe.transport.port(), probe.transport.protocol()));
    Recent { source: probe.source, door, user: None, port, stage, reason, times: 1, at: now }
}

/// Whether a door is for who has knocked, and for now.
pub(super) fn allows(door: &Door, address: IpAddr) -> Result<(), Refused> {
    if !door.src.is_empty() && !door.src.iter().any(|network| network.contains(address)) {
        return Err(Refused::Address);
    }
    match door.hours {
        Some(hours) if !hours.allow(clock::local_time()) => Err(Refused::Hours),
        _ => Ok(()),
    }
}

/// Whether one more line about strangers may be logged; one that may not is counted.
pub(super) fn log_allowed(limit: &mut Limit, counters: &mut Counters, now: Instant) -> bool {
    let allowed = limit.allow(now);
    if !allowed {
        counters.count(Counter::Event(counters::Event::LogSuppressed));
    } else if let left_out @ 1.. = limit.take_refused() {
        info!("{left_out} lines about knocks were left out");
    }
    allowed
}
