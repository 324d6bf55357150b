//! The time of day for knocks that carry one: whether to believe it, and since when.
//!
//! What was taken before this start is not remembered, but for one number: the newest time, of those that
//! were ahead of the clock. It lies beside the control socket, in memory on a router; a flash is not written to.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::core::time::Instant;
use crate::linux::clock;

/// The wall clock, and the memory of a start before this one.
#[derive(Debug)]
pub struct Wall {
    started: Instant,
    trusted: bool,
    file: PathBuf,
}

impl Wall {
    /// The clock of a daemon that starts now. `trust`: whatever the kernel says. `socket`: the control socket.
    pub fn new(started: Instant, trust: bool, socket: &Path) -> Self {
        let mut file = socket.as_os_str().to_owned();
        file.push(".newest");
        Self { started, trusted: trust, file: file.into() }
    }

    /// What it shows, in seconds since 1970.
    pub fn seconds(&self) -> u64 {
        clock::wall_s()
    }

    /// If it can be believed, the time at or before which nothing may be taken, in seconds since 1970.
    ///
    /// Since this start nothing is forgotten. Before it, what was not ahead of the clock was older than the
    /// start. What was ahead, by `max_age_s` at most, is in the file; or before the machine's own start.
    pub fn floor(&self, now: Instant, max_age_s: u64) -> Option<u64> {
        if !self.trusted && !clock::is_wall_clock_set() {
            return None;
        }
        let wall = self.seconds();
        let start = wall.saturating_sub(now.since(self.started).as_secs());
        let boot = wall.saturating_sub(clock::uptime_s()) + max_age_s;
        let newest = fs::read_to_string(&self.file).ok().and_then(|text| text.trim_end().parse().ok());
        Some(start.max(boot).max(newest.unwrap_or(0)))
    }

    /// Remembers beyond this run that a packet with this time is to be taken.
    ///
    /// # Errors
    /// It cannot be written, and the packet must not be taken: a later start would take it again.
    pub fn remember(&self, time_s: u64) -> io::Result<()> {
        if time_s <= self.seconds() {
            return Ok(());
        }
        let before = fs::read_to_string(&self.file).ok().and_then(|text| text.trim_end().parse().ok());
        if before.is_some_and(|before: u64| before >= time_s) {
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
        let wall = || Wall::new(now, true, &folder.join("sock"));
        let floor = || wall().floor(now, 0).unwrap();
        let time = wall().seconds();
        assert!((time - 1..=time + 1).contains(&floor()), "nothing from before the start");
        wall().remember(time - 5).unwrap();
        assert!(!wall().file().exists(), "what is not ahead needs no memory");
        for (ahead, expected) in [(90, 90), (60, 90), (95, 95)] {
            wall().remember(time + ahead).unwrap();
            assert_eq!(floor(), time + expected);
        }
        assert_eq!(Wall::new(now, true, Path::new("/nowhere/at/all/sock")).remember(time - 5).ok(), Some(()));
        Wall::new(now, true, Path::new("/nowhere/at/all/sock")).remember(time + 60).unwrap_err();
        fs::remove_dir_all(&folder).unwrap();
    }
}
