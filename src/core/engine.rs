//! Stage three of the packet's way: turns a [`Probe`] into verdicts.
//!
//! ```text
//!               right next step               last step
//!   (nothing) -------------------> stage n ------------> open, then (nothing)
//!       ^                           |   ^ |
//!       |   a later step, a second  |   '-' the same knock again, a step that was taken already,
//!       '--- trap, or seq_timeout --'       or the first trap: the stage stays
//! ```
//! If the first step comes again, `seq_timeout` starts anew.

mod tables;

use core::hash::BuildHasher;
use core::time::Duration;

pub use self::tables::EngineTables;

use self::tables::{Concerned, doors_of, report};
use super::attempt::{Attempt, Deadline, Knocker, Mark, TouchedTrap};
use super::attempts::TimedOut;
use super::counters::Judged;
use super::door::{DoorId, DoorKnock, MAX_DOORS};
pub use super::listening::{Listening, Proof};
use super::packet::{Probe, Transport};
use super::place::{OwnAddress, Place, Via};
use super::ports::{PortMap, ProtocolPorts, Scattered, TooManyPorts};
use super::reason::{KnockReport, KnockedPort, Reason};
use super::time::Instant;
use super::totp_knocks;
pub use super::verdict::{Judgement, Verdict};

/// Judges probes, and holds the attempts of all sources.
#[derive(Debug)]
pub struct Engine<'t, S> {
    tables: &'t mut EngineTables,
    /// Hashes under a key that is random for each start.
    keyed: S,
    /// Whether there are scattered traps.
    scatters: bool,
}

impl<'t, S: BuildHasher> Engine<'t, S> {
    /// An engine on these tables.
    pub const fn new(tables: &'t mut EngineTables, keyed: S) -> Self {
        Self { tables, keyed, scatters: true }
    }

    /// The same engine without scattered traps. They differ with each start, so a capture file cannot be judged by them.
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
        doors: &[Option<DoorKnock>],
        never_trap: &[ProtocolPorts],
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
        let EngineTables { ports, doors, .. } = &mut *self.tables;
        let [a, b, c, d, ..] = self.keyed.hash_one("scattered traps").to_le_bytes();
        let scattered = self.scatters.then(|| Scattered::new(u32::from_le_bytes([a, b, c, d])));
        ports.draw(doors_of(doors), never_trap, scattered)
    }

    /// Sets the addresses of this host. Returns how many addresses and networks there was no room for.
    pub fn set_addresses(&mut self, addresses: &[OwnAddress]) -> usize {
        let EngineTables { place, doors, .. } = &mut *self.tables;
        place.set(addresses, |address| doors_of(doors).any(|(_, door)| door.target == Some(address)))
    }

    /// The host's place in its networks.
    pub fn place(&self) -> &Place {
        &self.tables.place
    }

    /// The doors, with their slots.
    pub fn doors(&self) -> impl Iterator<Item = (DoorId, &DoorKnock)> {
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
        self.tables.concerned(probe).is_ok()
    }

    /// Whether the kernel would take this probe on the device that it came in over.
    pub fn is_plausible(&self, probe: &Probe, via: Via) -> bool {
        self.tables.place.is_plausible(probe.source, probe.destination, via)
    }

    /// Whether this probe could change anything. The kernel filter lets exactly these through.
    pub fn matters(&self, probe: &Probe, via: Via) -> bool {
        self.is_plausible(probe, via) && (self.is_step(probe) || self.proof(probe).is_some())
    }

    /// Judges a probe at every door that it is for.
    pub fn judge(&mut self, now: Instant, probe: &Probe) -> Judgement {
        let Concerned { named, trapped } = match self.tables.concerned(probe) {
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

    /// The report on a probe at one door, with the final result.
    pub fn report(&self, probe: &Probe, verdict: &Verdict, reason: Reason) -> KnockReport {
        let Verdict { door, stage, before, .. } = *verdict;
        let port = Some(KnockedPort::of(probe));
        // An attempt that ended is reported with the steps before its end.
        report(
            &self.tables.doors,
            door,
            before,
            KnockReport { reason, port, stage: stage.max(before), steps: 0, due: None },
        )
    }

    /// When [`Self::expire`] must be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.tables.attempts.next_deadline()
    }

    /// Ends the attempts whose `seq_timeout` is over, and reports them.
    pub fn expire(&mut self, now: Instant, mut each: impl FnMut(TimedOut, KnockReport)) {
        let EngineTables { attempts, doors, .. } = &mut *self.tables;
        attempts.expire(&self.keyed, now, |timed_out| {
            let TimedOut { door, stage, .. } = timed_out;
            let report = report(
                doors,
                door,
                stage,
                KnockReport { reason: Reason::TimedOut, port: None, stage, steps: 0, due: None },
            );
            each(timed_out, report);
        });
    }

    /// How many sources are knocking, counted once for each door.
    pub fn knocking(&self) -> usize {
        self.tables.attempts.len()
    }

    /// Whether nobody is in the middle of a sequence.
    pub fn is_calm(&self) -> bool {
        self.tables.attempts.is_empty()
    }

    /// A knock at a port that the door's sequence names.
    fn knock(&mut self, now: Instant, id: DoorId, probe: &Probe, mark: Mark) -> Verdict {
        let Self { tables: EngineTables { attempts, doors, .. }, keyed, .. } = self;
        let door = doors[id.index()].as_ref().expect("only doors that are there are concerned");
        let is_at = |step: u8| {
            door.sequence.get(usize::from(step)).is_some_and(|step| {
                (step.protocol, step.port.get()) == (probe.transport.protocol(), probe.transport.port())
            })
        };
        let knocker = Knocker::new(id, probe.source, keyed);
        let current = attempts.current(now, knocker);
        let taken = current.map_or(0, |attempt| attempt.taken);
        let verdict = |stage, judged| Verdict { door: id, stage, before: taken, judged, displaced: false };

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

    /// A knock at a trap. The first trap of an attempt counts as a coincidence, because another program or host behind the
    /// same address may have sent it.
    fn trap(&mut self, now: Instant, door: DoorId, probe: &Probe, trap: TouchedTrap) -> Option<Verdict> {
        let Self { tables: EngineTables { attempts, .. }, keyed, .. } = self;
        let knocker = Knocker::new(door, probe.source, keyed);
        let mut attempt = attempts.current(now, knocker)?;
        let before = attempt.taken;
        let verdict = |stage, judged| Some(Verdict { door, stage, before, judged, displaced: false });
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

/// Whether a knock that looks like an earlier one of the attempt is that knock sent again. For TCP, and for a frame with an
/// IPv4 identification, it is. A datagram without one counts as doubled on the way if it comes within a millisecond.
fn is_one_frame(now: Instant, probe: &Probe, door: &DoorKnock, attempt: &Attempt) -> bool {
    let last = attempt.last.unwrap_or_else(|| attempt.deadline.before(door.seq_timeout));
    match probe.transport {
        Transport::Udp { frame: 0, .. } => [0, 1]
            .map(Duration::from_millis)
            .into_iter()
            .any(|ago| Deadline::new(now, Duration::ZERO).before(ago) == last),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
