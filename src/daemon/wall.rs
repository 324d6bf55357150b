//! The time of day for knocks that carry one: whether to believe it, and since when.
//!
//! What was taken before this start is not remembered, but for one number: the newest time, of those that
//! were ahead of the clock. It lies beside the control socket, in memory on a router; a flash is not written to.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::core::time::Instant;
use crate::linux::clock;

/// Time between two looks whether the clock can be believed: a look is some system calls, and strangers cause it.
const LOOK_SPACING: Duration = Duration::from_secs(1);

/// Why the clock is believed, the better reason behind the weaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trust {
    /// It is not.
    None,
    /// The kernel took it from a clock chip, or the configuration vouches for it.
    Given,
    /// The kernel says that it is synchronised.
    Synchronised,
}

/// The wall clock, and the memory of a start before this one.
#[derive(Debug)]
pub struct Wall {
    started: Instant,
    /// The configuration vouches for it.
    vouched: bool,
    trust: Trust,
    looked: Option<Instant>,
    file: PathBuf,
}

impl Wall {
    /// The clock of a daemon that starts now. `socket`: the control socket.
    pub fn new(started: Instant, socket: &Path) -> Self {
        let mut file = socket.as_os_str().to_owned();
        file.push(".newest");
        Self { started, vouched: false, trust: Trust::None, looked: None, file: file.into() }
    }

    /// Whether it is right whatever the kernel says. What was believed once is not doubted again.
    pub fn vouch(&mut self, vouched: bool) {
        if vouched != self.vouched {
            self.vouched = vouched;
            // A new reason to believe it is looked at now.
            self.looked = None;
        }
    }

    /// What it shows, in seconds since 1970.
    pub fn seconds(&self) -> u64 {
        clock::wall_s()
    }

    /// If there is more reason to believe it than before, the time at or before which nothing may be taken, in
    /// seconds since 1970.
    ///
    /// That happens twice at most, and never again: a chip may be wrong by hours, and then the first
    /// synchronisation puts it right. After that no change of the clock moves the floor.
    pub fn look(&mut self, now: Instant, max_age_s: u64) -> Option<u64> {
        let just_now = self.looked.is_some_and(|looked| now < looked.after(LOOK_SPACING));
        if self.trust == Trust::Synchronised || just_now {
            return None;
        }
        self.looked = Some(now);
        let trust = match (clock::is_synchronised(), self.vouched || clock::has_clock_chip()) {
            (true, _) => Trust::Synchronised,
            (false, true) => Trust::Given,
            (false, false) => Trust::None,
        };
        if trust <= self.trust {
            return None;
        }
        self.trust = trust;
        Some(self.floor(now, max_age_s))
    }

    /// Since this start nothing is forgotten. Before it, what was not ahead of the clock was older than the
    /// start. What was ahead, by `max_age_s` at most, is in the file; or before the machine's own start.
    fn floor(&self, now: Instant, max_age_s: u64) -> u64 {
        let wall = self.seconds();
        let start = wall.saturating_sub(now.since(self.started).as_secs());
        let boot = wall.saturating_sub(clock::uptime_s()) + max_age_s;
        start.max(boot).max(self.newest().unwrap_or(0))
    }

    fn newest(&self) -> Option<u64> {
        fs::read_to_string(&self.file).ok()?.trim_end().parse().ok()
    }

    /// Remembers beyond this run that a packet with this time is to be taken.
    ///
    /// # Errors
    /// It cannot be written, and the packet must not be taken: a later start would take it again.
    pub fn remember(&self, time_s: u64) -> io::Result<()> {
        if time_s <= self.seconds() {
            return Ok(());
        }
        if self.newest().is_some_and(|newest| newest >= time_s) {
            return Ok(());
        }
        let mut new = self.file.clone().into_os_string();
        new.push(".new");
        fs::write(&new, format!("{time_s}\n"))?;
        fs::rename(&new, &self.file)
    }

    /// Where it remembers.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_ahead_is_remembered_by_the_next_start() {
        let folder = std::env::temp_dir().join(format!("ketuk-wall-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let now = clock::now();
        let vouched = |folder: &Path| {
            let mut wall = Wall::new(now, &folder.join("sock"));
            wall.vouch(true);
            wall
        };
        let wall = || vouched(&folder);
        let floor = || wall().look(now, 0).unwrap();
        let time = wall().seconds();
        assert!((time - 1..=time + 1).contains(&floor()), "nothing from before the start");
        let mut looked = wall();
        let spaced = now.after(LOOK_SPACING);
        let floors = [now, now, spaced, spaced.after(LOOK_SPACING)].map(|now| looked.look(now, 0).is_some());
        assert_eq!(floors, [true, false, false, false], "believed once, and not asked again");
        wall().remember(time - 5).unwrap();
        assert!(!wall().file().exists(), "what is not ahead needs no memory");
        for (ahead, expected) in [(90, 90), (60, 90), (95, 95)] {
            wall().remember(time + ahead).unwrap();
            assert_eq!(floor(), time + expected);
        }
        let nowhere = vouched(Path::new("/nowhere/at/all"));
        assert_eq!(nowhere.remember(time - 5).ok(), Some(()));
        nowhere.remember(time + 60).unwrap_err();
        fs::remove_dir_all(&folder).unwrap();
    }
}
