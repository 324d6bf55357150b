//! What is said over the control socket.

use serde::{Deserialize, Serialize};
use serde_json_core::str::{EscapedStr, EscapedStringFragment};

/// Longest request, in bytes.
pub const MAX_REQUEST: usize = 256;
/// Longest line of an answer, in bytes: an error that quotes a line of the configuration fits.
pub const MAX_LINE: usize = 2048;

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request<'a> {
    /// What to do.
    pub request: Verb,
    /// The door to open or close.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub door: Option<&'a str>,
    /// For whom; closing without it closes for everybody.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub address: Option<&'a str>,
    /// For how long to open; the door's `open_time` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Everything there is to know.
    Status,
    /// Open a door by hand.
    Open,
    /// Shut a door.
    Close,
    /// Read the configuration anew.
    Reload,
    /// Every knock as it is judged, until the connection ends.
    Watch,
}

impl<'a> Request<'a> {
    /// A request without arguments.
    pub const fn plain(request: Verb) -> Self {
        Self { request, door: None, address: None, seconds: None }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// What is wrong with the JSON.
    pub fn parse(line: &'a [u8]) -> Result<Self, serde_json_core::de::Error> {
        serde_json_core::from_slice(line).map(|(request, _)| request)
    }
}

/// `daemon`: the daemon itself.
#[derive(Debug, Serialize)]
pub struct Daemon<'a> {
    /// Its version.
    pub version: &'a str,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// The configuration file.
    pub config: &'a str,
    /// `fw4`, `nft`, `iptables` or `none`.
    pub backend: &'a str,
    /// The nftables table; empty for the other backends.
    pub table: &'a str,
    /// Sources that have begun to knock, counted once a door.
    pub knocking: usize,
    /// Commands that wait or run.
    pub commands_pending: bool,
    /// Whether the wall clock can be believed: users' knocks are refused until it can. None: there are no users, and
    /// nothing else needs it.
    pub clock_trusted: Option<bool>,
}

/// `device`: a device that is listened on.
#[derive(Debug, Serialize)]
pub struct Device<'a> {
    /// Its name.
    pub name: &'a str,
    /// `listening`, `waiting` for it to appear, or `refused`: the kernel refuses the packet filter.
    pub state: &'a str,
}

/// `door`: a door.
#[derive(Debug, Serialize)]
pub struct Door<'a> {
    /// Its name.
    pub name: &'a str,
    /// `open`, or `close` for one whose knock shuts others.
    pub action: &'a str,
    /// Steps of its sequence.
    pub steps: usize,
    /// Seconds it opens for; none: until it is shut.
    pub open_time: Option<u64>,
    /// For how many addresses it is open.
    pub open: usize,
    /// `ready`, `missing` (its sets are not in the firewall), or `none` for a door without a firewall part.
    pub firewall: &'a str,
}

/// `user`: somebody with a secret of his own.
#[derive(Debug, Serialize)]
pub struct User<'a> {
    /// His name.
    pub name: &'a str,
    /// How many doors he may open.
    pub doors: usize,
    /// Seconds since a knock of his opened something; none: not since the start.
    pub seen_seconds_ago: Option<u64>,
}

/// `grant`: somebody who is in.
#[derive(Debug, Serialize)]
pub struct Grant<'a> {
    /// The door.
    pub door: &'a str,
    /// For whom.
    pub address: &'a str,
    /// Who opened it last, if he proved who he is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    /// Seconds left, rounded up; none: until it is shut, or until its last connection ends.
    pub seconds_left: Option<u64>,
    /// Whether it is over, and only its connections hold it open.
    pub held: bool,
    /// Connections through it; none where they cannot be counted.
    pub sessions: Option<u32>,
    /// Whether the firewall has it.
    pub in_firewall: bool,
}

/// `recent`: how a source's last knock at a door was judged.
#[derive(Debug, Serialize)]
pub struct Recent<'a> {
    /// The door; none if it concerned none.
    pub door: Option<&'a str>,
    /// Whose knock it was, if he proved who he is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    /// Who knocked.
    pub address: &'a str,
    /// At which port, with its protocol; none if nothing came in time.
    pub port: Option<&'a str>,
    /// Steps taken: with this knock, or before the one that ended the attempt.
    pub stage: u8,
    /// Steps of the door's sequence.
    pub steps: usize,
    /// Why: the name of the counter that counted it.
    pub reason: &'a str,
    /// How often in a row.
    pub times: u32,
    /// Seconds since then.
    pub seconds_ago: u64,
}

/// `counter`: how often something happened since start.
#[derive(Debug, Serialize)]
pub struct Counter<'a> {
    /// Its name.
    pub name: &'a str,
    /// How often.
    pub value: u64,
}

/// `knock`: a packet as it was judged, once for each door that it concerned.
#[derive(Debug, Serialize)]
pub struct Knock<'a> {
    /// Who knocked.
    pub address: &'a str,
    /// At which port, with its protocol.
    pub port: &'a str,
    /// At which door, if any.
    pub door: Option<&'a str>,
    /// Steps taken now.
    pub stage: u8,
    /// Steps of the door's sequence.
    pub steps: u8,
    /// Why: the name of the counter that counted it.
    pub judged: &'a str,
    /// Who knocked, if he proved who he is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
}

/// `event`: a door opened or shut.
#[derive(Debug, Serialize)]
pub struct Event<'a> {
    /// `open`, `renew`, `close` or `refuse`.
    pub event: &'a str,
    /// The door.
    pub door: &'a str,
    /// For whom.
    pub address: &'a str,
    /// Seconds from now until it shuts; none: until it is shut.
    pub seconds: Option<u64>,
    /// Why.
    pub reason: &'a str,
    /// Whose knock it was, if he proved who he is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
}

/// `error`: the request was refused.
#[derive(Debug, Serialize)]
pub struct ErrorReply<'a> {
    /// The exit code for the command line: 1 it failed, 2 the configuration is wrong.
    pub code: u8,
    /// What was wrong.
    pub message: &'a str,
}

/// The same, as it is read: the message may quote a whole line of the configuration.
#[derive(Debug, Deserialize)]
pub struct ReceivedError<'a> {
    /// As above.
    pub code: u8,
    /// As above.
    #[serde(borrow)]
    pub message: EscapedStr<'a>,
}

/// What a JSON string says; `None` if an escape in it is none of JSON's.
pub fn unescaped(string: EscapedStr<'_>) -> Option<String> {
    let mut text = String::with_capacity(string.0.len());
    for fragment in string.fragments() {
        match fragment.ok()? {
            EscapedStringFragment::NotEscaped(piece) => text.push_str(piece),
            EscapedStringFragment::Escaped(character) => text.push(character),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_may_say_anything() {
        let message =
            "ketuk:3:9: unknown option 'dest_prot'\n    3 | \toption dest_prot \"22\"\n\u{7}\\ \u{e9}";
        let mut buffer = [0; 512];
        let len = serde_json_core::to_slice(&ErrorReply { code: 2, message }, &mut buffer).unwrap();
        let (read, _) = serde_json_core::from_slice::<ReceivedError<'_>>(&buffer[..len]).unwrap();
        assert_eq!((read.code, unescaped(read.message).as_deref()), (2, Some(message)));
        assert_eq!(unescaped(EscapedStr(r"\x")), None);
    }

    #[test]
    fn requests_survive_the_way_over_the_socket() {
        let open = Request {
            request: Verb::Open,
            door: Some("ssh"),
            address: Some("2001:db8::1"),
            seconds: Some(90),
        };
        for request in [open, Request::plain(Verb::Status)] {
            let mut buffer = [0; MAX_REQUEST];
            let len = serde_json_core::to_slice(&request, &mut buffer).unwrap();
            assert_eq!(Request::parse(&buffer[..len]).unwrap(), request);
        }
    }

    #[test]
    fn what_is_no_request_is_an_error() {
        for bad in ["", "{}", "status", r#"{"request":"dance"}"#, r#"{"request":"open","seconds":-1}"#, "[1]"]
        {
            assert!(Request::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
