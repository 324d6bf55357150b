//! `access.conf` of fwknopd 2.6, read as fwknopd reads it.
//!
//! A stanza begins with `SOURCE` and becomes a user; each port that it opens becomes a door of that port. A `#`
//! begins a comment, a value may end with `;`, and what stands before the first stanza is for none.

use super::write::{Section, settle};
use super::{ImportError, Imported, Warning};
use crate::config::MAX_FILE;
use crate::core::door::MAX_DOORS;
use crate::protocol::{base64, is_door};

/// fwknopd's `FW_ACCESS_TIMEOUT` if it is not given, in seconds.
const ACCESS_TIMEOUT: &str = "30";
/// fwknopd's `MAX_FW_TIMEOUT` if it is not given, in seconds.
const MAX_TIMEOUT: &str = "300";
/// Longest key that is written as it is, in bytes.
const MAX_KEY: usize = 128;

/// Reads an access.conf; `file` is its name, for the comments.
///
/// # Errors
/// There is nothing to import.
pub fn import(file: &str, text: &[u8]) -> Result<Imported, ImportError> {
    if text.len() > MAX_FILE {
        return Err(ImportError::TooLarge);
    }
    let text = String::from_utf8_lossy(text);
    let mut warnings = Vec::new();
    let stanzas = stanzas(&text, &mut warnings)?;
    let mut globals = Section::new("globals", "globals", 1);
    globals.comment(&format!("Made from {file} by 'ketukd import'."));
    globals.comment("It holds secrets: keep it where only root can read it.");
    globals.option(1, "enabled", "1");
    let (mut doors, mut users): (Doors, Vec<Section>) = (Doors::default(), Vec::new());
    for stanza in &stanzas {
        let section = stanza.user(&users, &mut doors, &mut warnings);
        users.push(section);
    }
    let mut sections: Vec<_> = std::iter::once(globals).chain(doors.sections).chain(users).collect();
    let (uci, refused) = settle(&mut sections);
    warnings.extend(refused);
    warnings.sort_by_key(|warning| warning.line);
    Ok(Imported { uci, warnings })
}

/// `SOURCE` and the lines below it.
#[derive(Debug, Default)]
struct Stanza<'a> {
    line: usize,
    /// Key, value, line; no key twice: the last that is written counts.
    values: Vec<(String, &'a str, usize)>,
}

fn stanzas<'a>(text: &'a str, warnings: &mut Vec<Warning>) -> Result<Vec<Stanza<'a>>, ImportError> {
    let mut stanzas: Vec<Stanza<'_>> = Vec::new();
    let mut before = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.split('#').next().unwrap_or_default().trim();
        let Some((key, value)) = content.split_once(char::is_whitespace) else { continue };
        let (key, value) =
            (key.trim_end_matches(':').to_ascii_uppercase(), value.trim().trim_end_matches(';').trim());
        if key == "SOURCE" {
            stanzas.push(Stanza { line, ..Stanza::default() });
        }
        match stanzas.last_mut() {
            Some(stanza) => {
                stanza.values.retain(|(known, ..)| *known != key);
                stanza.values.push((key, value, line));
            }
            None => before.push((key, line)),
        }
    }
    if stanzas.is_empty() {
        return Err(ImportError::NotFwknopd);
    }
    for (key, line) in before {
        let message = match key.as_str() {
            "%INCLUDE" | "%INCLUDE_FOLDER" | "%INCLUDE_KEYS" => {
                format!("{key} is left out: import that file by itself")
            }
            _ => format!("{key} is left out: it stands before the first SOURCE"),
        };
        warnings.push(Warning { line, message });
    }
    Ok(stanzas)
}

/// The doors so far, each with what makes it one: port, times, target.
#[derive(Default)]
struct Doors {
    sections: Vec<Section>,
    known: Vec<[String; 5]>,
}

impl Doors {
    /// The name of the door that opens a port so; a new one if there is none yet.
    fn find(&mut self, line: usize, what: [String; 5]) -> Option<String> {
        if let Some(at) = self.known.iter().position(|known| *known == what) {
            return Some(self.sections[at].name.clone());
        }
        if self.sections.len() == MAX_DOORS {
            return None;
        }
        let [protocol, port, open_time, max_time, target] = &what;
        let same = |name: &str| self.sections.iter().any(|section| section.name == name);
        let plain = format!("{protocol}_{port}");
        let name = (2..=MAX_DOORS + 1).map(|n| format!("{plain}_{n}")).find(|name| !same(name));
        let name = if same(&plain) { name? } else { plain };
        let mut door = Section::new("door", &name, line);
        door.option(line, "proto", protocol);
        if let Some((host, inner)) = target.split_once(' ') {
            door.option(line, "src_dport", port);
            door.option(line, "dest_ip", host);
            door.option(line, "dest_port", inner);
        } else {
            door.option(line, "dest_port", port);
        }
        door.option(line, "open_time", open_time);
        door.option(line, "max_time", max_time);
        self.sections.push(door);
        self.known.push(what);
        Some(name)
    }
}

impl Stanza<'_> {
    fn get(&self, key: &str) -> Option<(&str, usize)> {
        let written = self.values.iter().find(|(known, ..)| known == key);
        written.map(|&(_, value, line)| (value, line)).filter(|(value, _)| !value.is_empty())
    }

    /// The stanza as a user; its doors are added to `doors`.
    fn user(&self, users: &[Section], doors: &mut Doors, warnings: &mut Vec<Warning>) -> Section {
        let mut user = Section::new("user", &self.name(users), self.line);
        for name in self.doors(doors, warnings) {
            user.list(self.line, "door", name);
        }
        self.keys(&mut user, warnings);
        // fwknopd opens for the address that the packet names, wherever it comes from.
        user.option(self.line, "other_address", "1");
        if let Some((date, line)) = self.get("ACCESS_EXPIRE") {
            match date.split('/').collect::<Vec<_>>()[..] {
                [month, day, year] => user.option(line, "expires", format!("{year}-{month:0>2}-{day:0>2}")),
                _ => user.option(line, "expires", date),
            }
        }
        self.warn(warnings);
        user
    }

    /// `REQUIRE_USERNAME`, or a number.
    fn name(&self, users: &[Section]) -> String {
        let free = |name: &str| !users.iter().any(|user| user.name == name);
        let own = self.get("REQUIRE_USERNAME").map(|(name, _)| name.to_owned());
        let own = own.filter(|name| is_door(name.as_bytes()) && free(name));
        let numbered = || (1..=users.len() + 1).map(|n| format!("user{n}")).find(|name| free(name));
        own.or_else(numbered).unwrap_or_default()
    }

    fn doors(&self, doors: &mut Doors, warnings: &mut Vec<Warning>) -> Vec<String> {
        let Some((ports, line)) = self.get("OPEN_PORTS") else {
            let message =
                "OPEN_PORTS is not given, by which fwknopd opens any port: list the doors of this user";
            warnings.push(Warning { line: self.line, message: message.to_owned() });
            return Vec::new();
        };
        let time = |key, default| self.get(key).map_or(default, |(time, _)| time).to_owned();
        let (open_time, max_time) =
            (time("FW_ACCESS_TIMEOUT", ACCESS_TIMEOUT), time("MAX_FW_TIMEOUT", MAX_TIMEOUT));
        let longer = |a: &str, b: &str| a.parse::<u32>().ok() > b.parse().ok();
        let max_time = if longer(&open_time, &max_time) { open_time.clone() } else { max_time };
        let target =
            self.get("FORCE_NAT").map(|(target, _)| target.split_whitespace().collect::<Vec<_>>().join(" "));
        let mut names = Vec::new();
        for item in ports.split(',').map(str::trim) {
            let (protocol, port) = item.split_once('/').unwrap_or(("", item));
            let protocol = protocol.to_ascii_lowercase();
            if !matches!(protocol.as_str(), "tcp" | "udp") || port.parse::<std::num::NonZeroU16>().is_err() {
                let message = format!("'{item}' is left out: only ports of tcp and udp open");
                warnings.push(Warning { line, message });
                continue;
            }
            let what =
                [&protocol, port, &open_time, &max_time, target.as_deref().unwrap_or("")].map(str::to_owned);
            match doors.find(line, what) {
                Some(name) => names.push(name),
                None => warnings.push(Warning {
                    line,
                    message: format!("'{item}' is left out: more than {MAX_DOORS} doors"),
                }),
            }
        }
        names
    }

    fn keys(&self, user: &mut Section, warnings: &mut Vec<Warning>) {
        let key = |plain, encoded| {
            let as_it_is = |(text, line): (&str, usize)| {
                let mut out = [0; 2 * MAX_KEY];
                let encoded = base64::encode(text.as_bytes().get(..text.len().min(MAX_KEY))?, &mut out)?;
                Some((encoded.to_owned(), line))
            };
            let encoded = self.get(encoded).map(|(text, line)| (text.to_owned(), line));
            encoded.or_else(|| self.get(plain).and_then(as_it_is))
        };
        match (key("KEY", "KEY_BASE64"), key("HMAC_KEY", "HMAC_KEY_BASE64")) {
            (Some((key, line)), Some((hmac_key, hmac_line))) => {
                user.option(line, "fwknop_key", key);
                user.option(hmac_line, "fwknop_hmac_key", hmac_key);
            }
            (None, _) => warnings.push(Warning {
                line: self.line,
                message: format!("{} has no KEY: give him a key, see 'ketukd keygen'", user.name),
            }),
            (_, None) => warnings.push(Warning {
                line: self.line,
                message: format!(
                    "{} has no HMAC_KEY, without which no packet is taken: his key is left out, see 'ketukd keygen'",
                    user.name
                ),
            }),
        }
    }

    /// What ketuk does otherwise.
    fn warn(&self, warnings: &mut Vec<Warning>) {
        let yes = |value: &str| value.eq_ignore_ascii_case("y");
        for (key, value, line) in &self.values {
            let message = match key.as_str() {
                "SOURCE" | "DESTINATION" if !value.eq_ignore_ascii_case("any") => {
                    format!("{key} {value} is left out: a user may knock from everywhere")
                }
                "ENABLE_CMD_EXEC" | "ENABLE_CMD_SUDO_EXEC" if yes(value) => {
                    format!("{key} is left out: commands from packets are never run")
                }
                "REQUIRE_SOURCE_ADDRESS" if yes(value) => {
                    format!("{key} is left out: a packet need not name its address")
                }
                "HMAC_DIGEST_TYPE" if !value.eq_ignore_ascii_case("sha256") => {
                    format!("HMAC_DIGEST_TYPE {value} is not taken: let the client use sha256")
                }
                "ENCRYPTION_MODE" if !value.eq_ignore_ascii_case("cbc") => {
                    format!("ENCRYPTION_MODE {value} is not taken: let the client use cbc")
                }
                "RESTRICT_PORTS" | "CMD_CYCLE_OPEN" | "CMD_CYCLE_CLOSE" | "CMD_CYCLE_TIMER" => {
                    format!("{key} is left out")
                }
                key if key.starts_with("GPG_") => format!("{key} is left out: GnuPG is not supported"),
                key if key.starts_with("%INCLUDE") => {
                    format!("{key} is left out: import that file by itself")
                }
                _ => continue,
            };
            warnings.push(Warning { line: *line, message });
        }
    }
}
