//! A token bucket: limits how often something may happen.

use super::time::Instant;

/// Allows `burst` events at once, and `per_second` in the long run.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    per_second: u32,
    burst: u32,
    /// Thousandths of an event that may happen now.
    credit_milli: u64,
    last: Instant,
    refused: u32,
}

impl Limit {
    /// A full bucket. Neither number may be 0.
    pub const fn new(per_second: u32, burst: u32) -> Self {
        Self {
            per_second,
            burst,
            credit_milli: burst as u64 * 1000,
            last: Instant::from_millis(0),
            refused: 0,
        }
    }

    /// Whether one more event may happen at `now`. If so, it is counted.
    pub fn allow(&mut self, now: Instant) -> bool {
        let ms = u64::try_from(now.since(self.last).as_millis()).unwrap_or(u64::MAX);
        let gained = ms.saturating_mul(u64::from(self.per_second));
        self.credit_milli = self.credit_milli.saturating_add(gained).min(u64::from(self.burst) * 1000);
        self.last = self.last.max(now);
        if self.credit_milli < 1000 {
            self.refused = self.refused.saturating_add(1);
            return false;
        }
        self.credit_milli -= 1000;
        true
    }

    /// How many events were refused since the last call.
    pub fn take_refused(&mut self) -> u32 {
        core::mem::take(&mut self.refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut limit = Limit::new(10, 3);
        let allowed = |limit: &mut Limit, ms| limit.allow(Instant::from_millis(ms));
        assert_eq!([0, 0, 0, 0].map(|ms| allowed(&mut limit, ms)), [true, true, true, false]);
        assert_eq!([99, 100, 101].map(|ms| allowed(&mut limit, ms)), [false, true, false]);
        assert_eq!(limit.take_refused(), 3);
        assert_eq!(limit.take_refused(), 0);
        assert_eq!([9_000; 4].map(|ms| allowed(&mut limit, ms)), [true, true, true, false]);
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_gives_nothing() {
        let mut limit = Limit::new(1000, 1);
        assert!(limit.allow(Instant::from_millis(5000)));
        assert!(!limit.allow(Instant::from_millis(4000)));
        assert!(!limit.allow(Instant::from_millis(5000)));
        assert!(limit.allow(Instant::from_millis(5001)));
    }
}
