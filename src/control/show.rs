//! Prints the daemon's answers: as text for people, or as one JSON value for programs.

use std::fmt::{self, Write};

use super::fields::{Fields, fields};

/// Most failures that [`Status::text`] shows, so that it fits on one screen.
const FAILURES_SHOWN: usize = 8;

/// The lines of the answer to `ketukd status`, by kind.
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

    /// The daemon itself.
    pub(crate) fn daemon(&self) -> Fields<'_> {
        fields(&self.daemon)
    }

    /// The devices that it listens on.
    pub(crate) fn devices(&self) -> impl Iterator<Item = Fields<'_>> {
        self.devices.iter().map(|json| fields(json))
    }

    /// The doors.
    pub(crate) fn doors(&self) -> impl Iterator<Item = Fields<'_>> {
        self.doors.iter().map(|json| fields(json))
    }

    /// The addresses that doors are open for.
    pub(crate) fn grants(&self) -> impl Iterator<Item = Fields<'_>> {
        self.grants.iter().map(|json| fields(json))
    }

    /// The recent judgements, the newest first.
    pub(crate) fn recents(&self) -> impl Iterator<Item = Fields<'_>> {
        self.recents.iter().map(|json| fields(json))
    }

    /// The counters, zeros included.
    pub(crate) fn counters(&self) -> impl Iterator<Item = Fields<'_>> {
        self.counters.iter().map(|json| fields(json))
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
        for (n, Fields { name, value, .. }) in self.counters().enumerate() {
            write!(out, "{}\"{name}\":{value}", if n == 0 { "" } else { "," })?;
        }
        out.write_str("}}\n")
    }

    /// Writes the status as text for people.
    ///
    /// # Errors
    /// Only errors of `out`.
    pub fn text(&self, out: &mut impl Write) -> fmt::Result {
        self.listening(out)?;
        self.grants_text(out)?;
        self.doors_text(out)?;
        for user in self.users.iter().map(|json| fields(json)) {
            match user.seen_seconds_ago {
                Some(ago) => writeln!(out, "user {}: last let in {ago} s ago", user.name)?,
                None => writeln!(out, "user {}: not let in since the start", user.name)?,
            }
        }
        self.failures(out)?;
        let counted = self.counters().filter(|counter| counter.value > 0);
        let counted: Vec<_> = counted.map(|counter| format!("{} {}", counter.name, counter.value)).collect();
        let none = "nothing yet".to_owned();
        writeln!(out, "packets: {}", if counted.is_empty() { none } else { counted.join(", ") })
    }

    /// The daemon, its devices and its backend.
    fn listening(&self, out: &mut impl Write) -> fmt::Result {
        let daemon = self.daemon();
        let (listening, deaf): (Vec<_>, Vec<_>) =
            self.devices().partition(|device| device.state == "listening");
        let names: Vec<_> = listening.iter().map(|device| device.name).collect();
        write!(out, "ketukd {}, up {} s, ", daemon.version, daemon.uptime_seconds)?;
        if names.is_empty() && deaf.iter().any(|device| device.state == "refused") {
            // What the last filter passed is still heard.
            out.write_str("MAY HEAR NOTHING: the kernel refuses a packet filter")?;
        } else if names.is_empty() {
            out.write_str("HEARS NOTHING: the daemon listens on no device")?;
        } else {
            write!(out, "listens on {}", names.join(", "))?;
        }
        write!(out, "; backend {}", daemon.backend)?;
        if !daemon.table.is_empty() {
            write!(out, " (table {})", daemon.table)?;
        }
        writeln!(out, ", {} knocking now", daemon.knocking)?;
        for device in listening.iter().chain(&deaf) {
            if device.text.is_some() {
                writeln!(out, "device {} {}", device.name, device.sentence())?;
            }
        }
        for device in deaf {
            match device.state {
                "port" => {}
                "waiting" => writeln!(out, "device {}: waiting until it is there and up", device.name)?,
                "refused" => writeln!(
                    out,
                    "device {}: refused: the kernel refuses the packet filter, so new knocks may not be heard",
                    device.name
                )?,
                state => writeln!(out, "device {}: {state}", device.name)?,
            }
        }
        if daemon.clock_trusted == Some(false) {
            writeln!(out, "the clock is not set: users' knocks are refused until it is")?;
        }
        if let Some(why) = daemon.root() {
            writeln!(out, "{why}")?;
        }
        Ok(())
    }

    /// The open doors, with the addresses that they are open for.
    fn grants_text(&self, out: &mut impl Write) -> fmt::Result {
        if self.grants.is_empty() {
            writeln!(out, "no door is open")?;
        }
        for grant in self.grants() {
            let left = match (grant.seconds_left, grant.held) {
                (Some(left), false) => format!("{left} s left"),
                (Some(left), true) => format!("held by its connections, {left} s at most"),
                (None, false) => "until it is shut".to_owned(),
                (None, true) => "held by its connections".to_owned(),
            };
            let door = grant.door.unwrap_or_default();
            let port = grant.port.map_or_else(String::new, |port| format!(", port {port}"));
            write!(out, "open {door} for {}{port}{}: {left}", grant.address, by(grant.user))?;
            match grant.sessions {
                None | Some(0) => {}
                Some(1) => out.write_str(", 1 connection")?,
                Some(sessions) => write!(out, ", {sessions} connections")?,
            }
            writeln!(out, "{}", if grant.in_firewall { "" } else { ", NOT yet in the firewall" })?;
        }
        Ok(())
    }

    fn doors_text(&self, out: &mut impl Write) -> fmt::Result {
        for door in self.doors() {
            let time = door.open_time.map_or("until it is shut".to_owned(), |time| format!("for {time} s"));
            let steps = match door.steps {
                0 => "users only".to_owned(),
                1 => "1 step".to_owned(),
                steps => format!("{steps} steps"),
            };
            if door.action == "close" {
                writeln!(out, "door {}: {steps}, closes others", door.name)?;
                continue;
            }
            let missing = if door.firewall == "missing" { ", its firewall sets are MISSING" } else { "" };
            writeln!(out, "door {}: {steps}, opens {time}, open for {}{missing}", door.name, door.open)?;
            if let Some(warning) = door.warning {
                writeln!(out, "  WARNING: {warning}")?;
            }
        }
        Ok(())
    }

    /// The latest failures, the newest first.
    fn failures(&self, out: &mut impl Write) -> fmt::Result {
        let mut failures = self.recents().filter(|recent| recent.failed);
        let shown: Vec<_> = failures.by_ref().take(FAILURES_SHOWN).collect();
        if !shown.is_empty() {
            writeln!(out, "recent failures:")?;
        }
        for recent in shown {
            write!(out, "  {} s ago, {}", recent.seconds_ago, recent.address)?;
            if let Some(door) = recent.door {
                write!(out, ", door {door}")?;
            }
            write!(out, "{}: {}", by(recent.user), recent.sentence())?;
            writeln!(
                out,
                "{}",
                if recent.times > 1 { format!(", {} times", recent.times) } else { String::new() }
            )?;
        }
        match failures.count() {
            0 => Ok(()),
            more => writeln!(out, "  and {more} more: 'ketukd status --json' has them"),
        }
    }
}

/// The user in words; empty without one.
fn by(user: Option<&str>) -> String {
    user.map(|user| format!(", user {user}")).unwrap_or_default()
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
            ("device", r#"{"name":"wan1","state":"waiting"}"#),
            ("device", r#"{"name":"lan1","state":"port","text":"is a port of bridge br0"}"#),
            ("door", r#"{"name":"ssh","steps":3,"open_time":30,"open":1,"firewall":"missing"}"#),
            ("door", r#"{"name":"out","action":"close","steps":1}"#),
            ("user", r#"{"name":"eve","doors":1,"seen_seconds_ago":90}"#),
            ("grant", r#"{"door":"ssh","address":"192.0.2.1","seconds_left":null,"in_firewall":true}"#),
            (
                "recent",
                r#"{"door":"ssh","address":"192.0.2.9","port":"7001:tcp","stage":2,"steps":3,"reason":"trap","text":"a \"foreign\" port","failed":true,"times":2,"seconds_ago":7}"#,
            ),
            (
                "recent",
                r#"{"door":"ssh","address":"192.0.2.8","port":"7000:tcp","stage":1,"steps":3,"reason":"advanced","text":"right","failed":false,"times":1,"seconds_ago":7}"#,
            ),
            (
                "recent",
                r#"{"door":"ssh","address":"192.0.2.9","port":null,"stage":1,"steps":3,"reason":"timed_out","failed":true,"times":1,"seconds_ago":8}"#,
            ),
            (
                "recent",
                r#"{"door":null,"user":"eve","address":"192.0.2.9","port":"62201:udp","stage":0,"steps":0,"reason":"auth_age","text":"not opened: too old","failed":true,"times":1,"seconds_ago":9}"#,
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
            "ketukd 1, up 5 s, listens on wan0; backend fw4 (table inet fw4), 2 knocking now\n\
             device lan1 is a port of bridge br0\n\
             device wan1: waiting until it is there and up\n\
             open ssh for 192.0.2.1: until it is shut\n\
             door ssh: 3 steps, opens for 30 s, open for 1, its firewall sets are MISSING\n\
             door out: 1 step, closes others\n\
             user eve: last let in 90 s ago\n\
             recent failures:\n  \
               7 s ago, 192.0.2.9, door ssh: a \"foreign\" port, 2 times\n  \
               8 s ago, 192.0.2.9, door ssh: timed_out\n  \
               9 s ago, 192.0.2.9, user eve: not opened: too old\n\
             packets: opened 1\n"
        );
    }

    #[test]
    fn status_of_a_daemon_that_hears_nothing() {
        let mut status = Status::default();
        status.add("daemon", r#"{"version":"1","uptime_seconds":5,"backend":"own"}"#);
        for _ in 0..20 {
            status.add("recent", r#"{"address":"192.0.2.9","reason":"auth_form","failed":true,"times":1}"#);
        }
        let mut text = String::new();
        status.text(&mut text).unwrap();
        assert!(text.contains("HEARS NOTHING: the daemon listens on no device;"), "{text}");
        assert!(text.contains("\nno door is open\n"), "{text}");
        assert!(text.contains("\n  and 12 more: "), "{text}");
        assert!(text.lines().count() < 24, "{text}");
    }

    #[test]
    fn status_for_programs() {
        let mut text = String::new();
        status().json(&mut text).unwrap();
        assert!(text.ends_with("\"counters\":{\"opened\":1,\"trap\":0}}\n"), "{text}");
        assert!(text.contains("\"grants\":[{\"door\":\"ssh\""), "{text}");
        assert!(text.contains("\"recents\":[{\"door\":\"ssh\""), "{text}");
    }
}
