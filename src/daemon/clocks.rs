//! The clocks, read once a turn of the loop.

use crate::core::moment::Moment;
use crate::linux::clock;

/// The monotonic clock, the wall clock and local time. Local time is computed once a second, because that reads the
/// time zone's file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    last: Moment,
}

impl Clocks {
    /// Reads the clocks for the first time.
    pub(super) fn new() -> Self {
        let wall_s = clock::wall_s();
        Self { last: Moment { now: clock::now(), wall_s, local: clock::local_time(wall_s) } }
    }

    /// Reads all clocks.
    pub(super) fn read(&mut self) -> Moment {
        let wall_s = clock::wall_s();
        let local = if wall_s == self.last.wall_s { self.last.local } else { clock::local_time(wall_s) };
        self.last = Moment { now: clock::now(), wall_s, local };
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::hours::WallTime;

    #[test]
    fn local_time_is_that_of_the_same_second() {
        let wrong = WallTime { weekday: 7, second: 0 };
        let last = Moment { now: clock::now(), wall_s: 0, local: wrong };
        let moment = Clocks { last }.read();
        assert_eq!(moment.local, clock::local_time(moment.wall_s));
    }
}
