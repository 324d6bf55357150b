//! The queue of programs to run, one at a time, so that a burst of knocks cannot make a burst of
//! processes.
//!
//! A job is what one door needs to be opened or shut to one address: iptables rules, then the
//! start command; or the stop command, then the rules' removal. Whatever becomes of one command, the
//! next of the job runs: a stop command that fails must not keep the rules.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use heapless::Deque;

use crate::config::Door;
use crate::core::time::Instant;
use crate::firewall::commands;
use crate::firewall::iptables::{EXIT_BUSY, Iptables};
use crate::linux::process::{Child, Exit};

/// Most jobs that wait: one start and one stop for each of 256 grants.
pub const MAX_JOBS: usize = 2 * 256;

/// How long one command may run. iptables may have to wait for its lock, a user's script for a
/// resolver; whatever takes longer hangs, and holds up every other door.
pub const COMMAND_TIME_LIMIT: Duration = Duration::from_secs(30);

/// How often a command is tried that fails for a reason which passes: no memory or process to spare, or
/// the lock of iptables held by somebody else. A rule that is not deleted stays for ever, so once is
/// not enough.
const MAX_ATTEMPTS: u8 = 5;

/// Time between two attempts.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// One door to be opened or shut to one address.
#[derive(Clone, Debug)]
pub struct Job {
    /// The door as it was configured when it opened, also after a reload: what its start command did,
    /// its own stop command undoes.
    pub door: Rc<Door>,
    /// To whom.
    pub address: IpAddr,
    /// What is to be done.
    pub kind: JobKind,
    /// The time to give the kernel, where it keeps one; without, there is no end.
    pub lease: Option<Duration>,
}

/// What a [`Job`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// Opens the door.
    Start,
    /// Puts the rules of an open door back, which the firewall has lost.
    Restore,
    /// Gives an open door more time.
    Renew,
    /// Shuts it.
    Stop,
}

/// [`MAX_JOBS`] wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Something to log about a job's command.
#[derive(Debug)]
pub struct Report {
    /// The job's door.
    pub door: Rc<Door>,
    /// The job's address.
    pub address: IpAddr,
    /// Whether the door was to be opened or shut.
    pub kind: JobKind,
    /// What happened.
    pub event: Event,
}

/// What can happen to a command.
#[derive(Debug)]
pub enum Event {
    /// It is being started: this is what a shell would be given.
    Running(String),
    /// It ended, and not well.
    Failed(Exit),
    /// It had run for this long, and was killed with all that it had started.
    Killed(Duration),
    /// It could not be started.
    NotStarted(io::Error),
    /// How it ended cannot be known.
    Lost(io::Error),
}

/// A running program, as the queue sees it.
pub trait Running {
    /// How it ended, if it has, without blocking.
    ///
    /// # Errors
    /// This cannot be known, now or later.
    fn try_wait(&mut self) -> io::Result<Option<Exit>>;

    /// Kills it and all that it has started; it has not ended yet, as far as [`Self::try_wait`] knows.
    fn kill(&mut self);
}

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
    (iptables && door.opening.is_some()) || commands::any(&door.commands)
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
        let current = self.current.iter().map(|current| &current.job);
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
        match self.current.as_ref()?.state {
            State::Running { deadline, .. } => deadline,
            State::Paused { until } => Some(until),
            State::Ready => None,
        }
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

impl Job {
    fn is(&self, door: &str, address: IpAddr, kind: JobKind) -> bool {
        self.address == address && self.kind == kind && self.door.name == door
    }

    fn report(&self, event: Event) -> Report {
        Report { door: Rc::clone(&self.door), address: self.address, kind: self.kind, event }
    }

    /// What it runs, in this order.
    fn commands(&self, iptables: Option<&Iptables>) -> VecDeque<Command> {
        let (door, address) = (&self.door, self.address);
        let rule = |argv| Command { argv, is_rule: true };
        let user = |argv| Command { argv, is_rule: false };
        let rules = iptables.map(|iptables| match self.kind {
            JobKind::Start | JobKind::Restore => iptables.insert(door, address, self.lease),
            JobKind::Renew => iptables.lease(door, address, self.lease).into_iter().collect(),
            JobKind::Stop => iptables.delete(door, address),
        });
        let rules = rules.unwrap_or_default().into_iter().map(rule);
        match self.kind {
            JobKind::Start => rules.chain(commands::start(&door.commands, address).map(user)).collect(),
            JobKind::Restore | JobKind::Renew => rules.collect(),
            JobKind::Stop => {
                let stop = commands::stop(&door.commands, address);
                stop.map(user).into_iter().chain(rules).collect()
            }
        }
    }
}

/// The job at work.
#[derive(Debug)]
struct Current<C> {
    job: Job,
    /// The first is the one at work.
    commands: VecDeque<Command>,
    /// How often the first has been tried and failed.
    failures: u8,
    state: State<C>,
    time_limit: Duration,
}

#[derive(Debug)]
struct Command {
    argv: Vec<String>,
    /// One of our own iptables commands, whose exit codes we know.
    is_rule: bool,
}

#[derive(Debug)]
enum State<C> {
    /// The next command can be started.
    Ready,
    /// It runs; without a deadline it has been killed, and ends as soon as the kernel lets it.
    Running { child: C, deadline: Option<Instant> },
    /// It could not run, and is tried again.
    Paused { until: Instant },
}

impl<C: Running> Current<C> {
    fn new(job: Job, iptables: Option<&Iptables>, time_limit: Duration) -> Self {
        let commands = job.commands(iptables);
        Self { job, commands, failures: 0, state: State::Ready, time_limit }
    }

    /// Goes on until there is something to wait for (false) or nothing left to do (true).
    fn advance(
        &mut self,
        now: Instant,
        spawn: &mut impl FnMut(&[String]) -> io::Result<C>,
        reports: &mut Vec<Report>,
    ) -> bool {
        while let Some(command) = self.commands.front() {
            match &mut self.state {
                State::Ready => {
                    if self.failures == 0 {
                        reports.push(self.job.report(Event::Running(command.to_string())));
                    }
                    match spawn(&command.argv) {
                        Ok(child) => {
                            let deadline = Some(now.after(self.time_limit));
                            self.state = State::Running { child, deadline };
                        }
                        Err(error) if is_passing(&error) && self.pause(now) => {}
                        Err(error) => self.next(Some(Event::NotStarted(error)), reports),
                    }
                }
                State::Running { child, deadline } => match child.try_wait() {
                    Ok(None) => {
                        if deadline.is_some_and(|deadline| now >= deadline) {
                            child.kill();
                            *deadline = None;
                            reports.push(self.job.report(Event::Killed(self.time_limit)));
                        }
                        return false;
                    }
                    // Killed by us, which has been reported.
                    Ok(Some(_)) if deadline.is_none() => self.next(None, reports),
                    Ok(Some(Exit::Code(EXIT_BUSY))) if command.is_rule && self.pause(now) => {}
                    Ok(Some(exit)) => self.next((!exit.is_success()).then_some(Event::Failed(exit)), reports),
                    Err(error) => self.next(Some(Event::Lost(error)), reports),
                },
                State::Paused { until } if now < *until => return false,
                State::Paused { .. } => self.state = State::Ready,
            }
        }
        true
    }

    /// Puts the command off, unless it has been tried often enough.
    fn pause(&mut self, now: Instant) -> bool {
        self.failures += 1;
        let again = self.failures < MAX_ATTEMPTS;
        if again {
            self.state = State::Paused { until: now.after(RETRY_DELAY) };
        }
        again
    }

    /// Is done with the command at work.
    fn next(&mut self, event: Option<Event>, reports: &mut Vec<Report>) {
        reports.extend(event.map(|event| self.job.report(event)));
        self.commands.pop_front();
        self.failures = 0;
        self.state = State::Ready;
    }
}

impl Running for Child {
    fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        Self::try_wait(self)
    }

    fn kill(&mut self) {
        self.kill_group();
    }
}

impl Event {
    /// Whether something went wrong.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Self::Running(_))
    }
}

/// A line of log, in knockd's words.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.door.name)?;
        match &self.event {
            Event::Running(command) => write!(f, "running command: {command}"),
            Event::Failed(exit) => exit.fmt(f),
            Event::Killed(limit) => write!(f, "command killed after {} s", limit.as_secs()),
            Event::NotStarted(error) => write!(f, "command could not be started: {error}"),
            Event::Lost(error) => write!(f, "command ended, nobody knows how: {error}"),
        }
    }
}

/// The command as the user wrote it, or as a shell would be given it.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.argv.last() {
            Some(command) if !self.is_rule => f.write_str(command),
            _ => f.write_str(&self.argv.join(" ")),
        }
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MAX_JOBS} commands wait to be run already")
    }
}

impl std::error::Error for Full {}

/// Whether the kernel may well say yes the next time: EAGAIN, ENOMEM.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::OutOfMemory)
}

#[cfg(test)]
mod tests;
