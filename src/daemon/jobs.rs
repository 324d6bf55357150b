//! The programs to run, so that a burst of knocks cannot make a burst of processes.
//!
//! A job is what one door needs to be opened or shut to one address. It has two parts, which do not wait for each
//! other: rules of iptables, one at a time; and the user's start or stop command, of which several run side by side
//! and may take as long as they like. For each door and address the parts of one kind run in order. Whatever becomes of
//! one command, the next runs: a stop command that fails must not keep the rules.

mod current;
mod job;
mod lane;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

pub use self::current::Running;
pub use self::job::{Event, Job, JobKind, Report};
use self::lane::Lane;
pub use self::lane::{MAX_STARTS, MAX_STARTS_OF_DOOR};
use crate::config::Door;
use crate::core::time::Instant;
use crate::firewall::iptables::Iptables;
use crate::linux::process::Child;

/// Most jobs that wait: one start and one stop for each of 256 grants.
pub const MAX_JOBS: usize = 2 * 256;

/// How long one command of iptables may run. It may have to wait for its lock; whatever takes longer hangs, and holds
/// up every other door.
pub const RULE_TIME_LIMIT: Duration = Duration::from_secs(30);

/// [`MAX_JOBS`] wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What waits and what runs.
#[derive(Debug)]
pub struct Jobs<C = Child> {
    iptables: Option<Iptables>,
    /// `command_timeout`: how long a user's command may run; none: as long as it likes.
    command_limit: Option<Duration>,
    rules: Lane<C>,
    commands: Lane<C>,
}

/// Whether this door needs any [`Job`] at all; `iptables` is whether that is the backend.
pub fn door_needs_jobs(door: &Door, iptables: bool) -> bool {
    (iptables && door.opening.is_some()) || door.commands.any()
}

impl<C: Running> Jobs<C> {
    /// Nothing to do; `iptables` is set if that is the backend.
    pub fn new(iptables: Option<Iptables>) -> Self {
        Self { iptables, command_limit: None, rules: Lane::of_rules(), commands: Lane::of_commands() }
    }

    /// Bounds the time of users' commands that start from now on; none: they take as long as they like.
    pub fn set_command_limit(&mut self, limit: Option<Duration>) {
        self.command_limit = limit;
    }

    /// Whether this many more jobs can wait.
    ///
    /// Who opens a door must be able to shut it, so before a start is pushed there must be room for it
    /// and for the stop of every door that is open.
    pub fn has_room(&self, jobs: usize) -> bool {
        jobs <= self.free()
    }

    /// How many more jobs can wait.
    pub fn free(&self) -> usize {
        self.rules.free().min(self.commands.free())
    }

    /// How many jobs of a door wait.
    pub fn waiting_of(&self, door: &str) -> usize {
        self.rules.waiting_of(door).max(self.commands.waiting_of(door))
    }

    /// Appends a job, to be started by [`Self::run`].
    ///
    /// A stop whose start still waits takes the start away instead: neither has to run.
    ///
    /// # Errors
    /// There is no room.
    pub fn push(&mut self, job: Job) -> Result<(), Full> {
        let rules = job.rules(self.iptables.as_ref());
        let commands = job.user_commands();
        if !rules.is_empty() {
            self.rules.push(job.clone(), rules)?;
        }
        if !commands.is_empty() {
            self.commands.push(job, commands)?;
        }
        Ok(())
    }

    /// Whether such a job waits or runs.
    pub fn is_pending(&self, door: &str, address: IpAddr, kind: JobKind) -> bool {
        [&self.rules, &self.commands].iter().any(|lane| lane.is_pending(door, address, kind))
    }

    /// Looks after what runs, and starts what may run next. To be called after [`Self::push`], on SIGCHLD, and at
    /// [`Self::next_deadline`]; what it returns is to be logged.
    pub fn run(&mut self, now: Instant, mut spawn: impl FnMut(&[String]) -> io::Result<C>) -> Vec<Report> {
        let mut reports = Vec::new();
        self.rules.run(now, Some(RULE_TIME_LIMIT), &mut spawn, &mut reports);
        self.commands.run(now, self.command_limit, &mut spawn, &mut reports);
        reports
    }

    /// When [`Self::run`] is next to be called, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        [self.rules.next_deadline(), self.commands.next_deadline()].into_iter().flatten().min()
    }

    /// Whether nothing waits or runs.
    pub fn is_idle(&self) -> bool {
        self.rules.is_idle() && self.commands.is_idle()
    }

    /// Whether no rule is to be inserted or deleted any more.
    pub fn are_rules_done(&self) -> bool {
        self.rules.is_idle()
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MAX_JOBS} commands wait to be run already")
    }
}

impl std::error::Error for Full {}

#[cfg(test)]
mod tests;
