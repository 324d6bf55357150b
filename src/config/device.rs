//! Names of network devices, and corrections for wrong names.

use std::fmt;

/// Longest name, in bytes (Linux: `IFNAMSIZ` less the closing zero).
pub const MAX_DEVICE_NAME: usize = 15;

/// Characters that no device's name has. The kernel refuses some of them (`dev_valid_name` in `net/core/dev.c`). The others
/// are separators, quotes, or parts of the output of a program such as `ip`. The same holds for white space and for control
/// characters, which a terminal would obey when a message shows the name.
const FOREIGN: &[char] = &['/', ':', ',', ';', '@', '#', '"', '\''];

/// Whether a device can have this name.
pub fn is_name(name: &str) -> bool {
    let fits = (1..=MAX_DEVICE_NAME).contains(&name.len());
    let is_foreign = |c: char| FOREIGN.contains(&c) || c.is_whitespace() || c.is_control();
    fits && !matches!(name, "." | "..") && !name.contains(is_foreign)
}

/// The device that a wrong name probably means: without quotes and commas around it, and without the part after `@`
/// (`ip` shows the parent there), `:` (an alias) or `#`.
pub fn meant(written: &str) -> Option<&str> {
    let around = |c: char| c.is_whitespace() || "\"',;".contains(c);
    let written = written.trim_matches(around);
    let name = written.split(['@', ':', '#']).next().unwrap_or_default().trim_end_matches(around);
    is_name(name).then_some(name)
}

/// The fault of a name that no device can have; `None` if a device can have it.
pub fn fault(written: &str) -> Option<NameFault<'_>> {
    if is_name(written) {
        return None;
    }
    let pieces = || written.split([',', ';', ' ', '\t']).filter(|piece| !piece.is_empty());
    if pieces().count() > 1 && pieces().all(is_name) {
        return Some(NameFault::Several);
    }
    let meant = meant(written);
    if written.len() > MAX_DEVICE_NAME && meant.is_none_or(|meant| meant == written) {
        return Some(NameFault::TooLong);
    }
    Some(match meant {
        Some(device) if is_alias(written) => NameFault::Alias { device },
        meant => NameFault::Foreign { meant },
    })
}

/// Why a text is not the name of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFault<'a> {
    /// It is longer than [`MAX_DEVICE_NAME`].
    TooLong,
    /// It is an alias: a second address of this device.
    Alias {
        /// The device.
        device: &'a str,
    },
    /// It is a list of names.
    Several,
    /// It has characters that no name has.
    Foreign {
        /// The device that it probably means.
        meant: Option<&'a str>,
    },
}

impl NameFault<'_> {
    /// The correction; `None` if none can be proposed.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::TooLong | Self::Foreign { meant: None } => None,
            Self::Several => Some("name each device by itself".to_owned()),
            Self::Alias { device } => Some(format!(
                "this is a second address of device '{device}': name the device, and give the doors that address with option target"
            )),
            Self::Foreign { meant: Some(device) } => Some(format!("did you mean '{device}'?")),
        }
    }
}

/// The part of the message after the quoted name.
impl fmt::Display for NameFault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "is longer than the {MAX_DEVICE_NAME} bytes of a device name"),
            Self::Alias { .. } | Self::Several | Self::Foreign { .. } => {
                f.write_str("is not the name of a device")
            }
        }
    }
}

/// Whether this is an alias: a second address of a device, as ifconfig names it (`eth0:0`).
pub fn is_alias(written: &str) -> bool {
    let parts = written.split_once(':');
    parts.is_some_and(|(device, label)| {
        is_name(device) && !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_what_is_written_for_them() {
        for name in ["eth0", "br-lan", "pppoe-wan", "eth0.2", "wlan0_1", "fifteen-letters"] {
            assert!(is_name(name), "{name}");
        }
        for (written, expected) in [
            ("eth0,", Some("eth0")),
            ("eth0.2@eth0", Some("eth0.2")),
            ("\"eth0\"", Some("eth0")),
            ("'eth0'", Some("eth0")),
            ("eth0:0", Some("eth0")),
            ("eth0 # the card", Some("eth0")),
            ("#", None),
            ("a/b", None),
            ("", None),
            ("..", None),
            ("sixteen-letters-", None),
            ("eth0\u{1b}[2J", None),
            ("\u{2}#", None),
        ] {
            assert!(!is_name(written), "{written}");
            assert_eq!(meant(written), expected, "{written}");
        }
        assert_eq!(fault("eth0:ssh"), Some(NameFault::Alias { device: "eth0" }));
        assert_eq!(fault("a-device-of-16-b"), Some(NameFault::TooLong));
        for several in ["eth0,eth1", "eth0, wan", "wan;wan6", "a-device,a-device"] {
            assert_eq!(fault(several), Some(NameFault::Several), "{several}");
        }
        assert_eq!(fault("eth0,"), Some(NameFault::Foreign { meant: Some("eth0") }));
        assert!(is_alias("eth0:0") && is_alias("eth0:ssh") && !is_alias("eth0") && !is_alias("eth0:"));
    }
}
