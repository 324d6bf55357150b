//! Counts the connections through open doors. A door with `close 'session'` shuts when its last connection ends.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use log::warn;

use crate::config::Door;
use crate::core::grants::{Grant, Grants};
use crate::core::passage::Passage;
use crate::core::time::Instant;
use crate::daemon::slots::Slots;
use crate::firewall::flows::{self, Announcements, FlowSource};
use crate::firewall::through::goes_through;
use crate::linux::links::own_addresses;

/// Least time between two counts. Each count reads the kernel's whole connection table.
const COUNT_SPACING: Duration = Duration::from_millis(500);

/// The state of connection counting that belongs to no single grant.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Connections {
    /// Notifications for the addresses in `watched`; `None` while there are none.
    announcements: Option<Announcements>,
    watched: Vec<IpAddr>,
    /// When to count again after a connection ended.
    recount: Option<Instant>,
    counted: Instant,
    /// Whether the log says already that connections cannot be counted.
    complained: bool,
}

impl Connections {
    /// When to count again.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.recount
    }

    /// The descriptor that becomes readable when a connection ends.
    pub(in crate::daemon) fn announcements(&self) -> Option<BorrowedFd<'_>> {
        self.announcements.as_ref().map(AsFd::as_fd)
    }

    /// Whether the kernel announces the end of connections.
    pub(in crate::daemon) const fn is_announced(&self) -> bool {
        self.announcements.is_some()
    }

    /// Reads the announcements of the kernel.
    pub(in crate::daemon) fn on_announcements(&mut self, now: Instant) {
        if self.announcements.as_ref().is_some_and(Announcements::drain) {
            self.recount.get_or_insert(self.counted.after(COUNT_SPACING).max(now));
        }
    }

    /// Whether a connection has ended since they were counted.
    pub(in crate::daemon) fn is_recount_due(&self, now: Instant) -> bool {
        self.recount.is_some_and(|recount| recount <= now)
    }

    /// Counts the connections of each grant, in the order of `grants`. All counts are 0 where connections cannot be
    /// counted.
    pub(in crate::daemon) fn count(&mut self, now: Instant, grants: &Grants, slots: &Slots) -> Vec<u32> {
        self.recount = None;
        self.counted = now;
        connections(grants, slots).unwrap_or_else(|error| {
            if !std::mem::replace(&mut self.complained, true) {
                warn!("cannot see connections, so doors with close 'session' shut after open_time: {error}");
            }
            vec![0; grants.len()]
        })
    }

    /// Listens for the ends of connections, but only while a session is open.
    pub(in crate::daemon) fn watch(&mut self, now: Instant, grants: &Grants, slots: &Slots) {
        let sessions = || grants.iter().filter(|grant| grant.session().is_some());
        let mut addresses: Vec<IpAddr> = sessions().map(Grant::address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        if self.watched == addresses {
            return;
        }
        // A network has too many addresses to filter for each one.
        let is_network = |grant: &Grant| {
            slots.get(grant.door()).is_some_and(|door| door.grant_prefix.of(grant.address()).is_some())
        };
        if addresses.is_empty() {
            self.announcements = None;
        } else {
            let only = if sessions().any(is_network) { None } else { Some(&addresses[..]) };
            // The old socket stays open until the new one is ready.
            self.announcements = Announcements::open(only).ok();
            if !self.watched.is_empty() {
                self.recount.get_or_insert(now.after(COUNT_SPACING));
            }
        }
        self.watched = addresses;
    }
}

/// The number of connections through each open door, in the order of `grants`.
///
/// # Errors
/// The kernel does not track connections, or refuses to list them.
pub(in crate::daemon) fn connections(grants: &Grants, slots: &Slots) -> io::Result<Vec<u32>> {
    if grants.is_empty() {
        return Ok(Vec::new());
    }
    let doors = grants.iter().map(|grant| Some((&**slots.get(grant.door())?, grant.passage())));
    count(&doors.collect::<Vec<_>>())
}

/// Whether a passage has no connection through the door yet. If so, the kernel announces the end of every later one.
pub(in crate::daemon) fn are_none(door: &Door, passage: Passage) -> bool {
    count(&[Some((door, passage))]).is_ok_and(|counts| counts == [0])
}

/// The number of connections of each passage through its door.
fn count(doors: &[Option<(&Door, Passage)>]) -> io::Result<Vec<u32>> {
    let own = own_addresses()?;
    let from = |source| {
        let mut counts = vec![0; doors.len()];
        flows::each_from(source, &mut |flow| {
            for (door, count) in doors.iter().zip(&mut counts) {
                let through = |(door, passage): (&Door, Passage)| {
                    flow.is_live() && goes_through(door, passage, &own, flow)
                };
                *count += u32::from(door.is_some_and(through));
            }
        })
        .map(|()| counts)
    };
    from(FlowSource::Netlink).or_else(|_| from(FlowSource::Proc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_again_when_that_is_due() {
        let (due, early) = (Instant::from_millis(500), Instant::from_millis(499));
        let mut connections = Connections { recount: Some(due), ..Connections::default() };
        assert_eq!(connections.next_deadline(), Some(due));
        assert_eq!([early, due].map(|now| connections.is_recount_due(now)), [false, true]);
        assert!(connections.count(due, &Grants::default(), &Slots::default()).is_empty());
        assert_eq!(connections.next_deadline(), None);
        assert!(!connections.is_recount_due(due), "once");
    }
}
