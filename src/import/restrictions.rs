//! Carries over fwknopd's restrictions exactly, or disables the user.

use super::outcome::Note;
use super::part::{atoi, is_digits};
use super::settings::{Setting, Stanza, is_yes};
use super::write::NewSection;

/// Keys that are read elsewhere, and keys whose loss lets nobody in.
const READ_ELSEWHERE: &[&str] = &[
    "OPEN_PORTS",
    "RESTRICT_PORTS",
    "KEY",
    "KEY_BASE64",
    "HMAC_KEY",
    "HMAC_KEY_BASE64",
    "FORCE_NAT",
    "CMD_CYCLE_OPEN",
    "CMD_CYCLE_CLOSE",
    "CMD_CYCLE_TIMER",
    // luci-app-fwknopd's own: which of its two fields for a key is shown.
    "keytype",
    "hkeytype",
];

/// The supported HMACs.
const HMACS: &[&str] = &["md5", "sha1", "sha256", "sha384", "sha512"];

impl Stanza {
    /// Carries over the stanza's restrictions. One that cannot be carried over disables the user.
    pub(super) fn restrictions(&self, user: &mut NewSection, notes: &mut Vec<Note>) {
        let mut seen: Vec<&str> = Vec::new();
        for Setting { key, line, .. } in self.settings.iter().rev() {
            // If a key is written twice, the last one counts.
            if seen.contains(&key.as_str()) {
                continue;
            }
            seen.push(key);
            let (value, line) = (self.get(key).map_or("", |(value, _)| value), *line);
            if let Err(problem) = restriction(user, key, value, line) {
                let (shuts, message) = match problem {
                    Problem::Shuts(message) => (true, message),
                    Problem::Remark(message) => (false, message),
                };
                if shuts {
                    user.shut(&format!("line {line} is not carried over: {message}"));
                }
                notes.push(Note::new(line, message));
            }
        }
    }
}

/// Why a key is not carried over.
enum Problem {
    /// It may have kept some people out, so the user is disabled.
    Shuts(String),
    /// It let more people in, or did something else that ketuk does not do.
    Remark(String),
}

fn restriction(user: &mut NewSection, key: &str, value: &str, line: usize) -> Result<(), Problem> {
    let shuts = |why: &str| Err(Problem::Shuts(format!("{key} {value} is left out: {why}")));
    let remark = |why: &str| Err(Problem::Remark(format!("{key} is left out: {why}")));
    match key {
        "FW_ACCESS_TIMEOUT" | "MAX_FW_TIMEOUT" if is_digits(value) => {}
        "FW_ACCESS_TIMEOUT" | "MAX_FW_TIMEOUT" => match atoi(value) {
            ..0 => return shuts("it is no time"),
            0 => {
                return Err(Problem::Remark(format!("{key} {value} is no number: fwknopd's default counts")));
            }
            seconds => {
                let message = format!("{key} {value} is {seconds} s, as fwknopd reads it");
                return Err(Problem::Remark(message));
            }
        },
        "SOURCE" => {
            let networks: Vec<_> = value.split(',').map(str::trim).collect();
            if networks.iter().any(|network| network.eq_ignore_ascii_case("any")) {
                return Ok(());
            }
            for network in networks {
                match super::netmask::network(network) {
                    Some(network) => user.list(line, "src", network),
                    None => return shuts("it is no IPv4 network"),
                }
            }
        }
        "DESTINATION" if value.eq_ignore_ascii_case("any") => {}
        "DESTINATION" => return shuts("packets are taken at every address of this host"),
        "REQUIRE_SOURCE" | "REQUIRE_SOURCE_ADDRESS" if is_yes(value) => {
            user.option(line, "require_address", "1");
        }
        "REQUIRE_SOURCE" | "REQUIRE_SOURCE_ADDRESS" => {}
        "REQUIRE_USERNAME" => user.option(line, "fwknop_user", value),
        "ACCESS_EXPIRE" => match date(value) {
            Some(date) => {
                user.option(line, "expires", format!("{date} 00:00:00"));
                return Err(Problem::Remark(format!(
                    "ACCESS_EXPIRE {value} is made {date} 00:00:00 UTC, which fwknopd takes for this host's time"
                )));
            }
            None => return shuts("it is no date"),
        },
        "ACCESS_EXPIRE_EPOCH" => match value.parse::<u64>() {
            // fwknopd reads 0 as no end.
            Ok(0) => {}
            Ok(seconds) => user.option(line, "expires", super::calendar::date_and_time(seconds)),
            Err(_) => return shuts("it is no number of seconds"),
        },
        "HMAC_DIGEST_TYPE" => match HMACS.iter().find(|known| known.eq_ignore_ascii_case(value)) {
            Some(&"sha256") => {}
            Some(known) => user.option(line, "fwknop_hmac_type", *known),
            None => return shuts("let the client use sha256"),
        },
        "ENCRYPTION_MODE" if value.eq_ignore_ascii_case("cbc") => {}
        "ENCRYPTION_MODE" => return shuts("let the client use CBC"),
        "DISABLE_DNAT" | "FORWARD_ALL" | "FORCE_MASQUERADE" | "ENABLE_CMD_EXEC" | "ENABLE_CMD_SUDO_EXEC"
            if !is_yes(value) => {}
        "DISABLE_DNAT" | "FORWARD_ALL" => return shuts("a forward goes to one host and port"),
        "FORCE_SNAT" | "FORCE_MASQUERADE" => return remark("connections are not given another source"),
        "ENABLE_CMD_EXEC"
        | "ENABLE_CMD_SUDO_EXEC"
        | "CMD_EXEC_USER"
        | "CMD_EXEC_GROUP"
        | "CMD_SUDO_EXEC_USER"
        | "CMD_SUDO_EXEC_GROUP" => {
            return remark("commands from packets are never run");
        }
        key if key.starts_with("GPG_") => return remark("GnuPG is not supported"),
        key if READ_ELSEWHERE.contains(&key) => {}
        _ => return shuts("ketuk does not know it"),
    }
    Ok(())
}

/// Reads `MM/DD/YYYY` as fwknopd does, and returns year-month-day.
fn date(text: &str) -> Option<String> {
    let mut parts = text.trim().splitn(3, '/');
    let mut number = |most: usize| {
        let part = parts.next()?;
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let whole = digits == part.len() && (1..=most).contains(&digits);
        whole.then(|| part.parse::<u32>().ok())?
    };
    let (month, day, year) = (number(2)?, number(2)?, number(4)?);
    // fwknopd counts on past the end of the month or the year. Who writes the day first means something else.
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if year < 100 { year + 2000 } else { year };
    Some(format!("{year:04}-{month:02}-{day:02}"))
}
