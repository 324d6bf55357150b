//! The openings that the monitor knows. It must undo the start commands of these openings when the packet side dies.

use std::io;
use std::rc::Rc;

use nix::errno::Errno;

use crate::config::{Commands, Door};
use crate::core::grants::MAX_GRANTS;
use crate::core::passage::Passage;
use crate::daemon::jobs::{Job, JobKind, JobPart, MAX_JOBS, Ticket};

/// The most openings: each grant has one, and so has each job that waits or runs.
const MAX_HELD: usize = MAX_GRANTS + 2 * MAX_JOBS;

/// The openings.
#[derive(Debug, Default)]
pub(super) struct Held(Vec<HeldOpening>);

/// A door and the address that it opens for.
#[derive(Debug)]
pub(super) struct HeldOpening {
    pub(super) ticket: Ticket,
    /// The door as it was configured when it opened, even after a reload.
    door: Rc<Door>,
    passage: Passage,
    /// Whether the door's stop command is due when the packet side dies.
    has_command: bool,
    /// Whether iptables may have rules of this opening.
    has_rules: bool,
}

impl Held {
    /// Adds an opening.
    pub(super) fn add(
        &mut self,
        ticket: Ticket,
        door: &Rc<Door>,
        passage: Passage,
        is_open: bool,
    ) -> Result<(), Errno> {
        if self.0.len() >= MAX_HELD || self.0.iter().any(|opening| opening.ticket == ticket) {
            return Err(Errno::ENOSPC);
        }
        self.0.push(HeldOpening {
            ticket,
            door: Rc::clone(door),
            passage,
            has_command: is_open,
            has_rules: is_open,
        });
        Ok(())
    }

    /// The job of this kind for an opening.
    ///
    /// # Errors
    /// There is no such opening.
    pub(super) fn job(&self, ticket: Ticket, kind: JobKind) -> io::Result<Job> {
        let opening = self.0.iter().find(|opening| opening.ticket == ticket).ok_or(Errno::ENOENT)?;
        Ok(opening.job(kind))
    }

    /// Notes that a program of a job of this kind is run for an opening.
    pub(super) fn on_run(&mut self, ticket: Ticket, kind: JobKind, part: JobPart) {
        let Some(opening) = self.0.iter_mut().find(|opening| opening.ticket == ticket) else { return };
        match part {
            JobPart::Command => opening.has_command = kind != JobKind::Stop,
            // The other rules of the opening may exist too. Deleting a rule that does not exist does no harm.
            JobPart::Rule(_) => opening.has_rules = true,
        }
    }

    /// Forgets an opening.
    pub(super) fn release(&mut self, ticket: Ticket) {
        self.0.retain(|opening| opening.ticket != ticket);
    }

    /// Removes the openings that have no running program, and returns the jobs that undo them.
    pub(super) fn take_stops(&mut self, runs: impl Fn(Ticket) -> bool) -> Vec<Job> {
        self.0.retain(|opening| opening.has_command || opening.has_rules);
        let idle = self.0.extract_if(.., |opening| !runs(opening.ticket));
        idle.map(HeldOpening::into_stop).collect()
    }

    /// Whether there are openings.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl HeldOpening {
    fn job(&self, kind: JobKind) -> Job {
        Job { door: Rc::clone(&self.door), passage: self.passage, kind, lease: None, ticket: self.ticket }
    }

    /// The job that undoes what has not been undone.
    fn into_stop(mut self) -> Job {
        if !self.has_command {
            Rc::make_mut(&mut self.door).commands = Commands::default();
        }
        if !self.has_rules {
            let door = Rc::make_mut(&mut self.door);
            (door.opening, door.any_port) = (None, Vec::new());
        }
        self.job(JobKind::Stop)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn what_was_begun_and_not_undone_is_stopped_once_nothing_of_it_runs() {
        let door = Rc::new(Door::named("ssh"));
        let passage = Passage::from(IpAddr::from([192, 0, 2, 1]));
        let mut held = Held::default();
        for ticket in (1..=5).map(Ticket) {
            held.add(ticket, &door, passage, ticket.0 == 5).expect("room");
        }
        assert_eq!(held.add(Ticket(5), &door, passage, true), Err(Errno::ENOSPC), "it is there already");
        // 1 was not begun, 2 is open, 3 has been undone, 4 still starts, 5 was open from before.
        for (ticket, kind) in
            [(2, JobKind::Start), (3, JobKind::Start), (4, JobKind::Start), (3, JobKind::Stop)]
        {
            held.on_run(Ticket(ticket), kind, JobPart::Command);
        }
        let stops = held.take_stops(|ticket| ticket == Ticket(4));
        assert!(stops.iter().all(|job| job.kind == JobKind::Stop));
        assert_eq!(stops.iter().map(|job| job.ticket.0).collect::<Vec<_>>(), [2, 5]);
        assert_eq!(held.take_stops(|_| false).len(), 1);
        assert!(held.is_empty());
        held.job(Ticket(4), JobKind::Stop).expect_err("it is gone");
    }

    #[test]
    fn what_has_ended_is_not_undone_again() {
        let door = Rc::new(Door::named("ssh"));
        let passage = Passage::from(IpAddr::from([192, 0, 2, 1]));
        let mut held = Held::default();
        for ticket in [1, 2].map(Ticket) {
            held.add(ticket, &door, passage, true).expect("room");
        }
        held.release(Ticket(1));
        assert_eq!(held.take_stops(|_| false).iter().map(|job| job.ticket.0).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn the_table_is_bounded() {
        let door = Rc::new(Door::named("ssh"));
        let passage = Passage::from(IpAddr::from([192, 0, 2, 1]));
        let mut held = Held::default();
        let added = (0..2000).filter(|n| held.add(Ticket(*n), &door, passage, true).is_ok()).count();
        assert_eq!(added, MAX_HELD);
    }
}
