//! A door to be opened or shut to an address, as commands, and what is logged of them.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::config::Door;
use crate::firewall::commands;
use crate::firewall::iptables::Iptables;
use crate::linux::process::Exit;

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
    /// The last of its iptables commands has ended: whether all of them did well.
    Ruled(bool),
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

impl Event {
    /// Whether something went wrong.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Self::Running(_) | Self::Ruled(_))
    }
}

impl Job {
    /// Whether it is this.
    pub(super) fn is(&self, door: &str, address: IpAddr, kind: JobKind) -> bool {
        self.address == address && self.kind == kind && self.door.name == door
    }

    /// What is to be logged of it.
    pub(super) fn report(&self, event: Event) -> Report {
        Report { door: Rc::clone(&self.door), address: self.address, kind: self.kind, event }
    }

    /// The rules that it inserts or deletes.
    pub(super) fn rules(&self, iptables: Option<&Iptables>) -> VecDeque<Command> {
        let (Some(iptables), door, address) = (iptables, &self.door, self.address) else {
            return VecDeque::new();
        };
        let rules = match self.kind {
            JobKind::Start | JobKind::Restore => iptables.insert(door, address, self.lease),
            JobKind::Renew => iptables.lease(door, address, self.lease).into_iter().collect(),
            JobKind::Stop => iptables.delete(door, address),
        };
        rules.into_iter().map(|argv| Command { argv, is_rule: true }).collect()
    }

    /// The user's command.
    pub(super) fn user_commands(&self) -> VecDeque<Command> {
        let command = match self.kind {
            JobKind::Start => commands::start(&self.door.commands, self.address),
            JobKind::Stop => commands::stop(&self.door.commands, self.address),
            JobKind::Restore | JobKind::Renew => None,
        };
        command.into_iter().map(|argv| Command { argv, is_rule: false }).collect()
    }
}

/// One program to run.
#[derive(Debug)]
pub(super) struct Command {
    /// The program and its arguments.
    pub(super) argv: Vec<String>,
    /// One of our own iptables commands, whose exit codes we know.
    pub(super) is_rule: bool,
}

/// A line of log, in knockd's words.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.door.name)?;
        match &self.event {
            Event::Ruled(true) => f.write_str("the rules are in place"),
            Event::Ruled(false) => f.write_str("the rules are not all in place"),
            Event::Running(command) => write!(f, "running command: {command}"),
            Event::Failed(exit) => exit.fmt(f),
            Event::Killed(limit) => write!(
                f,
                "command killed after {} s: what it has done so far is not undone, the rest is not done",
                limit.as_secs()
            ),
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
