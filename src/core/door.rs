//! The knock that opens a door.

use core::net::IpAddr;
use core::time::Duration;

use super::sequence::{FlagMatch, Sequence};

/// Most doors in one configuration. A set of doors is then one `u64`, and a packet costs at most
/// this many look-ups whatever the tables hold.
pub const MAX_DOORS: usize = 64;

/// Longest `seq_timeout`, in seconds. Nobody needs more than an hour between the first and the last knock. The limit keeps
/// deadlines far from the wrap of the tables' 24-bit and 32-bit clocks.
pub const MAX_SEQ_TIMEOUT_S: u32 = 3600;

/// The number of a door: its slot, 0 to [`MAX_DOORS`] - 1. A door keeps its slot through a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DoorId(pub u8);

impl DoorId {
    /// The slot as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The knock that opens a door, as the engine knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorKnock {
    /// The steps, in order. If it is empty, no sequence opens this door.
    pub sequence: Sequence,
    /// Time allowed from the first knock to the last, never refreshed (knockd: 25 s).
    pub seq_timeout: Duration,
    /// The TCP segments that count as knocks.
    pub tcp_flags: FlagMatch,
    /// The destination that knocks must have, instead of the router's own addresses.
    pub target: Option<IpAddr>,
}

impl Default for DoorKnock {
    /// No sequence, and knockd's defaults.
    fn default() -> Self {
        Self {
            sequence: Sequence::new(),
            seq_timeout: Duration::from_secs(25),
            tcp_flags: FlagMatch::SYN,
            target: None,
        }
    }
}
