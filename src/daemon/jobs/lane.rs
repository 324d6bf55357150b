//! A lane holds the waiting and running jobs of one kind.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use heapless::Deque;

use super::current::{RunningJob, StartProgram};
use super::job::{Job, JobCommand, JobKind, Report, Ticket};
use super::{Full, MAX_JOBS};
use crate::core::passage::Passage;
use crate::core::time::Instant;

/// The most start commands that run at once. Knocks cause them, and each may take as long as it likes.
pub const MAX_STARTS: usize = 24;

/// The most start commands of one door that run at once. A door whose command hangs must leave places to the others.
pub const MAX_STARTS_OF_DOOR: usize = 8;

/// The most commands that run at once. Beside the start commands there is always room for commands that shut a door.
pub(super) const MAX_RUNNING: usize = MAX_STARTS + 8;

/// The waiting and running jobs of one kind.
#[derive(Debug)]
pub(super) struct Lane {
    /// The queue is on the heap, where unused room costs no memory. On the stack each move would copy it.
    waiting: Box<Deque<(Job, VecDeque<JobCommand>), MAX_JOBS>>,
    running: Vec<RunningJob>,
    /// Whether the jobs run one at a time.
    one_at_a_time: bool,
}

impl Lane {
    /// The lane for rules. They run one at a time, because iptables has one lock.
    pub(super) fn of_rules() -> Self {
        Self { waiting: Box::new(Deque::new()), running: Vec::new(), one_at_a_time: true }
    }

    /// The lane for users' commands, of which [`MAX_RUNNING`] run at a time.
    pub(super) fn of_commands() -> Self {
        Self { one_at_a_time: false, ..Self::of_rules() }
    }

    /// How many more jobs can wait.
    pub(super) fn free(&self) -> usize {
        MAX_JOBS - self.waiting.len()
    }

    /// How many jobs of a door wait.
    pub(super) fn waiting_of(&self, door: &str) -> usize {
        self.waiting.iter().filter(|(job, _)| job.door.name == door).count()
    }

    /// Appends a job. If a stop's start still waits, the start is removed instead.
    pub(super) fn push(&mut self, job: Job, commands: VecDeque<JobCommand>) -> Result<(), Full> {
        if job.kind == JobKind::Stop {
            let waiting = self.waiting.len();
            self.waiting.retain(|(other, _)| !other.is(&job.door.name, job.passage, JobKind::Start));
            if self.waiting.len() < waiting {
                return Ok(());
            }
        }
        self.waiting.push_back((job, commands)).map_err(|_| Full)
    }

    /// Whether such a job waits or runs.
    pub(super) fn is_pending(&self, door: &str, passage: Passage, kind: JobKind) -> bool {
        self.jobs().any(|job| job.is(door, passage, kind))
    }

    /// Whether a job with this ticket waits or runs.
    pub(super) fn has(&self, ticket: Ticket) -> bool {
        self.jobs().any(|job| job.ticket == ticket)
    }

    fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.running.iter().map(RunningJob::job).chain(self.waiting.iter().map(|(job, _)| job))
    }

    /// Checks the running jobs, and starts those that may run next.
    pub(super) fn run(
        &mut self,
        now: Instant,
        limit: Option<Duration>,
        start: &mut StartProgram<'_>,
        reports: &mut Vec<Report>,
    ) {
        self.running.retain_mut(|current| !current.advance(now, start, reports));
        while let Some((job, commands)) = self.next() {
            let mut current = RunningJob::new(job, commands, limit);
            if !current.advance(now, start, reports) {
                self.running.push(current);
            }
        }
    }

    /// When [`Self::run`] is next to be called, if nothing happens before.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.running.iter().filter_map(RunningJob::next_deadline).min()
    }

    /// The descriptors of the running commands' output.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.running.iter().filter_map(RunningJob::descriptor)
    }

    /// Whether nothing waits or runs.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// Removes and returns the first job that may run now.
    fn next(&mut self) -> Option<(Job, VecDeque<JobCommand>)> {
        if self.one_at_a_time {
            return if self.running.is_empty() { self.waiting.pop_front() } else { None };
        }
        if self.running.len() >= MAX_RUNNING {
            return None;
        }
        let at = (0..self.waiting.len()).find(|&at| self.may_run(at))?;
        // The ring cannot remove from its middle, so all jobs are taken out and the others put back in order.
        let mut taken = None;
        for n in 0..self.waiting.len() {
            let job = self.waiting.pop_front()?;
            if n == at {
                taken = Some(job);
            } else {
                // There is room, because one job was removed.
                let _ = self.waiting.push_back(job);
            }
        }
        taken
    }

    /// Whether this job may run: no older job waits or runs for its door and address, and no bound is reached.
    fn may_run(&self, at: usize) -> bool {
        let Some((job, _)) = self.waiting.iter().nth(at) else { return false };
        let same = |other: &Job| other.passage == job.passage && other.door.name == job.door.name;
        let running = || self.running.iter().map(RunningJob::job);
        if running().any(same) || self.waiting.iter().take(at).any(|(other, _)| same(other)) {
            return false;
        }
        if job.kind == JobKind::Stop {
            return true;
        }
        let starts = || running().filter(|other| other.kind != JobKind::Stop);
        starts().count() < MAX_STARTS
            && starts().filter(|other| other.door.name == job.door.name).count() < MAX_STARTS_OF_DOOR
    }
}
