//! When a door may be opened: weekdays and a time of day, as firewalls define them.

/// Seconds in a day.
pub const DAY_S: u32 = 24 * 3600;

/// A moment of the week, in local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallTime {
    /// 0 is Sunday, 6 is Saturday.
    pub weekday: u8,
    /// Seconds since midnight.
    pub second: u32,
}

/// The times at which a door may be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// A bit for each weekday; the lowest is Sunday.
    pub weekdays: u8,
    /// `start_time`, seconds since midnight.
    pub start: u32,
    /// `stop_time`, in seconds since midnight, this second included. If it is before `start`, it is on the next day.
    pub stop: u32,
}

impl Hours {
    /// Always.
    pub const ALWAYS: Self = Self { weekdays: 0x7f, start: 0, stop: DAY_S - 1 };

    /// Whether a door may be opened now. As in nftables, the weekday is that of `now`, even after midnight in hours that
    /// began on the day before.
    pub const fn allow(&self, now: WallTime) -> bool {
        let (after_start, before_stop) = (self.start <= now.second, now.second <= self.stop);
        let in_window =
            if self.start <= self.stop { after_start && before_stop } else { after_start || before_stop };
        in_window && self.weekdays & 1 << now.weekday != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(weekday: u8, hour: u32, minute: u32) -> WallTime {
        WallTime { weekday, second: hour * 3600 + minute * 60 }
    }

    #[test]
    fn a_working_day() {
        let hours = Hours { weekdays: 0b011_1110, start: 9 * 3600, stop: 17 * 3600 };
        assert!(hours.allow(at(1, 9, 0)) && hours.allow(at(5, 17, 0)));
        assert!(!hours.allow(at(1, 8, 59)) && !hours.allow(at(1, 17, 1)));
        assert!(!hours.allow(at(0, 12, 0)) && !hours.allow(at(6, 12, 0)));
    }

    #[test]
    fn a_night() {
        let hours = Hours { start: 22 * 3600, stop: 6 * 3600, ..Hours::ALWAYS };
        assert!(hours.allow(at(3, 23, 0)) && hours.allow(at(4, 5, 0)));
        assert!(!hours.allow(at(4, 12, 0)));
        assert!(Hours::ALWAYS.allow(at(0, 0, 0)) && Hours::ALWAYS.allow(at(6, 23, 59)));
    }
}
