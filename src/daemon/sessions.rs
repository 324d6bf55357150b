//! The connections through open doors: counted, so that a door with `close 'session'` shuts with the last of them,
//! and cut, when a door with `kill 'on'` shuts.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use log::{debug, error, info, warn};

use super::gate::{Attempt, Gate};
use super::slots::Slots;
use crate::config::{Close, Door, PortRange};
use crate::core::counters::Counters;
use crate::core::door::DoorId;
use crate::core::flow::Flow;
use crate::core::grants::MAX_GRANTS;
use crate::core::session::Session;
use crate::core::time::Instant;
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
pub(super) struct Sessions {
    /// Of the addresses in `watched`, while there are any.
    announcements: Option<Announcements>,
    watched: Vec<IpAddr>,
    /// Some doors are open for networks, whose addresses are too many to be listened for one by one.
    networks: bool,
    /// A connection has ended: count again at this moment.
    recount: Option<Instant>,
    counted: Instant,
    /// The sets of the table that cuts; none while no door needs it.
    cuts: Option<Box<Sets>>,
    /// That connections cannot be counted has been said.
    complained: bool,
}

impl Sessions {
    /// When to count again.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.recount
    }
}

impl Gate {
    /// What becomes readable when a connection ends.
    pub fn announcements(&self) -> Option<BorrowedFd<'_>> {
        self.sessions.announcements.as_ref().map(AsFd::as_fd)
    }

    /// Reads what has been announced.
    pub fn on_announcements(&mut self, now: Instant) {
        let Sessions { announcements: Some(announcements), recount, counted, .. } = &mut self.sessions else {
            return;
        };
        if announcements.drain() {
            recount.get_or_insert(counted.after(COUNT_SPACING).max(now));
        }
    }

    /// How many connections go through each open door, in the order of [`Self::grants`].
    ///
    /// # Errors
    /// The kernel does not track connections, or will not tell.
    pub fn connections(&self, slots: &Slots) -> io::Result<Vec<u32>> {
        if self.grants.is_empty() {
            return Ok(Vec::new());
        }
        let doors = self.grants.iter().map(|grant| Some((&**slots.get(grant.door)?, grant.address)));
        count(&doors.collect::<Vec<_>>())
    }

    /// Before a door opens or its time begins anew.
    pub(super) fn begin_session(
        &mut self,
        now: Instant,
        door: &Door,
        id: DoorId,
        address: IpAddr,
        time: Option<Duration>,
    ) {
        self.uncut(door, address);
        let Some(grant) = self.grants.get_mut(&self.keyed, id, address) else { return };
        let (Close::Session { max }, Some(time)) = (door.close, time) else {
            grant.session = None;
            return;
        };
        self.sessions.networks |= door.grant_prefix.of(address).is_some();
        let new = Session::new(now, time, max);
        grant.session = Some(match grant.session {
            // Renewing never shortens.
            Some(old) => Session { open_until: new.open_until.max(old.open_until), limit: new.limit, ..old },
            None => new,
        });
        self.watch_sessions(now);
    }

    /// After a door opened anew: if nothing goes through it yet, whatever will is announced when it ends.
    pub(super) fn begun_session(&mut self, door: &Door, id: DoorId, address: IpAddr) {
        let is_announced = self.sessions.announcements.is_some();
        let Some(grant) = self.grants.get_mut(&self.keyed, id, address) else { return };
        if let Some(session) = &mut grant.session {
            session.announced =
                is_announced && count(&[Some((door, address))]).is_ok_and(|counts| counts == [0]);
        }
    }

    /// Counts when it is due, and decides which doors stay open.
    pub(super) fn tend_sessions(&mut self, now: Instant, counters: &mut Counters, slots: &Slots) {
        let due = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        let over = self.grants.iter().any(|grant| grant.session.is_some() && due(grant.until));
        if !over && !due(self.sessions.recount) {
            return;
        }
        self.sessions.recount = None;
        self.sessions.counted = now;
        let counts = self.connections(slots);
        if let Err(error) = &counts
            && !std::mem::replace(&mut self.sessions.complained, true)
        {
            warn!("cannot see connections, so doors with close 'session' shut after open_time: {error}");
        }
        // Without counts nothing is known to go through.
        let counts = counts.unwrap_or_else(|_| vec![0; self.grants.len()]);
        let mut leases = heapless::Vec::<(DoorId, IpAddr), MAX_GRANTS>::new();
        for (grant, count) in self.grants.iter_mut().zip(counts) {
            let Some(session) = &mut grant.session else { continue };
            session.live = count;
            let hold = session.hold(now);
            debug!(
                "{}: {count} connections, {}",
                grant.address,
                if hold.is_some() { "stays open" } else { "is over" }
            );
            // What is over ends like any grant whose time is over.
            grant.until = Some(hold.unwrap_or(now));
            if hold.is_some() && session.needs_lease(now) {
                leases.push((grant.door, grant.address)).expect("as many as grants");
            }
        }
        for (id, address) in leases {
            if let Some(door) = slots.get(id).cloned() {
                self.admit(now, counters, &door, id, address, Attempt::First);
            }
        }
    }

    /// Listens for the ends of connections while, and only while, there is a session to end.
    pub(super) fn watch_sessions(&mut self, now: Instant) {
        let sessions = self.grants.iter().filter(|grant| grant.session.is_some());
        let mut addresses: Vec<IpAddr> = sessions.map(|grant| grant.address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let Sessions { announcements, watched, networks, recount, .. } = &mut self.sessions;
        if *watched == addresses {
            return;
        }
        if addresses.is_empty() {
            *announcements = None;
        } else {
            // The old one hears until the new one does.
            *announcements = Announcements::open(if *networks { None } else { Some(&addresses) }).ok();
            if !watched.is_empty() {
                recount.get_or_insert(now.after(COUNT_SPACING));
            }
        }
        *watched = addresses;
    }

    /// Cuts the connections of `address` through a door that has just shut.
    pub(super) fn cut(&mut self, door: &Door, address: IpAddr) {
        let (Some(cuts), true) = (&mut self.sessions.cuts, door.kill) else { return };
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
    fn uncut(&mut self, door: &Door, address: IpAddr) {
        let (Some(cuts), true) = (&mut self.sessions.cuts, door.kill) else { return };
        match cuts.shut(door, address) {
            Ok(()) | Err(NftError::MissingSet { .. } | NftError::MissingTable { .. }) => {}
            Err(error) => error!("{address}: {}: still refused: {error}", door.name),
        }
    }

    /// Makes the table that cuts, if a door needs it; `anew` also when it is there.
    pub fn load_cuts(&mut self, slots: &Slots, anew: bool) {
        let doors = || slots.iter().filter(|(_, door)| door.kill);
        if doors().next().is_none() {
            self.sessions.cuts = None;
            if anew
                && Sets::connect(cut::table())
                    .is_ok_and(|mut sets| sets.table_exists().is_ok_and(|there| there))
            {
                nft(cut::delete());
            }
            return;
        }
        if self.sessions.cuts.is_none() {
            match Sets::connect(cut::table()) {
                Ok(sets) => self.sessions.cuts = Some(Box::new(sets)),
                Err(error) => return warn!("kill: cannot reach the kernel's firewall: {error}"),
            }
        }
        let Some(cuts) = &mut self.sessions.cuts else { return };
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
