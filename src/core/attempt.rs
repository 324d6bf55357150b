//! The memory of a source that is knocking.

use core::hash::BuildHasher;
use core::net::IpAddr;
use core::num::NonZeroU8;
use core::time::Duration;

use super::door::DoorId;
use super::fifo_table::Entry;
use super::packet::Transport;
use super::sequence::{MAX_STEPS, Protocol};
use super::time::Instant;

/// A moment in 32 bits, for tables with thousands of entries.
///
/// Milliseconds, wrapping after 49 days. Comparing is right as long as the two moments are less than
/// 24 days apart; deadlines are at most [`super::door::MAX_SEQ_TIMEOUT_S`] ahead, and the table that holds one is swept
/// when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(u32);

impl Deadline {
    /// The moment `span` after `now`.
    #[expect(clippy::cast_possible_truncation, reason = "wrapping is the point")]
    pub const fn new(now: Instant, span: Duration) -> Self {
        Self(now.after(span).as_millis() as u32)
    }

    /// The moment `span` earlier.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "wrapping is the point")]
    pub const fn before(self, span: Duration) -> Self {
        Self(self.0.wrapping_sub(span.as_millis() as u32))
    }

    /// Whether it has come.
    pub fn is_past(self, now: Instant) -> bool {
        self.left(now).is_none()
    }

    /// When it comes, seen from `now`; `None` if it has.
    pub fn due(self, now: Instant) -> Option<Instant> {
        self.left(now).map(|ms| now.after(Duration::from_millis(ms)))
    }

    #[expect(clippy::cast_possible_truncation, reason = "wrapping is the point")]
    fn left(self, now: Instant) -> Option<u64> {
        let left = self.0.wrapping_sub(now.as_millis() as u32);
        (1..1 << 31).contains(&left).then_some(u64::from(left))
    }
}

/// The low 24 bits of a [`Deadline`]. They wrap after 4.6 hours, and comparing is right up to half of that, which is
/// longer than any deadline is ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortDeadline([u8; 3]);

impl ShortDeadline {
    /// The part of a deadline that is kept.
    pub const fn of(deadline: Deadline) -> Self {
        let [_, low @ ..] = deadline.0.to_be_bytes();
        Self(low)
    }

    /// The deadline, seen from `now`.
    #[expect(clippy::cast_possible_truncation, reason = "wrapping is the point")]
    pub const fn deadline(self, now: Instant) -> Deadline {
        let now = now.as_millis() as u32;
        let [a, b, c] = self.0;
        let ahead = u32::from_be_bytes([0, a, b, c]).wrapping_sub(now) & 0xff_ffff;
        let past = if ahead < 1 << 23 { 0 } else { 1 << 24 };
        Deadline(now.wrapping_add(ahead).wrapping_sub(past))
    }
}

/// A deadline in 32 bits for tables that are not swept, where an entry can stay for months after its time. It counts seconds
/// since the clock's start, rounded up, which wrap after 136 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoarseDeadline(u32);

impl CoarseDeadline {
    /// The moment `span` after `now`, or up to a second later.
    pub fn new(now: Instant, span: Duration) -> Self {
        Self(u32::try_from(now.after(span).as_millis().div_ceil(1000)).unwrap_or(u32::MAX))
    }

    /// Whether it has come.
    pub const fn is_past(self, now: Instant) -> bool {
        self.0 as u64 * 1000 <= now.as_millis()
    }
}

/// Distinguishes knocks at the same port: a keyed hash in 16 bits.
///
/// TCP: of source port and sequence number; the kernel of the knocker keeps both when it sends a SYN again. UDP: of
/// source port and [frame](Transport::Udp). Two knocks have the same mark once in 65,536 times. The
/// later one is then taken for a retransmission: the attempt fails, and nothing opens by mistake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark(u16);

impl Mark {
    /// The mark of a knock.
    #[expect(clippy::cast_possible_truncation, reason = "a mark is the hash's low bits")]
    pub fn of(transport: &Transport, keyed: &impl BuildHasher) -> Self {
        Self(match *transport {
            Transport::Tcp { source_port, sequence_number, .. } => {
                keyed.hash_one((source_port, sequence_number)) as u16
            }
            Transport::Udp { source_port, frame, .. } => keyed.hash_one((source_port, frame)) as u16,
        })
    }
}

/// A trap that an attempt has touched, as a keyed hash in 8 bits. Two traps have the same hash once in 255 times; the second is
/// then forgiven too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TouchedTrap(NonZeroU8);

impl TouchedTrap {
    /// The trap at this port.
    pub fn at(protocol: Protocol, port: u16, keyed: &impl BuildHasher) -> Self {
        let [low, ..] = keyed.hash_one((protocol, port)).to_le_bytes();
        Self(NonZeroU8::new(low).unwrap_or(NonZeroU8::MAX))
    }
}

/// The hash of a source at a door.
pub fn key(door: DoorId, source: IpAddr, keyed: &impl BuildHasher) -> u64 {
    match source {
        IpAddr::V4(v4) => keyed.hash_one((door.0, v4.to_bits())),
        IpAddr::V6(v6) => keyed.hash_one((door.0, v6.to_bits())),
    }
}

/// A source at a door, with the hash that finds it in every table. The hash is computed once for each knock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knocker {
    /// The source.
    pub(crate) source: IpAddr,
    /// The door.
    pub(crate) door: DoorId,
    /// [`key`] of both.
    pub(crate) hash: u64,
}

impl Knocker {
    /// `source` at `door`.
    pub fn new(door: DoorId, source: IpAddr, keyed: &impl BuildHasher) -> Self {
        Self { source, door, hash: key(door, source, keyed) }
    }
}

/// An attempt of a source at a door.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// The source.
    pub(crate) source: IpAddr,
    /// The door.
    pub(crate) door: DoorId,
    /// When the time for the other steps ends. For a completed attempt: when its knocks are forgotten.
    pub(crate) deadline: Deadline,
    /// When the last step was taken. The table of first knocks stores this as part of `deadline`.
    pub(crate) last: Option<Deadline>,
    /// Steps taken, 1 to [`MAX_STEPS`].
    pub(crate) taken: u8,
    /// The first trap that it has touched.
    pub(crate) trap: Option<TouchedTrap>,
    /// The knock of each step taken.
    pub(crate) marks: [Mark; MAX_STEPS],
}

impl Attempt {
    /// The attempt that `first` began.
    pub fn begin(knocker: Knocker, deadline: Deadline, mark: Mark) -> Self {
        let mut marks = [Mark::default(); MAX_STEPS];
        marks[0] = mark;
        let Knocker { source, door, .. } = knocker;
        Self { source, door, deadline, last: None, taken: 1, trap: None, marks }
    }

    /// The same attempt, one step further.
    #[must_use]
    pub fn advanced(mut self, now: Instant, mark: Mark) -> Self {
        self.marks[usize::from(self.taken)] = mark;
        self.taken += 1;
        self.last = Some(Deadline::new(now, Duration::ZERO));
        self
    }

    /// The knocks taken so far.
    pub fn taken_marks(&self) -> &[Mark] {
        &self.marks[..usize::from(self.taken)]
    }
}

impl Entry for Attempt {
    fn hash(&self, keyed: &impl BuildHasher) -> u64 {
        key(self.door, self.source, keyed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_survive_the_wrap_of_their_clock() {
        for start in [0, 1000, (1 << 24) - 10_000, u64::from(u32::MAX) - 10_000, u64::from(u32::MAX) * 3 + 7]
        {
            let now = Instant::from_millis(start);
            let deadline = Deadline::new(now, Duration::from_secs(25));
            assert_eq!(deadline.due(now), Some(now.after(Duration::from_secs(25))));
            assert!(!deadline.is_past(now.after(Duration::from_millis(24_999))));
            assert!(deadline.is_past(now.after(Duration::from_secs(25))));
            assert!(deadline.is_past(now.after(Duration::from_secs(3600 * 24 * 20))));
            assert_eq!(deadline.before(Duration::from_secs(25)), Deadline::new(now, Duration::ZERO));
            for ms in [0, 1, 24_999, 25_000, 25_001, 3_600_000] {
                let later = now.after(Duration::from_millis(ms));
                assert_eq!(ShortDeadline::of(deadline).deadline(later), deadline, "{start} {ms}");
            }
        }
    }
}
