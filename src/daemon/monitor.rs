//! The monitor: a second process that keeps the privileges with which the daemon was started, and runs the configured
//! programs. The process that reads packets, the packet side, gives these privileges up (see
//! [`confinement`](super::confinement)).
//!
//! If the configuration needs a monitor, it is made before the first packet is read. The monitor reads the configuration
//! itself. The packet side names doors and openings by numbers. The only text that it sends is lines for the log file. The
//! packet side keeps the queues, their order and their limits. The monitor has limits of its own, and knows what to undo when
//! the packet side dies. If the monitor dies, the daemon ends.

mod agreement;
mod chains;
mod conversation;
mod courier;
mod files;
mod held;
mod link;
mod message;
mod serve;

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::rc::Rc;

use log::warn;
use nix::errno::Errno;
use nix::sys::prctl::set_name;
use nix::sys::signalfd::SignalFd;

use self::agreement::Agreement;
use self::conversation::Conversation;
pub(super) use self::conversation::{Caller, RemoteProgram, ScriptCall};
use self::courier::LogCourier;
use self::link::Link;
use self::message::MonitorRequest;
pub(super) use self::message::{Input, LineId};
use self::serve::MonitorProcess;
use super::claim::Claim;
use super::hotplug::event::has_scripts;
use super::jobs::{Order, Ticket};
use super::options::RunOptions;
use crate::config::{Config, Door};
use crate::core::passage::Passage;
use crate::core::sequence::Sequence;
use crate::firewall::backend::Backend;
use crate::firewall::commands;
use crate::linux::memory::wipe_stack;
use crate::linux::privileges::forbid_core_dumps;
use crate::linux::process;
use crate::log as sinks;

/// The packet side's end.
#[derive(Debug)]
pub(super) struct Monitor {
    link: Rc<Link>,
    conversation: Rc<RefCell<Conversation>>,
    openings: Vec<KnownOpening>,
    last_ticket: u32,
}

/// An opening that the monitor knows.
#[derive(Debug)]
struct KnownOpening {
    ticket: Ticket,
    door: String,
    passage: Passage,
    /// Whether the monitor may forget it once none of its programs runs.
    is_ending: bool,
}

/// Why the monitor does not take a new configuration.
#[derive(Debug)]
pub struct Disagreement(io::Error);

/// Whether this configuration or the host's scripts need a monitor. `iptables` says whether iptables is the backend.
pub(super) fn is_needed(config: &Config, iptables: bool) -> bool {
    iptables || has_scripts() || config.doors.iter().any(|door| door.enabled && door.commands.any())
}

impl Monitor {
    /// Makes the second process, which never returns from this function. `config` was read from the file of `options`.
    /// `devices` are the devices to listen on.
    ///
    /// # Errors
    /// The kernel has no memory or process to spare.
    pub(super) fn start(
        options: &RunOptions,
        devices: &[String],
        config: &mut Config,
        backend: &mut Backend,
        claim: &mut Option<Claim>,
        signals: &SignalFd,
    ) -> io::Result<Self> {
        let (ours, theirs) = Link::pair()?;
        if process::fork()? {
            drop(ours);
            // ps shows this name.
            let _ = set_name(c"ketukd-monitor");
            if let Err(error) = forbid_core_dumps() {
                warn!("core dumps are not forbidden: {error}");
            }
            let server =
                MonitorProcess::new(theirs, options.clone(), devices, config, backend.iptables().cloned());
            sinks::bound_file();
            // The monitor must not have the users' secrets and the sockets of the firewall, nor keep the next daemon from starting.
            config.users.clear();
            (*backend, *claim) = (Backend::None, None);
            wipe_stack();
            server.serve(signals);
            std::process::exit(0);
        }
        sinks::set_courier(config.globals.log_file.as_deref(), Box::new(LogCourier::new(ours.duplicate()?)));
        let link = Rc::new(ours);
        Ok(Self {
            conversation: Rc::new(RefCell::new(Conversation::new(
                Rc::clone(&link),
                Agreement::begin(config),
            ))),
            link,
            openings: Vec::new(),
            last_ticket: 0,
        })
    }

    /// Lets the monitor read the configuration again. `read` is the configuration as the packet side has read it.
    ///
    /// # Errors
    /// The monitor has read another configuration, or none. Both processes keep the configuration that they had.
    pub(super) fn reload(&mut self, config: &Config) -> Result<(), Disagreement> {
        let mut conversation = self.conversation.borrow_mut();
        let next = conversation.agreement.next(config);
        let (generation, fingerprint) = (next.generation(), next.fingerprint());
        conversation
            .ask(|id| MonitorRequest::Reload { id, generation, fingerprint })
            .map_err(Disagreement)?;
        conversation.agreement = next;
        Ok(())
    }

    /// Lets the monitor open one of the files that the daemon reads again.
    ///
    /// # Errors
    /// Those of open(2), or the monitor is gone.
    pub(super) fn hand(&self, input: Input) -> io::Result<File> {
        let mut conversation = self.conversation.borrow_mut();
        conversation.ask(|id| MonitorRequest::Hand { id, input })?;
        conversation.take_file().ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    }

    /// Lets the monitor open the log file of the configuration that both have read, or open it anew. Lines go there from now
    /// on. `file` is the name in error messages.
    ///
    /// # Errors
    /// Those of open(2), or the monitor is gone.
    pub(super) fn open_log(&self, file: Option<&Path>) -> io::Result<()> {
        let courier = self.link.duplicate()?;
        let opened = self.conversation.borrow_mut().ask(|id| MonitorRequest::OpenLog { id });
        sinks::set_courier(file, Box::new(LogCourier::new(courier)));
        opened.map(|_| ())
    }

    /// The first unused line of a door's one-time sequences, which the monitor reads.
    ///
    /// # Errors
    /// The file cannot be read, or the monitor is gone.
    pub(super) fn next_line(&self, door: &str) -> io::Result<Option<(LineId, Sequence)>> {
        let mut conversation = self.conversation.borrow_mut();
        let door = conversation.agreement.find(door).ok_or(Errno::ESTALE)?;
        conversation.take_line();
        conversation.ask(|id| MonitorRequest::NextLine { id, door })?;
        Ok(conversation.take_line().map(|(offset, sequence)| (LineId { door, offset }, sequence)))
    }

    /// Lets the monitor mark a line as used. The mark is on the disk when this returns.
    ///
    /// # Errors
    /// The line may not be marked, so the door must stay shut.
    pub(super) fn mark(&self, line: LineId) -> io::Result<()> {
        self.conversation.borrow_mut().ask(|id| MonitorRequest::Mark { id, line }).map(|_| ())
    }

    /// The way to the monitor for calling scripts.
    pub(super) fn caller(&self) -> Caller {
        Caller::new(&self.conversation)
    }

    /// Tells the monitor that a door opens for a passage. `is_open` says that there is something to undo already.
    pub(super) fn open(&mut self, door: &Door, passage: Passage, is_open: bool) -> Ticket {
        // The numbers wrap after 2^32 openings. The monitor refuses a number that is still in use.
        self.last_ticket = self.last_ticket.wrapping_add(1).max(1);
        let ticket = Ticket(self.last_ticket);
        self.end(door, passage);
        self.openings.push(KnownOpening { ticket, door: door.name.clone(), passage, is_ending: false });
        let mut conversation = self.conversation.borrow_mut();
        let Some(place) = conversation.agreement.find(&door.name) else { return ticket };
        // An opening without a start command has to be undone from now on.
        let is_open = is_open || commands::start(&door.commands, passage.address).is_none();
        let hold = MonitorRequest::Hold { ticket, place, passage, is_open };
        conversation.send(&hold);
        ticket
    }

    /// The opening of a door for a passage. An opening that began before this process is added.
    pub(super) fn ticket(&mut self, door: &Door, passage: Passage) -> Ticket {
        let known = self.find(door, passage).map(|opening| opening.ticket);
        known.unwrap_or_else(|| self.open(door, passage, true))
    }

    /// Notes that no more programs start for an opening. The monitor may forget it once all its programs have ended.
    pub(super) fn end(&mut self, door: &Door, passage: Passage) {
        if let Some(opening) = self.find(door, passage) {
            opening.is_ending = true;
        }
    }

    fn find(&mut self, door: &Door, passage: Passage) -> Option<&mut KnownOpening> {
        self.openings
            .iter_mut()
            .find(|opening| !opening.is_ending && opening.passage == passage && opening.door == door.name)
    }

    /// Lets the monitor forget the openings that have ended and have no waiting or running job.
    pub(super) fn release(&mut self, runs: impl Fn(Ticket) -> bool) {
        let done = self.openings.extract_if(.., |opening| opening.is_ending && !runs(opening.ticket));
        let mut conversation = self.conversation.borrow_mut();
        done.for_each(|opening| conversation.send(&MonitorRequest::Release(opening.ticket)));
    }

    /// Starts a program of a job.
    ///
    /// # Errors
    /// The program cannot be started, or the monitor is gone.
    pub(super) fn spawn(&self, order: &Order<'_>) -> io::Result<RemoteProgram> {
        let Order { job, part, .. } = *order;
        let run = |id| MonitorRequest::Run { id, ticket: job.ticket, kind: job.kind, part, lease: job.lease };
        let id = self.conversation.borrow_mut().ask(run)?;
        Ok(RemoteProgram::new(id, &self.conversation))
    }

    /// Whether iptables has lost all of the doors' rules.
    pub(super) fn are_rules_gone(&self) -> bool {
        self.conversation.borrow_mut().ask(|id| MonitorRequest::LookForRules { id }).is_ok()
    }

    /// Loads the daemon's own chains of iptables. Returns whether that worked. If not, the monitor logs the reason.
    pub(super) fn load_chains(&self) -> bool {
        self.conversation.borrow_mut().ask(|id| MonitorRequest::LoadChains { id }).is_ok()
    }

    /// Whether another program has changed these chains.
    pub(super) fn are_chains_changed(&self) -> bool {
        let asked = self.conversation.borrow_mut().ask(|id| MonitorRequest::LookAtChains { id });
        asked.is_err_and(|error| error.raw_os_error() == Some(libc::ESTALE))
    }

    /// Reads what the monitor has sent.
    pub(super) fn receive(&self) {
        self.conversation.borrow_mut().receive_all();
    }

    /// Whether the monitor is gone.
    pub(super) fn is_lost(&self) -> bool {
        self.conversation.borrow().is_lost()
    }

    /// Tells the monitor that the packet side ends as it should, and that the monitor has nothing to undo.
    pub(super) fn leave(&self) {
        self.conversation.borrow_mut().send(&MonitorRequest::Leave);
    }

    /// The descriptor to poll.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        (*self.link).as_fd()
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(error) = self;
        match error.raw_os_error() {
            Some(libc::ESTALE) => f.write_str("the file changed while it was read: reload again"),
            Some(libc::EINVAL) => {
                f.write_str("the process that runs commands cannot read it, see the log: reload again")
            }
            _ => write!(f, "the process that runs commands does not answer: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::link::ReceivedMessage;
    use super::*;

    #[test]
    fn the_monitor_is_told_what_has_ended() {
        let text = b"config door a\nlist sequence 1\noption start_command b\n";
        let config = crate::config::parse("test", text).expect("a configuration");
        let (ours, theirs) = Link::pair().expect("a pair of sockets");
        let link = Rc::new(ours);
        let conversation = Conversation::new(Rc::clone(&link), Agreement::begin(&config));
        let conversation = Rc::new(RefCell::new(conversation));
        let mut monitor = Monitor { link, conversation, openings: Vec::new(), last_ticket: 0 };
        let next = || match theirs.receive() {
            ReceivedMessage::Message(bytes) => MonitorRequest::decode(&bytes).ok(),
            _ => None,
        };
        let (door, passage) = (&config.doors[0], IpAddr::from([192, 0, 2, 1]).into());
        let first = monitor.open(door, passage, false);
        assert_eq!(monitor.ticket(door, passage), first);
        assert!(matches!(next(), Some(MonitorRequest::Hold { ticket, .. }) if ticket == first));
        monitor.release(|_| false);
        assert_eq!(next(), None, "it is open");
        monitor.end(door, passage);
        monitor.release(|ticket| ticket == first);
        assert_eq!(next(), None, "its stop command runs");
        monitor.release(|_| false);
        assert_eq!(next(), Some(MonitorRequest::Release(first)));
        monitor.leave();
        assert_eq!(next(), Some(MonitorRequest::Leave));
    }

    #[test]
    fn a_second_process_is_made_only_for_programs() {
        let config = |options: &str| {
            let text = format!("config door a\nlist sequence 1\noption dest_port 1\n{options}\n");
            crate::config::parse("test", text.as_bytes()).expect("a configuration")
        };
        let command = "option start_command b";
        assert!(is_needed(&config(command), false));
        assert!(is_needed(&config(""), true), "iptables is a program");
        // A machine with scripts needs it always.
        assert_eq!(is_needed(&config(""), false), has_scripts());
        assert_eq!(is_needed(&config(&format!("{command}\noption enabled 0")), false), has_scripts());
    }
}
