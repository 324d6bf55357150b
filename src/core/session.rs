//! How long a door with `close 'session'` stays open.
//!
//! ```text
//!   opened ---- open_time ----+---- while a connection lives ----+- shut
//!                             '- none by then: shut              '- or at max_time
//! ```
//! The kernel holds the door open for a lease. The daemon renews it while a connection lives. If the daemon dies, the kernel
//! shuts the door when the lease ends.

use core::time::Duration;

use super::time::Instant;

/// The time from the daemon's next check of a session to the end of the kernel's timer. By then the daemon has either
/// renewed the lease or shut the door.
pub const MARGIN: Duration = Duration::from_secs(2);

/// How long the door stays open for new connections if the daemon dies during a session.
pub const LEASE: Duration = Duration::from_secs(60);

/// How often a lease is renewed. Connections whose end the kernel announces are counted as often, since an announcement
/// may be lost.
pub const RENEWAL: Duration = Duration::from_secs(30);

/// How often connections are counted if the kernel does not announce their end.
pub const POLL: Duration = Duration::from_secs(1);

/// The connections through an open door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The end of `open_time`; the door is not shut before.
    pub(crate) open_until: Instant,
    /// The end of `max_time`; the door is shut then, even if connections remain.
    pub(crate) limit: Option<Instant>,
    /// Number of connections at the last count.
    pub(crate) live: u32,
    /// Whether the kernel announces the end of each connection.
    pub(crate) announced: bool,
    /// When the kernel's timer ends.
    pub(crate) leased: Instant,
}

impl Session {
    /// A door opened at `now` for `time`, and for `max` at most.
    pub fn new(now: Instant, time: Duration, max: Option<Duration>) -> Self {
        let open_until = now.after(time);
        // The operator may open a door for longer than its `max_time`.
        let limit = max.map(|max| now.after(max).max(open_until));
        Self { open_until, limit, live: 0, announced: false, leased: now }
    }

    /// The moment until which the door stays open; ask again then. `None` if the session is over.
    pub fn hold(&self, now: Instant) -> Option<Instant> {
        if now < self.open_until {
            return Some(self.open_until);
        }
        if self.live == 0 || self.limit.is_some_and(|limit| limit <= now) {
            return None;
        }
        let next = now.after(if self.announced { RENEWAL } else { POLL });
        Some(self.limit.map_or(next, |limit| limit.min(next)))
    }

    /// The time to give the kernel at `now`.
    pub fn lease(&self, now: Instant) -> Duration {
        let lease =
            if now < self.open_until { self.open_until.since(now).saturating_add(MARGIN) } else { LEASE };
        self.limit.map_or(lease, |limit| lease.min(limit.since(now)))
    }

    /// Whether the kernel's timer has to be set anew at `now`.
    pub fn needs_lease(&self, now: Instant) -> bool {
        now >= self.open_until
            && self.leased.since(now) < RENEWAL
            && self.limit.is_none_or(|limit| limit > self.leased)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant::from_millis(s * 1000)
    }

    fn session(live: u32, max: Option<u64>) -> Session {
        Session {
            live,
            announced: true,
            ..Session::new(at(0), Duration::from_secs(30), max.map(Duration::from_secs))
        }
    }

    #[test]
    fn it_is_never_shut_before_its_time_and_not_while_it_is_used() {
        assert_eq!(session(0, None).hold(at(29)), Some(at(30)));
        assert_eq!(session(0, None).hold(at(30)), None);
        assert_eq!(session(2, None).hold(at(30)), Some(at(60)));
        assert_eq!(session(1, None).hold(at(100_000)), Some(at(100_030)));
        let unannounced = Session { announced: false, ..session(1, None) };
        assert_eq!(unannounced.hold(at(30)), Some(at(31)));
    }

    #[test]
    fn max_time_bounds_it() {
        assert_eq!(session(1, Some(50)).hold(at(40)), Some(at(50)));
        assert_eq!(session(1, Some(50)).hold(at(50)), None);
        let by_hand = Session::new(at(0), Duration::from_secs(90), Some(Duration::from_secs(50)));
        assert_eq!(by_hand.hold(at(60)), Some(at(90)));
        assert_eq!(Session { live: 1, ..by_hand }.hold(at(90)), None);
    }

    #[test]
    fn the_kernel_shuts_it_if_nobody_renews() {
        assert_eq!(session(0, None).lease(at(0)), Duration::from_secs(32));
        assert_eq!(session(1, None).lease(at(30)), LEASE);
        assert_eq!(session(1, Some(50)).lease(at(40)), Duration::from_secs(10));
        let leased = Session { leased: at(32), ..session(1, None) };
        assert!(!leased.needs_lease(at(29)), "open_time is not over");
        assert!(leased.needs_lease(at(30)));
        assert!(!Session { leased: at(90), ..leased }.needs_lease(at(60)));
        assert!(Session { leased: at(90), ..leased }.needs_lease(at(61)));
        assert!(Session { limit: Some(at(500)), ..leased }.needs_lease(at(30)));
        assert!(
            !Session { leased: at(50), limit: Some(at(50)), ..leased }.needs_lease(at(40)),
            "that is the end"
        );
    }
}
