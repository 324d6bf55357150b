//! Changing sequences: the ports of every user's current windows, and the knocks of each source in their range.
//!
//! Any port of the range may be the next step of some user's sequence. So the core keeps the last knocks of each source in
//! the range, and looks up with each knock which sequences end with its port.
//!
//! The knocks of a source are not limited, because somebody else could send them in its name. Guessing is hopeless without
//! a limit. With R ports and n valid sequences a knock is right once in R (R-1) (R-2) (R-3) / (4 n) times. With 10,000 ports
//! and one user with one door (3 windows), 100,000 guesses a second open it once in 260 years. With 100 users of two doors
//! each they open one of the doors once in 1.3 years.

use core::hash::BuildHasher;
use core::net::IpAddr;
use core::time::Duration;

use super::attempt::{CoarseDeadline, Mark, key};
use super::door::DoorId;
use super::fifo_table::{Entry, FifoTable};
use super::hash_index::HashIndex;
use super::time::Instant;
use super::user::{KnownUser, UserId, users_of};
use ketuk_protocol::totp::{STEPS, TotpPorts, WINDOW_S, sequence, window};

/// Most pairs of a secret and a door that it opens. Each pair costs a MAC and 16 bytes for each of three windows.
pub const MAX_PAIRS: usize = 1024;
const MAX_SEQUENCES: usize = 3 * MAX_PAIRS;

/// Sources that have knocked once: as many as first knocks at doors.
pub const FIRST_KNOCKS: usize = 12_288;
/// Sources that have knocked more than once. A flood needs two packets for each entry, so 8,192 packets replace all entries. At
/// 10,000 packets a second that takes 0.8 s. A client needs a quarter of that from its second knock to its fourth.
pub const LATER_KNOCKS: usize = 4_096;
/// The bytes that each of them takes: a source that has knocked once, and one that has knocked more than once.
pub const ENTRY_BYTES: [usize; 2] = [size_of::<First>(), size_of::<Later>()];

/// The time that the knocks of a source are kept, from the last one on.
pub const MEMORY: Duration = Duration::from_secs(60);
/// Knocks that are kept of each source: those of a sequence, a foreign one, and some that were sent again.
pub const REMEMBERED: usize = 8;

/// The ports of a source's last knocks, the newest at the end. Unused places, at the beginning, are 0.
pub type LastPorts = [u16; REMEMBERED];

/// A sequence that opens a door now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentSequence {
    ports: [u16; STEPS],
    /// Its user.
    pub(crate) user: UserId,
    /// The door.
    pub(crate) door: DoorId,
    /// Its window.
    pub(crate) window: u64,
}

impl CurrentSequence {
    /// The beginning of its window, in seconds since 1970.
    pub const fn time(&self) -> u64 {
        self.window * WINDOW_S
    }

    /// Whether these knocks end with the sequence. A port that was knocked twice counts at its right place. One foreign
    /// port between the steps is forgiven, as at doors.
    fn is_end_of(&self, knocks: &LastPorts) -> bool {
        let (mut left, mut foreign) = (&self.ports[..], None);
        for port in knocks.iter().rev().take_while(|port| **port != 0) {
            match left {
                [rest @ .., last] if last == port => left = rest,
                // The sequence's last port is the newest knock, or the knock completes nothing.
                [_, _, _, _] => return false,
                _ if self.ports.contains(port) => {}
                _ if *foreign.get_or_insert(port) == port => {}
                _ => return false,
            }
            if left.is_empty() {
                return true;
            }
        }
        false
    }
}

/// The result of a knock in the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The newest port was knocked once more. Nothing changed.
    Again,
    /// The knock was noted, and there are too few for a sequence; `true` if another source was forgotten for it.
    Noted(bool),
    /// The knock was noted, and may complete a sequence.
    Knocks {
        /// The last knocks, this one included.
        ports: LastPorts,
        /// Whether it is the knock that has opened a door for this source, sent again.
        has_opened: bool,
    },
}

/// The sequences that are valid now.
#[derive(Debug)]
pub struct Sequences {
    all: heapless::Vec<CurrentSequence, MAX_SEQUENCES>,
    index: HashIndex<MAX_SEQUENCES>,
    /// The window that they were made for.
    window: Option<u64>,
}

impl Sequences {
    /// No sequences yet.
    pub const fn new() -> Self {
        Self { all: heapless::Vec::new(), index: HashIndex::new(), window: None }
    }

    /// Drops all sequences, because the users or the doors changed.
    pub fn clear(&mut self) {
        self.window = None;
    }

    /// Makes the sequences for this moment, once in each window. `name` gives the name of a door.
    pub fn follow<'n>(
        &mut self,
        keyed: &impl BuildHasher,
        users: &[KnownUser],
        name: impl Fn(DoorId) -> Option<&'n str>,
        range: TotpPorts,
        wall_s: u64,
    ) {
        let now = window(wall_s);
        if self.window == Some(now) {
            return;
        }
        self.window = Some(now);
        self.all.clear();
        self.index.clear();
        for (user, secrets) in users_of(users) {
            for (door, name) in secrets.doors.iter().filter_map(|door| Some((door, name(door)?))) {
                for secret in &secrets.totp {
                    for window in now.saturating_sub(1)..=now + 1 {
                        let ports = sequence(secret.bytes(), name, window, range);
                        let slot = self.all.len();
                        // A configuration has at most MAX_PAIRS.
                        if self.all.push(CurrentSequence { ports, user, door, window }).is_ok() {
                            self.index.link(keyed.hash_one(ports[STEPS - 1]), slot);
                        }
                    }
                }
            }
        }
    }

    /// The sequences that these knocks end with: none, or one.
    pub fn find(
        &self,
        keyed: &impl BuildHasher,
        knocks: LastPorts,
    ) -> impl Iterator<Item = CurrentSequence> + '_ {
        let found = self.index.slots(keyed.hash_one(knocks[REMEMBERED - 1])).map(|slot| self.all[slot]);
        found.filter(move |current| current.is_end_of(&knocks))
    }
}

/// A source that has knocked once.
#[derive(Clone, Copy, Debug)]
struct First {
    source: u64,
    deadline: CoarseDeadline,
    port: u16,
}

/// A source that has knocked several times.
#[derive(Clone, Copy, Debug)]
struct Later {
    source: u64,
    deadline: CoarseDeadline,
    ports: LastPorts,
    /// The port of the knock that opened a door for this source; 0 if none did.
    opened: u16,
    /// The mark of that knock.
    opening: Mark,
}

impl Entry for First {
    fn hash(&self, _: &impl BuildHasher) -> u64 {
        self.source
    }
}

impl Entry for Later {
    fn hash(&self, _: &impl BuildHasher) -> u64 {
        self.source
    }
}

impl Later {
    fn note(&mut self, now: Instant, port: u16) {
        self.ports.rotate_left(1);
        self.ports[REMEMBERED - 1] = port;
        self.deadline = CoarseDeadline::new(now, MEMORY);
    }
}

/// The last knocks of each source. A source is stored as its keyed hash, and nobody can make two sources with one hash on
/// purpose.
#[derive(Debug)]
pub struct LastKnocks {
    first: FifoTable<First, FIRST_KNOCKS>,
    later: FifoTable<Later, LATER_KNOCKS>,
}

impl LastKnocks {
    /// An empty memory.
    pub const fn new() -> Self {
        Self { first: FifoTable::new(), later: FifoTable::new() }
    }

    /// Notes a knock in the range.
    pub fn hear(
        &mut self,
        keyed: &impl BuildHasher,
        now: Instant,
        source: IpAddr,
        port: u16,
        mark: Mark,
    ) -> Heard {
        // No door has this number.
        let source = key(DoorId(u8::MAX), source, keyed);
        if let Some((slot, later)) = self.later.find(source, |entry| entry.source == source) {
            if !later.deadline.is_past(now) {
                let later = self.later.entry_mut(slot);
                if later.ports[REMEMBERED - 1] == port {
                    return Heard::Again;
                }
                later.note(now, port);
                if later.ports[REMEMBERED - STEPS] == 0 {
                    return Heard::Noted(false);
                }
                let has_opened = (later.opened, later.opening) == (port, mark);
                return Heard::Knocks { ports: later.ports, has_opened };
            }
            self.later.remove(source, slot);
        }
        match self.first.find(source, |entry| entry.source == source) {
            Some((slot, first)) if !first.deadline.is_past(now) => {
                if first.port == port {
                    return Heard::Again;
                }
                self.first.remove(source, slot);
                let mut later = Later {
                    source,
                    deadline: first.deadline,
                    ports: [0; REMEMBERED],
                    opened: 0,
                    opening: Mark::default(),
                };
                later.note(now, first.port);
                later.note(now, port);
                Heard::Noted(self.later.insert(keyed, source, later).is_some())
            }
            past => {
                if let Some((slot, _)) = past {
                    self.first.remove(source, slot);
                }
                let first = First { source, deadline: CoarseDeadline::new(now, MEMORY), port };
                Heard::Noted(self.first.insert(keyed, source, first).is_some())
            }
        }
    }

    /// Notes that the last knock of a source has opened a door, so that a retransmission of it is no second try.
    pub fn has_opened(&mut self, keyed: &impl BuildHasher, source: IpAddr, mark: Mark) {
        let source = key(DoorId(u8::MAX), source, keyed);
        if let Some((slot, later)) = self.later.find(source, |entry| entry.source == source) {
            let known = self.later.entry_mut(slot);
            (known.opened, known.opening) = (later.ports[REMEMBERED - 1], mark);
        }
    }
}

/// The flags of a knock in the range.
pub const FLAGS: super::sequence::FlagMatch = super::sequence::FlagMatch::SYN;

impl Default for Sequences {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for LastKnocks {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
