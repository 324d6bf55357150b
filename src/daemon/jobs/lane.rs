//! Jobs of one kind: those that wait, and those that run side by side.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use heapless::Deque;

use super::current::{Current, Running};
use super::job::{Command, Job, JobKind, Report};
use super::{Full, MAX_JOBS};
use crate::core::time::Instant;

/// Most start commands side by side. Knocks cause them, and each may take as long as it likes.
pub const MAX_STARTS: usize = 24;

/// Most start commands of one door side by side: a door whose command hangs leaves the others theirs.
pub const MAX_STARTS_OF_DOOR: usize = 8;

/// Most commands side by side: beside the starts there is always room for some that shut a door.
const MAX_RUNNING: usize = MAX_STARTS + 8;

/// A lane.
#[derive(Debug)]
pub(super) struct Lane<C> {
    /// On the heap, where its room costs nothing until it is used; on the stack it would be moved, unused.
    waiting: Box<Deque<(Job, VecDeque<Command>), MAX_JOBS>>,
    running: Vec<Current<C>>,
    /// Whether one waits for the other.
    one_at_a_time: bool,
}

impl<C: Running> Lane<C> {
    /// For rules, one at a time: they have one lock.
    pub(super) fn of_rules() -> Self {
        Self { waiting: Box::new(Deque::new()), running: Vec::new(), one_at_a_time: true }
    }

    /// For users' commands, at most [`MAX_RUNNING`] at a time.
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

    /// Appends a job; a stop whose start still waits takes it away instead.
    pub(super) fn push(&mut self, job: Job, commands: VecDeque<Command>) -> Result<(), Full> {
        if job.kind == JobKind::Stop {
            let waiting = self.waiting.len();
            self.waiting.retain(|(other, _)| !other.is(&job.door.name, job.address, JobKind::Start));
            if self.waiting.len() < waiting {
                return Ok(());
            }
        }
        self.waiting.push_back((job, commands)).map_err(|_| Full)
    }

    /// Whether such a job waits or runs.
    pub(super) fn is_pending(&self, door: &str, address: IpAddr, kind: JobKind) -> bool {
        let waiting = self.waiting.iter().map(|(job, _)| job);
        self.running.iter().map(Current::job).chain(waiting).any(|job| job.is(door, address, kind))
    }

    /// Looks after what runs, and starts what may run next.
    pub(super) fn run(
        &mut self,
        now: Instant,
        limit: Option<Duration>,
        spawn: &mut impl FnMut(&[String]) -> io::Result<C>,
        reports: &mut Vec<Report>,
    ) {
        self.running.retain_mut(|current| !current.advance(now, spawn, reports));
        while let Some((job, commands)) = self.next() {
            let mut current = Current::new(job, commands, limit);
            if !current.advance(now, spawn, reports) {
                self.running.push(current);
            }
        }
    }

    /// When [`Self::run`] is next to be called, if nothing happens before.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.running.iter().filter_map(Current::next_deadline).min()
    }

    /// Whether nothing waits or runs.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// Takes the first job out that may run now.
    fn next(&mut self) -> Option<(Job, VecDeque<Command>)> {
        if self.one_at_a_time {
            return if self.running.is_empty() { self.waiting.pop_front() } else { None };
        }
        if self.running.len() >= MAX_RUNNING {
            return None;
        }
        let at = (0..self.waiting.len()).find(|&at| self.may_run(at))?;
        // A ring has no removal in the middle: the others keep their order.
        let mut taken = None;
        for n in 0..self.waiting.len() {
            let job = self.waiting.pop_front()?;
            if n == at {
                taken = Some(job);
            } else {
                // There is room: one was taken out.
                let _ = self.waiting.push_back(job);
            }
        }
        taken
    }

    /// Whether nothing that is older waits or runs for the same door and address, and no bound is reached.
    fn may_run(&self, at: usize) -> bool {
        let Some((job, _)) = self.waiting.iter().nth(at) else { return false };
        let same = |other: &Job| other.address == job.address && other.door.name == job.door.name;
        let running = || self.running.iter().map(Current::job);
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
