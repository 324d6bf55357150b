//! The results of a probe: one at each door that it is for.

use super::counters::Judged;
use super::door::{DoorId, MAX_DOORS};

/// The result of a probe at one door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The door.
    pub(crate) door: DoorId,
    /// Steps that the source has taken now: the length of the sequence if it is complete, 0 if it must begin.
    pub(crate) stage: u8,
    /// Steps that it had taken before.
    pub(crate) before: u8,
    /// The result.
    pub(crate) judged: Judged,
    /// Whether the attempt of another source was dropped to store this one.
    pub(crate) displaced: bool,
}

impl Verdict {
    /// The door.
    pub const fn door(&self) -> DoorId {
        self.door
    }

    /// Steps that the source has taken now: the length of the sequence if it is complete, 0 if it must begin.
    pub const fn stage(&self) -> u8 {
        self.stage
    }

    /// The result.
    pub const fn judged(&self) -> Judged {
        self.judged
    }

    /// Whether the attempt of another source was dropped to store this one.
    pub const fn has_displaced(&self) -> bool {
        self.displaced
    }
}

/// The result of a probe at each door that it is for, or the reason why it is for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// One verdict for each of these doors.
    pub(crate) verdicts: heapless::Vec<Verdict, MAX_DOORS>,
    /// The counter for the packet: its best result at any door.
    pub(crate) judged: Judged,
}

impl Judgement {
    /// One verdict for each door that the probe is for.
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// The counter for the packet: its best result at any door.
    pub const fn judged(&self) -> Judged {
        self.judged
    }
}
