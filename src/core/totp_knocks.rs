//! Changing sequences: the ports of all users' current windows, and the last knocks of each source.
//!
//! Any port of the range may be the next step of some user's sequence. So the last knocks of each source in the range are
//! remembered, and one look-up tells whether they are a sequence.

use core::hash::BuildHasher;
use core::net::IpAddr;
use core::time::Duration;

use super::attempt::{CoarseDeadline, Mark, key};
use super::door::DoorId;
use super::fifo_table::{Entry, FifoTable};
use super::hash_index::HashIndex;
use super::time::Instant;
use super::user::{User, UserId, users_of};
use ketuk_protocol::totp::{STEPS, TRIES_PER_MINUTE, TotpPorts, WINDOW_S, sequence, window};

/// Most pairs of a secret and a door that it opens. Each pair costs a MAC and 16 bytes for each of three windows.
pub const MAX_PAIRS: usize = 1024;
const MAX_SEQUENCES: usize = 3 * MAX_PAIRS;

/// Sources that have knocked once: as many as first knocks at doors.
pub const FIRST_KNOCKS: usize = 12_288;
/// Sources that have knocked more than once. A flood needs two packets for each entry, so 8,192 packets to replace all. At
/// 10,000 a second that takes 0.8 s, four times as long as the second, third and fourth knock of a client.
pub const LATER_KNOCKS: usize = 4_096;

/// How long the knocks of a source are remembered, from the first one.
pub const MEMORY: Duration = Duration::from_secs(60);
/// Knocks of one source that count within that time. A client makes no more; for a guesser they are 61 guesses at 10^16
/// sequences.
pub const MAX_KNOCKS: usize = TRIES_PER_MINUTE * STEPS;

/// A sequence that opens a door now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    ports: [u16; STEPS],
    /// Its user.
    pub user: UserId,
    /// The door.
    pub door: DoorId,
    /// Its window.
    pub window: u64,
}

impl Current {
    /// The beginning of its window, in seconds since 1970.
    pub const fn time(&self) -> u64 {
        self.window * WINDOW_S
    }
}

/// The result of a knock in the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// One that was heard before, or the port just knocked at once more: nothing changed.
    Again,
    /// One more knock; `true` if another source was removed for it.
    Noted(bool),
    /// One more knock. These are the last ports of the source.
    Sequence([u16; STEPS]),
    /// More knocks than [`MAX_KNOCKS`] in this minute.
    Limited,
}

/// The sequences that are valid now.
#[derive(Debug)]
pub struct Sequences {
    all: heapless::Vec<Current, MAX_SEQUENCES>,
    index: HashIndex<MAX_SEQUENCES>,
    /// The window that they were made for.
    window: Option<u64>,
}

impl Sequences {
    /// None.
    pub const fn new() -> Self {
        Self { all: heapless::Vec::new(), index: HashIndex::new(), window: None }
    }

    /// Drops all sequences, because the users or the doors changed.
    pub fn clear(&mut self) {
        self.window = None;
    }

    /// Makes the sequences for this moment unless they are there: once a window. `name` gives the name of a door.
    pub fn follow<'n>(
        &mut self,
        keyed: &impl BuildHasher,
        users: &[Option<User>],
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
                        if self.all.push(Current { ports, user, door, window }).is_ok() {
                            self.index.link(keyed.hash_one(ports), slot);
                        }
                    }
                }
            }
        }
    }

    /// The sequence with these ports, if there is one.
    pub fn find(&self, keyed: &impl BuildHasher, ports: [u16; STEPS]) -> impl Iterator<Item = Current> + '_ {
        let found = self.index.slots(keyed.hash_one(ports)).map(|slot| self.all[slot]);
        found.filter(move |current| current.ports == ports)
    }
}

/// A source that has knocked once.
#[derive(Clone, Copy, Debug)]
struct First {
    source: u64,
    deadline: CoarseDeadline,
    port: u16,
    mark: Mark,
}

/// A source that has knocked several times.
#[derive(Clone, Copy, Debug)]
struct Later {
    source: u64,
    deadline: CoarseDeadline,
    /// The last ports, the newest at the end; 0 if there were fewer.
    ports: [u16; STEPS],
    marks: [Mark; STEPS],
    knocks: u8,
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
    fn begin(first: First) -> Self {
        let mut later = Self {
            source: first.source,
            deadline: first.deadline,
            ports: [0; STEPS],
            marks: [Mark::default(); STEPS],
            knocks: 0,
        };
        later.note(first.port, first.mark);
        later
    }

    fn note(&mut self, port: u16, mark: Mark) {
        self.ports.rotate_left(1);
        self.marks.rotate_left(1);
        (self.ports[STEPS - 1], self.marks[STEPS - 1]) = (port, mark);
        self.knocks = self.knocks.saturating_add(1);
    }

    fn was_heard(&self, port: u16, mark: Mark) -> bool {
        self.ports[STEPS - 1] == port
            || self.ports.into_iter().zip(self.marks).any(|known| known == (port, mark))
    }
}

/// The last knocks of each source. A source is known by its keyed hash alone, which nobody can aim at.
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

    /// Adds a knock in the range. A wrong knock spoils the sequence that it falls into, as a trap does; the next four
    /// right knocks open.
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
                if later.was_heard(port, mark) {
                    return Heard::Again;
                }
                later.note(port, mark);
                return match (usize::from(later.knocks) > MAX_KNOCKS, later.ports[0]) {
                    (true, _) => Heard::Limited,
                    (false, 0) => Heard::Noted(false),
                    (false, _) => Heard::Sequence(later.ports),
                };
            }
            self.later.remove(source, slot);
        }
        match self.first.find(source, |entry| entry.source == source) {
            Some((slot, first)) if !first.deadline.is_past(now) => {
                if first.port == port {
                    return Heard::Again;
                }
                self.first.remove(source, slot);
                let mut later = Later::begin(first);
                later.note(port, mark);
                Heard::Noted(self.later.insert(keyed, source, later).is_some())
            }
            past => {
                if let Some((slot, _)) = past {
                    self.first.remove(source, slot);
                }
                let first = First { source, deadline: CoarseDeadline::new(now, MEMORY), port, mark };
                Heard::Noted(self.first.insert(keyed, source, first).is_some())
            }
        }
    }

    /// Counts the knocks of a source anew, since it has opened a door and does not guess.
    pub fn welcome(&mut self, keyed: &impl BuildHasher, source: IpAddr) {
        let source = key(DoorId(u8::MAX), source, keyed);
        if let Some((slot, _)) = self.later.find(source, |entry| entry.source == source) {
            self.later.entry_mut(slot).knocks = 0;
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
mod tests {
    use core::hash::BuildHasherDefault;
    use std::hash::DefaultHasher;

    use super::*;
    use crate::packet::Transport;

    #[test]
    fn knocks_are_forgotten_for_good() {
        let keyed = BuildHasherDefault::<DefaultHasher>::default();
        for knocks in [1, 2, u16::try_from(MAX_KNOCKS).unwrap() + 1] {
            for day in [0, 1, 30, 400] {
                let mut heard = Box::new(LastKnocks::new());
                let mut hear = |now, port| {
                    let mark = Mark::of(&Transport::Udp { source_port: port, port, frame: 0 }, &keyed);
                    heard.hear(&keyed, now, "192.0.2.1".parse().unwrap(), port, mark)
                };
                (1..=knocks).for_each(|port| {
                    hear(Instant::from_millis(0), port);
                });
                // The first port again: new to whoever has forgotten.
                let again = hear(Instant::from_millis(day * 24 * 3_600_000), 1);
                assert_eq!(
                    again == Heard::Noted(false),
                    day > 0,
                    "{knocks} knocks, {day} days ago: {again:?}"
                );
            }
        }
    }
}
