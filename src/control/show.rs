//! Prints the daemon's answers: as text for people, or as one JSON value for programs.

use std::fmt::{self, Write};

use serde::Deserialize;

/// `ketukd status`: the lines of the answer, in their kinds.
#[derive(Debug, Default)]
pub struct Status {
    daemon: String,
    devices: Vec<String>,
    doors: Vec<String>,
    users: Vec<String>,
    grants: Vec<String>,
    recents: Vec<String>,
    counters: Vec<String>,
}

/// The fields of all kinds of lines. Each kind has some of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fields<'a> {
    version: &'a str,
    uptime_seconds: u64,
    backend: &'a str,
    table: &'a str,
    knocking: u64,
    clock_trusted: Option<bool>,
    name: &'a str,
    state: &'a str,
    action: &'a str,
    steps: u8,
    open_time: Option<u64>,
    open: u64,
    firewall: &'a str,
    warning: Option<&'a str>,
    door: Option<&'a str>,
    address: &'a str,
    seconds_left: Option<u64>,
    held: bool,
    sessions: Option<u64>,
    in_firewall: bool,
    times: u64,
    seconds_ago: u64,
    seen_seconds_ago: Option<u64>,
    value: u64,
    port: Option<&'a str>,
    stage: u8,
    judged: &'a str,
    event: &'a str,
    seconds: Option<u64>,
    reason: &'a str,
    user: Option<&'a str>,
}

fn fields(json: &str) -> Fields<'_> {
    // Fields of a newer daemon that are not known here are left out.
    serde_json_core::from_str(json).map(|(fields, _)| fields).unwrap_or_default()
}

impl Status {
    /// Adds one line of the answer.
    pub fn add(&mut self, kind: &str, json: &str) {
        let list = match kind {
            "daemon" => {
                json.clone_into(&mut self.daemon);
                return;
            }
            "device" => &mut self.devices,
            "door" => &mut self.doors,
            "user" => &mut self.users,
            "grant" => &mut self.grants,
            "recent" => &mut self.recents,
            "counter" => &mut self.counters,
            _ => return,
        };
        list.push(json.to_owned());
    }

    /// One JSON object: `daemon`, `devices`, `doors`, `users`, `grants`, `recents` and, by name, `counters`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn json(&self, out: &mut impl Write) -> fmt::Result {
        write!(out, "{{\"daemon\":{}", self.daemon)?;
        for (name, list) in [
            ("devices", &self.devices),
            ("doors", &self.doors),
            ("users", &self.users),
            ("grants", &self.grants),
            ("recents", &self.recents),
        ] {
            write!(out, ",\"{name}\":[{}]", list.join(","))?;
        }
        out.write_str(",\"counters\":{")?;
        for (n, counter) in self.counters.iter().enumerate() {
            let Fields { name, value, .. } = fields(counter);
            write!(out, "{}\"{name}\":{value}", if n == 0 { "" } else { "," })?;
        }
        out.write_str("}}\n")
    }

    /// For people.
    ///
    /// # Errors
    /// Only `out`'s own.
    pub fn text(&self, out: &mut impl Write) -> fmt::Result {
        let daemon = fields(&self.daemon);
        write!(out, "ketukd {}, up {} s, backend {}", daemon.version, daemon.uptime_seconds, daemon.backend)?;
        if !daemon.table.is_empty() {
            write!(out, " (table {})", daemon.table)?;
        }
        writeln!(out, ", {} knocking now", daemon.knocking)?;
        if daemon.clock_trusted == Some(false) {
            writeln!(out, "the clock is not set: users' knocks are refused until it is")?;
        }
        for device in self.devices.iter().map(|json| fields(json)) {
            writeln!(out, "device {}: {}", device.name, device.state)?;
        }
        for door in self.doors.iter().map(|json| fields(json)) {
            if door.action == "close" {
                writeln!(out, "door {}: {} steps, closes others", door.name, door.steps)?;
                continue;
            }
            let time = door.open_time.map_or("until it is shut".to_owned(), |time| format!("for {time} s"));
            let steps = match door.steps {
                0 => "users only".to_owned(),
                steps => format!("{steps} steps"),
            };
            write!(out, "door {}: {steps}, opens {time}, open for {}", door.name, door.open)?;
            writeln!(
                out,
                "{}",
                if door.firewall == "missing" { ", its firewall sets are MISSING" } else { "" }
            )?;
            if let Some(warning) = door.warning {
                writeln!(out, "  WARNING: {warning}")?;
            }
        }
        for user in self.users.iter().map(|json| fields(json)) {
            match user.seen_seconds_ago {
                Some(ago) => writeln!(out, "user {}: last let in {ago} s ago", user.name)?,
                None => writeln!(out, "user {}: not let in since the start", user.name)?,
            }
        }
        for grant in self.grants.iter().map(|json| fields(json)) {
            let left = match (grant.seconds_left, grant.held) {
                (Some(left), false) => format!("{left} s left"),
                (Some(left), true) => format!("held by its connections, {left} s at most"),
                (None, false) => "until it is shut".to_owned(),
                (None, true) => "held by its connections".to_owned(),
            };
            let door = grant.door.unwrap_or_default();
            write!(out, "open {door} for {}{}: {left}", grant.address, by(grant.user))?;
            match grant.sessions {
                None | Some(0) => {}
                Some(1) => out.write_str(", 1 connection")?,
                Some(sessions) => write!(out, ", {sessions} connections")?,
            }
            writeln!(out, "{}", if grant.in_firewall { "" } else { ", NOT yet in the firewall" })?;
        }
        for recent in self.recents.iter().map(|json| fields(json)) {
            let Fields { address, door, port, stage, steps, reason, times, seconds_ago, user, .. } = recent;
            write!(out, "{seconds_ago} s ago: {address} {}", port.unwrap_or("nothing more"))?;
            if let Some(door) = door {
                write!(out, " at {door}")?;
            }
            let steps = if stage > 0 { format!(" {stage}/{steps}") } else { String::new() };
            write!(out, ":{steps} {reason}{}", by(user))?;
            writeln!(out, "{}", if times > 1 { format!(", {times} times") } else { String::new() })?;
        }
        let counted = self.counters.iter().map(|json| fields(json)).filter(|counter| counter.value > 0);
        let counted: Vec<_> = counted.map(|counter| format!("{} {}", counter.name, counter.value)).collect();
        let none = "nothing yet".to_owned();
        writeln!(out, "packets: {}", if counted.is_empty() { none } else { counted.join(", ") })
    }
}

/// The user, if there is one.
fn by(user: Option<&str>) -> String {
    user.map(|user| format!(", user {user}")).unwrap_or_default()
}

/// A line of `ketukd watch`, for people.
///
/// # Errors
/// Only `out`'s own.
pub fn watch(out: &mut impl Write, kind: &str, json: &str) -> fmt::Result {
    let Fields { address, door, port, stage, steps, judged, event, seconds, reason, user, .. } = fields(json);
    let by = by(user);
    let port = port.unwrap_or_default();
    match (kind, door) {
        ("knock", Some(door)) => write!(out, "{address} {port} {door} {stage}/{steps} {judged}{by}"),
        ("knock", None) => write!(out, "{address} {port} - {judged}{by}"),
        ("event", Some(door)) => {
            write!(out, "{address} {event} {door}")?;
            match seconds {
                Some(0) => {}
                Some(seconds) => write!(out, " {seconds} s")?,
                None => out.write_str(" until it is shut")?,
            }
            write!(out, " ({reason}){by}")
        }
        _ => write!(out, "{kind} {json}"),
    }
}

/// The same as one JSON object: the line's own, with its kind in front.
///
/// # Errors
/// Only `out`'s own.
pub fn watch_json(out: &mut impl Write, kind: &str, json: &str) -> fmt::Result {
    let fields = json.strip_prefix('{').unwrap_or("}");
    write!(out, "{{\"kind\":\"{kind}\",{fields}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        let mut status = Status::default();
        for (kind, json) in [
            (
                "daemon",
                r#"{"version":"1","uptime_seconds":5,"config":"/x","backend":"fw4","table":"inet fw4","knocking":2,"commands_pending":false}"#,
            ),
            ("device", r#"{"name":"wan0","state":"listening"}"#),
            ("door", r#"{"name":"ssh","steps":3,"open_time":30,"open":1,"firewall":"missing"}"#),
            ("user", r#"{"name":"eve","doors":1,"seen_seconds_ago":90}"#),
            ("grant", r#"{"door":"ssh","address":"192.0.2.1","seconds_left":null,"in_firewall":true}"#),
            (
                "recent",
                r#"{"door":"ssh","address":"192.0.2.9","port":"7001:tcp","stage":2,"steps":3,"reason":"trap","times":2,"seconds_ago":7}"#,
            ),
            (
                "recent",
                r#"{"door":"ssh","address":"192.0.2.9","port":null,"stage":1,"steps":3,"reason":"timed_out","times":1,"seconds_ago":8}"#,
            ),
            (
                "recent",
                r#"{"door":null,"user":"eve","address":"192.0.2.9","port":"62201:udp","stage":0,"steps":0,"reason":"auth_age","times":1,"seconds_ago":9}"#,
            ),
            ("counter", r#"{"name":"opened","value":1}"#),
            ("counter", r#"{"name":"trap","value":0}"#),
        ] {
            status.add(kind, json);
        }
        status
    }

    #[test]
    fn status_for_people() {
        let mut text = String::new();
        status().text(&mut text).unwrap();
        assert_eq!(
            text,
            "ketukd 1, up 5 s, backend fw4 (table inet fw4), 2 knocking now\n\
             device wan0: listening\n\
             door ssh: 3 steps, opens for 30 s, open for 1, its firewall sets are MISSING\n\
             user eve: last let in 90 s ago\n\
             open ssh for 192.0.2.1: until it is shut\n\
             7 s ago: 192.0.2.9 7001:tcp at ssh: 2/3 trap, 2 times\n\
             8 s ago: 192.0.2.9 nothing more at ssh: 1/3 timed_out\n\
             9 s ago: 192.0.2.9 62201:udp: auth_age, user eve\n\
             packets: opened 1\n"
        );
    }

    #[test]
    fn status_for_programs() {
        let mut text = String::new();
        status().json(&mut text).unwrap();
        assert!(text.ends_with("\"counters\":{\"opened\":1,\"trap\":0}}\n"), "{text}");
        assert!(text.contains("\"grants\":[{\"door\":\"ssh\""), "{text}");
        assert!(text.contains("\"recents\":[{\"door\":\"ssh\""), "{text}");
    }

    #[test]
    fn knocks_and_events() {
        let line = |kind, json| {
            let (mut text, mut value) = (String::new(), String::new());
            watch(&mut text, kind, json).unwrap();
            watch_json(&mut value, kind, json).unwrap();
            (text, value)
        };
        let (text, value) = line(
            "knock",
            r#"{"address":"192.0.2.1","port":"7000:tcp","door":"ssh","stage":1,"steps":3,"judged":"advanced"}"#,
        );
        assert_eq!(text, "192.0.2.1 7000:tcp ssh 1/3 advanced");
        assert!(value.starts_with(r#"{"kind":"knock","address":"#), "{value}");
        let (text, _) = line(
            "event",
            r#"{"event":"open","door":"ssh","address":"192.0.2.1","seconds":30,"reason":"knock","user":"eve"}"#,
        );
        assert_eq!(text, "192.0.2.1 open ssh 30 s (knock), user eve");
    }
}
