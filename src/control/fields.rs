//! The fields of the daemon's answers, as the client reads them.

use super::json::Object;

/// The fields of all kinds of lines. Each kind has some of them.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    pub(crate) version: &'a str,
    pub(crate) uptime_seconds: u64,
    #[cfg_attr(not(feature = "doctor"), expect(dead_code, reason = "only the doctor reads it"))]
    pub(crate) config: &'a str,
    pub(crate) backend: &'a str,
    pub(crate) table: &'a str,
    pub(crate) knocking: u64,
    pub(crate) clock_trusted: Option<bool>,
    pub(crate) root: Option<String>,
    pub(crate) name: &'a str,
    pub(crate) state: &'a str,
    pub(crate) action: &'a str,
    pub(crate) steps: u8,
    pub(crate) open_time: Option<u64>,
    pub(crate) open: u64,
    pub(crate) firewall: &'a str,
    pub(crate) warning: Option<&'a str>,
    pub(crate) door: Option<&'a str>,
    pub(crate) address: &'a str,
    pub(crate) seconds_left: Option<u64>,
    pub(crate) held: bool,
    pub(crate) sessions: Option<u64>,
    pub(crate) in_firewall: bool,
    pub(crate) times: u64,
    pub(crate) seconds_ago: u64,
    pub(crate) seen_seconds_ago: Option<u64>,
    pub(crate) value: u64,
    pub(crate) port: Option<&'a str>,
    pub(crate) stage: u8,
    pub(crate) judged: &'a str,
    pub(crate) event: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) text: Option<String>,
    pub(crate) failed: bool,
    pub(crate) user: Option<&'a str>,
}

/// Reads a line of an answer.
pub(super) fn fields(json: &str) -> Fields<'_> {
    // Members of a newer daemon that are not known here are left out.
    let json = Object::parse(json).unwrap_or_default();
    let text = |name| json.raw(name).unwrap_or_default();
    let number = |name| json.number(name).unwrap_or_default();
    let small = |name| number(name).try_into().unwrap_or_default();
    Fields {
        version: text("version"),
        uptime_seconds: number("uptime_seconds"),
        config: text("config"),
        backend: text("backend"),
        table: text("table"),
        knocking: number("knocking"),
        clock_trusted: json.get("clock_trusted").map(|flag| flag == "true"),
        root: json.text("root"),
        name: text("name"),
        state: text("state"),
        action: text("action"),
        steps: small("steps"),
        open_time: json.number("open_time"),
        open: number("open"),
        firewall: text("firewall"),
        warning: json.raw("warning"),
        door: json.raw("door"),
        address: text("address"),
        seconds_left: json.number("seconds_left"),
        held: json.is("held"),
        sessions: json.number("sessions"),
        in_firewall: json.is("in_firewall"),
        times: number("times"),
        seconds_ago: number("seconds_ago"),
        seen_seconds_ago: json.number("seen_seconds_ago"),
        value: number("value"),
        port: json.raw("port"),
        stage: small("stage"),
        judged: text("judged"),
        event: text("event"),
        reason: text("reason"),
        text: json.text("text"),
        failed: json.is("failed"),
        user: json.raw("user"),
    }
}

impl Fields<'_> {
    /// Why the daemon's process is root; `None` if it is not.
    pub(crate) fn root(&self) -> Option<String> {
        self.root.clone()
    }

    /// The sentence, or the short name if an older daemon sends no sentence.
    pub(crate) fn sentence(&self) -> String {
        let name = if self.judged.is_empty() { self.reason } else { self.judged };
        self.text.clone().unwrap_or_else(|| name.to_owned())
    }
}
