//! Stages four and five: a completed knock becomes a grant, and the grant a change of the firewall.

use std::hash::RandomState;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use log::{Level, debug, error, info, log, trace, warn};

use super::backend::Backend;
use super::jobs::{self, Job, JobKind, Jobs};
use super::leaving::Leaving;
use super::sessions::Sessions;
use super::slots::Slots;
use super::sweep;
use super::users::Users;
use crate::config::{Close, Door, OnStop};
use crate::core::counters::{Counter, Counters, Event};
use crate::core::door::DoorId;
use crate::core::grants::{Grant, Grants, MAX_GRANTS, Opened};
use crate::core::limit::Limit;
use crate::core::session::{MARGIN, Session};
use crate::core::time::Instant;
use crate::core::user::UserId;
use crate::firewall::error::NftError;
use crate::firewall::nft::AddressFamily;
use crate::firewall::sets::Sets;
use crate::linux::process;

/// New grants a second, and at once. People do not come faster; whoever knows a sequence and forges
/// addresses would.
const OPENS_PER_SECOND: u32 = 50;
const OPENS_BURST: u32 = 100;

/// How soon a change that the firewall refused is tried again, besides at once when its tables change.
const RETRY: Duration = Duration::from_millis(500);

/// How long to look for lost rules of iptables, at most: packets wait meanwhile.
const LOOK: Duration = Duration::from_secs(10);

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

/// Why a door did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too many doors were opened just now.
    Rate,
    /// Too many are in.
    Full,
    /// Too many commands wait.
    Commands,
    /// The door is not for this address.
    Address,
    /// The door is not for this hour.
    Hours,
}

impl Refused {
    /// The counter that counts it.
    pub const fn counter(self) -> Event {
        match self {
            Self::Rate => Event::OpenRate,
            Self::Full => Event::GrantsFull,
            Self::Commands => Event::CommandsFull,
            Self::Address | Self::Hours => Event::NotAllowed,
        }
    }
}

impl Refused {
    /// A word for watchers.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Rate | Self::Full | Self::Commands => "limit",
            Self::Address => "src",
            Self::Hours => "hours",
        }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rate => "too many doors were opened just now",
            Self::Full => "too many doors are open",
            Self::Commands => "too many commands are waiting",
            Self::Address => "the door is not for this address",
            Self::Hours => "the door is not for this hour",
        })
    }
}

/// How often the firewall has been asked to let somebody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// For the first time since he knocked.
    First,
    /// Its tables changed.
    Restore,
    /// It refused last time.
    Retry,
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

    /// Puts everybody back who is in and whom the firewall has lost, with the time that is left. To be
    /// called when its tables changed.
    pub fn restore(&mut self, now: Instant, counters: &mut Counters, slots: &Slots) {
        self.load_cuts(slots, false);
        let Self { keyed, grants, backend, .. } = self;
        let Some(sets) = backend.sets() else { return };
        grants.iter_mut().for_each(|grant| grant.in_firewall = false);
        for (id, door) in slots.iter().filter(|(_, door)| door.opening.is_some()) {
            if !grants.iter().any(|grant| grant.door == id) {
                continue;
            }
            for family in AddressFamily::ALL {
                // A set that cannot be listed has lost everybody, as far as anyone knows.
                let _ = sets.list(&**door, family, &mut |address, _| {
                    if let Some(grant) = grants.get_mut(keyed, id, address) {
                        grant.in_firewall = true;
                    }
                });
            }
        }
        self.admit_waiting(now, counters, slots, Attempt::Restore);
    }

    /// The same for iptables, when a reload is asked for: that is how fw3's include says that it has made its
    /// chains anew.
    pub fn restore_rules(&mut self, now: Instant, slots: &Slots) {
        let Some(iptables) = self.backend.iptables() else { return };
        if self.grants.iter().next().is_none() || !self.jobs.is_idle() || !sweep::all_gone(iptables, LOOK) {
            return;
        }
        for grant in self.grants.iter().copied().collect::<heapless::Vec<Grant, MAX_GRANTS>>() {
            let room = self.has_room(1);
            if let Some(door) = slots.get(grant.door).filter(|door| room && door.opening.is_some()) {
                let (door, address, lease) = (Rc::clone(door), grant.address, grant.lease(now));
                self.push(now, Job { door, address, kind: JobKind::Restore, lease });
            }
        }
    }

    /// Takes over who is in the sets already: a daemon before this one let them in.
    pub fn adopt(&mut self, now: Instant, slots: &Slots) {
        let Self { keyed, grants, backend, .. } = self;
        let Some(sets) = backend.sets() else { return };
        for (id, door) in slots.iter().filter(|(_, door)| door.opening.is_some()) {
            let mut adopted = 0;
            for family in AddressFamily::ALL {
                let listed = sets.list(&**door, family, &mut |address, left| {
                    if grants.open(keyed, now, id, address, left) == Opened::New {
                        adopted += 1;
                        if let Some(grant) = grants.get_mut(keyed, id, address) {
                            grant.in_firewall = true;
                            adopt_session(now, door, grant);
                        }
                    }
                });
                if let Err(error) = listed {
                    debug!("{}: {error}", door.name);
                }
            }
            if adopted > 0 {
                info!("{}: adopted {adopted} open from before", door.name);
            }
        }
        self.watch_sessions(now);
    }

    /// Says which doors cannot open yet because the firewall lacks their sets.
    pub fn check_sets(&mut self, slots: &Slots) {
        for (_, door) in slots.iter().filter(|(_, door)| door.opening.is_some()) {
            match self.missing(door) {
                Ok(None) => {}
                Ok(Some(what)) => {
                    // On OpenWrt the init script has asked for the reload already.
                    let level = if self.backend.name() == "fw4" { Level::Info } else { Level::Warn };
                    log!(
                        level,
                        "{}: {what} is not there: reload the firewall, or load what 'ketukd ruleset' prints; the door opens as soon as it is",
                        door.name
                    );
                }
                Err(error) => warn!("{}: {error}", door.name),
            }
        }
    }

    /// What of a door is missing in the firewall.
    ///
    /// # Errors
    /// The firewall cannot be asked.
    pub fn missing(&mut self, door: &Door) -> Result<Option<String>, NftError> {
        let Some(sets) = self.backend.sets() else { return Ok(None) };
        if !sets.table_exists()? {
            return Ok(Some(format!("table {}", self.backend.table_name())));
        }
        let missing = sets.missing(door)?;
        Ok(missing.first().map(|set| format!("set {set} in table {}", self.backend.table_name())))
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

    /// Gets everybody into the firewall who is in and not there.
    fn admit_waiting(&mut self, now: Instant, counters: &mut Counters, slots: &Slots, attempt: Attempt) {
        let waiting: heapless::Vec<(DoorId, IpAddr), MAX_GRANTS> = self
            .grants
            .iter()
            .filter(|grant| !grant.in_firewall)
            .map(|grant| (grant.door, grant.address))
            .collect();
        for (id, address) in waiting {
            if let Some(door) = slots.get(id).cloned() {
                self.admit(now, counters, &door, id, address, attempt);
            }
        }
    }

    /// Gets the grant of `address` into the firewall, now or later. Only the first failure is logged: it may
    /// be tried again for days.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        counters: &mut Counters,
        door: &Rc<Door>,
        id: DoorId,
        address: IpAddr,
        attempt: Attempt,
    ) {
        self.leaving.cancel(&door.name, address);
        let Some(grant) = self.grants.get_mut(&self.keyed, id, address) else { return };
        let lease = grant.lease(now);
        if let (Some(session), Some(lease)) = (&mut grant.session, lease) {
            session.leased = now.after(lease);
        }
        let (Some(sets), true) = (self.backend.sets(), door.opening.is_some()) else {
            let renewed = std::mem::replace(&mut grant.in_firewall, true);
            if renewed && self.backend.iptables().is_some_and(|it| it.sets) && self.has_room(1) {
                self.push(now, Job { door: Rc::clone(door), address, kind: JobKind::Renew, lease });
            }
            return;
        };
        match sets.open(&**door, address, lease, grant.in_firewall) {
            Ok(()) => {
                grant.in_firewall = true;
                if attempt != Attempt::First {
                    info!("{address}: {}: let in, now that the firewall can", door.name);
                }
            }
            Err(error) => {
                grant.in_firewall = false;
                counters.count(Counter::Event(Event::FirewallError));
                self.retry = Some(now.after(RETRY));
                if attempt == Attempt::Retry {
                    trace!("{address}: {}: {error}", door.name);
                } else {
                    self.complain(now, door, address, &error);
                }
            }
        }
    }

    /// Gets `grant`, which is over, out of the firewall.
    fn expel(&mut self, now: Instant, counters: &mut Counters, door: &Rc<Door>, grant: Grant) {
        if door.opening.is_some()
            && let Some(sets) = self.backend.sets()
        {
            match Sets::shut(sets, &**door, grant.address) {
                // What is not there lets nobody in.
                Ok(()) | Err(NftError::MissingSet { .. } | NftError::MissingTable { .. }) => {}
                Err(error) => {
                    counters.count(Counter::Event(Event::FirewallError));
                    self.complain(now, door, grant.address, &error);
                    self.leaving.add(door, grant.address);
                    self.retry = Some(now.after(RETRY));
                }
            }
        }
        self.cut(door, grant.address);
        if self.needs_jobs(door) {
            self.stop(now, door, grant.address);
        }
    }

    /// Tries again to get those out whom the firewall would not let go.
    fn retry_leaving(&mut self, now: Instant) {
        let Self { leaving, backend, .. } = self;
        let Some(sets) = backend.sets() else { return };
        leaving.retry(|door, address| match sets.shut(door, address) {
            Ok(()) | Err(NftError::MissingSet { .. } | NftError::MissingTable { .. }) => {
                info!("{address}: {}: shut, now that the firewall can", door.name);
                true
            }
            Err(error) => {
                trace!("{address}: {}: {error}", door.name);
                false
            }
        });
        if !leaving.is_empty() {
            self.retry = Some(now.after(RETRY));
        }
    }

    fn complain(&mut self, now: Instant, door: &Door, address: IpAddr, error: &NftError) {
        if self.complaints.allow(now) {
            error!("{address}: {}: {error}", door.name);
        }
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

/// Of what a daemon before this one let in only the kernel's timer is known: not when it was opened.
fn adopt_session(now: Instant, door: &Door, grant: &mut Grant) {
    let (Close::Session { max }, Some(until)) = (door.close, grant.until) else { return };
    let time = until.since(now).saturating_sub(MARGIN);
    grant.session = Some(Session { leased: until, ..Session::new(now, time, max) });
    grant.until = Some(now.after(time));
}

/// A door that only starts a command, and has nothing to undo: each knock runs it, as with knockd.
fn is_momentary(door: &Door) -> bool {
    door.opening.is_none() && door.commands.stop.is_none() && door.commands.stop_6.is_none()
}
