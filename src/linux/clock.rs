//! The two clocks: the monotonic clock for decisions, and the wall clock for log files, users' knocks and people.

use std::env;
use std::fs::File;
use std::io::Read as _;
use std::mem::MaybeUninit;
use std::sync::{Mutex, PoisonError};

use nix::time::{ClockId, clock_gettime};

use crate::core::hours::WallTime;
use crate::core::time::Instant;

/// The time on `CLOCK_MONOTONIC`, which nobody can set.
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    let (seconds, nanoseconds) = (time.tv_sec().unsigned_abs(), time.tv_nsec().unsigned_abs());
    // 32-bit systems have 32-bit fields here.
    #[allow(clippy::useless_conversion, clippy::allow_attributes, reason = "useless on 64-bit systems only")]
    Instant::from_millis(u64::from(seconds) * 1000 + u64::from(nanoseconds) / 1_000_000)
}

/// The time on the wall clock, in seconds since 1970. It can be set, and may be wrong.
pub fn wall_s() -> u64 {
    // A time before 1970 is wrong. So is a time that a 32-bit system cannot hold (EOVERFLOW).
    clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, |time| u64::try_from(time.tv_sec()).unwrap_or(0))
}

/// The time since this machine started, sleep included, in seconds.
pub fn uptime_s() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux since 2.6.39 has this clock");
    u64::try_from(time.tv_sec()).unwrap_or(0)
}

/// Whether the wall clock is synchronised. NTP daemons tell the kernel (adjtimex(2)).
pub fn is_synchronised() -> bool {
    wall_clock() == WallClock::Synchronised
}

/// Whether the kernel set the wall clock from a clock chip when it started.
pub fn has_clock_chip() -> bool {
    let chips = std::fs::read_dir("/sys/class/rtc").into_iter().flatten().flatten();
    chips.into_iter().any(|chip| {
        std::fs::read_to_string(chip.path().join("hctosys")).is_ok_and(|text| text.trim_end() == "1")
    })
}

/// Local date and time in the format of knockd's log file: `2026-11-22 12:34`.
pub fn local_minute() -> String {
    let fields = local(wall_s());
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}",
        fields.tm_year + 1900,
        fields.tm_mon + 1,
        fields.tm_mday,
        fields.tm_hour,
        fields.tm_min
    )
}

/// Local weekday and time of day at a moment, in seconds since 1970.
pub fn local_time(wall_s: u64) -> WallTime {
    let fields = local(wall_s);
    let [weekday, hour, minute, second] = [fields.tm_wday, fields.tm_hour, fields.tm_min, fields.tm_sec]
        .map(|field| u32::try_from(field).expect("localtime_r's fields are not negative"));
    // A leap second belongs to the minute before it.
    let second = (hour * 60 + minute) * 60 + second.min(59);
    WallTime { weekday: u8::try_from(weekday).expect("0 to 6"), second }
}

/// The file of OpenWrt's time zone. OpenWrt's musl reads it (toolchain/musl/patches/110-read_timezone_from_fs.patch). The
/// musl that is linked into this program does not.
const ZONE_FILE: &str = "/etc/TZ";

/// Longest time zone in [`ZONE_FILE`], in bytes. The longest in LuCI's list has less than 50.
const MAX_ZONE: usize = 64;

/// Sets the time zone of [`ZONE_FILE`], unless `TZ` names one.
fn follow_zone() {
    static OURS: Mutex<heapless::String<MAX_ZONE>> = Mutex::new(heapless::String::new());
    let mut ours = OURS.lock().unwrap_or_else(PoisonError::into_inner);
    if ours.is_empty() && env::var_os("TZ").is_some_and(|zone| !zone.is_empty()) {
        return;
    }
    let mut text = [0; MAX_ZONE];
    let Ok(len) = File::open(ZONE_FILE).and_then(|mut file| file.read(&mut text)) else { return };
    let zone = str::from_utf8(&text[..len]).unwrap_or_default().trim_end();
    if zone.is_empty() || zone.contains('\0') || zone == ours.as_str() {
        return;
    }
    ours.clear();
    ours.push_str(zone).expect("read into as many bytes");
    // SAFETY: the daemon has one thread, which alone reads and writes the environment; so have the other commands.
    unsafe { env::set_var("TZ", zone) };
}

fn local(wall_s: u64) -> libc::tm {
    follow_zone();
    // `localtime_r` takes a type that has 32 bits on some processors. A time beyond it becomes 1970.
    let seconds = wall_s.try_into().unwrap_or(0);
    let mut fields = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are to live values. All zero is a value of `tm`, so it is one even if the call
    // fails and writes nothing.
    unsafe {
        libc::localtime_r(&raw const seconds, fields.as_mut_ptr());
        fields.assume_init()
    }
}

/// The start of 2026, in seconds since 1970. The program was made later.
const BEFORE_THIS_PROGRAM: u64 = 1_767_225_600;

/// The state of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WallClock {
    /// It shows a time before this program was made, so nobody has set it since the router started.
    Unset,
    /// It was not compared with another clock, or not lately (`STA_UNSYNC`, adjtimex(2)).
    Unsynchronised,
    /// It follows another clock, by NTP.
    Synchronised,
}

impl WallClock {
    /// The word in `ketukd status`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::Unsynchronised => "unsynchronised",
            Self::Synchronised => "synchronised",
        }
    }
}

/// The state of the wall clock.
pub fn wall_clock() -> WallClock {
    let mut state = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: the pointer is to a live value, and all zero is a value of `timex`: with `modes` 0 the call only
    // reads the clock's state.
    let (known, state) = unsafe { (libc::adjtimex(state.as_mut_ptr()) >= 0, state.assume_init()) };
    if wall_s() < BEFORE_THIS_PROGRAM {
        WallClock::Unset
    } else if known && state.status & libc::STA_UNSYNC == 0 {
        WallClock::Synchronised
    } else {
        WallClock::Unsynchronised
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_forward() {
        let before = now();
        assert!(now() >= before && before > Instant::default());
    }

    #[test]
    fn the_wall_clock_is_set_where_tests_run() {
        assert_ne!(wall_clock(), WallClock::Unset);
    }

    #[test]
    fn the_minute_has_its_form() {
        let text = local_minute();
        let form: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(form, "0000-00-00 00:00", "{text}");
        assert!(text.starts_with("20"), "{text}");
    }
}
