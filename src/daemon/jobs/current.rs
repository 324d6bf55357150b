//! A running job. Its commands run one after the other, even if one fails.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::job::{Job, JobCommand, JobEvent, Order, Report};
use crate::core::time::Instant;
use crate::firewall::iptables::EXIT_BUSY;
use crate::linux::process::{Child, Exit};

/// The most attempts for a command that fails for a passing reason: too little memory, too many processes, or another
/// program holds the lock of iptables. A rule that is not deleted stays for ever, so one attempt is not enough.
pub(super) const MAX_ATTEMPTS: u8 = 5;

/// Time between two attempts.
pub(super) const RETRY_DELAY: Duration = Duration::from_secs(1);

/// A running program, as the queue sees it.
pub trait Running {
    /// How the program ended, or `None` while it runs. Does not block.
    ///
    /// # Errors
    /// The program's end cannot be known, now or later.
    fn try_wait(&mut self) -> io::Result<Option<Exit>>;

    /// Kills the program and every process that it started. [`Self::try_wait`] reports the end later.
    fn kill(&mut self);

    /// The descriptor that can be read when the program has printed. [`Self::try_wait`] reads it.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// Takes the end of the output of the program, a bounded number of bytes.
    fn take_printed(&mut self) -> Vec<u8>;
}

/// Starts the program of an order.
pub type StartProgram<'a> = dyn FnMut(&Order<'_>) -> io::Result<Box<dyn Running>> + 'a;

/// A running job.
#[derive(Debug)]
pub(super) struct RunningJob {
    job: Job,
    /// The commands that remain. The first one is running or about to run.
    commands: VecDeque<JobCommand>,
    /// How often the first command has failed.
    failures: u8,
    state: State,
    time_limit: Option<Duration>,
    rules_failed: bool,
}

#[derive(Debug)]
enum State {
    /// The next command can be started.
    Ready,
    /// The command runs, until its deadline if it has one.
    Running { child: Box<dyn Running>, deadline: Option<Instant> },
    /// The command has been killed, but has not ended yet.
    Killed { child: Box<dyn Running> },
    /// The command could not run, and is tried again.
    Paused { until: Instant },
}

impl RunningJob {
    /// A job whose commands have not started yet. No command may run for longer than `time_limit`.
    pub(super) fn new(job: Job, commands: VecDeque<JobCommand>, time_limit: Option<Duration>) -> Self {
        Self { job, commands, failures: 0, state: State::Ready, time_limit, rules_failed: false }
    }

    /// Continues the job. Returns true when it is done, and false while it waits.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        start: &mut StartProgram<'_>,
        reports: &mut Vec<Report>,
    ) -> bool {
        while let Some(command) = self.commands.front() {
            match &mut self.state {
                State::Ready => {
                    if self.failures == 0 {
                        reports.push(self.job.report(JobEvent::Running(command.to_string())));
                    }
                    match start(&Order { job: &self.job, part: command.part, argv: &command.argv }) {
                        Ok(child) => {
                            let deadline = self.time_limit.map(|limit| now.after(limit));
                            self.state = State::Running { child, deadline };
                        }
                        Err(error) if is_passing(&error) && self.pause(now) => {}
                        Err(error) => self.next(Some(JobEvent::NotStarted(error)), reports),
                    }
                }
                State::Running { child, deadline } => match child.try_wait() {
                    Ok(None) => {
                        if let (Some(deadline), Some(limit)) = (*deadline, self.time_limit)
                            && now >= deadline
                        {
                            child.kill();
                            self.rules_failed |= command.is_rule();
                            reports.push(self.job.report(JobEvent::Killed(limit)));
                            let before = std::mem::replace(&mut self.state, State::Ready);
                            if let State::Running { child, .. } = before {
                                self.state = State::Killed { child };
                            }
                        }
                        return false;
                    }
                    Ok(Some(exit)) => {
                        let printed = child.take_printed();
                        let is_busy = command.is_rule() && exit == Exit::Code(EXIT_BUSY);
                        if is_busy && self.pause(now) {
                            continue;
                        }
                        let failed = !exit.is_success();
                        self.next(failed.then_some(JobEvent::Failed(exit)), reports);
                        if failed {
                            reports.extend(self.job.printed(&printed));
                        }
                    }
                    Err(error) => self.next(Some(JobEvent::Lost(error)), reports),
                },
                // The kill has been reported already.
                State::Killed { child } => {
                    if let Ok(None) = child.try_wait() {
                        return false;
                    }
                    reports.extend(self.job.printed(&child.take_printed()));
                    self.next(None, reports);
                }
                State::Paused { until } if now < *until => return false,
                State::Paused { .. } => self.state = State::Ready,
            }
        }
        true
    }

    /// The job that runs.
    pub(super) fn job(&self) -> &Job {
        &self.job
    }

    /// The descriptor of the running command's output.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Running { child, .. } | State::Killed { child } => child.descriptor(),
            State::Ready | State::Paused { .. } => None,
        }
    }

    /// When [`Self::advance`] must be called next, if nothing happens before.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Running { deadline, .. } => deadline,
            State::Paused { until } => Some(until),
            State::Killed { .. } | State::Ready => None,
        }
    }

    /// Puts the command off. Returns false if it has been tried often enough.
    fn pause(&mut self, now: Instant) -> bool {
        self.failures += 1;
        let again = self.failures < MAX_ATTEMPTS;
        if again {
            self.state = State::Paused { until: now.after(RETRY_DELAY) };
        }
        again
    }

    /// Finishes the current command.
    fn next(&mut self, event: Option<JobEvent>, reports: &mut Vec<Report>) {
        let failed = event.is_some();
        reports.extend(event.map(|event| self.job.report(event)));
        let was_rule = self.commands.pop_front().is_some_and(|command| command.is_rule());
        self.rules_failed |= was_rule && failed;
        if was_rule && !self.commands.front().is_some_and(JobCommand::is_rule) {
            reports.push(self.job.report(JobEvent::Ruled(!self.rules_failed)));
        }
        self.failures = 0;
        self.state = State::Ready;
    }
}

impl fmt::Debug for dyn Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a program")
    }
}

impl Running for Child {
    fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        Self::try_wait(self)
    }

    fn kill(&mut self) {
        self.kill_group();
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Self::descriptor(self)
    }

    fn take_printed(&mut self) -> Vec<u8> {
        Self::take_printed(self)
    }
}

/// Whether the error may pass: EAGAIN, ENOMEM.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::OutOfMemory)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::rc::Rc;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;
    use crate::config::Door;
    use crate::daemon::jobs::{JobKind, JobPart, Ticket};
    use crate::linux::process::spawn_heard;

    #[test]
    fn a_program_is_heard_and_killed() {
        // It prints after the first look at it.
        let words = "sleep 1; echo words; exec sleep 1000";
        let job = Job {
            door: Rc::new(Door::named("a")),
            passage: IpAddr::from([192, 0, 2, 1]).into(),
            kind: JobKind::Stop,
            lease: None,
            ticket: Ticket::default(),
        };
        let argv = ["/bin/sh", "-c", words].map(str::to_owned).to_vec();
        let commands = VecDeque::from([JobCommand { argv, part: JobPart::Command }]);
        let limit = Duration::from_secs(1);
        let mut running = RunningJob::new(job, commands, Some(limit));
        let mut start =
            |order: &Order<'_>| -> io::Result<Box<dyn Running>> { Ok(Box::new(spawn_heard(order.argv)?)) };
        let (now, mut reports) = (Instant::from_millis(0), Vec::new());
        assert!(!running.advance(now, &mut start, &mut reports));
        let output = running.descriptor().expect("it is heard");
        let printed = poll(&mut [PollFd::new(output, PollFlags::POLLIN)], PollTimeout::from(10_000_u16));
        assert_eq!(printed, Ok(1), "it prints");
        let begun = std::time::Instant::now();
        while !running.advance(now.after(limit), &mut start, &mut reports) {
            assert!(begun.elapsed().as_secs() < 10, "it is not killed");
            std::thread::sleep(Duration::from_millis(10));
        }
        let [ran, killed, printed] = &reports[..] else { panic!("{reports:?}") };
        assert_eq!(ran.to_string(), format!("a: running command: {words}"));
        assert!(killed.to_string().starts_with("a: command killed after 1 s"), "{killed}");
        assert_eq!(printed.to_string(), "a: command printed: words");
    }
}
