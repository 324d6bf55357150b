//! Everybody who is told what happens: the log, those who watch, scripts, and the counters.

use log::{info, warn};

use super::hotplug::Hotplug;
use super::household::Household;
use crate::control::message;
use crate::control::server::Server;
use crate::core::access::{Cause, Policy as _};
use crate::core::counters::{Counter, Counters, Event, Judged};
use crate::core::door::DoorId;
use crate::core::event::{DoorChange, DoorEvent};
use crate::core::grants::Opener;
use crate::core::limit::{Bucket, Rate};
use crate::core::recent::Recents;
use crate::core::time::Instant;
use crate::core::user::UserId;

/// Log lines a second, and at once, about what strangers send: a flood must not fill the log. A person's own three
/// knocks always fit.
const STRANGERS_LINES: Rate = Rate { per_second: 20, burst: 100 };
/// Log lines about plain knocks that opened one door, and as many about those that did not: whoever reads that a door
/// opened can read that it did not.
const DOOR_LINES: Rate = Rate { per_second: 10, burst: 50 };
/// The same for each user. Nobody else's packets use it up.
const USER_LINES: Rate = Rate { per_second: 5, burst: 20 };

/// Whose lines are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Budget {
    /// All strangers'.
    Strangers,
    /// A door's, for what opened it.
    Opened(DoorId),
    /// A door's, for what did not.
    Refused(DoorId),
    /// A user's, for what opened.
    UserOpened(UserId),
    /// A user's, for what did not.
    UserRefused(UserId),
    /// The operator's, and the clock's: nothing bounds it.
    Unbounded,
}

/// The audience.
#[derive(Debug)]
pub(super) struct Audience {
    server: Option<Server>,
    pub(super) counters: Counters,
    pub(super) recents: Recents,
    pub(super) hotplug: Hotplug,
    /// Events that those who watch are shown a little later.
    held: Option<Vec<DoorEvent>>,
    strangers: Bucket,
    doors: Vec<[Bucket; 2]>,
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
            doors: Vec::new(),
            users: Vec::new(),
        }
    }

    /// From now on there is a control socket, and with it those who watch.
    pub(super) fn open(&mut self, server: Server) {
        self.server = Some(server);
    }

    /// The control socket, once it is there.
    pub(super) const fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// The control socket, once it is there.
    pub(super) const fn server_mut(&mut self) -> Option<&mut Server> {
        self.server.as_mut()
    }

    /// Tells of a door.
    pub(super) fn tell(&mut self, now: Instant, household: &Household, event: &DoorEvent) {
        let DoorEvent { change, door, address, user, left } = *event;
        let Some(door_name) = household.name(door) else { return };
        let user_name = user.and_then(|user| household.users.name(user));
        if let DoorChange::Opened { .. } | DoorChange::Renewed { .. } = change {
            self.counters.count(Counter::Judged(Judged::Opened));
        }
        self.log(now, household, event);
        let seconds = left.map(|left| left.as_secs());
        self.hotplug.call(now, event.kind(), (door_name, address), seconds, user_name);
        match &mut self.held {
            Some(held) => held.push(*event),
            None => self.show(now, household, event),
        }
    }

    /// Keeps events from those who watch, until [`Self::release_events`].
    pub(super) fn hold_events(&mut self) {
        if self.is_watched() {
            self.held = Some(Vec::new());
        }
    }

    /// Shows what was kept to those who watch.
    pub(super) fn release_events(&mut self, now: Instant, household: &Household) {
        for event in self.held.take().unwrap_or_default() {
            self.show(now, household, &event);
        }
    }

    fn show(&mut self, now: Instant, household: &Household, event: &DoorEvent) {
        let Some(server) = self.server.as_mut().filter(|server| server.is_watched()) else { return };
        let event = message::Event {
            event: event.kind(),
            door: household.name(event.door).unwrap_or_default(),
            address: &event.address.to_string(),
            seconds: event.left.map(|left| left.as_secs()),
            reason: event.reason(),
            user: event.user.and_then(|user| household.users.name(user)),
        };
        server.tell(now, "event", &event);
    }

    fn log(&mut self, now: Instant, household: &Household, event: &DoorEvent) {
        let DoorEvent { change, door, address, user, .. } = *event;
        let name = household.name(door).unwrap_or_default();
        let user_name = user.and_then(|user| household.users.name(user)).unwrap_or_default();
        match change {
            DoorChange::Opened { opener, asked_by } | DoorChange::Renewed { opener, asked_by } => {
                let budget = match opener {
                    Opener::Knock => Budget::Opened(door),
                    Opener::User(user) => Budget::UserOpened(user),
                    Opener::Hand => Budget::Unbounded,
                };
                if !self.may_log(now, budget) {
                    return;
                }
                let from = asked_by.map_or_else(String::new, |from| format!(", asked by {from}"));
                match opener {
                    Opener::Knock => info!("{address}: {name}: OPEN SESAME"),
                    Opener::User(_) => info!("{address}: {name}: OPEN SESAME, user {user_name}{from}"),
                    Opener::Hand => info!("{address}: {name}: opened by hand"),
                }
            }
            DoorChange::Refused { opener: Opener::User(user), refusal } => {
                if self.may_log(now, Budget::UserRefused(user)) {
                    warn!("{address}: {name}: user {user_name}: not opened: {refusal}");
                }
            }
            DoorChange::Refused { refusal, .. } => {
                if self.may_log(now, Budget::Refused(door)) {
                    warn!("{address}: {name}: not opened: {refusal}");
                }
            }
            DoorChange::Shut { cause: Cause::TimeOver } => info!("{address}: {name}: command timeout"),
            DoorChange::Shut { .. } => info!("{address}: {name}: shut"),
        }
    }

    /// Tells whoever watches of a knock.
    pub(super) fn tell_knock(&mut self, now: Instant, knock: &message::Knock<'_>) {
        if let Some(server) = &mut self.server {
            server.tell(now, "knock", knock);
        }
    }

    /// Whether anybody watches.
    pub(super) fn is_watched(&self) -> bool {
        self.server.as_ref().is_some_and(Server::is_watched)
    }

    /// Whether one more line may be logged; one that may not is counted.
    pub(super) fn may_log(&mut self, now: Instant, budget: Budget) -> bool {
        let Some((bucket, rate)) = self.bucket(budget) else { return true };
        let allowed = bucket.take(rate, now);
        let left_out = if allowed { bucket.take_refused() } else { 0 };
        if !allowed {
            self.counters.count(Counter::Event(Event::LogSuppressed));
        } else if left_out > 0 {
            info!("{left_out} lines about knocks were left out");
        }
        allowed
    }

    fn bucket(&mut self, budget: Budget) -> Option<(&mut Bucket, Rate)> {
        let (table, slot, place, rate) = match budget {
            Budget::Unbounded => return None,
            Budget::Strangers => return Some((&mut self.strangers, STRANGERS_LINES)),
            Budget::Opened(door) => (&mut self.doors, door.index(), 0, DOOR_LINES),
            Budget::Refused(door) => (&mut self.doors, door.index(), 1, DOOR_LINES),
            Budget::UserOpened(user) => (&mut self.users, user.index(), 0, USER_LINES),
            Budget::UserRefused(user) => (&mut self.users, user.index(), 1, USER_LINES),
        };
        // As long as the configuration has doors or users: their slots are dense.
        if table.len() <= slot {
            table.resize(slot + 1, [Bucket::new(); 2]);
        }
        Some((&mut table[slot][place], rate))
    }

    /// Whether a line for those who look for faults may be logged.
    pub(super) fn may_debug(&mut self, now: Instant) -> bool {
        log::log_enabled!(log::Level::Debug) && self.may_log(now, Budget::Strangers)
    }
}
