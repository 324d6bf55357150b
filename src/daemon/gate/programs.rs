//! The programs that doors need: their own commands, and those of iptables. The monitor runs them.

use std::rc::Rc;
use std::time::Duration;

use log::error;

use super::Gate;
use crate::config::{Config, Door};
use crate::core::access::CommandLoad;
use crate::core::passage::Passage;
use crate::core::time::Instant;
use crate::daemon::jobs::{self, Job, JobKind, Report, Ticket};
use crate::daemon::monitor::{Disagreement, Monitor};

impl Gate {
    /// The load of the command queue, if opening this door runs commands. Each of the `grants` that are open needs a
    /// place in the queue for its stop command.
    pub(in crate::daemon) fn load(
        &self,
        door: &Door,
        passage: Passage,
        grants: usize,
    ) -> Option<CommandLoad> {
        self.needs_jobs(door).then(|| CommandLoad {
            is_starting: self.jobs.is_pending(&door.name, passage, JobKind::Start),
            waiting_at_door: self.jobs.waiting_of(&door.name),
            free: self.jobs.free().saturating_sub(grants),
        })
    }

    /// Queues the start command of a door that has nothing to undo.
    pub(in crate::daemon) fn run_once(&mut self, door: &Rc<Door>, passage: Passage) {
        self.push(door, passage, JobKind::Start, None);
        if let Some(monitor) = &mut self.monitor {
            monitor.end(door, passage);
        }
    }

    /// Takes over a passage that an earlier run of the daemon has opened.
    pub(in crate::daemon) fn adopt(&mut self, door: &Door, passage: Passage) {
        let needs_jobs = self.needs_jobs(door);
        if let Some(monitor) = self.monitor.as_mut().filter(|_| needs_jobs) {
            monitor.open(door, passage, true);
        }
    }

    /// Queues the start command of a door that has just opened. With iptables, the command was queued together with the rules.
    pub(in crate::daemon) fn start_commands(&mut self, door: &Rc<Door>, passage: Passage) {
        let ran = self.backend.iptables().is_some() && door.opens_ports();
        if !ran && self.needs_jobs(door) {
            self.push(door, passage, JobKind::Start, None);
        }
    }

    /// Inserts a grant's rules again after iptables has lost them.
    pub(in crate::daemon) fn restore_rules(
        &mut self,
        door: &Rc<Door>,
        passage: Passage,
        lease: Option<Duration>,
    ) {
        self.push(door, passage, JobKind::Restore, lease);
    }

    /// Starts the commands that are due, and returns reports of those that ended.
    pub(in crate::daemon) fn run(&mut self, now: Instant) -> Vec<Report> {
        let Self { jobs, monitor, .. } = self;
        // A daemon without a monitor has no door that needs jobs.
        let Some(monitor) = monitor else { return Vec::new() };
        monitor.receive();
        let reports = jobs.run(now, &mut |order| Ok(Box::new(monitor.spawn(order)?)));
        monitor.release(|ticket| jobs.has(ticket));
        reports
    }

    /// Makes the monitor, if there is one, read the configuration again.
    ///
    /// # Errors
    /// The monitor has not read the same configuration.
    pub(in crate::daemon) fn reload(&mut self, config: &Config) -> Result<(), Disagreement> {
        self.monitor.as_mut().map_or(Ok(()), |monitor| monitor.reload(config))
    }

    /// The process that runs the commands; `None` if there are none.
    pub(in crate::daemon) const fn monitor(&self) -> Option<&Monitor> {
        self.monitor.as_ref()
    }

    /// Sets the time limit of door commands that start from now on; `None` means no limit.
    pub(in crate::daemon) fn set_command_limit(&mut self, limit: Option<Duration>) {
        self.jobs.set_command_limit(limit);
    }

    /// Whether no rule is waiting to be inserted or deleted.
    pub(in crate::daemon) fn are_rules_done(&self) -> bool {
        self.jobs.are_rules_done()
    }

    /// Whether iptables has lost all of the doors' rules. Packets wait meanwhile.
    pub(in crate::daemon) fn are_rules_gone(&self) -> bool {
        let monitor = self.monitor.as_ref().filter(|_| self.backend.iptables().is_some());
        monitor.is_some_and(Monitor::are_rules_gone)
    }

    /// Whether commands wait or run.
    pub(in crate::daemon) fn is_busy(&self) -> bool {
        !self.jobs.is_idle()
    }

    pub(super) fn needs_jobs(&self, door: &Door) -> bool {
        jobs::door_needs_jobs(door, self.backend.iptables().is_some())
    }

    pub(super) fn push(&mut self, door: &Rc<Door>, passage: Passage, kind: JobKind, lease: Option<Duration>) {
        let ticket = self.monitor.as_mut().map_or(Ticket::default(), |monitor| match kind {
            JobKind::Start => monitor.open(door, passage, false),
            JobKind::Restore | JobKind::Renew | JobKind::Stop => monitor.ticket(door, passage),
        });
        if let (JobKind::Stop, Some(monitor)) = (kind, &mut self.monitor) {
            monitor.end(door, passage);
        }
        let job = Job { door: Rc::clone(door), passage, kind, lease, ticket };
        if self.jobs.push(job).is_err() {
            error!("the queue of commands is full, although room was kept for this command");
        }
    }
}
