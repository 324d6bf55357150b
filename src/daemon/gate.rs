//! Stage five of the packet's way: the gate changes the firewall as the core decided, and reports whether the firewall has
//! the change.
//!
//! Nothing is decided here. [`crate::core::access`] holds the grants. The gate holds the backend, the doors' commands,
//! and the addresses that the firewall has failed to remove so far.

pub(super) mod connections;
mod leaving;
mod own_chains;
mod own_table;
mod programs;
#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::time::Duration;

use log::{error, info, trace};

use self::connections::Connections;
use self::leaving::Leaving;
use self::own_chains::OwnChainsState;
use self::own_table::OwnTable;
use super::jobs::{JobKind, Jobs};
use super::monitor::Monitor;
use crate::config::Door;
use crate::core::access::Lease;
use crate::core::limit::Limit;
use crate::core::network::AddressFamily;
use crate::core::passage::Passage;
use crate::core::time::Instant;
use crate::firewall::backend::Backend;
use crate::firewall::error::NftError;
use crate::firewall::nft::ElementNote;
use crate::firewall::nft::element::Element;
use crate::firewall::sets::{AddressState, Change, Sets};

/// Time until a refused change is tried again. When the firewall's tables change, it is also tried at once.
const RETRY: Duration = Duration::from_millis(500);

/// An element with less time left than this is not deleted: the kernel's timer removes it.
const ABOUT_TO_END: Duration = Duration::from_millis(50);

/// Complaints about the firewall: the rate a second, and the burst.
const COMPLAINTS: (u32, u32) = (1, 5);

/// The backend that opens doors on this host, and the commands beside it.
#[derive(Debug)]
pub(super) struct Gate {
    backend: Backend,
    jobs: Jobs,
    /// The process that runs the commands; `None` if there are none.
    monitor: Option<Monitor>,
    leaving: Leaving,
    pub(super) connections: Connections,
    pub(super) own: OwnTable,
    pub(super) chains: OwnChainsState,
    complaints: Limit,
    retry: Option<Instant>,
}

/// The firewall's answer to a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirewallAnswer {
    /// The firewall has the change.
    Done,
    /// A program will make the change. [`Gate::run`] reports its end.
    Queued,
}

/// The reason for asking the firewall for a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// A knock or a request asks for it.
    First,
    /// The firewall's tables changed.
    Restore,
    /// The firewall refused the last attempt.
    Retry,
}

/// A grant that has ended and must leave the firewall.
#[derive(Clone, Debug)]
pub(super) struct Leaver {
    pub(super) door: Rc<Door>,
    pub(super) passage: Passage,
    /// Whether the kernel's timer has removed the element already. Each deletion makes the kernel wait for all processors.
    pub(super) is_timed_out: bool,
}

impl Leaver {
    fn key(&self) -> (*const Door, Passage) {
        (Rc::as_ptr(&self.door), self.passage)
    }
}

impl Gate {
    /// A gate without grants.
    pub(super) fn new(backend: Backend, monitor: Option<Monitor>) -> Self {
        Self {
            jobs: Jobs::new(backend.iptables().cloned()),
            monitor,
            backend,
            leaving: Leaving::default(),
            connections: Connections::default(),
            own: OwnTable::default(),
            chains: OwnChainsState::default(),
            complaints: Limit::new(COMPLAINTS.0, COMPLAINTS.1),
            retry: None,
        }
    }

    /// Puts a grant into the firewall, or extends its time there.
    ///
    /// # Errors
    /// The firewall refused the grant. The gate tries again.
    pub(super) fn open(
        &mut self,
        now: Instant,
        door: &Rc<Door>,
        passage: Passage,
        lease: &Lease,
        note: ElementNote<'_>,
    ) -> Result<FirewallAnswer, NftError> {
        self.leaving.cancel(&door.name, passage);
        if !door.opens_ports() {
            return Ok(FirewallAnswer::Done);
        }
        if let Some(sets) = self.backend.sets() {
            let to = AddressState::Open { time: lease.time(), note, held: lease.is_there() };
            let opened = sets.apply_one(Change { door: (&**door).into(), passage, to });
            if opened.is_err() {
                self.retry = Some(now.after(RETRY));
            }
            return opened.map(|()| FirewallAnswer::Done);
        }
        let Some(iptables) = self.backend.iptables() else { return Ok(FirewallAnswer::Done) };
        let keeps_time = iptables.sets;
        if self.jobs.is_pending(&door.name, passage, JobKind::Start) {
            return Ok(FirewallAnswer::Queued);
        }
        if !lease.is_there() {
            self.push(door, passage, JobKind::Start, lease.time());
            return Ok(FirewallAnswer::Queued);
        }
        if keeps_time {
            self.push(door, passage, JobKind::Renew, lease.time());
        }
        Ok(FirewallAnswer::Done)
    }

    /// Removes addresses from the firewall in one transaction. Returns how many the firewall failed to remove; these
    /// are tried again.
    pub(super) fn shut(&mut self, now: Instant, leavers: &[Leaver]) -> usize {
        let mut refused = Vec::new();
        if let Some(sets) = self.backend.sets() {
            let late = late(leavers, |door, family, each| sets.list(door, family, each));
            let is_deleted = |leaver: &&Leaver| {
                let stays = !leaver.is_timed_out || late.contains(&leaver.key());
                stays && leaver.door.opens_ports()
            };
            let deleted: Vec<&Leaver> = leavers.iter().filter(is_deleted).collect();
            let changes: Vec<_> = deleted
                .iter()
                .map(|leaver| Change {
                    door: (&*leaver.door).into(),
                    passage: leaver.passage,
                    to: AddressState::Shut,
                })
                .collect();
            sets.apply(&changes, &mut |index, error| {
                if !lets_nobody_in(&error) {
                    refused.push((deleted[index], error));
                }
            });
        }
        for (Leaver { door, passage, .. }, error) in &refused {
            self.complain(now, door, *passage, error);
            self.leaving.add(door, *passage);
            self.retry = Some(now.after(RETRY));
        }
        let refused = refused.len();
        for Leaver { door, passage, .. } in leavers {
            self.own.cut(door, *passage);
            if self.needs_jobs(door) {
                self.push(door, *passage, JobKind::Stop, None);
            }
        }
        refused
    }

    /// If a retry is due, tries again to remove addresses that the firewall failed to remove, and returns true. The
    /// caller then retries the grants that the firewall refused.
    pub(super) fn retry(&mut self, now: Instant) -> bool {
        if self.retry.is_none_or(|retry| retry > now) {
            return false;
        }
        self.retry = None;
        let Self { leaving, backend, .. } = self;
        if let Some(sets) = backend.sets() {
            leaving.retry(|door, passage| match shut(sets, door, passage) {
                Ok(()) => {
                    info!("{passage}: {}: shut, now that the firewall can", door.name);
                    true
                }
                Err(error) => {
                    trace!("{passage}: {}: {error}", door.name);
                    false
                }
            });
        }
        if !self.leaving.is_empty() {
            self.retry = Some(now.after(RETRY));
        }
        true
    }

    /// Logs that the firewall refused a change. Callers report only the first failure, because retries may go on for
    /// days.
    pub(super) fn complain(&mut self, now: Instant, door: &Door, passage: Passage, error: &NftError) {
        if self.complaints.allow(now) {
            error!("{passage}: {}: {error}", door.name);
        }
    }

    /// When [`Self::run`] and [`Self::retry`] must be called next.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        [self.jobs.next_deadline(), self.retry, self.connections.next_deadline()].into_iter().flatten().min()
    }

    /// The first set, table or chain of a door that the firewall lacks.
    ///
    /// # Errors
    /// The firewall cannot be asked.
    pub(super) fn missing(&mut self, door: &Door) -> Result<Option<String>, NftError> {
        if self.chains.is_missing() {
            return Ok(Some("a chain of the daemon's own".to_owned()));
        }
        let Some(sets) = self.backend.sets() else { return Ok(None) };
        if !sets.table_exists()? {
            return Ok(Some(format!("table {}", self.backend.table_name())));
        }
        let missing = sets.missing(door)?;
        Ok(missing.first().map(|set| format!("set {set} in table {}", self.backend.table_name())))
    }

    /// Whether an address is still in the firewall after its grant ended.
    pub(super) fn is_anyone_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// The backend.
    pub(super) const fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The backend.
    pub(super) const fn backend_mut(&mut self) -> &mut Backend {
        &mut self.backend
    }
}

/// The leavers whose timer should be over but whose element still has time left. A busy machine added it late, or
/// another program changed it.
fn late(
    leavers: &[Leaver],
    mut list: impl FnMut(&Door, AddressFamily, &mut dyn FnMut(&Element<'_>)) -> Result<(), NftError>,
) -> Vec<(*const Door, Passage)> {
    let timed_out = || leavers.iter().filter(|leaver| leaver.is_timed_out && leaver.door.opens_ports());
    let mut listed: Vec<(*const Door, AddressFamily)> = Vec::new();
    let mut late = Vec::new();
    for leaver in timed_out() {
        let (door, family) = (Rc::as_ptr(&leaver.door), AddressFamily::of(leaver.passage.address));
        if listed.contains(&(door, family)) {
            continue;
        }
        listed.push((door, family));
        let listed = list(&leaver.door, family, &mut |element| {
            if element.left.is_none_or(|left| left > ABOUT_TO_END) {
                late.push((door, element.passage));
            }
        });
        // A set that cannot be listed may still hold the element, so it is deleted.
        if listed.is_err_and(|error| !lets_nobody_in(&error)) {
            late.extend(timed_out().map(Leaver::key).filter(|(of, _)| *of == door));
        }
    }
    late
}

/// Deletes a door's element.
fn shut(sets: &mut Sets, door: &Door, passage: Passage) -> Result<(), NftError> {
    match sets.shut(door, passage) {
        Err(error) if lets_nobody_in(&error) => Ok(()),
        answer => answer,
    }
}

/// Whether the error says that the set or element does not exist. Such a set lets nobody in.
pub(super) const fn lets_nobody_in(error: &NftError) -> bool {
    matches!(error, NftError::MissingSet { .. } | NftError::MissingTable { .. })
}
