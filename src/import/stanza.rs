//! fwknopd's stanzas as ketuk's users and doors.

use super::commands_of_cycle::{self, Cycle};
use super::lines::Lines;
use super::outcome::{Imported, Note};
use super::part::atoi;
use super::settings::{Setting, Stanza};
use super::write::{Section, settle};
use crate::config::{MAX_NAME, MAX_OPEN_TIME_S};
use crate::core::door::MAX_DOORS;
use crate::protocol::{base64, is_door};

/// fwknopd's `FW_ACCESS_TIMEOUT` if it is not given, or 0, in seconds.
const ACCESS_TIMEOUT_S: u32 = 30;
/// fwknopd's `MAX_FW_TIMEOUT` likewise, in seconds.
const MAX_TIMEOUT_S: u32 = 300;
/// Longest key that is written as it is, in bytes.
const MAX_KEY: usize = 128;
/// A key with fewer bytes is remarked on.
const SHORT_KEY: usize = 16;
/// What distributions write where a key belongs.
const PLACEHOLDERS: &[&str] = &["__CHANGEME__", "CHANGEME"];

/// What comes of the stanzas. `globals` are options that are known already.
pub(super) fn import(
    file: &str,
    lines: &Lines,
    stanzas: &[Stanza],
    globals: Vec<super::write::UciLine>,
    mut notes: Vec<Note>,
) -> Imported {
    let mut own = Section::new("globals", "globals", 1);
    own.comment(&format!("Made from {file} by 'ketukd import'."));
    own.comment("It holds secrets: keep it where only root can read it.");
    own.option(1, "enabled", "1");
    own.options.extend(globals);
    let (mut doors, mut users) = (Doors::default(), Vec::<User>::new());
    for stanza in stanzas {
        let user = stanza.user(&users, &mut doors, &mut notes);
        match users.iter_mut().find(|known| known.has_key_of(&user)) {
            None => users.push(user),
            Some(known) if known.may_be(&user) => known.merge(user),
            Some(known) => {
                let name = &known.section.name;
                notes.push(Note::new(
                    stanza.line,
                    format!("this stanza is left out: it has {name}'s key and other rules: give it a key of its own"),
                ));
            }
        }
    }
    let users = users.into_iter().map(|user| user.section);
    let mut sections: Vec<_> = std::iter::once(own).chain(doors.sections).chain(users).collect();
    let (uci, refused) = settle(&mut sections);
    notes.extend(refused);
    lines.imported(uci, notes)
}

/// A user, and the key by which two stanzas are one.
struct User {
    section: Section,
    key: Option<(String, String)>,
}

impl User {
    fn has_key_of(&self, other: &Self) -> bool {
        self.key.is_some()
            && self.key.as_ref().map(|(_, hmac)| hmac) == other.key.as_ref().map(|(_, hmac)| hmac)
    }

    /// Whether the same holds for both, but for the doors.
    fn may_be(&self, other: &Self) -> bool {
        let rules = |user: &Self| {
            let rules = user.section.options.iter().filter(|entry| entry.name != "door");
            rules.map(|entry| (entry.name, entry.value.clone())).collect::<Vec<_>>()
        };
        !self.section.is_shut() && !other.section.is_shut() && rules(self) == rules(other)
    }

    fn merge(&mut self, other: Self) {
        for entry in other.section.options.into_iter().filter(|entry| entry.name == "door") {
            if !self.section.options.iter().any(|known| known.name == "door" && known.value == entry.value) {
                self.section.options.push(entry);
            }
        }
    }
}

/// The doors so far, each with what makes it one.
#[derive(Default)]
pub(super) struct Doors {
    sections: Vec<Section>,
    known: Vec<What>,
}

/// What makes a door one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct What {
    name: String,
    options: Vec<(bool, &'static str, String)>,
}

impl Doors {
    /// The name of such a door; a new one if there is none yet.
    fn find(&mut self, line: usize, what: What) -> Option<String> {
        if let Some(at) = self.known.iter().position(|known| *known == what) {
            return Some(self.sections[at].name.clone());
        }
        if self.sections.len() == MAX_DOORS {
            return None;
        }
        let is_free = |name: &str| !self.sections.iter().any(|section| section.name == name);
        let numbered = (2..=MAX_DOORS + 1).map(|n| format!("{}_{n}", what.name));
        let name = std::iter::once(what.name.clone()).chain(numbered).find(|name| is_free(name))?;
        let mut door = Section::new("door", &name, line);
        for (list, option, value) in &what.options {
            if *list {
                door.list(line, option, value.as_str());
            } else {
                door.option(line, option, value.as_str());
            }
        }
        self.sections.push(door);
        self.known.push(what);
        Some(name)
    }
}

/// How long doors of a stanza are open, in seconds.
struct Times {
    open: u32,
    max: u32,
}

impl Stanza {
    /// The stanza as a user; its doors are added to `doors`.
    fn user(&self, users: &[User], doors: &mut Doors, notes: &mut Vec<Note>) -> User {
        let mut section = Section::new("user", &self.user_name(users), self.line);
        self.name_doubles(notes);
        if let Some((line, why)) = self.unreadable {
            section.shut(&format!("line {line} is left out: {why}"));
        }
        self.restrictions(&mut section, notes);
        for name in self.doors(doors, &mut section, notes) {
            section.list(self.line, "door", name);
        }
        let key = self.keys(&mut section, notes);
        // fwknopd opens for the address that the packet names, wherever it comes from.
        section.option(self.line, "other_address", "1");
        User { section, key }
    }

    /// The section's name, `REQUIRE_USERNAME`, or a number.
    fn user_name(&self, users: &[User]) -> String {
        let free = |name: &str| !users.iter().any(|user| user.section.name == name);
        let own =
            self.name.as_deref().or(self.get("REQUIRE_USERNAME").map(|(name, _)| name)).map(str::to_owned);
        let own = own.filter(|name| {
            is_door(name.as_bytes()) && name.len() <= MAX_NAME && free(name) && name != "globals"
        });
        let numbered = || (1..=users.len() + 1).map(|n| format!("user{n}")).find(|name| free(name));
        own.or_else(numbered).unwrap_or_default()
    }

    /// A time of fwknopd's, in seconds: 0 is the default.
    fn time(&self, key: &str, default: u32) -> u32 {
        let written = self.get(key).map_or(0, |(value, _)| atoi(value));
        match u32::try_from(written).unwrap_or(0) {
            0 => default,
            seconds => seconds.min(MAX_OPEN_TIME_S),
        }
    }

    fn times(&self) -> Times {
        let max = self.time("MAX_FW_TIMEOUT", MAX_TIMEOUT_S);
        Times { open: self.time("FW_ACCESS_TIMEOUT", ACCESS_TIMEOUT_S).min(max), max }
    }

    /// The names of the doors that the stanza opens.
    fn doors(&self, doors: &mut Doors, user: &mut Section, notes: &mut Vec<Note>) -> Vec<String> {
        let restricted: Vec<_> = self.get("RESTRICT_PORTS").map_or(Vec::new(), |(ports, line)| {
            ports.split(',').map(|item| (read_port(item.trim()), item.trim().to_owned(), line)).collect()
        });
        for (_, item, line) in restricted.iter().filter(|(port, ..)| port.is_none()) {
            notes.push(Note::new(*line, format!("'{item}' is no port of tcp or udp")));
            user.shut(&format!("'{item}' in RESTRICT_PORTS is no port of tcp or udp"));
        }
        let Some((ports, line)) = self.get("OPEN_PORTS") else {
            return self.any_port(
                doors,
                user,
                &restricted.iter().filter_map(|(port, ..)| *port).collect::<Vec<_>>(),
                notes,
            );
        };
        let mut names = Vec::new();
        for item in ports.split(',').map(str::trim) {
            let Some((protocol, port)) = read_port(item) else {
                notes.push(Note::new(line, format!("'{item}' is left out: only ports of tcp and udp open")));
                continue;
            };
            if restricted.iter().any(|(refused, ..)| refused.as_ref() == Some(&(protocol, port))) {
                notes.push(Note::new(line, format!("'{item}' is left out: RESTRICT_PORTS refuses it")));
                continue;
            }
            let Some(what) = self.door(protocol, port, user, notes) else { return Vec::new() };
            match doors.find(line, what) {
                Some(name) => names.push(name),
                None => {
                    notes.push(Note::new(line, format!("'{item}' is left out: more than {MAX_DOORS} doors")));
                }
            }
        }
        names
    }

    /// A door for one port.
    fn door(
        &self,
        protocol: &'static str,
        port: u16,
        user: &mut Section,
        notes: &mut Vec<Note>,
    ) -> Option<What> {
        let Times { open, max } = self.times();
        let mut options = Vec::new();
        let mut option = |name, value: String| options.push((false, name, value));
        if let Some((open_command, line)) = self.get("CMD_CYCLE_OPEN") {
            let cycle = Cycle {
                open: open_command,
                close: self.get("CMD_CYCLE_CLOSE").map(|(command, _)| command),
                timer: self.get("CMD_CYCLE_TIMER").map(|(timer, _)| atoi(timer)),
            };
            match commands_of_cycle::read(&cycle, protocol, port) {
                Ok((start, stop, timer)) => {
                    option("fwknop_port", format!("{port}:{protocol}"));
                    option("start_command", start);
                    if let Some(stop) = stop {
                        option("stop_command", stop);
                    }
                    option("open_time", timer.min(MAX_OPEN_TIME_S).to_string());
                    option("max_time", max.max(timer).min(MAX_OPEN_TIME_S).to_string());
                }
                Err(why) => {
                    notes.push(Note::new(line, format!("CMD_CYCLE_OPEN is left out: {why}")));
                    user.shut(&format!("CMD_CYCLE_OPEN is left out: {why}"));
                    return None;
                }
            }
            return Some(What { name: format!("command_{protocol}_{port}"), options });
        }
        option("proto", protocol.to_owned());
        if let Some((target, line)) = self.get("FORCE_NAT") {
            let parts: Vec<_> = target.split_whitespace().collect();
            let host = parts.first().and_then(|host| host.parse::<std::net::Ipv4Addr>().ok());
            let inner = parts.get(1).and_then(|port| u16::try_from(atoi(port)).ok()).filter(|port| *port > 0);
            let Some((host, inner)) = host.filter(|host| !host.is_unspecified()).zip(inner) else {
                notes.push(Note::new(line, "FORCE_NAT is left out: it needs an address and a port"));
                user.shut("FORCE_NAT names no address and port");
                return None;
            };
            option("src_dport", port.to_string());
            option("dest_ip", host.to_string());
            option("dest_port", inner.to_string());
        } else {
            option("dest_port", port.to_string());
        }
        option("open_time", open.to_string());
        option("max_time", max.to_string());
        Some(What { name: format!("{protocol}_{port}"), options })
    }

    /// Without `OPEN_PORTS` the client may ask for any port.
    fn any_port(
        &self,
        doors: &mut Doors,
        user: &mut Section,
        refused: &[(&'static str, u16)],
        notes: &mut Vec<Note>,
    ) -> Vec<String> {
        for key in ["FORCE_NAT", "CMD_CYCLE_OPEN"] {
            if let Some((_, line)) = self.get(key) {
                notes.push(Note::new(line, format!("{key} is left out: list the ports with OPEN_PORTS")));
                user.shut(&format!("{key} is not carried over without OPEN_PORTS"));
                return Vec::new();
            }
        }
        let _ = (doors, refused);
        let message =
            "OPEN_PORTS is not given, by which fwknopd opens any port: give this user doors, and enable him";
        notes.push(Note::new(self.line, message));
        user.shut("OPEN_PORTS is not given: list his doors");
        Vec::new()
    }

    /// The keys, as base 64.
    fn keys(&self, user: &mut Section, notes: &mut Vec<Note>) -> Option<(String, String)> {
        let mut key = |plain: &str, encoded: &str| {
            // Whichever is written last counts.
            let is_either = |setting: &&Setting| setting.key == plain || setting.key == encoded;
            let setting = self.settings.iter().rev().find(is_either)?;
            if PLACEHOLDERS.iter().any(|placeholder| setting.value.eq_ignore_ascii_case(placeholder)) {
                let message = format!("{} is a placeholder, which everybody knows", setting.key);
                user.shut(&message);
                notes.push(Note::new(setting.line, message));
                return None;
            }
            let mut out = [0; 2 * MAX_KEY];
            let (text, bytes) = if setting.key == plain {
                let bytes = setting.value.as_bytes();
                let text = base64::encode(bytes.get(..bytes.len().min(MAX_KEY))?, &mut out)?.to_owned();
                (text, bytes.len())
            } else {
                (setting.value.clone(), base64::decode(&setting.value, &mut out).map_or(0, <[u8]>::len))
            };
            if bytes > 0 && bytes < SHORT_KEY {
                notes.push(Note::new(
                    setting.line,
                    format!("{} has only {bytes} bytes, which can be guessed", setting.key),
                ));
            }
            Some((text, setting.line))
        };
        let (key, hmac_key) = (key("KEY", "KEY_BASE64"), key("HMAC_KEY", "HMAC_KEY_BASE64"));
        let name = user.name.clone();
        let mut missing = |what: &str| {
            if !user.is_shut() {
                user.shut(&format!("he has no {what}"));
            }
            notes.push(Note::new(
                self.line,
                format!("{name} has no {what}, without which no packet is taken: see 'ketukd keygen'"),
            ));
        };
        match (key, hmac_key) {
            (Some((key, line)), Some((hmac_key, hmac_line))) => {
                user.option(line, "fwknop_key", key.as_str());
                user.option(hmac_line, "fwknop_hmac_key", hmac_key.as_str());
                Some((key, hmac_key))
            }
            (None, _) => {
                missing("KEY");
                None
            }
            (_, None) => {
                missing("HMAC_KEY");
                None
            }
        }
    }
}

/// `tcp/22`.
fn read_port(item: &str) -> Option<(&'static str, u16)> {
    let (protocol, port) = item.split_once('/')?;
    let protocol = ["tcp", "udp"].into_iter().find(|known| known.eq_ignore_ascii_case(protocol))?;
    let port = port.parse::<std::num::NonZeroU16>().ok()?;
    Some((protocol, port.get()))
}
