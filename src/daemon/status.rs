//! The answer to `ketukd status`.

use std::io;

use super::gate::connections;
use super::porter::Porter;
use super::state::Daemon;
use crate::control::message;
use crate::control::server::Client;
use crate::core::counters::{CountedEvent, Counter};
use crate::core::moment::Moment;
use crate::core::reason::KnockedPort;
use crate::core::time::Instant;

impl Daemon<'_> {
    /// Sends the daemon's whole state.
    pub(super) fn status(&mut self, moment: &Moment, client: &mut Client) -> io::Result<()> {
        let now = moment.now;
        self.porter.audience.counters.add(Counter::Event(CountedEvent::SocketDrops), self.devices.dropped());
        let has_users = self.porter.household.users.iter().next().is_some();
        if has_users {
            self.porter.look_at_clock(moment);
        }
        let table = self.porter.gate.backend().table_name();
        client.send(
            "daemon",
            &message::DaemonLine {
                version: env!("CARGO_PKG_VERSION"),
                uptime_seconds: now.since(self.started).as_secs(),
                config: &self.config_path.to_string_lossy(),
                backend: self.porter.gate.backend().name(),
                table: &table,
                knocking: self.porter.keeper.engine.knocking(),
                commands_pending: self.porter.gate.is_busy(),
                clock_trusted: has_users.then(|| self.porter.keeper.auth.trusts_clock()),
                root: self.confinement.stays_root(),
            },
        )?;
        for (name, hearing, upper) in self.devices.iter() {
            let state = hearing.name();
            let text = upper.map(ToString::to_string);
            client.send("device", &message::DeviceLine { name, state, text: text.as_deref() })?;
        }
        if !self.porter.watch.is_fresh(now) {
            self.porter.mend_chains(now);
            self.look_at_firewall(moment);
        }
        for (id, door) in self.porter.household.slots.iter() {
            let warnings: Vec<_> = self.porter.watch.of_door(&door.name).collect();
            let warning = (!warnings.is_empty()).then(|| warnings.join("; and "));
            let firewall = match (door.opens_ports(), self.porter.gate.missing(door)) {
                (false, _) => "none",
                (true, Ok(None)) => "ready",
                (true, _) => "missing",
            };
            // The sequence may be the current line of a file.
            let knock = self.porter.keeper.engine.doors().find(|(known, _)| *known == id);
            client.send(
                "door",
                &message::DoorLine {
                    name: &door.name,
                    action: if door.closes.is_empty() { "open" } else { "close" },
                    steps: knock.map_or(0, |(_, knock)| knock.sequence.len()),
                    open_time: door.open_time.map(|time| time.as_secs()),
                    open: self
                        .porter
                        .keeper
                        .access
                        .grants()
                        .iter()
                        .filter(|grant| grant.door() == id)
                        .count(),
                    firewall,
                    warning: warning.as_deref(),
                },
            )?;
        }
        let Porter { keeper, household, .. } = &self.porter;
        let connections =
            connections::connections(keeper.access.grants(), &household.slots).unwrap_or_default();
        let mut connections = connections.into_iter();
        for (user, seen) in self.porter.household.users.iter() {
            client.send(
                "user",
                &message::UserLine {
                    name: &user.name,
                    doors: user.doors.len(),
                    seen_seconds_ago: seen.map(|seen| now.since(seen).as_secs()),
                },
            )?;
        }
        for grant in self.porter.keeper.access.grants().iter() {
            let connections = connections.next();
            let Some(door) = self.porter.household.slots.get(grant.door()) else { continue };
            client.send(
                "grant",
                &message::GrantLine {
                    door: &door.name,
                    address: &door.grant_prefix.shown(grant.address()).to_string(),
                    port: grant.port().map(|port| port.to_string()).as_deref(),
                    user: grant.user().and_then(|user| self.porter.household.users.name(user)),
                    seconds_left: grant
                        .time_left(now)
                        .map(|left| left.as_secs() + u64::from(left.subsec_nanos() > 0)),
                    held: grant.is_held(now),
                    sessions: connections,
                    in_firewall: grant.is_in_firewall(),
                },
            )?;
        }
        self.recents(now, client)?;
        for (name, value) in self.porter.audience.counters.iter() {
            client.send("counter", &message::CounterLine { name, value })?;
        }
        Ok(())
    }

    /// Sends the recent judgements, the newest first.
    fn recents(&self, now: Instant, client: &mut Client) -> io::Result<()> {
        let mut recents: Vec<_> = self.porter.audience.recents.iter().collect();
        recents.sort_unstable_by_key(|recent| std::cmp::Reverse(recent.at));
        for recent in recents {
            let door = recent.door.and_then(|door| self.porter.household.slots.get(door));
            let report = &recent.report;
            let port = report.port.map(|KnockedPort { port, protocol }| format!("{port}:{protocol}"));
            client.send(
                "recent",
                &message::RecentLine {
                    door: door.map(|door| door.name.as_str()),
                    user: recent.user.and_then(|user| self.porter.household.users.name(user)),
                    address: &recent.source.to_string(),
                    port: port.as_deref(),
                    stage: report.stage,
                    steps: report.steps.into(),
                    reason: report.reason.name(),
                    text: &report.to_string(),
                    failed: report.reason.is_failure(),
                    times: recent.times,
                    seconds_ago: now.since(recent.at).as_secs(),
                },
            )?;
        }
        Ok(())
    }
}
