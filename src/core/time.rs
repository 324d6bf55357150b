//! Time as the core sees it: a number handed in by the caller.

use core::time::Duration;

/// A moment on a monotonic clock, in milliseconds since an arbitrary start.
///
/// Setting the wall clock must not open or shut a door, so the caller reads `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// A moment that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `ms` milliseconds after the clock's start.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the clock's start.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This moment plus `span`, or the last moment there is.
    ///
    /// It is not inlined, because arithmetic in 64 bits takes many instructions on a 32-bit processor.
    #[must_use]
    #[inline(never)]
    pub const fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    /// The time from `earlier` to this moment; zero if `earlier` is later.
    #[inline(never)]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Whole milliseconds of `span`, or the most that fits. (`Duration::as_millis` counts in 128 bits.)
const fn millis(span: Duration) -> u64 {
    span.as_secs().saturating_mul(1000).saturating_add(span.subsec_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_never_wraps() {
        let end = Instant::from_millis(u64::MAX);
        assert_eq!(end.after(Duration::from_secs(1)), end);
        assert_eq!(Instant::from_millis(5).after(Duration::MAX), end);
    }

    #[test]
    fn since_is_zero_for_the_future() {
        let (a, b) = (Instant::from_millis(10), Instant::from_millis(25));
        assert_eq!(b.since(a), Duration::from_millis(15));
        assert_eq!(a.since(b), Duration::ZERO);
    }
}
