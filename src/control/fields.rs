//! The fields of the daemon's answers, as the client reads them.

use serde::Deserialize;
use serde_json_core::str::EscapedStr;

use super::message::unescaped;

/// The fields of all kinds of lines. Each kind has some of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Fields<'a> {
    pub(crate) version: &'a str,
    pub(crate) uptime_seconds: u64,
    pub(crate) config: &'a str,
    pub(crate) backend: &'a str,
    pub(crate) table: &'a str,
    pub(crate) knocking: u64,
    pub(crate) clock_trusted: Option<bool>,
    pub(crate) root: Option<EscapedStr<'a>>,
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
    pub(crate) text: Option<EscapedStr<'a>>,
    pub(crate) failed: bool,
    pub(crate) user: Option<&'a str>,
}

/// Reads a line of an answer.
pub(super) fn fields(json: &str) -> Fields<'_> {
    // Fields of a newer daemon that are not known here are left out.
    serde_json_core::from_str(json).map(|(fields, _)| fields).unwrap_or_default()
}

impl Fields<'_> {
    /// Why the daemon's process is root; `None` if it is not.
    pub(crate) fn root(&self) -> Option<String> {
        self.root.and_then(unescaped)
    }

    /// The sentence, or the short name if an older daemon sends no sentence.
    pub(crate) fn sentence(&self) -> String {
        let name = if self.judged.is_empty() { self.reason } else { self.judged };
        self.text.and_then(unescaped).unwrap_or_else(|| name.to_owned())
    }
}
