//! Answers the operator's requests on the control socket.

use std::net::IpAddr;
use std::time::Duration;

use super::opening::Outcome;
use super::porter::{Porter, Waiting};
use super::start::StartError;
use super::state::Daemon;
use crate::config::MAX_OPEN_TIME_S;
use crate::control::message::{ControlRequest, Verb};
use crate::control::server::{self, Client, MAX_CLIENTS, WatchFilter};
use crate::core::access::{AskedTime, Cause, OpenRequest};
use crate::core::auth::Refusal;
use crate::core::door::DoorId;
use crate::core::grants::Opener;
use crate::core::moment::Moment;

/// A failed request: the exit code for the command line, and a sentence.
#[derive(Debug)]
struct RequestFailure {
    code: u8,
    message: String,
}

/// The time of the answer to a request.
enum Answered {
    /// At once.
    Now,
    /// When the program that opens this door has ended.
    Later(DoorId, IpAddr),
}

impl RequestFailure {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl Daemon<'_> {
    /// Answers one request.
    pub(super) fn answer(&mut self, moment: &Moment, mut client: Client) {
        let line = client.request().to_vec();
        let request = match server::parse(&line) {
            Ok(request) => request,
            Err(message) => return client.refuse(2, message),
        };
        let answered = match request.request {
            Verb::Watch | Verb::Events => match self.porter.watch_filter(&request) {
                Ok(filter) => {
                    if let Some(server) = self.porter.audience.server_mut() {
                        server.watch(client, filter);
                    }
                    return;
                }
                Err(failure) => Err(failure),
            },
            // A client that does not read its answer is not worth a log line.
            Verb::Status => self
                .status(moment, &mut client)
                .map(|()| Answered::Now)
                .map_err(|error| RequestFailure::new(1, error.to_string())),
            Verb::Open => self.porter.open_by_hand(moment, &request),
            Verb::Close => self.porter.close_by_hand(moment, &request).map(|()| Answered::Now),
            Verb::Reload => self.reload(moment).map(|()| Answered::Now).map_err(|error| {
                log::error!("the configuration stays as it was: {error}");
                RequestFailure::new(StartError::exit_code(&error), error.to_string())
            }),
        };
        match answered {
            Ok(Answered::Now) => client.done(),
            Ok(Answered::Later(door, address)) => self.porter.wait_for(Waiting { client, door, address }),
            Err(RequestFailure { code, message }) => client.refuse(code, &message),
        }
    }
}

impl Porter<'_> {
    /// The lines that a watcher asks for.
    fn watch_filter(&self, request: &ControlRequest<'_>) -> Result<WatchFilter, RequestFailure> {
        if request.door.is_some() {
            self.door(request)?;
        }
        let only_events = request.request == Verb::Events;
        Ok(WatchFilter { door: request.door.map(str::to_owned), address: address(request)?, only_events })
    }

    fn open_by_hand(
        &mut self,
        moment: &Moment,
        request: &ControlRequest<'_>,
    ) -> Result<Answered, RequestFailure> {
        let (door, address) = (self.door(request)?, address(request)?);
        let address = address.ok_or_else(|| RequestFailure::new(2, "the request names no address"))?;
        if let Some(seconds) = request.seconds.filter(|seconds| *seconds > MAX_OPEN_TIME_S) {
            return Err(RequestFailure::new(
                2,
                format!("{seconds} s is more than the longest time, {MAX_OPEN_TIME_S} s; 0 means no end"),
            ));
        }
        let time = match request.seconds {
            Some(0) => AskedTime::UntilShut,
            Some(seconds) => AskedTime::For(Duration::from_secs(seconds.into())),
            None => AskedTime::OpenTime,
        };
        let asked = OpenRequest { opener: Opener::Hand, door, sender: None, address, port: None, time };
        let group =
            |it: &Self| it.household.slots.get(door).map_or(address, |door| door.grant_prefix.group(address));
        match self.open(moment, &asked) {
            Outcome::Open | Outcome::Unchanged | Outcome::Shut => Ok(Answered::Now),
            Outcome::Asked => Ok(Answered::Later(door, group(self))),
            Outcome::Pending => Err(RequestFailure::new(1, self.not_yet(door))),
            Outcome::Refused(refusal) => Err(self.refused(door, address, refusal)),
        }
    }

    fn close_by_hand(&mut self, moment: &Moment, request: &ControlRequest<'_>) -> Result<(), RequestFailure> {
        let (id, address) = (self.door(request)?, address(request)?);
        let prefix = self.household.slots.get(id).map(|door| door.grant_prefix).unwrap_or_default();
        let address = address.map(|address| prefix.group(address));
        match (self.shut(moment, id, address, Cause::Hand), address) {
            (0, Some(address)) => {
                let door = request.door.unwrap_or_default();
                Err(RequestFailure::new(1, format!("door '{door}' is not open for {address}")))
            }
            // Without an address, a door that is shut already is no failure.
            _ => Ok(()),
        }
    }

    /// The reason why the firewall lacks a door that was asked for.
    fn not_yet(&mut self, id: DoorId) -> String {
        let Some(door) = self.household.slots.get(id).cloned() else { return String::new() };
        let why = match self.gate.missing(&door) {
            Ok(Some(what)) => format!("{what} does not exist"),
            Ok(None) => Refusal::Firewall.to_string(),
            Err(error) => error.to_string(),
        };
        format!("not open yet: {why}; ketukd tries again until the time is over")
    }

    fn refused(&self, id: DoorId, address: IpAddr, refusal: Refusal) -> RequestFailure {
        match (refusal, self.household.slots.get(id)) {
            (Refusal::NoHost, _) => RequestFailure::new(2, format!("'{address}' is no host's address")),
            (Refusal::NoPort, Some(door)) => RequestFailure::new(
                2,
                format!(
                    "door '{}' opens the port that an fwknop client asks for, and none by hand",
                    door.name
                ),
            ),
            (Refusal::Closing, Some(door)) => {
                let (name, names) = (&door.name, door.closes.join(", "));
                RequestFailure::new(2, format!("door '{name}' opens nothing, its knock shuts: {names}"))
            }
            _ => RequestFailure::new(1, refusal.to_string()),
        }
    }

    fn door(&self, request: &ControlRequest<'_>) -> Result<DoorId, RequestFailure> {
        let name = request.door.ok_or_else(|| RequestFailure::new(2, "the request names no door"))?;
        let slots = &self.household.slots;
        slots.find(name).ok_or_else(|| {
            let names: Vec<_> = slots.iter().map(|(_, door)| door.name.as_str()).collect();
            RequestFailure::new(1, format!("there is no door '{name}'; there are: {}", names.join(", ")))
        })
    }

    /// Keeps a client until the program that opens its door has ended.
    fn wait_for(&mut self, waiting: Waiting) {
        if self.waiting.len() < MAX_CLIENTS {
            self.waiting.push(waiting);
        } else {
            waiting.client.refuse(1, "too many requests wait for the firewall, try again");
        }
    }

    /// Answers the clients that wait for this door.
    pub(super) fn answer_waiting(&mut self, door: DoorId, address: IpAddr, result: Result<(), Refusal>) {
        let meant = |waiting: &Waiting| waiting.door == door && waiting.address == address;
        while let Some(at) = self.waiting.iter().position(meant) {
            let Waiting { client, .. } = self.waiting.swap_remove(at);
            match result {
                Ok(()) => client.done(),
                Err(refusal) => client.refuse(1, &format!("not open: {refusal}; see the log")),
            }
        }
    }
}

fn address(request: &ControlRequest<'_>) -> Result<Option<IpAddr>, RequestFailure> {
    let address = request.address.map(str::parse).transpose();
    address.map_err(|_| {
        RequestFailure::new(2, format!("'{}' is no address", request.address.unwrap_or_default()))
    })
}
