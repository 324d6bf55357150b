//! Stage three of the packet's way: a [`Probe`] to verdicts.
//!
//! ```text
//!               right next step               last step
//!   (nothing) -------------------> stage n ------------> open, then (nothing)
//!       ^                           |   ^ |
//!       |   a later step, a second  |   '-' the same knock again, a step that was taken already,
//!       '--- trap, or seq_timeout --'       or the first trap: the stage stays
//! ```
//! The first step once more starts `seq_timeout` anew.

use core::hash::BuildHasher;
use core::num::NonZeroU16;
use core::time::Duration;

use super::attempt::{Attempt, Deadline, Knocker, Mark, TouchedTrap};
use super::attempts::{Attempts, TimedOut};
use super::counters::Judged;
use super::door::{Door, DoorId, MAX_DOORS};
use super::packet::{Probe, Transport};
use super::place::{OwnAddress, Place, Via};
use super::ports::{DoorSet, NeverTrap, PortMap, PortRange, Scattered, TooManyPorts};
use super::sequence::Protocol;
use super::time::Instant;
use super::totp_knocks;

/// The large, fixed tables. They are separate from the engine so that they can be a `static`, which takes no memory until it
/// is used.
#[derive(Debug)]
pub struct Tables {
    attempts: Attempts,
    ports: PortMap,
    doors: heapless::Vec<Option<Door>, MAX_DOORS>,
    place: Place,
    listening: Listening,
}

/// The ports for users' knocks, at the router's own addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listening {
    /// UDP port of packets.
    pub packets: Option<NonZeroU16>,
    /// TCP ports of changing sequences.
    pub changing: Option<PortRange>,
}

/// The kind of a user's knock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A packet with a proof in it.
    Packet,
    /// A knock that may belong to a changing sequence.
    Totp,
}

impl Tables {
    /// No doors, no addresses, no attempts.
    pub const fn new() -> Self {
        Self {
            attempts: Attempts::new(),
            ports: PortMap::new(),
            doors: heapless::Vec::new(),
            place: Place::new(),
            listening: Listening { packets: None, changing: None },
        }
    }
}

impl Default for Tables {
    fn default() -> Self {
        Self::new()
    }
}

/// The result of a probe at one door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The door.
    pub door: DoorId,
    /// Steps that the source has taken now: the length of the sequence if it is complete, 0 if it must begin.
    pub stage: u8,
    /// The reason.
    pub judged: Judged,
    /// Whether the attempt of another source was dropped to store this one.
    pub displaced: bool,
}

/// The result of a probe at each door that it is for, or the reason why it is for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// One verdict for each of these doors.
    pub verdicts: heapless::Vec<Verdict, MAX_DOORS>,
    /// The counter for the packet: its best result at any door.
    pub judged: Judged,
}

/// Judges probes, and holds the attempts of all sources.
#[derive(Debug)]
pub struct Engine<'t, S> {
    tables: &'t mut Tables,
    /// Hashes under a key that is random for each start.
    keyed: S,
    /// Whether there are scattered traps.
    scatters: bool,
}

impl<'t, S: BuildHasher> Engine<'t, S> {
    /// An engine on these tables.
    pub const fn new(tables: &'t mut Tables, keyed: S) -> Self {
        Self { tables, keyed, scatters: true }
    }

    /// The same without scattered traps, which differ with each start: for what is judged after the fact.
    #[must_use]
    pub fn without_scattered_traps(self) -> Self {
        Self { scatters: false, ..self }
    }

    /// Replaces the doors. A door that did not change keeps its attempts.
    ///
    /// # Errors
    /// As [`PortMap::draw`].
    pub fn set_doors(
        &mut self,
        doors: &[Option<Door>],
        never_trap: &[NeverTrap],
    ) -> Result<(), TooManyPorts> {
        for slot in 0..MAX_DOORS {
            let new = doors.get(slot).cloned().flatten();
            if let Some(old) = self.tables.doors.get_mut(slot) {
                if *old != new {
                    *old = new;
                    let id = DoorId(u8::try_from(slot).expect("MAX_DOORS is 64"));
                    self.tables.attempts.clear_door(&self.keyed, id);
                }
            } else {
                self.tables.doors.push(new).expect("MAX_DOORS slots");
            }
        }
        let Tables { ports, doors, .. } = &mut *self.tables;
        let [a, b, c, d, ..] = self.keyed.hash_one("scattered traps").to_le_bytes();
        let scattered = self.scatters.then(|| Scattered::new(u32::from_le_bytes([a, b, c, d])));
        ports.draw(doors_of(doors), never_trap, scattered)
    }

    /// Sets the addresses of this host; how many of them or of their networks there was no room for.
    pub fn set_addresses(&mut self, addresses: &[OwnAddress]) -> usize {
        let Tables { place, doors, .. } = &mut *self.tables;
        place.set(addresses, |address| doors_of(doors).any(|(_, door)| door.target == Some(address)))
    }

    /// Where this host is.
    pub fn place(&self) -> &Place {
        &self.tables.place
    }

    /// The doors, with their slots.
    pub fn doors(&self) -> impl Iterator<Item = (DoorId, &Door)> {
        doors_of(&self.tables.doors)
    }

    /// The meaning of each port.
    pub fn ports(&self) -> &PortMap {
        &self.tables.ports
    }

    /// Sets the ports for users' knocks.
    pub fn set_listening(&mut self, listening: Listening) {
        self.tables.listening = listening;
    }

    /// The ports for users' knocks.
    pub fn listening(&self) -> Listening {
        self.tables.listening
    }

    /// The kind of user's knock that this probe may be, if any.
    pub fn proof(&self, probe: &Probe) -> Option<Proof> {
        self.tables.place.is_own(probe.destination).then_some(())?;
        let Listening { packets, changing } = self.tables.listening;
        match probe.transport {
            Transport::Udp { port, .. } => {
                packets.filter(|packets| packets.get() == port).map(|_| Proof::Packet)
            }
            Transport::Tcp { port, flags, .. } => changing
                .filter(|ports| totp_knocks::FLAGS.matches(flags) && ports.contains(port))
                .map(|_| Proof::Totp),
        }
    }

    /// Whether this probe is a step or a trap of some door's own sequence.
    pub fn is_step(&self, probe: &Probe) -> bool {
        self.concerned(probe).is_ok()
    }

    /// Whether the kernel would take this probe where it came in.
    pub fn is_plausible(&self, probe: &Probe, via: Via) -> bool {
        self.tables.place.is_plausible(probe.source, probe.destination, via)
    }

    /// Whether this probe could change anything. The kernel filter lets exactly these through.
    pub fn matters(&self, probe: &Probe, via: Via) -> bool {
        self.is_plausible(probe, via) && (self.is_step(probe) || self.proof(probe).is_some())
    }

    /// Judges a probe at every door that it is for.
    pub fn judge(&mut self, now: Instant, probe: &Probe) -> Judgement {
        let (named, trapped) = match self.concerned(probe) {
            Ok(doors) => doors,
            Err(judged) => return Judgement { verdicts: heapless::Vec::new(), judged },
        };
        let mark = Mark::of(&probe.transport, &self.keyed);
        let mut verdicts = heapless::Vec::new();
        for id in named.iter() {
            verdicts.push(self.knock(now, id, probe, mark)).expect("one verdict a door");
        }
        let trap = TouchedTrap::at(probe.transport.protocol(), probe.transport.port(), &self.keyed);
        for id in trapped.iter() {
            if let Some(verdict) = self.trap(now, id, probe, trap) {
                verdicts.push(verdict).expect("one verdict a door");
            }
        }
        let best = verdicts.iter().map(|verdict: &Verdict| verdict.judged).min();
        Judgement { judged: best.unwrap_or(Judged::Trap), verdicts }
    }

    /// When [`Self::expire`] must be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.tables.attempts.next_deadline()
    }

    /// Ends the attempts whose `seq_timeout` is over, and reports them.
    pub fn expire(&mut self, now: Instant, each: impl FnMut(TimedOut)) {
        self.tables.attempts.expire(&self.keyed, now, each);
    }

    /// How many sources are knocking, counted once for each door.
    pub fn knocking(&self) -> usize {
        self.tables.attempts.len()
    }

    /// The doors at which the probe is a step, and those at which it is a trap.
    fn concerned(&self, probe: &Probe) -> Result<(DoorSet, DoorSet), Judged> {
        let own = self.tables.place.is_own(probe.destination);
        let addressed = self.select(|door| door.target.map_or(own, |target| target == probe.destination));
        if addressed.0 == 0 {
            return Err(Judged::NotOurs);
        }
        let flags = match probe.transport {
            Transport::Tcp { flags, .. } => self.select(|door| door.tcp_flags.matches(flags)),
            Transport::Udp { .. } => DoorSet(u64::MAX),
        };
        let doors = addressed.0 & flags.0;
        if doors == 0 {
            return Err(Judged::Flags);
        }
        let (protocol, port) = (probe.transport.protocol(), probe.transport.port());
        let named = DoorSet(doors & self.tables.ports.doors(protocol, port).0);
        if named.0 != 0 {
            Ok((named, DoorSet(0)))
        } else if self.tables.ports.is_trap(protocol, port) {
            Ok((DoorSet(0), DoorSet(doors)))
        } else if protocol == Protocol::Tcp && self.tables.ports.is_scattered(port) {
            let trapped = DoorSet(doors & self.select(|door| door.tcp_flags.is_first_segment()).0);
            if trapped.0 == 0 { Err(Judged::NoDoor) } else { Ok((DoorSet(0), trapped)) }
        } else {
            Err(Judged::NoDoor)
        }
    }

    fn select(&self, wanted: impl Fn(&Door) -> bool) -> DoorSet {
        DoorSet(self.doors().filter(|(_, door)| wanted(door)).fold(0, |set, (id, _)| set | 1 << id.0))
    }

    /// A knock at a port that the door's sequence names.
    fn knock(&mut self, now: Instant, id: DoorId, probe: &Probe, mark: Mark) -> Verdict {
        let Self { tables: Tables { attempts, doors, .. }, keyed, .. } = self;
        let door = doors[id.index()].as_ref().expect("only doors that are there are concerned");
        let is_at = |step: u8| {
            door.sequence.get(usize::from(step)).is_some_and(|step| {
                (step.protocol, step.port.get()) == (probe.transport.protocol(), probe.transport.port())
            })
        };
        let knocker = Knocker::new(id, probe.source, keyed);
        let current = attempts.current(now, knocker);
        let taken = current.map_or(0, |attempt| attempt.taken);
        let verdict = |stage, judged| Verdict { door: id, stage, judged, displaced: false };

        let done = attempts.completed(now, knocker);
        let sent_before = |attempt: &Attempt| {
            let same = |(step, taken): (u8, &Mark)| is_at(step) && *taken == mark;
            (0..).zip(attempt.taken_marks()).any(same) && is_one_frame(now, probe, door, attempt)
        };
        if current.iter().chain(&done).any(sent_before) {
            return verdict(taken, Judged::Retransmission);
        }
        let next = match current {
            None if is_at(0) => Attempt::begin(knocker, Deadline::new(now, door.seq_timeout), mark),
            None => return verdict(0, Judged::NotBegun),
            Some(attempt) if is_at(taken) => attempt.advanced(now, mark),
            Some(mut attempt) if (0..taken).any(is_at) => {
                if is_at(0) {
                    // The source begins again and gets the whole time.
                    attempt.deadline = Deadline::new(now, door.seq_timeout);
                    attempts.store(keyed, now, knocker, attempt);
                }
                return verdict(taken, Judged::Repeat);
            }
            Some(_) => {
                attempts.forget(now, knocker);
                return verdict(0, Judged::WrongStep);
            }
        };
        if usize::from(next.taken) == door.sequence.len() {
            attempts.complete(keyed, now, knocker, next);
            return verdict(next.taken, Judged::Opened);
        }
        let displaced = attempts.store(keyed, now, knocker, next);
        Verdict { displaced, ..verdict(next.taken, Judged::Advanced) }
    }

    /// A knock at a port that only a scan would touch. The first is a coincidence: something else behind the same address
    /// may have sent it.
    fn trap(&mut self, now: Instant, door: DoorId, probe: &Probe, trap: TouchedTrap) -> Option<Verdict> {
        let Self { tables: Tables { attempts, .. }, keyed, .. } = self;
        let knocker = Knocker::new(door, probe.source, keyed);
        let mut attempt = attempts.current(now, knocker)?;
        let verdict = |stage, judged| Some(Verdict { door, stage, judged, displaced: false });
        match attempt.trap {
            Some(known) if known != trap => {
                attempts.forget(now, knocker);
                return verdict(0, Judged::Trap);
            }
            Some(_) => {}
            None => {
                attempt.trap = Some(trap);
                attempts.store(keyed, now, knocker, attempt);
            }
        }
        verdict(attempt.taken, Judged::Forgiven)
    }
}

/// Whether a knock that looks like one of an attempt's is that knock sent again. TCP and a frame with an identification
/// leave no doubt. Another datagram is the same one, doubled on the way, if it comes within a millisecond.
fn is_one_frame(now: Instant, probe: &Probe, door: &Door, attempt: &Attempt) -> bool {
    let last = attempt.last.unwrap_or_else(|| attempt.deadline.before(door.seq_timeout));
    match probe.transport {
        Transport::Udp { frame: 0, .. } => [0, 1]
            .map(Duration::from_millis)
            .into_iter()
            .any(|ago| Deadline::new(now, Duration::ZERO).before(ago) == last),
        _ => true,
    }
}

fn doors_of(doors: &[Option<Door>]) -> impl Iterator<Item = (DoorId, &Door)> {
    (0..).zip(doors).filter_map(|(slot, door)| Some((DoorId(slot), door.as_ref()?)))
}

#[cfg(test)]
mod tests;
