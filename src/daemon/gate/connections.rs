//! The connections through open doors: counted, so that a door with `close 'session'` shuts with the last of them,
//! and cut, when a door with `kill 'on'` shuts.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use log::{error, info, warn};

use crate::config::{Door, PortRange};
use crate::core::flow::Flow;
use crate::core::grants::{Grant, Grants};
use crate::core::time::Instant;
use crate::daemon::slots::Slots;
use crate::firewall::cut;
use crate::firewall::error::NftError;
use crate::firewall::flows::{self, Announcements, Source};
use crate::firewall::sets::Sets;
use crate::linux::process::{self, Exit};

/// Least time between two counts, each of which reads everything that the kernel tracks.
const COUNT_SPACING: Duration = Duration::from_millis(500);

/// How long somebody is refused whose connections were cut: longer than any program waits in silence on a
/// connection that it still believes in. He is let in at once when he knocks again.
const CUT_TIME: Duration = Duration::from_secs(24 * 3600);

/// Most connections forgotten at once; the rest follows, in at most [`FORGET_ROUNDS`].
const FORGET_AT_ONCE: usize = 256;
const FORGET_ROUNDS: usize = 16;

/// How long one command of nft may take.
const LOAD_TIME: Duration = Duration::from_secs(5);

/// What is known of connections beside what each grant knows.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Connections {
    /// Of the addresses in `watched`, while there are any.
    announcements: Option<Announcements>,
    watched: Vec<IpAddr>,
    /// A connection has ended: count again at this moment.
    recount: Option<Instant>,
    counted: Instant,
    /// The sets of the table that cuts; none while no door needs it.
    cuts: Option<Box<Sets>>,
    /// That connections cannot be counted has been said.
    complained: bool,
}

impl Connections {
    /// When to count again.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.recount
    }

    /// What becomes readable when a connection ends.
    pub(in crate::daemon) fn announcements(&self) -> Option<BorrowedFd<'_>> {
        self.announcements.as_ref().map(AsFd::as_fd)
    }

    /// Whether the kernel announces the end of connections.
    pub(in crate::daemon) const fn is_announced(&self) -> bool {
        self.announcements.is_some()
    }

    /// Reads what has been announced.
    pub(in crate::daemon) fn on_announcements(&mut self, now: Instant) {
        if self.announcements.as_ref().is_some_and(Announcements::drain) {
            self.recount.get_or_insert(self.counted.after(COUNT_SPACING).max(now));
        }
    }

    /// Whether a connection has ended since they were counted.
    pub(in crate::daemon) fn is_recount_due(&self, now: Instant) -> bool {
        self.recount.is_some_and(|recount| recount <= now)
    }

    /// Counts the connections of each grant, in the order of `grants`. Where they cannot be counted, none is known.
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

    /// Listens for the ends of connections while, and only while, there is a session to end.
    pub(in crate::daemon) fn watch(&mut self, now: Instant, grants: &Grants, slots: &Slots) {
        let sessions = || grants.iter().filter(|grant| grant.session().is_some());
        let mut addresses: Vec<IpAddr> = sessions().map(Grant::address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        if self.watched == addresses {
            return;
        }
        // The addresses of a network are too many to be listened for one by one.
        let is_network = |grant: &Grant| {
            slots.get(grant.door()).is_some_and(|door| door.grant_prefix.of(grant.address()).is_some())
        };
        if addresses.is_empty() {
            self.announcements = None;
        } else {
            let only = if sessions().any(is_network) { None } else { Some(&addresses[..]) };
            // The old one hears until the new one does.
            self.announcements = Announcements::open(only).ok();
            if !self.watched.is_empty() {
                self.recount.get_or_insert(now.after(COUNT_SPACING));
            }
        }
        self.watched = addresses;
    }

    /// Cuts the connections of `address` through a door that has just shut.
    pub(super) fn cut(&mut self, door: &Door, address: IpAddr) {
        let (Some(cuts), true) = (&mut self.cuts, door.kill) else { return };
        // First the refusal, so that nothing can bring a forgotten connection back.
        if let Err(error) = cuts.open(door, address, Some(CUT_TIME), true) {
            error!("{address}: {}: connections live on: {error}", door.name);
            return;
        }
        let mut cut = 0;
        for _ in 0..FORGET_ROUNDS {
            let mut found = heapless::Vec::<Flow, FORGET_AT_ONCE>::new();
            let read = flows::each(|flow| {
                if carries(door, address, flow) {
                    // What does not fit is found in the next round.
                    let _ = found.push(*flow);
                }
            });
            let forgotten = flows::forget(&found).unwrap_or(0);
            cut += forgotten;
            if read.is_err() || forgotten == 0 || found.len() < FORGET_AT_ONCE {
                break;
            }
        }
        if cut > 0 {
            info!("{address}: {}: {cut} connections cut", door.name);
        }
    }

    /// Takes back what [`Self::cut`] did.
    pub(in crate::daemon) fn uncut(&mut self, door: &Door, address: IpAddr) {
        let (Some(cuts), true) = (&mut self.cuts, door.kill) else { return };
        match cuts.shut(door, address) {
            Ok(()) | Err(NftError::MissingSet { .. } | NftError::MissingTable { .. }) => {}
            Err(error) => error!("{address}: {}: still refused: {error}", door.name),
        }
    }

    /// Makes the table that cuts, if a door needs it; `anew` also when it is there.
    pub(in crate::daemon) fn load_cuts(&mut self, slots: &Slots, anew: bool) {
        let doors = || slots.iter().filter(|(_, door)| door.kill);
        if doors().next().is_none() {
            self.cuts = None;
            if anew
                && Sets::connect(cut::table())
                    .is_ok_and(|mut sets| sets.table_exists().is_ok_and(|there| there))
            {
                nft(cut::delete());
            }
            return;
        }
        if self.cuts.is_none() {
            match Sets::connect(cut::table()) {
                Ok(sets) => self.cuts = Some(Box::new(sets)),
                Err(error) => return warn!("kill: cannot reach the kernel's firewall: {error}"),
            }
        }
        let Some(cuts) = &mut self.cuts else { return };
        let there = doors().all(|(_, door)| cuts.missing(&**door).is_ok_and(|missing| missing.is_empty()));
        if there && !anew {
            return;
        }
        let rules = doors().filter_map(|(_, door)| Some(cut::door(door, door.opening.as_ref()?)));
        // One after the other: together they may be longer than an argument may be.
        let _ = std::iter::once(cut::base()).chain(rules).all(nft);
    }
}

/// Has nft do something with the table that cuts.
fn nft(text: String) -> bool {
    let what = match process::output(&["nft".to_owned(), text], std::time::Instant::now() + LOAD_TIME, 0) {
        Ok((_, Exit::Code(0))) => return true,
        Ok((_, exit)) => exit.to_string(),
        Err(error) => error.to_string(),
    };
    warn!("kill: connections may live on, since nft says no: {what}");
    false
}

/// How many connections go through each open door, in the order of `grants`.
///
/// # Errors
/// The kernel does not track connections, or will not tell.
pub(in crate::daemon) fn connections(grants: &Grants, slots: &Slots) -> io::Result<Vec<u32>> {
    if grants.is_empty() {
        return Ok(Vec::new());
    }
    let doors = grants.iter().map(|grant| Some((&**slots.get(grant.door())?, grant.address())));
    count(&doors.collect::<Vec<_>>())
}

/// Whether nothing goes through a door yet for `address`: then the end of whatever will is announced.
pub(in crate::daemon) fn are_none(door: &Door, address: IpAddr) -> bool {
    count(&[Some((door, address))]).is_ok_and(|counts| counts == [0])
}

/// How many connections each of these addresses has through its door.
fn count(doors: &[Option<(&Door, IpAddr)>]) -> io::Result<Vec<u32>> {
    let from = |source| {
        let mut counts = vec![0; doors.len()];
        flows::each_from(source, |flow| {
            for (door, count) in doors.iter().zip(&mut counts) {
                let through =
                    |(door, address): (&Door, IpAddr)| flow.is_live() && carries(door, address, flow);
                *count += u32::from(door.is_some_and(through));
            }
        })
        .map(|()| counts)
    };
    from(Source::Netlink).or_else(|_| from(Source::Proc))
}

/// Whether a connection goes through a door as it is open for `address`.
fn carries(door: &Door, address: IpAddr, flow: &Flow) -> bool {
    let Some(opening) = &door.opening else { return false };
    let leads = |ports: &[PortRange]| ports.iter().any(|range| range.contains(flow.destination_port));
    let there = match &opening.forward {
        None => flow.answers == flow.destination && leads(&opening.dest_port),
        Some(forward) => {
            // To a host's own address the port is not translated.
            let translated = flow.answers != flow.destination;
            let ports = if translated { &forward.src_dport } else { &opening.dest_port };
            forward.dest_ip.contains(&flow.answers) && leads(ports)
        }
    };
    door.grant_prefix.group(flow.source) == address && there && opening.protocols.contains(&flow.protocol)
}
