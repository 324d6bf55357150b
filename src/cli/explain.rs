//! `ketukd explain`: judges the knocks in a capture file with the same core as the daemon.

use std::fmt::Write as _;
use std::fs::File;
use std::hash::RandomState;
use std::io::Read as _;
use std::net::IpAddr;
use std::sync::PoisonError;

use super::arguments::Arguments;
use super::capture::{CaptureFile, CapturedPacket};
use super::{CommandResult, Failure, control};
use crate::config::{Config, FirewallFile};
use crate::control::row::{HEADING, KnockRow};
use crate::core::access::{self, Access, Decision, OpenRequest, Policy as _};
use crate::core::attempts::TimedOut;
use crate::core::auth::{Auth, Refused};
use crate::core::counters::Judged;
use crate::core::doorkeeper::{Doorkeeper, JudgedPacket, Proven};
use crate::core::engine::Engine;
use crate::core::moment::Moment;
use crate::core::packet;
use crate::core::place::{OwnAddress, Via};
use crate::core::ports::ProtocolPorts;
use crate::core::reason::{KnockReport, KnockedPort, Reason};
use crate::core::time::Instant;
use crate::daemon::household::Household;
use crate::daemon::one_time;
use crate::daemon::reload::auth_rules;
use crate::daemon::run::{ACCESS_TABLES, AUTH_TABLES, TABLES};
use crate::daemon::slots::never_traps;
use crate::linux::clock;
use crate::linux::links::own_addresses;

/// Largest capture file, in bytes. The whole file is read into memory.
const MAX_CAPTURE: u64 = 64 * 1024 * 1024;

/// Prints each knock as [`super::control::watch`] does, and a count of all packets on standard error.
pub(super) fn print(arguments: &Arguments) -> CommandResult {
    let config = arguments.config()?;
    let (name, mut file) = (&arguments.operands[0], Vec::new());
    File::open(name)
        .and_then(|opened| opened.take(MAX_CAPTURE + 1).read_to_end(&mut file))
        .map_err(|error| Failure::Failed(format!("cannot read {name}: {error}")))?;
    if file.len() as u64 > MAX_CAPTURE {
        return Err(Failure::Failed(format!("{name}: larger than 64 MiB: cut out a part, or filter it")));
    }
    let capture = CaptureFile::new(&file).map_err(|problem| Failure::Failed(format!("{name}: {problem}")))?;

    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut auth_tables = AUTH_TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut access_tables = ACCESS_TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let keyed = RandomState::new();
    let mut explainer = Explainer {
        keeper: Doorkeeper {
            engine: Engine::new(&mut tables, keyed.clone()).without_scattered_traps(),
            auth: Auth::new(&mut auth_tables, keyed.clone(), auth_rules(&config)),
            access: Access::new(&mut access_tables, keyed),
        },
        household: Household::default().with(&config),
        counts: Vec::new(),
    };
    let never = never_traps(&config, FirewallFile::beside(arguments.config_path()).exposed_ports(&config));
    explainer.set_up(&config, &never, addresses(arguments, &capture)?)?;
    super::print(&format!("{HEADING}\n"))?;
    let (mut clock, mut begin) = (0, None);
    for CapturedPacket { at_ms, bytes } in capture.packets() {
        // The core's clock never goes back, even if the times in the file do.
        clock = at_ms.saturating_sub(*begin.get_or_insert(at_ms)).max(clock);
        let wall_s = at_ms / 1000;
        let moment = Moment { now: Instant::from_millis(clock), wall_s, local: clock::local_time(wall_s) };
        super::print(&explainer.lines(&moment, bytes))?;
    }
    let counts = &mut explainer.counts;
    counts.sort_unstable();
    let counts: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    eprintln!("packets: {}", if counts.is_empty() { "none".to_owned() } else { counts.join(", ") });
    Ok(())
}

/// The core, without a firewall.
struct Explainer<'t> {
    keeper: Doorkeeper<'t, RandomState>,
    household: Household,
    counts: Vec<(&'static str, u64)>,
}

impl Explainer<'_> {
    /// Gives the core the configuration. The core has taken no packet before the capture, and trusts the capture's
    /// clock.
    fn set_up(
        &mut self,
        config: &Config,
        never: &[ProtocolPorts],
        addresses: Vec<IpAddr>,
    ) -> Result<(), Failure> {
        let Self { keeper, household, .. } = self;
        let mut knocks = household.slots.knocks();
        for (id, door) in household.slots.iter() {
            let (Some(file), Some(Some(knock))) = (&door.one_time, knocks.get_mut(id.index())) else {
                continue;
            };
            let line = one_time::next_line(file)
                .map_err(|error| Failure::Failed(format!("{}: {error}", file.display())))?;
            knock.sequence = line.map(|line| line.sequence).unwrap_or_default();
        }
        keeper
            .engine
            .set_doors(&knocks, never)
            .map_err(|_| Failure::Failed("the doors name too many different ports".to_owned()))?;
        let own: Vec<_> = addresses.into_iter().map(OwnAddress::from).collect();
        keeper.engine.set_addresses(&own);
        keeper.engine.set_listening(household.listening(config));
        keeper.auth.set_users(auth_rules(config), &household.users.for_core(&household.slots));
        keeper.auth.trust_clock(0);
        Ok(())
    }

    /// The rows of attempts whose time is over, and those for a packet: the daemon's reaction to it.
    fn lines(&mut self, moment: &Moment, bytes: &[u8]) -> String {
        let Self { keeper, household, .. } = self;
        let mut text = String::new();
        keeper.engine.expire(moment.now, |TimedOut { source, door, .. }, report| {
            let (Some(door), Some(source)) = (household.name(door), source) else { return };
            let cells = Cells { door, step: &format!("0/{}", report.steps), what: &report.to_string() };
            write(&mut text, moment, source, None, cells);
        });
        while keeper.access.end_due(moment, household).is_some() {}
        let heard = match keeper.hear(moment, household, Via::Any, bytes) {
            Ok(heard) => heard,
            Err(reason) => {
                self.count(reason.name());
                return text;
            }
        };
        if let Some(proven) = heard.proof() {
            self.users_lines(&mut text, moment, &heard, proven);
        }
        let probe = heard.probe();
        if let Some(judgement) = heard.judgement() {
            if judgement.judged() != Judged::Opened {
                self.count(judgement.judged().name());
            }
            if judgement.verdicts().is_empty() && self.keeper.engine.is_step(probe) {
                let report = KnockReport::without_door(Reason::Judged(judgement.judged()), probe);
                write(
                    &mut text,
                    moment,
                    probe.source,
                    Some(KnockedPort::of(probe)),
                    Cells { what: &report.to_string(), ..Cells::default() },
                );
            }
            for verdict in judgement.verdicts() {
                let report = self.keeper.engine.report(probe, verdict, Reason::Judged(verdict.judged()));
                let what = match heard.request(verdict) {
                    Some(request) => self.outcome(moment, &request),
                    None => report.to_string(),
                };
                let step = format!("{}/{}", verdict.stage(), report.steps);
                let door = self.household.name(verdict.door()).unwrap_or_default();
                write(
                    &mut text,
                    moment,
                    probe.source,
                    Some(KnockedPort::of(probe)),
                    Cells { door, step: &step, what: &what },
                );
            }
        }
        text
    }

    /// Adds the rows for a knock at a port of users' knocks.
    fn users_lines(&mut self, text: &mut String, moment: &Moment, heard: &JudgedPacket, proven: Proven) {
        let probe = heard.probe();
        let (reason, user) = match proven {
            Proven::Noted { .. } => (Reason::Judged(Judged::TotpKnock), None),
            Proven::Again => (Reason::Judged(Judged::Retransmission), None),
            Proven::Refused(Refused { refusal, user }) => (Reason::Refused(refusal), user),
            Proven::Request(request) => {
                let own = self.keeper.engine.place().own();
                match access::requests(&self.household, own, probe.source, &request) {
                    Ok(requests) => {
                        for asked in requests {
                            let what = self.outcome(moment, &asked);
                            let door = self.household.name(asked.door).unwrap_or_default();
                            let user = self.household.users.name(request.user()).unwrap_or_default();
                            let what = &format!("user {user}: {what}");
                            write(
                                text,
                                moment,
                                probe.source,
                                Some(KnockedPort::of(probe)),
                                Cells { door, what, ..Cells::default() },
                            );
                        }
                        return;
                    }
                    Err(refusal) => (Reason::Refused(refusal), Some(request.user())),
                }
            }
        };
        if heard.judgement().is_some() {
            return;
        }
        self.count(reason.name());
        let user = user.and_then(|user| self.household.users.name(user));
        let user = user.map_or_else(String::new, |user| format!("user {user}: "));
        let report = KnockReport::without_door(reason, probe);
        write(
            text,
            moment,
            probe.source,
            Some(KnockedPort::of(probe)),
            Cells { what: &format!("{user}{report}"), ..Cells::default() },
        );
    }

    /// The daemon's decision, by the daemon's own code.
    fn outcome(&mut self, moment: &Moment, request: &OpenRequest) -> String {
        let Self { keeper, household, .. } = self;
        match keeper.access.decide(moment, household, request, None) {
            Decision::Open(opening) => {
                keeper.access.commit(moment, household, &opening);
                keeper.access.confirm(opening.door(), opening.passage());
                self.count("would_open");
                let prefix = self.household.slots.get(opening.door()).map(|door| door.grant_prefix);
                let address = prefix.unwrap_or_default().shown(opening.address());
                let time = opening.time().map_or_else(
                    || "until it is shut".to_owned(),
                    |time| format!("for {} s", time.as_secs()),
                );
                let port = opening.port().map_or_else(String::new, |port| format!("port {port} "));
                format!("would open {port}for {address} {time}")
            }
            Decision::Unchanged => {
                self.count("unchanged");
                "is open already".to_owned()
            }
            Decision::Shut { address, .. } => {
                self.count("would_shut");
                format!("would shut its doors for {address}")
            }
            Decision::Refused(refusal) => {
                self.count(refusal.name());
                format!("would not open: {refusal}")
            }
        }
    }

    /// One more packet of this name.
    fn count(&mut self, name: &'static str) {
        match self.counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, packets)) => *packets += 1,
            None => self.counts.push((name, 1)),
        }
    }
}

/// The last fields of a row: the door and the steps taken, empty if there are none, and the result.
#[derive(Clone, Copy, Debug, Default)]
struct Cells<'a> {
    door: &'a str,
    step: &'a str,
    what: &'a str,
}

/// Adds a row, as `ketukd watch` has it. A row about no knock has no port.
fn write(text: &mut String, moment: &Moment, source: IpAddr, port: Option<KnockedPort>, cells: Cells<'_>) {
    let row = KnockRow {
        second: moment.local.second,
        from: &source.to_string(),
        port: &port.map(|port| port.to_string()).unwrap_or_default(),
        door: cells.door,
        step: cells.step,
        text: cells.what,
    };
    let _ = writeln!(text, "{row}");
}

/// The addresses at which knocks count: those of `--address`, or else of this host. If no packet is for this host, the
/// capture comes from another host, and all destinations count.
fn addresses(arguments: &Arguments, capture: &CaptureFile<'_>) -> Result<Vec<IpAddr>, Failure> {
    if !arguments.addresses.is_empty() {
        return arguments.addresses.iter().map(|address| control::address(address)).collect();
    }
    let mut destinations: Vec<_> = capture
        .packets()
        .filter_map(|packet| packet::parse(packet.bytes).ok())
        .map(|probe| probe.destination)
        .collect();
    destinations.sort_unstable();
    destinations.dedup();
    let own = own_addresses().unwrap_or_default();
    if destinations.is_empty() || destinations.iter().any(|destination| own.contains(destination)) {
        return Ok(own);
    }
    eprintln!(
        "no packet goes to an address of this host, so knocks to every destination count: --address names them"
    );
    Ok(destinations)
}
