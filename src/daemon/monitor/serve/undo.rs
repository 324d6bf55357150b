//! Undoes the openings after the packet side has died.

use std::os::fd::AsFd as _;
use std::time::Duration;

use log::{info, warn};
use nix::poll::PollTimeout;
use nix::sys::signalfd::SignalFd;

use super::{MonitorProcess, drain, sleep};
use crate::daemon::jobs::{JobEvent, Jobs};
use crate::linux::clock::now;
use crate::linux::process;

/// The longest time that the monitor takes to shut doors after the packet side has died.
const UNDO_TIME: Duration = Duration::from_secs(60);

impl MonitorProcess {
    /// Undoes all openings, in the same order and within the same limits as the packet side. An opening whose start command
    /// still runs is undone when the command has ended.
    pub(super) fn undo(mut self, signals: &SignalFd) {
        if self.held.is_empty() {
            return;
        }
        warn!("the process that reads packets has ended: what it opened is shut");
        let mut jobs = Jobs::new(self.iptables.clone());
        jobs.set_command_limit(self.command_limit);
        let deadline = now().after(UNDO_TIME);
        loop {
            self.programs.retain_mut(|program| matches!(program.child.try_wait(), Ok(None)));
            let programs = &self.programs;
            for job in self.held.take_stops(|ticket| programs.iter().any(|program| program.ticket == ticket))
            {
                // There is room for the stop of each grant.
                let _ = jobs.push(job);
            }
            for report in jobs.run(now(), &mut |order| Ok(Box::new(process::spawn_heard(order.argv)?))) {
                match report.event {
                    JobEvent::Ruled(_) => {}
                    _ if report.event.is_fault() => warn!("{report}"),
                    _ => info!("{report}"),
                }
            }
            if self.held.is_empty() && jobs.is_idle() {
                return;
            }
            let until = jobs.next_deadline().into_iter().chain([deadline]).min().unwrap_or(deadline);
            if now() >= deadline {
                return warn!("commands were still running, and are left behind");
            }
            let ms = until.since(now()).as_millis();
            let printed = self.programs.iter().filter_map(|program| program.child.descriptor());
            let fds = [signals.as_fd()].into_iter().chain(printed).chain(jobs.descriptors());
            sleep(fds, PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX));
            drain(signals);
        }
    }
}
