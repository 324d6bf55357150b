//! A job: the commands that open or shut a door for an address, and the reports about them.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::config::{Door, HAS_IPTABLES};
use crate::core::passage::Passage;
use crate::firewall::commands;
use crate::firewall::iptables::Iptables;
use crate::linux::process::Exit;

use super::words;

/// Opens or shuts one door for one address.
#[derive(Clone, Debug)]
pub struct Job {
    /// The door as it was configured when it opened, even after a reload. Its own stop command must undo what its
    /// start command did.
    pub door: Rc<Door>,
    /// The address to open or shut the door for, and its port.
    pub passage: Passage,
    /// The kind of the job.
    pub kind: JobKind,
    /// The time for the kernel's timer, where the backend has one; `None` means no end.
    pub lease: Option<Duration>,
    /// The opening that the job belongs to, where the monitor runs the programs.
    pub ticket: Ticket,
}

/// The number of one opening of a door for one address. Both processes know it by this number, also after a reload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticket(pub u32);

/// The kinds of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// Opens the door.
    Start,
    /// Inserts the rules of an open door again after the firewall lost them.
    Restore,
    /// Gives an open door more time.
    Renew,
    /// Shuts the door.
    Stop,
}

/// A report to log about a job's command.
#[derive(Debug)]
pub struct Report {
    /// The job's door.
    pub door: Rc<Door>,
    /// The job's passage.
    pub passage: Passage,
    /// The job's kind.
    pub kind: JobKind,
    /// The event.
    pub event: JobEvent,
}

/// The events in the life of a command.
#[derive(Debug)]
pub enum JobEvent {
    /// The last iptables command of the job has ended. True if all of them succeeded.
    Ruled(bool),
    /// The command starts. The text is the command line as a shell would read it.
    Running(String),
    /// The command ended with an error.
    Failed(Exit),
    /// The command reached its time limit, and was killed with every process that it started.
    Killed(Duration),
    /// The command could not be started.
    NotStarted(io::Error),
    /// The command's end cannot be known.
    Lost(io::Error),
    /// A command that failed or was killed has printed this line. Control characters are escaped.
    Printed(String),
}

impl JobEvent {
    /// Whether the event is a fault.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Self::Running(_) | Self::Ruled(_) | Self::Printed(_))
    }
}

impl Job {
    /// Whether the job has this door, address and kind.
    pub(super) fn is(&self, door: &str, passage: Passage, kind: JobKind) -> bool {
        self.passage == passage && self.kind == kind && self.door.name == door
    }

    /// A report of this event.
    pub(super) fn report(&self, event: JobEvent) -> Report {
        Report { door: Rc::clone(&self.door), passage: self.passage, kind: self.kind, event }
    }

    /// Reports of the lines that a command has printed.
    pub(super) fn printed(&self, text: &[u8]) -> impl Iterator<Item = Report> {
        words::lines(text).into_iter().map(|line| self.report(JobEvent::Printed(line)))
    }

    /// The program and arguments of a part of the job; `None` if it has no such part.
    pub fn argv(&self, part: JobPart, iptables: Option<&Iptables>) -> Option<Vec<String>> {
        let commands = match part {
            JobPart::Command => self.user_commands(),
            JobPart::Rule(_) => self.rules(iptables),
        };
        commands.into_iter().find(|command| command.part == part).map(|command| command.argv)
    }

    /// The iptables commands of the job.
    pub(super) fn rules(&self, iptables: Option<&Iptables>) -> VecDeque<JobCommand> {
        let Some(iptables) = iptables.filter(|_| HAS_IPTABLES) else { return VecDeque::new() };
        let (door, passage) = (&self.door, self.passage);
        let rules = match self.kind {
            JobKind::Start | JobKind::Restore => iptables.insert(door, passage, self.lease),
            JobKind::Renew => iptables.lease(door, passage, self.lease).into_iter().collect(),
            JobKind::Stop => iptables.delete(door, passage),
        };
        (0..).zip(rules).map(|(number, argv)| JobCommand { argv, part: JobPart::Rule(number) }).collect()
    }

    /// The user's command of the job.
    pub(super) fn user_commands(&self) -> VecDeque<JobCommand> {
        let command = match self.kind {
            JobKind::Start => commands::start(&self.door.commands, self.passage.address),
            JobKind::Stop => commands::stop(&self.door.commands, self.passage.address),
            JobKind::Restore | JobKind::Renew => None,
        };
        command.into_iter().map(|argv| JobCommand { argv, part: JobPart::Command }).collect()
    }
}

/// One program to run.
#[derive(Debug)]
pub(super) struct JobCommand {
    /// The program and its arguments.
    pub(super) argv: Vec<String>,
    pub(super) part: JobPart,
}

/// A program of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobPart {
    /// The user's command.
    Command,
    /// One of the daemon's own iptables commands, by its number among those of the job. Their exit codes have a known
    /// meaning.
    Rule(u16),
}

/// A program that is to be started.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// The job.
    pub job: &'a Job,
    /// The program of the job.
    pub part: JobPart,
    /// The program and its arguments.
    pub argv: &'a [String],
}

impl JobCommand {
    pub(super) fn is_rule(&self) -> bool {
        matches!(self.part, JobPart::Rule(_))
    }
}

/// A log line in knockd's words.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.door.name)?;
        match &self.event {
            JobEvent::Ruled(true) => f.write_str("the rules are in place"),
            JobEvent::Ruled(false) => f.write_str("the rules are not all in place"),
            JobEvent::Running(command) => write!(f, "running command: {command}"),
            JobEvent::Failed(exit) => exit.fmt(f),
            JobEvent::Killed(limit) => write!(
                f,
                "command killed after {} s: what it has done so far is not undone, the rest is not done",
                limit.as_secs()
            ),
            JobEvent::NotStarted(error) => write!(f, "command could not be started: {error}"),
            JobEvent::Lost(error) => write!(f, "command ended, but its result is not known: {error}"),
            JobEvent::Printed(line) => write!(f, "command printed: {line}"),
        }
    }
}

/// The command as the user wrote it, or the arguments quoted for a shell.
impl fmt::Display for JobCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.argv.last() {
            Some(command) if !self.is_rule() => f.write_str(command),
            _ => f.write_str(&self.argv.join(" ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_fault() {
        let nothing =
            [JobEvent::Ruled(false), JobEvent::Running(String::new()), JobEvent::Printed(String::new())];
        assert!(!nothing.iter().any(JobEvent::is_fault));
        let lost = || io::Error::from(io::ErrorKind::Other);
        let faults = [
            JobEvent::Failed(Exit::Code(1)),
            JobEvent::Killed(Duration::ZERO),
            JobEvent::NotStarted(lost()),
            JobEvent::Lost(lost()),
        ];
        assert!(faults.iter().all(JobEvent::is_fault));
    }
}
