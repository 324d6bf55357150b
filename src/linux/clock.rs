//! The two clocks: one that only goes forward, for decisions, and the one on the wall, for log files.

use std::mem::MaybeUninit;

use nix::time::{ClockId, clock_gettime};

use crate::core::time::Instant;

/// Now, on `CLOCK_MONOTONIC`, which nobody can set.
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    let (seconds, nanoseconds) = (time.tv_sec().unsigned_abs(), time.tv_nsec().unsigned_abs());
    // 32-bit systems have 32-bit fields here.
    #[allow(clippy::useless_conversion, clippy::allow_attributes, reason = "useless on 64-bit systems only")]
    Instant::from_millis(u64::from(seconds) * 1000 + u64::from(nanoseconds) / 1_000_000)
}

/// Local date and time as knockd writes them into its log file: `2026-11-22 12:34`.
pub fn local_minute() -> String {
    // SAFETY: `time` takes a null pointer for "only return it".
    let seconds = unsafe { libc::time(std::ptr::null_mut()) };
    let mut fields = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are to live values. All zero is a value of `tm`, so it is one even if the call
    // fails and writes nothing.
    let fields = unsafe {
        libc::localtime_r(&raw const seconds, fields.as_mut_ptr());
        fields.assume_init()
    };
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}",
        fields.tm_year + 1900,
        fields.tm_mon + 1,
        fields.tm_mday,
        fields.tm_hour,
        fields.tm_min
    )
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
    fn the_minute_has_its_form() {
        let text = local_minute();
        let form: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(form, "0000-00-00 00:00", "{text}");
        assert!(text.starts_with("20"), "{text}");
    }
}
