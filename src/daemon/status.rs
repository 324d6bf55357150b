//! The daemon's answers on the control socket.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::admission::is_host;
use super::gate::Entry;
use super::porter::{Porter, tell_closed, tell_event};
use super::run::Daemon;
use super::start::StartError;
use crate::config::MAX_OPEN_TIME_S;
use crate::control::message::{self, Request, Verb};
use crate::control::server::{self, Client, Server};
use crate::core::counters::{Counter, Event};
use crate::core::door::DoorId;
use crate::core::time::Instant;

/// A request that was refused: the command line's exit code, and why.
type Refused = (u8, String);

impl Daemon<'_> {
    /// Answers one request.
    pub(super) fn answer(&mut self, server: &mut Server, now: Instant, mut client: Client) {
        let line = client.request().to_vec();
        let request = match server::parse(&line) {
            Ok(request) => request,
            Err(message) => return client.refuse(2, message),
        };
        let answered = match request.request {
            Verb::Watch => return server.watch(client),
            // A client that does not read its answer is no reason to say anything.
            Verb::Status => self.status(now, &mut client).map_err(|error| (1, error.to_string())),
            Verb::Open => self.open_by_hand(server, now, &request),
            Verb::Close => self.close_by_hand(server, now, &request),
            Verb::Reload => self.reload(server, now).map_err(|error| {
                log::error!("the configuration stays as it was: {error}");
                (StartError::exit_code(&error), error.to_string())
            }),
        };
        match answered {
            Ok(()) => client.done(),
            Err((code, message)) => client.refuse(code, &message),
        }
    }

    fn status(&mut self, now: Instant, client: &mut Client) -> io::Result<()> {
        self.porter.counters.add(Counter::Event(Event::SocketDrops), self.devices.dropped());
        let has_users = self.porter.users.iter().next().is_some();
        if has_users {
            self.porter.look_at_clock(now);
        }
        let table = self.porter.gate.backend().table_name();
        client.send(
            "daemon",
            &message::Daemon {
                version: env!("CARGO_PKG_VERSION"),
                uptime_seconds: now.since(self.started).as_secs(),
                config: &self.options.config.to_string_lossy(),
                backend: self.porter.gate.backend().name(),
                table: &table,
                knocking: self.porter.engine.knocking(),
                commands_pending: self.porter.gate.is_busy(),
                clock_trusted: has_users.then(|| self.porter.auth.trusts_clock()),
            },
        )?;
        for (name, hearing) in self.devices.iter() {
            let state = hearing.name();
            client.send("device", &message::Device { name, state })?;
        }
        for (id, door) in self.porter.slots.iter() {
            let firewall = match (door.opening.is_some(), self.porter.gate.missing(door)) {
                (false, _) => "none",
                (true, Ok(None)) => "ready",
                (true, _) => "missing",
            };
            client.send(
                "door",
                &message::Door {
                    name: &door.name,
                    action: if door.closes.is_empty() { "open" } else { "close" },
                    steps: door.knock.sequence.len(),
                    open_time: door.open_time.map(|time| time.as_secs()),
                    open: self.porter.gate.grants().iter().filter(|grant| grant.door == id).count(),
                    firewall,
                },
            )?;
        }
        let connections = self.porter.gate.connections(&self.porter.slots).unwrap_or_default();
        let mut connections = connections.into_iter();
        for (user, seen) in self.porter.users.iter() {
            client.send(
                "user",
                &message::User {
                    name: &user.name,
                    doors: user.doors.len(),
                    seen_seconds_ago: seen.map(|seen| now.since(seen).as_secs()),
                },
            )?;
        }
        for grant in self.porter.gate.grants().iter() {
            let connections = connections.next();
            let Some(door) = self.porter.slots.get(grant.door) else { continue };
            client.send(
                "grant",
                &message::Grant {
                    door: &door.name,
                    address: &door.grant_prefix.shown(grant.address),
                    user: grant.user.and_then(|user| self.porter.users.name(user)),
                    seconds_left: grant
                        .time_left(now)
                        .map(|left| left.as_secs() + u64::from(left.subsec_nanos() > 0)),
                    held: grant.is_held(now),
                    sessions: connections,
                    in_firewall: grant.in_firewall,
                },
            )?;
        }
        self.recents(now, client)?;
        for (name, value) in self.porter.counters.iter() {
            client.send("counter", &message::Counter { name, value })?;
        }
        Ok(())
    }

    /// The last judgements, the newest first.
    fn recents(&self, now: Instant, client: &mut Client) -> io::Result<()> {
        let mut recents: Vec<_> = self.porter.recents.iter().collect();
        recents.sort_unstable_by_key(|recent| std::cmp::Reverse(recent.at));
        for recent in recents {
            let door = recent.door.and_then(|door| self.porter.slots.get(door));
            let port = recent.port.map(|(port, protocol)| format!("{port}:{protocol}"));
            client.send(
                "recent",
                &message::Recent {
                    door: door.map(|door| door.name.as_str()),
                    user: recent.user.and_then(|user| self.porter.users.name(user)),
                    address: &recent.source.to_string(),
                    port: port.as_deref(),
                    stage: recent.stage,
                    steps: door.map_or(0, |door| door.knock.sequence.len()),
                    reason: recent.reason,
                    times: recent.times,
                    seconds_ago: now.since(recent.at).as_secs(),
                },
            )?;
        }
        Ok(())
    }

    fn open_by_hand(
        &mut self,
        server: &mut Server,
        now: Instant,
        request: &Request<'_>,
    ) -> Result<(), Refused> {
        let (id, address) = (self.door(request)?, address(request)?);
        let address = address.ok_or((2, "which address?".to_owned()))?;
        let Porter { slots, gate, counters, hotplug, .. } = &mut self.porter;
        let door = slots.get(id).cloned().expect("just found");
        if !door.closes.is_empty() {
            let names = door.closes.join(", ");
            return Err((2, format!("door '{}' opens nothing, its knock shuts: {names}", door.name)));
        }
        let address = door.grant_prefix.group(address);
        if !is_host(address) {
            return Err((2, format!("'{address}' is no host's address")));
        }
        if let Some(seconds) = request.seconds.filter(|seconds| *seconds > MAX_OPEN_TIME_S) {
            return Err((
                2,
                format!("{seconds} s is more than the longest time, {MAX_OPEN_TIME_S} s; 0 is without end"),
            ));
        }
        // `max_time` bounds what clients may ask for; who may use this socket may do as he likes.
        let time = match request.seconds {
            Some(0) => None,
            Some(seconds) => Some(Duration::from_secs(seconds.into())),
            None => door.open_time,
        };
        let event = match gate.open(now, counters, (id, &door), address, time) {
            Ok(Entry::New) => "open",
            Ok(Entry::Renewed) => "renew",
            Ok(Entry::Unchanged) => return Ok(()),
            Err(refused) => return Err((1, refused.to_string())),
        };
        log::info!("{address}: {}: opened by hand", door.name);
        let seconds = time.map(|time| time.as_secs());
        tell_event((server, hotplug), now, (event, "hand"), (&door.name, address), seconds, None);
        Ok(())
    }

    fn close_by_hand(
        &mut self,
        server: &mut Server,
        now: Instant,
        request: &Request<'_>,
    ) -> Result<(), Refused> {
        let (id, address) = (self.door(request)?, address(request)?);
        let Porter { slots, users, gate, counters, hotplug, .. } = &mut self.porter;
        let door = slots.get(id).cloned().expect("just found");
        let address = address.map(|address| door.grant_prefix.group(address));
        let shut = gate.shut(now, counters, (id, &door), address, &mut |grant| {
            tell_closed((server, hotplug), now, users, &door, grant, "hand");
        });
        match (shut, address) {
            (0, Some(address)) => Err((1, format!("door '{}' is not open for {address}", door.name))),
            // Shut for everybody is what was asked for.
            _ => Ok(()),
        }
    }

    fn door(&self, request: &Request<'_>) -> Result<DoorId, Refused> {
        let name = request.door.ok_or((2, "which door?".to_owned()))?;
        self.porter.slots.find(name).ok_or_else(|| {
            let names: Vec<_> = self.porter.slots.iter().map(|(_, door)| door.name.as_str()).collect();
            (1, format!("there is no door '{name}'; there are: {}", names.join(", ")))
        })
    }
}

fn address(request: &Request<'_>) -> Result<Option<IpAddr>, Refused> {
    let address = request.address.map(str::parse).transpose();
    address.map_err(|_| (2, format!("'{}' is no address", request.address.unwrap_or_default())))
}
