//! The job at work: its commands, one after the other, whatever becomes of each.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::Duration;

use super::job::{Command, Event, Job, Report};
use crate::core::time::Instant;
use crate::firewall::iptables::EXIT_BUSY;
use crate::linux::process::{Child, Exit};

/// How often a command is tried that fails for a reason which passes: no memory or process to spare, or
/// the lock of iptables held by somebody else. A rule that is not deleted stays for ever, so once is
/// not enough.
pub(super) const MAX_ATTEMPTS: u8 = 5;

/// Time between two attempts.
pub(super) const RETRY_DELAY: Duration = Duration::from_secs(1);

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

/// The job at work.
#[derive(Debug)]
pub(super) struct Current<C> {
    job: Job,
    /// The first is the one at work.
    commands: VecDeque<Command>,
    /// How often the first has been tried and failed.
    failures: u8,
    state: State<C>,
    time_limit: Option<Duration>,
    rules_failed: bool,
}

#[derive(Debug)]
enum State<C> {
    /// The next command can be started.
    Ready,
    /// It runs, until its deadline if it has one.
    Running { child: C, deadline: Option<Instant> },
    /// It has been killed, and ends as soon as the kernel lets it.
    Killed { child: C },
    /// It could not run, and is tried again.
    Paused { until: Instant },
}

impl<C: Running> Current<C> {
    /// A job with these commands, none of which has been started. None may run for longer than `time_limit`.
    pub(super) fn new(job: Job, commands: VecDeque<Command>, time_limit: Option<Duration>) -> Self {
        Self { job, commands, failures: 0, state: State::Ready, time_limit, rules_failed: false }
    }

    /// Goes on until there is something to wait for (false) or nothing left to do (true).
    pub(super) fn advance(
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
                            let deadline = self.time_limit.map(|limit| now.after(limit));
                            self.state = State::Running { child, deadline };
                        }
                        Err(error) if is_passing(&error) && self.pause(now) => {}
                        Err(error) => self.next(Some(Event::NotStarted(error)), reports),
                    }
                }
                State::Running { child, deadline } => match child.try_wait() {
                    Ok(None) => {
                        if let (Some(deadline), Some(limit)) = (*deadline, self.time_limit)
                            && now >= deadline
                        {
                            child.kill();
                            self.rules_failed |= command.is_rule;
                            reports.push(self.job.report(Event::Killed(limit)));
                            let before = std::mem::replace(&mut self.state, State::Ready);
                            if let State::Running { child, .. } = before {
                                self.state = State::Killed { child };
                            }
                        }
                        return false;
                    }
                    Ok(Some(Exit::Code(EXIT_BUSY))) if command.is_rule && self.pause(now) => {}
                    Ok(Some(exit)) => self.next((!exit.is_success()).then_some(Event::Failed(exit)), reports),
                    Err(error) => self.next(Some(Event::Lost(error)), reports),
                },
                // That it was killed has been reported.
                State::Killed { child } => match child.try_wait() {
                    Ok(None) => return false,
                    _ => self.next(None, reports),
                },
                State::Paused { until } if now < *until => return false,
                State::Paused { .. } => self.state = State::Ready,
            }
        }
        true
    }

    /// Which job it is.
    pub(super) fn job(&self) -> &Job {
        &self.job
    }

    /// When [`Self::advance`] is next to be called, if nothing happens before.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Running { deadline, .. } => deadline,
            State::Paused { until } => Some(until),
            State::Killed { .. } | State::Ready => None,
        }
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
        let failed = event.is_some();
        reports.extend(event.map(|event| self.job.report(event)));
        let was_rule = self.commands.pop_front().is_some_and(|command| command.is_rule);
        self.rules_failed |= was_rule && failed;
        if was_rule && !self.commands.front().is_some_and(|command| command.is_rule) {
            reports.push(self.job.report(Event::Ruled(!self.rules_failed)));
        }
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

/// Whether the kernel may well say yes the next time: EAGAIN, ENOMEM.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::OutOfMemory)
}
