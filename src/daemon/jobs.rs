//! The queue of programs to run, one at a time, so that a burst of knocks cannot make a burst of
//! processes.
//!
//! A job is what one door needs to be opened or shut to one address: iptables rules, then the
//! start command; or the stop command, then the rules' removal. Whatever becomes of one command, the
//! next of the job runs: a stop command that fails must not keep the rules.

mod current;
mod job;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use heapless::Deque;

use self::current::Current;
pub use self::current::Running;
pub use self::job::{Event, Job, JobKind, Report};
use crate::config::Door;
use crate::core::time::Instant;
use crate::firewall::iptables::Iptables;
use crate::linux::process::Child;

/// Most jobs that wait: one start and one stop for each of 256 grants.
pub const MAX_JOBS: usize = 2 * 256;

/// How long one command may run. iptables may have to wait for its lock, a user's script for a
/// resolver; whatever takes longer hangs, and holds up every other door.
pub const COMMAND_TIME_LIMIT: Duration = Duration::from_secs(30);

/// [`MAX_JOBS`] wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The queue.
#[derive(Debug)]
pub struct Jobs<C = Child> {
    iptables: Option<Iptables>,
    time_limit: Duration,
    /// On the heap, where its room costs nothing until it is used; on the stack it would be moved, unused.
    queue: Box<Deque<Job, MAX_JOBS>>,
    current: Option<Current<C>>,
}

/// Whether this door needs any [`Job`] at all; `iptables` is whether that is the backend.
pub fn door_needs_jobs(door: &Door, iptables: bool) -> bool {
    (iptables && door.opening.is_some()) || door.commands.any()
}

impl<C: Running> Jobs<C> {
    /// An empty queue; `iptables` is set if that is the backend.
    pub fn new(iptables: Option<Iptables>) -> Self {
        Self::with_time_limit(iptables, COMMAND_TIME_LIMIT)
    }

    /// The same, with another limit than [`COMMAND_TIME_LIMIT`].
    pub fn with_time_limit(iptables: Option<Iptables>, time_limit: Duration) -> Self {
        Self { iptables, time_limit, queue: Box::new(Deque::new()), current: None }
    }

    /// Whether this many more jobs can wait.
    ///
    /// Who opens a door must be able to shut it, so before a start is pushed there must be room for it
    /// and for the stop of every door that is open.
    pub fn has_room(&self, jobs: usize) -> bool {
        jobs <= MAX_JOBS - self.queue.len()
    }

    /// Appends a job, to be started by [`Self::run`].
    ///
    /// A stop whose start still waits takes the start out of the queue instead: neither has to run.
    ///
    /// # Errors
    /// There is no room.
    pub fn push(&mut self, job: Job) -> Result<(), Full> {
        if job.kind == JobKind::Stop && self.cancel_start(&job) {
            return Ok(());
        }
        self.queue.push_back(job).map_err(|_| Full)
    }

    /// Whether such a job waits or runs.
    pub fn is_pending(&self, door: &str, address: IpAddr, kind: JobKind) -> bool {
        let current = self.current.iter().map(Current::job);
        current.chain(self.queue.iter()).any(|job| job.is(door, address, kind))
    }

    /// Looks after the command that runs, and starts the next when it has ended. To be called after
    /// [`Self::push`], on SIGCHLD, and at [`Self::next_deadline`]; what it returns is to be logged.
    pub fn run(&mut self, now: Instant, mut spawn: impl FnMut(&[String]) -> io::Result<C>) -> Vec<Report> {
        let mut reports = Vec::new();
        loop {
            let Some(current) = &mut self.current else {
                let Some(job) = self.queue.pop_front() else { break };
                self.current = Some(Current::new(job, self.iptables.as_ref(), self.time_limit));
                continue;
            };
            if !current.advance(now, &mut spawn, &mut reports) {
                break;
            }
            self.current = None;
        }
        reports
    }

    /// When [`Self::run`] is next to be called, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.current.as_ref()?.next_deadline()
    }

    /// Whether nothing waits or runs.
    pub fn is_idle(&self) -> bool {
        self.current.is_none() && self.queue.is_empty()
    }

    /// Removes the start that waits for the same door and address; there is at most one, since a door
    /// is not opened twice without having been shut.
    fn cancel_start(&mut self, stop: &Job) -> bool {
        let waiting = self.queue.len();
        self.queue.retain(|job| !job.is(&stop.door.name, stop.address, JobKind::Start));
        self.queue.len() < waiting
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
