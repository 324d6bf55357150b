//! The trust in the wall clock. Users' packets carry a time, so they are taken only while the clock can be trusted.
//!
//! The daemon forgets at a restart which packets it took. It keeps only one number: the newest time of a packet that it took.
//! The file with this number is beside the control socket. On a router that folder is in memory, so flash is not written.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::{info, warn};

use super::systemd;
use crate::core::moment::Moment;
use crate::core::time::Instant;
use crate::linux::clock;

/// Least time between two checks of the clock. A check costs some system calls, and strangers can cause it.
const LOOK_SPACING: Duration = Duration::from_secs(1);

/// Least time between two complaints that the time is not known. Strangers can cause them.
const COMPLAINTS: Duration = Duration::from_secs(60);

/// Largest size of the file, in bytes.
const MAX_NUMBER: u64 = 32;

/// The reasons to trust the clock, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trust {
    /// There is no reason to trust it.
    None,
    /// The kernel read the time from a clock chip, or the configuration vouches for it.
    Given,
    /// The kernel says that it is synchronised.
    Synchronised,
}

/// The trust in the wall clock, and the newest packet time that an earlier run kept.
#[derive(Debug)]
pub(super) struct ClockTrust {
    started: Instant,
    /// Whether the configuration says that the clock is right.
    vouched: bool,
    trust: Trust,
    looked: Option<Instant>,
    /// The last moment at which the clock was not yet trusted as it is now. Users' packets of before may have been refused for that.
    doubted: Option<Instant>,
    complained: Option<Instant>,
    file: PathBuf,
    /// The time that this daemon last wrote to the file, in seconds since 1970.
    newest_s: u64,
}

/// The newest packet time could not be written to its file.
#[derive(Debug)]
pub(super) struct MemoryError {
    file: PathBuf,
    error: io::Error,
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, error } = self;
        let advice = systemd::advice(error, file);
        write!(f, "{}: cannot keep the time of the newest packet: {error}{advice}", file.display())
    }
}

impl ClockTrust {
    /// The trust at start-up. The file is placed beside `socket`, the control socket.
    pub(super) fn new(started: Instant, socket: &Path) -> Self {
        let mut file = socket.as_os_str().to_owned();
        file.push(".newest");
        Self {
            started,
            vouched: false,
            trust: Trust::None,
            looked: None,
            doubted: None,
            complained: None,
            file: file.into(),
            newest_s: 0,
        }
    }

    /// The file with the newest time.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Sets whether the configuration vouches for the clock. Trust is never taken back while the daemon runs.
    pub(super) fn vouch(&mut self, vouched: bool) {
        if vouched != self.vouched {
            self.vouched = vouched;
            // The next check then comes at once.
            self.looked = None;
        }
    }

    /// Checks the clock. If there is a stronger reason to trust it than before, returns the floor: packets whose time
    /// is at or before it must be refused. In seconds since 1970.
    ///
    /// This happens twice at most. A clock chip may be wrong by hours, and the first synchronisation corrects it.
    /// After that no change of the clock moves the floor.
    pub(super) fn look(&mut self, moment: &Moment, max_age_s: u64) -> Option<u64> {
        let now = moment.now;
        if self.trust == Trust::Synchronised {
            return None;
        }
        if self.looked.is_some_and(|looked| now < looked.after(LOOK_SPACING)) {
            self.doubted = Some(now);
            return None;
        }
        self.looked = Some(now);
        let trust = match (clock::is_synchronised(), self.vouched || clock::has_clock_chip()) {
            (true, _) => Trust::Synchronised,
            (false, true) => Trust::Given,
            (false, false) => Trust::None,
        };
        self.judge(moment, trust, max_age_s)
    }

    /// The new floor, if there is a stronger reason to trust the clock than before.
    fn judge(&mut self, moment: &Moment, trust: Trust, max_age_s: u64) -> Option<u64> {
        if trust <= self.trust {
            self.doubted = Some(moment.now);
            return None;
        }
        self.trust = trust;
        let floor = self.floor(moment, max_age_s);
        let wait = floor.saturating_sub(moment.wall_s);
        if wait > 0 {
            info!(
                "users' knocks are taken in {wait} s: until then, packets that were used before the start could be used again"
            );
        } else if self.complained.is_some() {
            info!("the time is known: users' knocks are taken");
        }
        Some(floor)
    }

    /// Logs once a minute that the time is not known, while `trusted` is false.
    pub(super) fn complain(&mut self, moment: &Moment, trusted: bool) {
        if !trusted && self.complained.is_none_or(|last| moment.now >= last.after(COMPLAINTS)) {
            self.complained = Some(moment.now);
            warn!(
                "the time is not known, because the clock was not set since this host started: users' knocks are refused until it is synchronised; plain sequences work"
            );
        }
    }

    /// The time at or before which packets must be refused, because an earlier run may have taken them. This run
    /// remembers all packets that it has taken. A reboot deletes the file with the newest time, so the machine's start
    /// counts too.
    ///
    /// This run does not remember packets that it has refused because it did not know the time. A listener could use them now.
    fn floor(&self, moment: &Moment, max_age_s: u64) -> u64 {
        let last = self.doubted.unwrap_or(self.started);
        let heard = moment.wall_s.saturating_sub(moment.now.since(last).as_secs());
        let boot = moment.wall_s.saturating_sub(clock::uptime_s()) + max_age_s;
        heard.max(boot).max(self.newest().unwrap_or(0))
    }

    fn newest(&self) -> Option<u64> {
        // `O_NOFOLLOW`: another user may have put a link there.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(&self.file).ok()?;
        let mut text = String::new();
        file.take(MAX_NUMBER).read_to_string(&mut text).ok()?;
        text.trim_end().parse().ok()
    }

    /// Writes to the file that a packet with this time is about to be taken. In seconds since 1970.
    ///
    /// # Errors
    /// The file cannot be written. The packet must then be refused, because a later start would take it again.
    pub(super) fn remember(&mut self, time_s: u64) -> Result<(), MemoryError> {
        if self.newest_s >= time_s {
            return Ok(());
        }
        if self.newest().is_none_or(|newest| newest < time_s) {
            self.write(time_s).map_err(|error| MemoryError { file: self.file.clone(), error })?;
        }
        self.newest_s = time_s;
        Ok(())
    }

    /// Writes a new file and renames it over the old one. Neither step follows a link.
    fn write(&self, time_s: u64) -> io::Result<()> {
        let mut new = self.file.clone().into_os_string();
        new.push(".new");
        let create = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
        let mut file: File = match create() {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // The file is left over from a daemon that died between the two steps.
                fs::remove_file(&new)?;
                create()?
            }
            created => created?,
        };
        writeln!(file, "{time_s}")?;
        fs::rename(&new, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::hours::WallTime;

    fn moment(now: Instant) -> Moment {
        Moment { now, wall_s: clock::wall_s(), local: WallTime { weekday: 0, second: 0 } }
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("ketuk-clock-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn clock(&self, now: Instant) -> ClockTrust {
            let mut clock = ClockTrust::new(now, &self.0.join("sock"));
            clock.vouch(true);
            clock
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn trust_comes_once_and_is_not_asked_for_too_often() {
        let (folder, now) = (Folder::new("trust"), clock::now());
        let mut looked = folder.clock(now);
        let spaced = now.after(LOOK_SPACING);
        let floors =
            [now, now, spaced, spaced.after(LOOK_SPACING)].map(|now| looked.look(&moment(now), 0).is_some());
        assert_eq!(floors, [true, false, false, false]);
    }

    #[test]
    fn while_the_clock_is_not_trusted_it_is_checked_once_a_second() {
        let (folder, start) = (Folder::new("spaced"), clock::now());
        let mut clock = folder.clock(start);
        let looked = [0, 999, 1000].map(|ms| {
            clock.trust = Trust::None;
            clock.look(&moment(start.after(Duration::from_millis(ms))), 0);
            clock.looked
        });
        assert_eq!(looked, [Some(start), Some(start), Some(start.after(LOOK_SPACING))]);
    }

    #[test]
    fn what_was_refused_without_a_clock_is_not_taken_later() {
        let (folder, start) = (Folder::new("refused"), clock::now());
        let mut clock = folder.clock(start);
        let began = moment(start);
        let mut floor_after = |seconds, trust| {
            let now = start.after(Duration::from_secs(seconds));
            clock.judge(&Moment { now, wall_s: began.wall_s + seconds, ..began }, trust, 0)
        };
        assert_eq!(floor_after(10, Trust::None), None);
        // A packet that comes at this moment may still be taken, so the floor is the look before.
        assert_eq!(floor_after(20, Trust::Given), Some(began.wall_s + 10));
        assert_eq!(floor_after(30, Trust::Given), None);
        // The clock chip may have been wrong by hours.
        assert_eq!(floor_after(50, Trust::Synchronised), Some(began.wall_s + 30));
    }

    /// Between two looks nobody knows the clock better than at the first one.
    #[test]
    fn what_was_refused_between_two_looks_is_not_taken_later() {
        let (folder, start) = (Folder::new("between"), clock::now());
        let mut clock = folder.clock(start);
        let began = moment(start);
        assert_eq!(clock.judge(&began, Trust::None, 0), None);
        clock.looked = Some(start);
        let later = |ms| {
            let now = start.after(Duration::from_millis(ms));
            Moment { now, wall_s: began.wall_s + ms / 1000, ..began }
        };
        assert_eq!(clock.look(&later(900), 0), None, "it is too early to look");
        assert_eq!(clock.judge(&later(20_000), Trust::Given, 0), Some(began.wall_s + 1));
    }

    /// A reboot deletes the file with the newest time.
    #[test]
    fn after_a_reboot_nothing_is_taken_that_may_have_been_used_before_it() {
        let (folder, now) = (Folder::new("reboot"), clock::now());
        // Packets stay fresh for a minute longer than this host has been up.
        let (moment, max_age_s) = (moment(now), clock::uptime_s() + 60);
        let floor = folder.clock(now).judge(&moment, Trust::Given, max_age_s).unwrap();
        // A second may have passed since.
        assert!((59..=60).contains(&(floor - moment.wall_s)), "{floor}");
    }

    #[test]
    fn the_newest_time_is_remembered_by_the_next_start_also_when_the_clock_went_back() {
        let (folder, now) = (Folder::new("newest"), clock::now());
        let moment = moment(now);
        let floor = |wall_s| folder.clock(now).look(&Moment { wall_s, ..moment }, 0).unwrap();
        let time = moment.wall_s;
        assert!((time - 1..=time + 1).contains(&floor(time)), "nothing from before the start");
        folder.clock(now).remember(time - 5).unwrap();
        assert_eq!(floor(time - 600), time - 5, "the clock went back, and what was taken stays taken");
        for (ahead, expected) in [(90, 90), (60, 90), (95, 95)] {
            folder.clock(now).remember(time + ahead).unwrap();
            assert_eq!(floor(time), time + expected);
        }
    }

    #[test]
    fn a_link_in_the_place_of_the_file_is_not_followed() {
        let (folder, now) = (Folder::new("link"), clock::now());
        let victim = folder.0.join("victim");
        fs::write(&victim, "99999999999").unwrap();
        for name in ["sock.newest", "sock.newest.new"] {
            std::os::unix::fs::symlink(&victim, folder.0.join(name)).unwrap();
        }
        let mut clock = folder.clock(now);
        assert!(clock.look(&moment(now), 0).unwrap() < 99_999_999_999, "nothing is read through it");
        clock.remember(7).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "99999999999", "nothing is written through it");
        assert_eq!(clock.newest(), Some(7));
    }

    #[test]
    fn what_cannot_be_remembered_is_not_taken() {
        let mut nowhere = ClockTrust::new(clock::now(), Path::new("/nowhere/at/all"));
        nowhere.remember(clock::wall_s()).unwrap_err();
    }
}
