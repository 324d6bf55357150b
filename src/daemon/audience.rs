//! The audience of events: the log, clients of `ketukd watch`, hotplug scripts, and the counters.

use log::{info, warn};

use super::hotplug::Hotplug;
use super::hotplug::event::HotplugEvent;
use super::household::Household;
use crate::control::message;
use crate::control::server::{About, Server};
use crate::core::access::{Cause, GrantPrefix, Policy as _};
use crate::core::counters::{CountedEvent, Counter, Counters, Judged};
use crate::core::door::DoorId;
use crate::core::event::{DoorChange, DoorEvent};
use crate::core::grants::Opener;
use crate::core::limit::{Bucket, Rate};
use crate::core::passage::Passage;
use crate::core::recent::{Recent, Recents};
use crate::core::time::Instant;
use crate::core::user::UserId;

/// The rate and burst of log lines about strangers' packets, so that a flood does not fill the log. One person's three knocks
/// make fewer lines than the burst.
const STRANGERS_LINES: Rate = Rate { per_second: 20, burst: 100 };
/// The rate of log lines about packets at the users' port that prove no user: 60 a minute. Anybody can send such packets, and
/// the log of a small router is short. These lines do not count against another budget.
const REFUSED_LINES: Rate = Rate { per_second: 1, burst: 20 };
/// The rate of log lines about plain knocks that opened one door. Refused knocks have their own budget of the same size, so
/// that neither kind hides the other in the log.
const DOOR_LINES: Rate = Rate { per_second: 10, burst: 50 };
/// The rate of log lines about one user. Packets of others do not use it up.
const USER_LINES: Rate = Rate { per_second: 5, burst: 20 };

/// The rate of log lines with the output of one door's failing commands: 60 a minute. A knocker may make the command fail at
/// every knock.
const PRINTED_LINES: Rate = Rate { per_second: 1, burst: 20 };

/// The budget that a log line counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogBudget {
    /// One budget for all strangers' knocks.
    Strangers,
    /// One budget for all packets at the users' port that prove no user.
    Unproved,
    /// One budget a door, for knocks that opened it.
    Opened(DoorId),
    /// One budget a door, for knocks that did not open it.
    Refused(DoorId),
    /// One budget a door, for the output of its failing commands.
    Printed(DoorId),
    /// One budget a user, for packets that opened a door.
    UserOpened(UserId),
    /// One budget a user, for packets that opened nothing.
    UserRefused(UserId),
    /// No limit: for the operator's requests and for the clock's events.
    Unbounded,
}

/// The receivers of events, and the limits of the log.
#[derive(Debug)]
pub(super) struct Audience {
    server: Option<Server>,
    pub(super) counters: Counters,
    pub(super) recents: Recents,
    pub(super) hotplug: Hotplug,
    /// Events that are kept back from clients of `ketukd watch`; `None` while nothing is kept back.
    held: Option<Vec<DoorEvent>>,
    strangers: Bucket,
    unproved: Bucket,
    doors: Vec<[Bucket; 3]>,
    users: Vec<[Bucket; 2]>,
}

impl Audience {
    pub(super) fn new() -> Self {
        Self {
            server: None,
            counters: Counters::new(),
            recents: Recents::new(),
            hotplug: Hotplug::default(),
            held: None,
            strangers: Bucket::new(),
            unproved: Bucket::new(),
            doors: Vec::new(),
            users: Vec::new(),
        }
    }

    /// Takes the control socket once it is open. Clients of `ketukd watch` connect to it.
    pub(super) fn open(&mut self, server: Server) {
        self.server = Some(server);
    }

    /// The control socket; `None` before it is open.
    pub(super) const fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// The control socket; `None` before it is open.
    pub(super) const fn server_mut(&mut self) -> Option<&mut Server> {
        self.server.as_mut()
    }

    /// Tells the whole audience of a door's event.
    pub(super) fn tell(&mut self, now: Instant, household: &Household, event: &DoorEvent) {
        let DoorEvent { change, door, address, port, user, left } = *event;
        let Some(door_name) = household.name(door) else { return };
        let user_name = user.and_then(|user| household.users.name(user));
        if let DoorChange::Opened { .. } | DoorChange::Renewed { .. } = change {
            self.counters.count(Counter::Judged(Judged::Opened));
        }
        self.log(now, household, event);
        let passage = Passage { address, port };
        if let DoorChange::Opened { .. } | DoorChange::Shut { .. } = change {
            let is_open = matches!(change, DoorChange::Opened { .. });
            self.hotplug
                .call(now, &HotplugEvent { is_open, door: door_name, passage, left, user: user_name });
        }
        match &mut self.held {
            Some(held) => held.push(*event),
            None => self.show(now, household, event),
        }
    }

    /// Keeps events back from clients of `ketukd watch`, until [`Self::release_events`].
    pub(super) fn hold_events(&mut self) {
        if self.is_watched() {
            self.held = Some(Vec::new());
        }
    }

    /// Sends the events that were kept back to clients of `ketukd watch`.
    pub(super) fn release_events(&mut self, now: Instant, household: &Household) {
        for event in self.held.take().unwrap_or_default() {
            self.show(now, household, &event);
        }
    }

    fn show(&mut self, now: Instant, household: &Household, event: &DoorEvent) {
        let Some(server) = self.server.as_mut().filter(|server| server.is_watched()) else { return };
        let door = household.name(event.door).unwrap_or_default();
        let prefix = household.slots.get(event.door).map(|door| door.grant_prefix).unwrap_or_default();
        let about = About { door: Some(door), address: event.address, prefix };
        let port = event.port.map(|port| port.to_string());
        let event = message::EventLine {
            event: event.kind(),
            door,
            address: &event.address.to_string(),
            port: port.as_deref(),
            seconds: event.left.map(|left| left.as_secs()),
            reason: event.reason(),
            text: &event.to_string(),
            user: event.user.and_then(|user| household.users.name(user)),
        };
        server.tell(now, "event", &about, &event);
    }

    fn log(&mut self, now: Instant, household: &Household, event: &DoorEvent) {
        let DoorEvent { change, door, address, port, user, .. } = *event;
        let port = port.map_or_else(String::new, |port| format!(", port {port}"));
        let name = household.name(door).unwrap_or_default();
        let user_name = user.and_then(|user| household.users.name(user)).unwrap_or_default();
        match change {
            DoorChange::Opened { opener, asked_by } | DoorChange::Renewed { opener, asked_by } => {
                let budget = match opener {
                    Opener::Knock => LogBudget::Opened(door),
                    Opener::User(user) => LogBudget::UserOpened(user),
                    Opener::Hand => LogBudget::Unbounded,
                };
                if !self.may_log(now, budget) {
                    return;
                }
                let from = asked_by.map_or_else(String::new, |from| format!(", asked by {from}"));
                match opener {
                    Opener::Knock => info!("{address}: {name}: OPEN SESAME"),
                    Opener::User(_) => info!("{address}: {name}: OPEN SESAME, user {user_name}{port}{from}"),
                    Opener::Hand => info!("{address}: {name}: opened by hand"),
                }
            }
            DoorChange::Refused { opener: Opener::User(user), .. } => {
                if self.may_log(now, LogBudget::UserRefused(user)) {
                    warn!("{address}: {name}: user {user_name}: {event}");
                }
            }
            DoorChange::Refused { .. } => {
                if self.may_log(now, LogBudget::Refused(door)) {
                    warn!("{address}: {name}: {event}");
                }
            }
            DoorChange::Shut { cause: Cause::TimeOver } => info!("{address}: {name}: command timeout{port}"),
            DoorChange::Shut { .. } => info!("{address}: {name}: shut{port}"),
        }
    }

    /// Sends a judged knock to clients of `ketukd watch`, with the steps that are taken now. The sentence names the steps
    /// that were taken before, if the knock ended an attempt.
    pub(super) fn tell_knock(&mut self, household: &Household, stage: u8, knock: &Recent) {
        let Some(server) = self.server.as_mut().filter(|server| server.is_watched()) else { return };
        let Recent { source, door, user, report, at, .. } = *knock;
        let door = door.and_then(|door| household.name(door));
        let port = report.port.map(|came| format!("{}:{}", came.port, came.protocol));
        let line = message::KnockLine {
            address: &source.to_string(),
            port: port.as_deref(),
            door,
            stage,
            steps: report.steps,
            judged: report.reason.name(),
            text: &report.to_string(),
            failed: report.reason.is_failure(),
            user: user.and_then(|user| household.users.name(user)),
        };
        server.tell(at, "knock", &About { door, address: source, prefix: GrantPrefix::default() }, &line);
    }

    /// Whether a client of `ketukd watch` is connected.
    pub(super) fn is_watched(&self) -> bool {
        self.server.as_ref().is_some_and(Server::is_watched)
    }

    /// Whether one more line may be logged within its budget. A line that may not is counted.
    pub(super) fn may_log(&mut self, now: Instant, budget: LogBudget) -> bool {
        let Some((bucket, rate)) = self.bucket(budget) else { return true };
        let allowed = bucket.take(rate, now);
        let left_out = if allowed { bucket.take_refused() } else { 0 };
        if !allowed {
            self.counters.count(Counter::Event(CountedEvent::LogSuppressed));
        } else if left_out > 0 {
            info!("{left_out} lines about knocks were left out");
        }
        allowed
    }

    fn bucket(&mut self, budget: LogBudget) -> Option<(&mut Bucket, Rate)> {
        Some(match budget {
            LogBudget::Unbounded => return None,
            LogBudget::Strangers => (&mut self.strangers, STRANGERS_LINES),
            LogBudget::Unproved => (&mut self.unproved, REFUSED_LINES),
            LogBudget::Opened(door) => (&mut at(&mut self.doors, door.index())[0], DOOR_LINES),
            LogBudget::Refused(door) => (&mut at(&mut self.doors, door.index())[1], DOOR_LINES),
            LogBudget::Printed(door) => (&mut at(&mut self.doors, door.index())[2], PRINTED_LINES),
            LogBudget::UserOpened(user) => (&mut at(&mut self.users, user.index())[0], USER_LINES),
            LogBudget::UserRefused(user) => (&mut at(&mut self.users, user.index())[1], USER_LINES),
        })
    }

    /// Whether one more debug line may be logged.
    pub(super) fn may_debug(&mut self, now: Instant) -> bool {
        log::log_enabled!(log::Level::Debug) && self.may_log(now, LogBudget::Strangers)
    }
}

/// The buckets of a door or user. The table grows to their number. It stays small because their slots are numbered
/// without gaps.
fn at<const N: usize>(table: &mut Vec<[Bucket; N]>, slot: usize) -> &mut [Bucket; N] {
    if table.len() <= slot {
        table.resize(slot + 1, [Bucket::new(); N]);
    }
    &mut table[slot]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_line_has_its_own_budget() {
        let mut audience = Audience::new();
        let now = Instant::from_millis(0);
        let (door, user) = (DoorId(1), UserId(2));
        let budgets = [
            (LogBudget::Strangers, 100),
            (LogBudget::Unproved, 20),
            (LogBudget::Opened(door), 50),
            (LogBudget::Refused(door), 50),
            (LogBudget::Printed(door), 20),
            (LogBudget::UserOpened(user), 20),
            (LogBudget::UserRefused(user), 20),
            (LogBudget::Opened(DoorId(0)), 50),
        ];
        let mut left_out = 0;
        for (budget, burst) in budgets {
            let allowed = (0..200).filter(|_| audience.may_log(now, budget)).count();
            assert_eq!(allowed, burst, "{budget:?}");
            left_out += 200 - u64::try_from(allowed).expect("few");
        }
        assert!((0..200).all(|_| audience.may_log(now, LogBudget::Unbounded)));
        assert!(audience.counters.iter().any(|counter| counter == ("log_suppressed", left_out)));
        assert!(audience.may_log(now.after(std::time::Duration::from_secs(1)), LogBudget::Unproved));
    }
}
