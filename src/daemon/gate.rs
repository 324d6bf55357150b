//! Stages four and five: a completed knock becomes a grant, and the grant a change of the firewall.

mod firewall;
mod refused;
mod restore;

use std::hash::RandomState;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use log::{error, info, warn};

pub(super) use self::firewall::Attempt;
pub use self::refused::Refused;
use super::jobs::{self, Job, JobKind, Jobs};
use super::leaving::Leaving;
use super::sessions::Sessions;
use super::slots::Slots;
use super::users::Users;
use crate::config::{Door, OnStop};
use crate::core::counters::Counters;
use crate::core::door::DoorId;
use crate::core::grants::{Grant, Grants, Opened};
use crate::core::limit::Limit;
use crate::core::time::Instant;
use crate::core::user::UserId;
use crate::firewall::backend::Backend;
use crate::linux::process;

/// New grants a second, and at once. People do not come faster; whoever knows a sequence and forges
/// addresses would.
const OPENS_PER_SECOND: u32 = 50;
const OPENS_BURST: u32 = 100;

/// Complaints about the firewall a second, and at once.
const COMPLAINTS: (u32, u32) = (1, 5);

/// Everybody who is in, and what lets them in.
#[derive(Debug)]
pub struct Gate {
    pub(super) keyed: RandomState,
    pub(super) grants: Box<Grants>,
    pub(super) sessions: Sessions,
    leaving: Leaving,
    backend: Backend,
    jobs: Jobs,
    opens: Limit,
    complaints: Limit,
    retry: Option<Instant>,
}

/// What [`Gate::open`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The door opened.
    New,
    /// It was open, and its time begins anew.
    Renewed,
    /// It was opened a moment ago, or its command is still to run: nothing changed.
    Unchanged,
}

impl Gate {
    /// A gate with nobody in.
    pub fn new(keyed: RandomState, backend: Backend) -> Self {
        Self {
            keyed,
            grants: Box::default(),
            sessions: Sessions::default(),
            leaving: Leaving::default(),
            jobs: Jobs::new(backend.iptables().cloned()),
            backend,
            opens: Limit::new(OPENS_PER_SECOND, OPENS_BURST),
            complaints: Limit::new(COMPLAINTS.0, COMPLAINTS.1),
            retry: None,
        }
    }

    /// Lets `address` through a door for `time`; `None` until it is shut.
    ///
    /// # Errors
    /// The door stays as it was.
    pub fn open(
        &mut self,
        now: Instant,
        counters: &mut Counters,
        (id, door): (DoorId, &Rc<Door>),
        address: IpAddr,
        time: Option<Duration>,
    ) -> Result<Entry, Refused> {
        let known = self.grants.get_mut(&self.keyed, id, address).is_some();
        let needs_jobs = self.needs_jobs(door);
        if !known {
            if needs_jobs && self.jobs.is_pending(&door.name, address, JobKind::Start) {
                return Ok(Entry::Unchanged);
            }
            if !self.opens.allow(now) {
                return Err(Refused::Rate);
            }
            if needs_jobs && !self.has_room(2) {
                return Err(Refused::Commands);
            }
            if is_momentary(door) {
                self.push(now, Job { door: Rc::clone(door), address, kind: JobKind::Start, lease: None });
                return Ok(Entry::New);
            }
        }
        match self.grants.open(&self.keyed, now, id, address, time) {
            Opened::Full => Err(Refused::Full),
            Opened::JustNow => Ok(Entry::Unchanged),
            Opened::New => {
                self.begin_session(now, door, id, address, time);
                self.admit(now, counters, door, id, address, Attempt::First);
                self.begun_session(door, id, address);
                if needs_jobs {
                    let lease =
                        self.grants.get_mut(&self.keyed, id, address).and_then(|grant| grant.lease(now));
                    self.push(now, Job { door: Rc::clone(door), address, kind: JobKind::Start, lease });
                }
                Ok(Entry::New)
            }
            Opened::Renewed => {
                self.begin_session(now, door, id, address, time);
                self.admit(now, counters, door, id, address, Attempt::First);
                Ok(Entry::Renewed)
            }
        }
    }

    /// Remembers who opened a door for `address`, if he proved who he is.
    pub fn set_user(&mut self, id: DoorId, address: IpAddr, user: Option<UserId>) {
        if let Some(grant) = self.grants.get_mut(&self.keyed, id, address) {
            grant.user = user;
        }
    }

    /// Puts new users in the place of the old. What a user opened who may not any more is shut,
    /// and handed out.
    pub fn change_users(
        &mut self,
        now: Instant,
        counters: &mut Counters,
        slots: &Slots,
        (old, new): (&Users, &Users),
        each: &mut dyn FnMut(&Door, &Grant),
    ) {
        // On the heap: room for MAX_GRANTS on the stack would stay in memory for ever after.
        let opened: Vec<Grant> = self.grants.iter().filter(|grant| grant.user.is_some()).copied().collect();
        for grant in opened {
            let (Some(user), Some(door)) = (grant.user, slots.get(grant.door)) else { continue };
            if new.still_allow(old, user, &door.name) {
                let user = old.name(user).and_then(|name| new.find(name));
                self.set_user(grant.door, grant.address, user);
            } else {
                self.shut(now, counters, (grant.door, door), Some(grant.address), &mut |grant| {
                    each(door, grant);
                });
            }
        }
    }

    /// Shuts a door to `address`, or to everybody, and hands each of them out; to how many.
    pub fn shut(
        &mut self,
        now: Instant,
        counters: &mut Counters,
        (id, door): (DoorId, &Rc<Door>),
        address: Option<IpAddr>,
        each: &mut dyn FnMut(&Grant),
    ) -> usize {
        let mut shut = 0;
        let chosen =
            |grant: &Grant| grant.door == id && address.is_none_or(|address| address == grant.address);
        loop {
            let Some(found) = self.grants.iter().find(|grant| chosen(grant)).copied() else {
                self.watch_sessions(now);
                return shut;
            };
            self.grants.shut(&self.keyed, id, found.address);
            self.expel(now, counters, door, found);
            info!("{}: {}: shut", found.address, door.name);
            each(&found);
            shut += 1;
        }
    }

    /// Shuts the doors whose time is over. The kernel does so by itself, but had its elements a moment later.
    pub fn expire(
        &mut self,
        now: Instant,
        counters: &mut Counters,
        slots: &Slots,
        each: &mut dyn FnMut(&Door, &Grant),
    ) {
        self.tend_sessions(now, counters, slots);
        while let Some(grant) = self.grants.expire(&self.keyed, now) {
            let Some(door) = slots.get(grant.door).cloned() else { continue };
            info!("{}: {}: command timeout", grant.address, door.name);
            self.expel(now, counters, &door, grant);
            self.watch_sessions(now);
            each(&door, &grant);
        }
    }

    /// Runs what is due: commands, and changes that the firewall has refused so far.
    pub fn tend(&mut self, now: Instant, counters: &mut Counters, slots: &Slots) {
        if self.retry.is_some_and(|retry| retry <= now) {
            self.retry = None;
            self.admit_waiting(now, counters, slots, Attempt::Retry);
            self.retry_leaving(now);
        }
        self.run_jobs(now);
    }

    /// When [`Self::expire`] and [`Self::tend`] must be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let own = [self.grants.next_deadline(), self.jobs.next_deadline(), self.retry];
        own.into_iter().chain([self.sessions.next_deadline()]).flatten().min()
    }

    /// Puts new doors in the place of the old. Who is in stays in, unless his door is gone or opens
    /// something else now; the others are handed out.
    pub fn change_doors(
        &mut self,
        now: Instant,
        counters: &mut Counters,
        (old, new): (&Slots, &Slots),
        each: &mut dyn FnMut(&Door, &Grant),
    ) {
        for (id, door) in old.iter() {
            // The name is that of the sets, and in the comments of rules.
            let same = |new: &Rc<Door>| {
                new.name == door.name
                    && new.grant_prefix == door.grant_prefix
                    && new.opening == door.opening
                    && new.commands == door.commands
                    && new.kill == door.kill
            };
            if !new.get(id).is_some_and(same) {
                self.shut(now, counters, (id, door), None, &mut |grant| each(door, grant));
            }
        }
    }

    /// Shuts everything for a clean stop; the commands are still to run.
    pub fn stop_all(
        &mut self,
        now: Instant,
        counters: &mut Counters,
        slots: &Slots,
        each: &mut dyn FnMut(&Door, &Grant),
    ) {
        let in_sets = self.backend.sets().is_some();
        for (id, door) in slots.iter() {
            // Only a set has a timer of its own that shuts the door later.
            if door.on_stop == OnStop::Keep && in_sets && door.opening.is_some() {
                continue;
            }
            self.shut(now, counters, (id, door), None, &mut |grant| each(door, grant));
        }
    }

    /// Whether the firewall would not let go of somebody so far.
    pub fn is_anyone_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Bounds the time of doors' commands that start from now on; none: they take as long as they like.
    pub fn set_command_limit(&mut self, limit: Option<Duration>) {
        self.jobs.set_command_limit(limit);
    }

    /// Whether commands wait or run.
    pub fn is_busy(&self) -> bool {
        !self.jobs.is_idle()
    }

    /// Everybody who is in.
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// How doors are opened.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// How doors are opened.
    pub fn backend_mut(&mut self) -> &mut Backend {
        &mut self.backend
    }

    fn needs_jobs(&self, door: &Door) -> bool {
        jobs::door_needs_jobs(door, self.backend.iptables().is_some())
    }

    /// Whether so many jobs can be queued, and everybody who is in can leave nevertheless.
    fn has_room(&self, jobs: usize) -> bool {
        self.jobs.has_room(self.grants.len() + jobs)
    }

    fn stop(&mut self, now: Instant, door: &Rc<Door>, address: IpAddr) {
        self.push(now, Job { door: Rc::clone(door), address, kind: JobKind::Stop, lease: None });
    }

    fn push(&mut self, now: Instant, job: Job) {
        if self.jobs.push(job).is_err() {
            error!("the queue of commands is full, which room was kept to prevent");
        }
        self.run_jobs(now);
    }

    fn run_jobs(&mut self, now: Instant) {
        for report in self.jobs.run(now, process::spawn) {
            if report.event.is_fault() {
                warn!("{report}");
            } else {
                info!("{report}");
            }
        }
    }
}

/// A door that only starts a command, and has nothing to undo: each knock runs it, as with knockd.
fn is_momentary(door: &Door) -> bool {
    door.opening.is_none() && door.commands.stop.is_none() && door.commands.stop_6.is_none()
}
