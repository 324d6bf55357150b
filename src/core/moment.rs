//! The moment of a decision, by every clock that decisions use.

use super::hours::WallTime;
use super::time::Instant;

/// One moment. The daemon makes it once a turn of its loop, so that everything in the turn is decided at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The monotonic clock: grants and timeouts run by it.
    pub now: Instant,
    /// The wall clock, in seconds since 1970: packets, changing sequences and expiry go by it.
    pub wall_s: u64,
    /// The local time: hours go by it.
    pub local: WallTime,
}
