//! Names of network devices, and what people write for them.

/// Longest name, in bytes (Linux: `IFNAMSIZ` less the closing zero).
pub const MAX_DEVICE_NAME: usize = 15;

/// What no device's name has: what the kernel refuses (`dev_valid_name`), and what only stands in names that were
/// copied from a list, from a program's output or with their quotes.
const FOREIGN: &[char] = &['/', ':', ',', ';', '@', '#', '"', '\''];

/// Whether a device can have this name.
pub fn is_name(name: &str) -> bool {
    let fits = (1..=MAX_DEVICE_NAME).contains(&name.len());
    fits && !matches!(name, "." | "..") && !name.contains(|c: char| FOREIGN.contains(&c) || c.is_whitespace())
}

/// The device that is meant by what is no device's name: without quotes and commas around it, and without what stands
/// behind `@` (where `ip` shows the parent), `:` (an alias) or `#`.
pub fn meant(written: &str) -> Option<&str> {
    let around = |c: char| c.is_whitespace() || "\"',;".contains(c);
    let written = written.trim_matches(around);
    let name = written.split(['@', ':', '#']).next().unwrap_or_default().trim_end_matches(around);
    is_name(name).then_some(name)
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
        ] {
            assert!(!is_name(written), "{written}");
            assert_eq!(meant(written), expected, "{written}");
        }
        assert!(is_alias("eth0:0") && is_alias("eth0:ssh") && !is_alias("eth0") && !is_alias("eth0:"));
    }
}
