//! Stage five of the packet's way: the firewall is changed as was decided, and says whether it has the change.
//!
//! Nothing is decided here. Who is in is known to [`crate::core::access`]; the gate holds what opens doors on this
//! host, the commands that run beside it, and those whom the firewall would not let go of so far.

pub(super) mod connections;
mod leaving;
mod own_table;

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use log::{error, info, trace};

use self::connections::Connections;
use self::leaving::Leaving;
use self::own_table::OwnTable;
use super::jobs::{self, Job, JobKind, Jobs, Report};
use crate::config::Door;
use crate::core::access::{CommandLoad, Lease};
use crate::core::limit::Limit;
use crate::core::network::AddressFamily;
use crate::core::time::Instant;
use crate::firewall::backend::Backend;
use crate::firewall::error::NftError;
use crate::firewall::nft::OpenedBy;
use crate::firewall::sets::{Access, Change, Sets};
use crate::linux::process;

/// How soon a change that the firewall refused is tried again, besides at once when its tables change.
const RETRY: Duration = Duration::from_millis(500);

/// What the kernel ends within this time by itself is not deleted.
const ABOUT_TO_END: Duration = Duration::from_millis(50);

/// Complaints about the firewall a second, and at once.
const COMPLAINTS: (u32, u32) = (1, 5);

/// What opens doors on this host.
#[derive(Debug)]
pub(super) struct Gate {
    backend: Backend,
    jobs: Jobs,
    leaving: Leaving,
    pub(super) connections: Connections,
    pub(super) own: OwnTable,
    complaints: Limit,
    retry: Option<Instant>,
}

/// What the firewall answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has the change.
    Done,
    /// It will be asked by a program, whose end is reported by [`Gate::run`].
    Queued,
}

/// How often the firewall has been asked for a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// For the first time since the knock.
    First,
    /// Again, since its tables changed.
    Restore,
    /// Again, since it refused last time.
    Retry,
}

/// Somebody who is not let in any more.
#[derive(Clone, Debug)]
pub(super) struct Leaver {
    pub(super) door: Rc<Door>,
    pub(super) address: IpAddr,
    /// The kernel's own timer has shut the door already. To delete what is gone costs a wait for all processors.
    pub(super) is_timed_out: bool,
}

impl Leaver {
    fn key(&self) -> (*const Door, IpAddr) {
        (Rc::as_ptr(&self.door), self.address)
    }
}

impl Gate {
    /// A gate with nobody in.
    pub(super) fn new(backend: Backend) -> Self {
        Self {
            jobs: Jobs::new(backend.iptables().cloned()),
            backend,
            leaving: Leaving::default(),
            connections: Connections::default(),
            own: OwnTable::default(),
            complaints: Limit::new(COMPLAINTS.0, COMPLAINTS.1),
            retry: None,
        }
    }

    /// What waits of commands, if opening this door runs any. `grants`: how many are in, each of whom needs a place to
    /// leave.
    pub(super) fn load(&self, door: &Door, address: IpAddr, grants: usize) -> Option<CommandLoad> {
        self.needs_jobs(door).then(|| CommandLoad {
            is_starting: self.jobs.is_pending(&door.name, address, JobKind::Start),
            waiting_at_door: self.jobs.waiting_of(&door.name),
            free: self.jobs.free().saturating_sub(grants),
        })
    }

    /// Runs the command of a door that is never open.
    pub(super) fn run_once(&mut self, door: &Rc<Door>, address: IpAddr) {
        self.push(Job { door: Rc::clone(door), address, kind: JobKind::Start, lease: None });
    }

    /// Runs the commands of a door that has just opened. With iptables they have run behind the rules.
    pub(super) fn start_commands(&mut self, door: &Rc<Door>, address: IpAddr) {
        let ran = self.backend.iptables().is_some() && door.opening.is_some();
        if !ran && self.needs_jobs(door) {
            self.run_once(door, address);
        }
    }

    /// Gets a grant into the firewall, or gives it more time there.
    ///
    /// # Errors
    /// The firewall does not have it. The change is tried again.
    pub(super) fn open(
        &mut self,
        now: Instant,
        door: &Rc<Door>,
        address: IpAddr,
        lease: &Lease,
        by: OpenedBy<'_>,
    ) -> Result<Answer, NftError> {
        self.leaving.cancel(&door.name, address);
        if door.opening.is_none() {
            return Ok(Answer::Done);
        }
        if let Some(sets) = self.backend.sets() {
            let to = Access::Open { time: lease.time, by, held: lease.is_there };
            let opened = sets.apply_one(Change { door: (&**door).into(), address, to });
            if opened.is_err() {
                self.retry = Some(now.after(RETRY));
            }
            return opened.map(|()| Answer::Done);
        }
        let Some(iptables) = self.backend.iptables() else { return Ok(Answer::Done) };
        let keeps_time = iptables.sets;
        if self.jobs.is_pending(&door.name, address, JobKind::Start) {
            return Ok(Answer::Queued);
        }
        let (door, time) = (Rc::clone(door), lease.time);
        if !lease.is_there {
            self.push(Job { door, address, kind: JobKind::Start, lease: time });
            return Ok(Answer::Queued);
        }
        if keeps_time {
            self.push(Job { door, address, kind: JobKind::Renew, lease: time });
        }
        Ok(Answer::Done)
    }

    /// Gets addresses out of the firewall, all in one transaction; how many it would not let go of. Those are tried
    /// again.
    pub(super) fn shut(&mut self, now: Instant, leavers: &[Leaver]) -> usize {
        let mut refused = Vec::new();
        if let Some(sets) = self.backend.sets() {
            let late = late(sets, leavers);
            let is_deleted = |leaver: &&Leaver| {
                let stays = !leaver.is_timed_out || late.contains(&leaver.key());
                stays && leaver.door.opening.is_some()
            };
            let deleted: Vec<&Leaver> = leavers.iter().filter(is_deleted).collect();
            let changes: Vec<_> = deleted
                .iter()
                .map(|leaver| Change {
                    door: (&*leaver.door).into(),
                    address: leaver.address,
                    to: Access::Shut,
                })
                .collect();
            sets.apply(&changes, &mut |index, error| {
                if !lets_nobody_in(&error) {
                    refused.push((deleted[index], error));
                }
            });
        }
        for (Leaver { door, address, .. }, error) in &refused {
            self.complain(now, door, *address, error);
            self.leaving.add(door, *address);
            self.retry = Some(now.after(RETRY));
        }
        let refused = refused.len();
        for Leaver { door, address, .. } in leavers {
            self.own.cut(door, *address);
            if self.needs_jobs(door) {
                let (door, address) = (Rc::clone(door), *address);
                self.push(Job { door, address, kind: JobKind::Stop, lease: None });
            }
        }
        refused
    }

    /// Tries again to get those out whom the firewall would not let go, if it is time to. Whether it is: then
    /// those are to be let in whom it would not take.
    pub(super) fn retry(&mut self, now: Instant) -> bool {
        if self.retry.is_none_or(|retry| retry > now) {
            return false;
        }
        self.retry = None;
        let Self { leaving, backend, .. } = self;
        if let Some(sets) = backend.sets() {
            leaving.retry(|door, address| match shut(sets, door, address) {
                Ok(()) => {
                    info!("{address}: {}: shut, now that the firewall can", door.name);
                    true
                }
                Err(error) => {
                    trace!("{address}: {}: {error}", door.name);
                    false
                }
            });
        }
        if !self.leaving.is_empty() {
            self.retry = Some(now.after(RETRY));
        }
        true
    }

    /// Says that the firewall would not do something. Only the first failure is said: it may be tried for days.
    pub(super) fn complain(&mut self, now: Instant, door: &Door, address: IpAddr, error: &NftError) {
        if self.complaints.allow(now) {
            error!("{address}: {}: {error}", door.name);
        }
    }

    /// Puts the rules of a grant back that iptables has lost.
    pub(super) fn restore_rules(&mut self, door: &Rc<Door>, address: IpAddr, lease: Option<Duration>) {
        self.push(Job { door: Rc::clone(door), address, kind: JobKind::Restore, lease });
    }

    /// Runs what is due of the commands, and reports what became of them.
    pub(super) fn run(&mut self, now: Instant) -> Vec<Report> {
        self.jobs.run(now, process::spawn)
    }

    /// When [`Self::run`] and [`Self::retry`] must be called next.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        [self.jobs.next_deadline(), self.retry, self.connections.next_deadline()].into_iter().flatten().min()
    }

    /// What of a door is missing in the firewall.
    ///
    /// # Errors
    /// The firewall cannot be asked.
    pub(super) fn missing(&mut self, door: &Door) -> Result<Option<String>, NftError> {
        let Some(sets) = self.backend.sets() else { return Ok(None) };
        if !sets.table_exists()? {
            return Ok(Some(format!("table {}", self.backend.table_name())));
        }
        let missing = sets.missing(door)?;
        Ok(missing.first().map(|set| format!("set {set} in table {}", self.backend.table_name())))
    }

    /// Whether the firewall would not let go of somebody so far.
    pub(super) fn is_anyone_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Bounds the time of doors' commands that start from now on; none: they take as long as they like.
    pub(super) fn set_command_limit(&mut self, limit: Option<Duration>) {
        self.jobs.set_command_limit(limit);
    }

    /// Whether no rule is to be inserted or deleted any more.
    pub(super) fn are_rules_done(&self) -> bool {
        self.jobs.are_rules_done()
    }

    /// Whether commands wait or run.
    pub(super) fn is_busy(&self) -> bool {
        !self.jobs.is_idle()
    }

    /// How doors are opened.
    pub(super) const fn backend(&self) -> &Backend {
        &self.backend
    }

    /// How doors are opened.
    pub(super) const fn backend_mut(&mut self) -> &mut Backend {
        &mut self.backend
    }

    fn needs_jobs(&self, door: &Door) -> bool {
        jobs::door_needs_jobs(door, self.backend.iptables().is_some())
    }

    fn push(&mut self, job: Job) {
        if self.jobs.push(job).is_err() {
            error!("the queue of commands is full, which room was kept to prevent");
        }
    }
}

/// Those among the timed out whose element the kernel keeps for longer: it came late to a busy machine, or somebody else
/// has changed it.
fn late(sets: &mut Sets, leavers: &[Leaver]) -> Vec<(*const Door, IpAddr)> {
    let timed_out = || leavers.iter().filter(|leaver| leaver.is_timed_out && leaver.door.opening.is_some());
    let mut listed: Vec<(*const Door, AddressFamily)> = Vec::new();
    let mut late = Vec::new();
    for leaver in timed_out() {
        let (door, family) = (Rc::as_ptr(&leaver.door), AddressFamily::of(leaver.address));
        if listed.contains(&(door, family)) {
            continue;
        }
        listed.push((door, family));
        let listed = sets.list(&*leaver.door, family, &mut |element| {
            if element.left.is_none_or(|left| left > ABOUT_TO_END) {
                late.push((door, element.address));
            }
        });
        // What cannot be listed may still be there: it is deleted.
        if listed.is_err_and(|error| !lets_nobody_in(&error)) {
            late.extend(timed_out().map(Leaver::key).filter(|(of, _)| *of == door));
        }
    }
    late
}

/// Takes an element out.
fn shut(sets: &mut Sets, door: &Door, address: IpAddr) -> Result<(), NftError> {
    match sets.shut(door, address) {
        Err(error) if lets_nobody_in(&error) => Ok(()),
        answer => answer,
    }
}

/// What is not there lets nobody in.
const fn lets_nobody_in(error: &NftError) -> bool {
    matches!(error, NftError::MissingSet { .. } | NftError::MissingTable { .. })
}
