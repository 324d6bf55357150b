//! The doors that fwknopd's stanzas open, one for each port.

use crate::config::MAX_OPEN_TIME_S;
use crate::core::door::MAX_DOORS;
use crate::import::commands_of_cycle::{self, Cycle};
use crate::import::outcome::Note;
use crate::import::part::atoi;
use crate::import::settings::Stanza;
use crate::import::write::NewSection;

/// fwknopd's default of `FW_ACCESS_TIMEOUT`, also for 0, in seconds.
const ACCESS_TIMEOUT_S: u32 = 30;
/// fwknopd's default of `MAX_FW_TIMEOUT`, also for 0, in seconds.
const MAX_TIMEOUT_S: u32 = 300;

/// The doors so far, each with the settings that identify it.
#[derive(Default)]
pub(super) struct Doors {
    pub(super) sections: Vec<NewSection>,
    known: Vec<DoorSettings>,
}

/// The settings that identify a door.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DoorSettings {
    name: String,
    options: Vec<(bool, &'static str, String)>,
}

impl Doors {
    /// The name of the door with these settings. It is added if there is none yet.
    fn find(&mut self, line: usize, what: DoorSettings) -> Option<String> {
        if let Some(at) = self.known.iter().position(|known| *known == what) {
            return Some(self.sections[at].name.clone());
        }
        if self.sections.len() == MAX_DOORS {
            return None;
        }
        let is_free = |name: &str| !self.sections.iter().any(|section| section.name == name);
        let numbered = (2..=MAX_DOORS + 1).map(|n| format!("{}_{n}", what.name));
        let name = std::iter::once(what.name.clone()).chain(numbered).find(|name| is_free(name))?;
        let mut door = NewSection::new("door", &name, line);
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

/// The times for which the stanza's doors stay open, in seconds.
struct StanzaTimes {
    open: u32,
    max: u32,
}

impl Stanza {
    /// A time in fwknopd's configuration, in seconds. 0 means the default.
    fn time(&self, key: &str, default: u32) -> u32 {
        let written = self.get(key).map_or(0, |(value, _)| atoi(value));
        match u32::try_from(written).unwrap_or(0) {
            0 => default,
            seconds => seconds.min(MAX_OPEN_TIME_S),
        }
    }

    fn times(&self) -> StanzaTimes {
        let max = self.time("MAX_FW_TIMEOUT", MAX_TIMEOUT_S);
        StanzaTimes { open: self.time("FW_ACCESS_TIMEOUT", ACCESS_TIMEOUT_S).min(max), max }
    }

    /// The names of the doors that the stanza opens.
    pub(super) fn doors(
        &self,
        doors: &mut Doors,
        user: &mut NewSection,
        notes: &mut Vec<Note>,
    ) -> Vec<String> {
        let (written, max) = (self.get("FW_ACCESS_TIMEOUT"), self.time("MAX_FW_TIMEOUT", MAX_TIMEOUT_S));
        if let Some((_, line)) = written.filter(|(value, _)| atoi(value) > i64::from(max)) {
            let message = format!("FW_ACCESS_TIMEOUT is made {max}, the longest that MAX_FW_TIMEOUT allows");
            notes.push(Note::new(line, message));
        }
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
        user: &mut NewSection,
        notes: &mut Vec<Note>,
    ) -> Option<DoorSettings> {
        let StanzaTimes { open, max } = self.times();
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
            return Some(DoorSettings { name: format!("command_{protocol}_{port}"), options });
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
        Some(DoorSettings { name: format!("{protocol}_{port}"), options })
    }

    /// Without `OPEN_PORTS` the client may ask for any port that `RESTRICT_PORTS` does not name.
    fn any_port(
        &self,
        doors: &mut Doors,
        user: &mut NewSection,
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
        let StanzaTimes { open, max } = self.times();
        let mut options = vec![(false, "any_port", "1".to_owned())];
        options.extend(allowed(refused).into_iter().map(|ports| (true, "allow_port", ports)));
        options.push((false, "open_time", open.to_string()));
        options.push((false, "max_time", max.to_string()));
        let name = doors.find(self.line, DoorSettings { name: "any_port".to_owned(), options });
        if name.is_none() {
            notes.push(Note::new(self.line, format!("no port opens: more than {MAX_DOORS} doors")));
        }
        name.into_iter().collect()
    }
}

/// `allow_port` of a door that opens any port but these; empty if there are none.
fn allowed(refused: &[(&'static str, u16)]) -> Vec<String> {
    let mut allowed = Vec::new();
    for protocol in ["tcp", "udp"].into_iter().filter(|_| !refused.is_empty()) {
        let mut ports: Vec<_> =
            refused.iter().filter(|(of, _)| *of == protocol).map(|(_, port)| *port).collect();
        ports.sort_unstable();
        let mut first = 1_u32;
        for port in ports.into_iter().map(u32::from).chain([1 << 16]) {
            if first + 1 < port {
                allowed.push(format!("{protocol}/{first}-{}", port - 1));
            } else if first < port {
                allowed.push(format!("{protocol}/{first}"));
            }
            first = first.max(port + 1);
        }
    }
    allowed
}

/// `tcp/22`.
fn read_port(item: &str) -> Option<(&'static str, u16)> {
    let (protocol, port) = item.split_once('/')?;
    let protocol = ["tcp", "udp"].into_iter().find(|known| known.eq_ignore_ascii_case(protocol))?;
    let port = port.parse::<std::num::NonZeroU16>().ok()?;
    Some((protocol, port.get()))
}
