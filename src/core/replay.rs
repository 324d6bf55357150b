//! Protection against replayed packets: each packet is taken once, whatever happens to any clock.
//!
//! Each packet that was taken is either remembered, or its time is at or below the floor. Whether a packet is old depends
//! on the floor and not on the clock, so setting the clock back makes no packet new.

use ketuk_protocol::Identity;

/// Packets remembered for each user. A user who opens more doors than this within `spa_max_age` raises the floor for
/// himself only.
pub const REMEMBERED: usize = 16;

/// One user's memory.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Nothing at or before this time is taken, in seconds since 1970.
    floor: u64,
    /// Time and identity of each packet that was taken since.
    seen: heapless::Vec<(u64, Identity), REMEMBERED>,
}

impl Replay {
    /// A memory that takes packets newer than `floor`, in seconds since 1970.
    pub const fn new(floor: u64) -> Self {
        Self { floor, seen: heapless::Vec::new() }
    }

    /// Takes an authentic packet if it is new, and remembers it. Returns whether it was taken.
    ///
    /// When the memory is full, the oldest packet is dropped and the floor rises to its time. So a late packet may be
    /// refused although it is new, but no packet is taken twice.
    pub fn take(&mut self, time: u64, identity: Identity) -> bool {
        if time <= self.floor || self.seen.iter().any(|(_, seen)| *seen == identity) {
            return false;
        }
        if self.seen.is_full() {
            let times = self.seen.iter().map(|(time, _)| *time).enumerate();
            let (oldest, oldest_time) = times.min_by_key(|(_, time)| *time).expect("it is full");
            if time <= oldest_time {
                return false;
            }
            self.floor = self.floor.max(oldest_time);
            self.seen.swap_remove(oldest);
        }
        // Room was just made.
        self.seen.push((time, identity)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn identity(n: u8) -> Identity {
        [n; 16]
    }

    #[test]
    fn once_and_only_what_is_newer_than_the_floor() {
        let mut replay = Replay::new(100);
        let taken =
            [(100, 1), (101, 1), (101, 1), (101, 2), (99, 3)].map(|(t, n)| replay.take(t, identity(n)));
        assert_eq!(taken, [false, true, false, true, false]);
    }

    #[test]
    fn when_full_the_oldest_makes_room() {
        let mut replay = Replay::new(0);
        for n in 0..16 {
            assert!(replay.take(1000 + u64::from(n), identity(n)));
        }
        assert!(!replay.take(999, identity(90)), "older than all that is remembered");
        assert!(replay.take(1016, identity(16)));
        assert!(!replay.take(1000, identity(0)), "forgotten, and below the floor");
        assert!(!replay.take(1001, identity(1)), "remembered");
    }

    proptest! {
        /// Against a set that forgets nothing: nothing is taken twice.
        #[test]
        fn nothing_twice(packets in prop::collection::vec((1..60_u64, any::<u8>()), 0..300)) {
            let (mut replay, mut taken) = (Replay::new(0), HashSet::new());
            for (time, n) in packets {
                // The same identity always has the same time.
                let time = time * 256 + u64::from(n);
                let mut identity = [n; 16];
                identity[..8].copy_from_slice(&time.to_be_bytes());
                let new = replay.take(time, identity);
                prop_assert!(!new || taken.insert(identity));
            }
        }
    }
}
