//! The rows of `ketukd watch` and `ketukd explain`.

use std::fmt::{self, Write};

use super::fields::fields;

/// A line of `ketukd watch` or `ketukd explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnockRow<'a> {
    /// The time of day, in seconds since midnight.
    pub(crate) second: u32,
    /// The address that knocked.
    pub(crate) from: &'a str,
    /// The port, as `7000:tcp`; empty if the row is not about a knock.
    pub(crate) port: &'a str,
    /// The door; empty if the row is not about one.
    pub(crate) door: &'a str,
    /// Steps taken, as `1/3`; empty without steps.
    pub(crate) step: &'a str,
    /// The result, as a sentence.
    pub(crate) text: &'a str,
}

/// Whether a row tells of success or of failure, for colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// A door opened.
    Good,
    /// A door did not open.
    Bad,
    /// Neither.
    Plain,
}

impl Tone {
    /// The escape sequence that begins this colour; empty for the terminal's own.
    pub const fn begin(self) -> &'static str {
        match self {
            Self::Good => "\x1b[32m",
            Self::Bad => "\x1b[31m",
            Self::Plain => "",
        }
    }

    /// The escape sequence that ends it.
    pub const fn end(self) -> &'static str {
        match self {
            Self::Plain => "",
            _ => "\x1b[0m",
        }
    }
}

/// The heading of the rows.
pub const HEADING: &str = "TIME     FROM            PORT      DOOR     STEP  RESULT";

impl fmt::Display for KnockRow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { second, from, port, door, step, text } = self;
        let (hours, minutes, seconds) = (second / 3600, second / 60 % 60, second % 60);
        let or_dash = |word: &str| if word.is_empty() { "-".to_owned() } else { word.replace(':', "/") };
        let (port, door, step) = (or_dash(port), or_dash(door), or_dash(step));
        write!(f, "{hours:02}:{minutes:02}:{seconds:02} {from:<15} {port:<9} {door:<8} {step:<5} {text}")
    }
}

/// A line of the daemon's answer to `watch`, for people, at this second of the day.
pub fn watch(second: u32, kind: &str, json: &str) -> (Tone, String) {
    let fields = fields(json);
    let step = if fields.steps > 0 { format!("{}/{}", fields.stage, fields.steps) } else { String::new() };
    let user = fields.user.map_or_else(String::new, |user| format!("user {user}: "));
    let text = format!("{user}{}", fields.sentence());
    let tone = match (kind, fields.event) {
        ("event", "open" | "renew") => Tone::Good,
        ("event", "refuse") => Tone::Bad,
        _ if fields.failed => Tone::Bad,
        _ => Tone::Plain,
    };
    let row = KnockRow {
        second,
        from: fields.address,
        port: fields.port.unwrap_or_default(),
        door: fields.door.unwrap_or_default(),
        step: &step,
        text: &text,
    };
    (tone, row.to_string())
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

    #[test]
    fn knocks_and_events() {
        let line = |kind, json| {
            let mut value = String::new();
            watch_json(&mut value, kind, json).unwrap();
            (watch(3723, kind, json), value)
        };
        let ((tone, text), value) = line(
            "knock",
            r#"{"address":"192.0.2.1","port":"9000:tcp","door":"ssh","stage":0,"steps":3,"judged":"wrong_step","text":"step 2 of 3 is 8000/udp","failed":true}"#,
        );
        assert_eq!(text, "01:02:03 192.0.2.1       9000/tcp  ssh      0/3   step 2 of 3 is 8000/udp");
        assert_eq!(tone, Tone::Bad);
        assert!(value.starts_with(r#"{"kind":"knock","address":"#), "{value}");
        let ((tone, text), _) = line(
            "event",
            r#"{"event":"open","door":"ssh","address":"192.0.2.1","seconds":30,"reason":"user","text":"opened for 30 s by the user","user":"eve"}"#,
        );
        assert_eq!(
            text,
            "01:02:03 192.0.2.1       -         ssh      -     user eve: opened for 30 s by the user"
        );
        assert_eq!(tone, Tone::Good);
        let ((_, text), _) = line("knock", r#"{"address":"192.0.2.1","judged":"no_door"}"#);
        assert!(text.ends_with(" no_door"), "an older daemon's word: {text}");
    }
}
