//! The queue of programs to run. A burst of knocks must not start a burst of processes.
//!
//! A job opens or shuts one door for one address. It has two parts that do not wait for each other. The first inserts
//! or deletes rules of iptables, one job at a time. The second is the user's start or stop command; several run side
//! by side and may take as long as they like. For each door and address the parts of one kind run in order. If a
//! command fails, the next runs nevertheless: a stop command that fails must not keep the rules in place.

mod current;
mod job;
mod lane;
mod words;

use std::fmt;
use std::os::fd::BorrowedFd;
use std::time::Duration;

pub use self::current::{Running, StartProgram};
pub use self::job::{Job, JobEvent, JobKind, JobPart, Order, Report, Ticket};
use self::lane::{Lane, MAX_RUNNING};
pub use self::lane::{MAX_STARTS, MAX_STARTS_OF_DOOR};
use crate::config::Door;
use crate::core::passage::Passage;
use crate::core::time::Instant;
use crate::firewall::iptables::Iptables;

/// The most jobs that wait: one start and one stop for each of 256 grants.
pub const MAX_JOBS: usize = 2 * 256;

/// The time limit of one iptables command. It may have to wait for the lock of iptables. A command that takes longer
/// hangs, and holds up every other door.
pub const RULE_TIME_LIMIT: Duration = Duration::from_secs(30);

/// The most descriptors of running commands: one command of iptables, and users' commands.
pub const MAX_DESCRIPTORS: usize = 1 + MAX_RUNNING;

/// The queue holds [`MAX_JOBS`] jobs already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The jobs that wait and run.
#[derive(Debug)]
pub struct Jobs {
    iptables: Option<Iptables>,
    /// `command_timeout`: the time limit of a user's command; `None` means no limit.
    command_limit: Option<Duration>,
    rules: Lane,
    commands: Lane,
}

/// Whether this door needs a [`Job`]. `iptables` says whether iptables is the backend.
pub fn door_needs_jobs(door: &Door, iptables: bool) -> bool {
    (iptables && door.opens_ports()) || door.commands.any()
}

impl Jobs {
    /// An empty queue. `iptables` is set if it is the backend.
    pub fn new(iptables: Option<Iptables>) -> Self {
        Self { iptables, command_limit: None, rules: Lane::of_rules(), commands: Lane::of_commands() }
    }

    /// Sets the time limit of users' commands that start from now on; `None` means no limit.
    pub fn set_command_limit(&mut self, limit: Option<Duration>) {
        self.command_limit = limit;
    }

    /// Whether the queue has room for this many more jobs.
    ///
    /// Every door that opens must be able to shut. So before a start is queued, there must be room for it and for the
    /// stop of every open door.
    pub fn has_room(&self, jobs: usize) -> bool {
        jobs <= self.free()
    }

    /// The free places in the queue.
    pub fn free(&self) -> usize {
        self.rules.free().min(self.commands.free())
    }

    /// The number of waiting jobs of a door.
    pub fn waiting_of(&self, door: &str) -> usize {
        self.rules.waiting_of(door).max(self.commands.waiting_of(door))
    }

    /// Appends a job. [`Self::run`] starts it.
    ///
    /// If a stop's start still waits, the start is removed and neither runs.
    ///
    /// # Errors
    /// The queue is full.
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

    /// Whether a job of this kind waits or runs for this door and address.
    pub fn is_pending(&self, door: &str, passage: Passage, kind: JobKind) -> bool {
        [&self.rules, &self.commands].iter().any(|lane| lane.is_pending(door, passage, kind))
    }

    /// Whether a job of this opening waits or runs.
    pub fn has(&self, ticket: Ticket) -> bool {
        [&self.rules, &self.commands].iter().any(|lane| lane.has(ticket))
    }

    /// Checks the running jobs, and starts those that may run next. Call it after [`Self::push`], on SIGCHLD, and at
    /// [`Self::next_deadline`]. The caller logs the reports.
    pub fn run(&mut self, now: Instant, start: &mut StartProgram<'_>) -> Vec<Report> {
        let mut reports = Vec::new();
        self.rules.run(now, Some(RULE_TIME_LIMIT), start, &mut reports);
        self.commands.run(now, self.command_limit, start, &mut reports);
        reports
    }

    /// The descriptors of the running commands' output, at most [`MAX_DESCRIPTORS`]. Call [`Self::run`] when one can be
    /// read.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.rules.descriptors().chain(self.commands.descriptors())
    }

    /// When [`Self::run`] must be called next, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        [self.rules.next_deadline(), self.commands.next_deadline()].into_iter().flatten().min()
    }

    /// Whether no job waits or runs.
    pub fn is_idle(&self) -> bool {
        self.rules.is_idle() && self.commands.is_idle()
    }

    /// Whether no rule is waiting to be inserted or deleted.
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
