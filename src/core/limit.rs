//! A token bucket: limits how often something may happen.

use super::time::Instant;

/// A rate at which something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Events a second, in the long run. Never 0.
    pub per_second: u32,
    /// Events at once. Never 0.
    pub burst: u32,
}

/// The part of a [`Rate`] that was used. All zero means a full bucket, so that a table of buckets costs no memory until
/// it is used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// Thousandths of an event that are still to be gained back.
    spent_milli: u64,
    last: Instant,
    refused: u32,
}

impl Bucket {
    /// A full bucket.
    pub const fn new() -> Self {
        Self { spent_milli: 0, last: Instant::from_millis(0), refused: 0 }
    }

    /// Whether one more event may happen at `now`.
    pub fn has(&mut self, rate: Rate, now: Instant) -> bool {
        let ms = u64::try_from(now.since(self.last).as_millis()).unwrap_or(u64::MAX);
        self.spent_milli = self.spent_milli.saturating_sub(ms.saturating_mul(u64::from(rate.per_second)));
        self.last = self.last.max(now);
        self.spent_milli + 1000 <= u64::from(rate.burst) * 1000
    }

    /// Whether one more event may happen at `now`. If so, it is charged.
    pub fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let has = self.has(rate, now);
        if has {
            self.spent_milli += 1000;
        } else {
            self.refused = self.refused.saturating_add(1);
        }
        has
    }

    /// How many events were refused since the last call.
    pub fn take_refused(&mut self) -> u32 {
        core::mem::take(&mut self.refused)
    }
}

/// A bucket with its rate.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    rate: Rate,
    bucket: Bucket,
}

impl Limit {
    /// A full bucket. Neither number may be 0.
    pub const fn new(per_second: u32, burst: u32) -> Self {
        Self { rate: Rate { per_second, burst }, bucket: Bucket::new() }
    }

    /// Whether one more event may happen at `now`. If so, it is charged.
    pub fn allow(&mut self, now: Instant) -> bool {
        self.bucket.take(self.rate, now)
    }

    /// Whether less than half of the burst is left at `now`.
    pub fn is_short(&mut self, now: Instant) -> bool {
        let half = Rate { burst: self.rate.burst / 2, ..self.rate };
        !self.bucket.has(half, now)
    }

    /// How many were refused since this was last asked.
    pub fn take_refused(&mut self) -> u32 {
        self.bucket.take_refused()
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
    fn it_is_short_while_half_of_the_burst_is_spent() {
        let (mut limit, now) = (Limit::new(10, 10), Instant::from_millis(0));
        let before: Vec<bool> = (0..6).map(|_| (limit.is_short(now), limit.allow(now)).0).collect();
        assert_eq!(before, [false, false, false, false, false, true]);
        assert!(limit.is_short(Instant::from_millis(199)) && !limit.is_short(Instant::from_millis(200)));
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_gives_nothing() {
        let mut limit = Limit::new(1000, 1);
        assert!(limit.allow(Instant::from_millis(5000)));
        assert!(!limit.allow(Instant::from_millis(4000)));
        assert!(!limit.allow(Instant::from_millis(5000)));
        assert!(limit.allow(Instant::from_millis(5001)));
    }

    #[test]
    fn asking_takes_nothing() {
        let (mut bucket, rate) = (Bucket::new(), Rate { per_second: 1, burst: 1 });
        let now = Instant::from_millis(7);
        assert!(bucket.has(rate, now) && bucket.has(rate, now) && bucket.take(rate, now));
        assert!(!bucket.has(rate, now));
        assert_eq!(bucket.take_refused(), 0);
    }
}
