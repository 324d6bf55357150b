//! The monitor's loop: it keeps the privileges with which the program was started, and runs the configured programs.

mod undo;

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use log::{error, warn};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;

use super::agreement::Agreement;
use super::chains::Chains;
use super::courier::Unfinished;
use super::files::Files;
use super::held::Held;
use super::link::{Link, ReceivedMessage};
use super::message::{ConfigPlace, MalformedMessage, MonitorRequest, OutputPart, Reply, RunId, ScriptEvent};
use crate::config::{self, Config, Door, HAS_IPTABLES};
use crate::daemon::device_names;
use crate::daemon::hotplug::event::HotplugEvent;
use crate::daemon::jobs::{self, JobKind, JobPart, Ticket};
use crate::daemon::options::RunOptions;
use crate::firewall::iptables::Iptables;
use crate::firewall::sweep;
use crate::linux::memory::rest;
use crate::linux::process::{self, Child};
use crate::log as sinks;

/// The most programs that run at once: users' commands, a command of iptables, the scripts of one event. The packet side
/// keeps to the same numbers.
const MAX_PROGRAMS: usize = jobs::MAX_DESCRIPTORS + 1;

/// The monitor.
#[derive(Debug)]
pub(super) struct MonitorProcess {
    link: Link,
    options: RunOptions,
    agreement: Agreement,
    command_limit: Option<Duration>,
    /// Set if iptables is the backend.
    iptables: Option<Iptables>,
    /// Set if the daemon has chains of its own.
    chains: Option<Chains>,
    held: Held,
    programs: Vec<RunningProgram>,
    files: Files,
    log_line: Unfinished,
    /// Whether the packet side has announced its end.
    is_left: bool,
    /// Whether memory was used that is given back before the next sleep.
    has_worked: bool,
}

/// A program that runs.
#[derive(Debug)]
struct RunningProgram {
    id: RunId,
    ticket: Ticket,
    child: Child,
}

/// How the packet side has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PacketSideEnd {
    /// Cleanly: it announced its end, and there is nothing to undo.
    Left,
    /// Without an announcement.
    Died,
}

impl MonitorProcess {
    /// A monitor for a configuration that was read from the file of `options`, and for the devices that are listened on.
    /// `iptables` is set if it is the backend.
    pub(super) fn new(
        link: Link,
        options: RunOptions,
        devices: &[String],
        config: &Config,
        iptables: Option<Iptables>,
    ) -> Self {
        Self {
            link,
            files: Files::new(&options),
            options,
            agreement: Agreement::begin(config),
            command_limit: config.globals.command_timeout,
            chains: iptables.as_ref().and_then(|iptables| Chains::of(iptables, devices)),
            iptables,
            held: Held::default(),
            programs: Vec::new(),
            log_line: Unfinished::default(),
            is_left: false,
            has_worked: true,
        }
    }

    /// Serves the packet side until it ends. If it died, shuts the doors that it left open.
    pub(super) fn serve(mut self, signals: &SignalFd) {
        let end = loop {
            self.tell_ends();
            if self.programs.is_empty() && mem::take(&mut self.has_worked) {
                rest();
            }
            let printed = self.programs.iter().filter_map(|program| program.child.descriptor());
            sleep([self.link.as_fd(), signals.as_fd()].into_iter().chain(printed), PollTimeout::NONE);
            drain(signals);
            if let Some(end) = self.receive_all() {
                break end;
            }
        };
        if end == PacketSideEnd::Died {
            self.undo(signals);
        }
    }

    /// Handles all requests that wait. Returns how the packet side has ended, if it has.
    fn receive_all(&mut self) -> Option<PacketSideEnd> {
        loop {
            let request = match self.link.receive() {
                ReceivedMessage::Message(bytes) => MonitorRequest::decode(&bytes),
                ReceivedMessage::Nothing => return None,
                ReceivedMessage::Gone if self.is_left => return Some(PacketSideEnd::Left),
                ReceivedMessage::Gone => return Some(PacketSideEnd::Died),
                ReceivedMessage::Malformed => Err(MalformedMessage),
            };
            // Lines for the log file are many, and use little.
            self.has_worked |= !matches!(request, Ok(MonitorRequest::Log { .. }));
            let handled = request.and_then(|request| self.handle(&request));
            if handled.is_err() {
                error!("the process that reads packets sent a message that means nothing");
                return Some(PacketSideEnd::Died);
            }
        }
    }

    fn handle(&mut self, request: &MonitorRequest) -> Result<(), MalformedMessage> {
        match *request {
            MonitorRequest::Hold { ticket, place, passage, is_open } => {
                let door = self.agreement.door(place).ok_or(Errno::ESTALE);
                let held = door.and_then(|door| self.held.add(ticket, door, passage, is_open));
                if let Err(errno) = held {
                    // As an `io::Error`, whose words come from the C library. nix has a second list of all errors.
                    warn!("{passage}: not taken: {}", io::Error::from(errno));
                }
            }
            MonitorRequest::Run { id, ticket, kind, part, lease } => {
                let started = self.run(id, ticket, kind, part, lease);
                self.answer(id, started);
            }
            MonitorRequest::Call { id, event } => {
                let started = self.call(id, &event);
                self.answer(id, started);
            }
            MonitorRequest::Kill(id) => {
                let program = self.programs.iter_mut().find(|program| program.id == id);
                if let Some(program) = program {
                    program.child.kill_group();
                }
            }
            MonitorRequest::Release(ticket) => self.held.release(ticket),
            MonitorRequest::Reload { id, generation, fingerprint } => {
                let agreed = self.reload(generation, fingerprint);
                rest();
                self.answer(id, agreed);
            }
            MonitorRequest::LookForRules { id }
            | MonitorRequest::LoadChains { id }
            | MonitorRequest::LookAtChains { id }
                if !HAS_IPTABLES =>
            {
                self.answer(id, Err(Errno::ENOSYS.into()));
            }
            MonitorRequest::LookForRules { id } => self.answer(id, self.are_rules_gone()),
            MonitorRequest::LoadChains { id } => {
                let doors: Vec<&Door> = self.agreement.doors().collect();
                let chains = self.chains.as_mut().ok_or(Errno::ENOENT);
                let loaded = chains.map_err(io::Error::from).and_then(|chains| chains.load(&doors));
                self.answer(id, loaded);
            }
            MonitorRequest::LookAtChains { id } => {
                let checked = self.chains.as_ref().map_or(Ok(()), Chains::check);
                self.answer(id, checked);
            }
            MonitorRequest::Leave => self.is_left = true,
            MonitorRequest::Hand { id, input } => match self.files.open(input) {
                // A packet side that is gone is noticed by the next message from it.
                Ok(file) => drop(self.link.send_file(&Reply::Answer(id, Ok(())).encode(), &file)),
                Err(error) => self.answer(id, Err(error)),
            },
            MonitorRequest::OpenLog { id } => self.answer(id, sinks::set_file(self.agreement.log_file())),
            MonitorRequest::Log { begins, ends, ref words } => {
                let line = self.log_line.add(begins, ends, words).map_err(|_| MalformedMessage)?;
                if let Some(line) = line {
                    sinks::append(&line);
                }
            }
            MonitorRequest::NextLine { id, door } => {
                let read = self.read_line(id, door);
                self.answer(id, read);
            }
            MonitorRequest::Mark { id, line } => {
                let marked = self.files.mark(line);
                self.answer(id, marked.map_err(io::Error::from));
            }
        }
        Ok(())
    }

    /// Reads the first unused line of a door's one-time sequences, and sends it.
    fn read_line(&mut self, id: RunId, place: ConfigPlace) -> io::Result<()> {
        let door = self.agreement.door(place).ok_or(Errno::ESTALE)?;
        let read = self.files.read_line(place, door)?.map(|line| (line.offset(), line.sequence.clone()));
        if let Some((offset, sequence)) = read {
            self.send(&Reply::Line(id, offset, sequence));
        }
        Ok(())
    }

    /// Starts a program of an opening.
    fn run(
        &mut self,
        id: RunId,
        ticket: Ticket,
        kind: JobKind,
        part: JobPart,
        lease: Option<Duration>,
    ) -> io::Result<()> {
        self.check_room(id)?;
        let mut job = self.held.job(ticket, kind)?;
        job.lease = lease;
        let argv = job.argv(part, self.iptables.as_ref()).ok_or(Errno::ENOENT)?;
        // A start command that cannot be started counts as begun. A stop command counts only if it was started.
        if kind != JobKind::Stop {
            self.held.on_run(ticket, kind, part);
        }
        let child = process::spawn_heard(&argv)?;
        self.held.on_run(ticket, kind, part);
        self.programs.push(RunningProgram { id, ticket, child });
        Ok(())
    }

    /// Starts the scripts for an event.
    fn call(&mut self, id: RunId, event: &ScriptEvent) -> io::Result<()> {
        self.check_room(id)?;
        let ScriptEvent { is_open, door, passage, left, user } = *event;
        let door = self.agreement.old_door(door).ok_or(Errno::ESTALE)?;
        let user = user.map(|user| self.agreement.user(user).ok_or(Errno::ESTALE)).transpose()?;
        let argv = HotplugEvent { is_open, door: &door.name, passage, left, user }.argv();
        let child = process::spawn(&argv)?;
        self.programs.push(RunningProgram { id, ticket: Ticket::default(), child });
        Ok(())
    }

    /// Checks that one more program may run under this number.
    fn check_room(&self, id: RunId) -> Result<(), Errno> {
        let is_taken = self.programs.iter().any(|program| program.id == id);
        if is_taken || self.programs.len() >= MAX_PROGRAMS { Err(Errno::EAGAIN) } else { Ok(()) }
    }

    /// Whether iptables has lost all of the doors' rules.
    fn are_rules_gone(&self) -> io::Result<()> {
        let iptables = self.iptables.as_ref().ok_or(Errno::ENOENT)?;
        if sweep::all_gone(iptables, sweep::LOOK_TIME_LIMIT) { Ok(()) } else { Err(Errno::EEXIST.into()) }
    }

    /// Reads the configuration again, and uses it if the packet side has read the same.
    fn reload(&mut self, generation: u32, theirs: u64) -> io::Result<()> {
        let config = config::load(&self.options.config).map_err(|error| {
            warn!("{error}");
            Errno::EINVAL
        })?;
        let next = self.agreement.next(&config);
        if (next.generation(), next.fingerprint()) != (generation, theirs) {
            return Err(Errno::ESTALE.into());
        }
        self.agreement = next;
        if let Some(chains) = &mut self.chains {
            chains.devices = device_names::wanted(&self.options, &config, &|file| File::open(file));
        }
        sinks::set_level(config.globals.log_level);
        self.files.forget_lines();
        self.command_limit = config.globals.command_timeout;
        Ok(())
    }

    fn answer(&self, id: RunId, answer: io::Result<()>) {
        let answer = answer.map_err(|error| error.raw_os_error().unwrap_or(libc::EIO));
        self.send(&Reply::Answer(id, answer));
    }

    /// Tells the packet side which programs have ended.
    fn tell_ends(&mut self) {
        let mut ended = Vec::new();
        self.programs.retain_mut(|program| {
            let Some(exit) = program.child.try_wait().unwrap_or(Some(process::Exit::Code(-1))) else {
                return true;
            };
            let printed = program.child.take_printed();
            let words = printed
                .chunks(OutputPart::new().capacity())
                .filter_map(|words| OutputPart::from_slice(words).ok());
            ended.extend(words.map(|words| Reply::Printed(program.id, words)));
            ended.push(Reply::Ended(program.id, exit));
            false
        });
        for reply in ended {
            self.send(&reply);
        }
    }

    /// Sends a reply. If the packet side is gone or does not read, the next read from the socket fails.
    fn send(&self, reply: &Reply) {
        let _ = self.link.send(&reply.encode());
    }
}

/// The most descriptors: the socket, the signals, and the output of each program, of both kinds while doors are shut.
const MAX_DESCRIPTORS: usize = 2 + 2 * MAX_PROGRAMS;

/// Sleeps until one of these can be read.
fn sleep<'a>(fds: impl Iterator<Item = BorrowedFd<'a>>, timeout: PollTimeout) {
    let polled = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    let mut polled: heapless::Vec<PollFd<'_>, MAX_DESCRIPTORS> = polled.take(MAX_DESCRIPTORS).collect();
    // An error means that memory is short; the loop then tries again.
    let _ = poll(&mut polled, timeout);
}

/// Reads and drops the signals that have come. SIGCHLD only has to wake the loop. The other signals are for the packet side,
/// and the monitor notices its end.
fn drain(signals: &SignalFd) {
    while let Ok(Some(_)) = signals.read_signal() {}
}

#[cfg(test)]
mod tests;
