//! The requests and answers on the control socket.

use serde::{Deserialize, Serialize};
use serde_json_core::str::{EscapedStr, EscapedStringFragment};

/// Longest request, in bytes.
pub const MAX_REQUEST: usize = 256;
/// Longest line of an answer, in bytes. An error that quotes a line of the configuration fits.
pub const MAX_LINE: usize = 2048;

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request<'a> {
    /// What to do.
    pub request: Verb,
    /// The door to open or close.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub door: Option<&'a str>,
    /// The address to open or close for; without it, `close` shuts the door for everybody.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub address: Option<&'a str>,
    /// Seconds to open for; without it the door's `open_time`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// The state of the daemon.
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
    /// Number of attempts: sources that have begun to knock, counted once for each door.
    pub knocking: usize,
    /// Whether commands wait or run.
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
    /// Seconds that it opens for; `None`: until it is shut.
    pub open_time: Option<u64>,
    /// Number of addresses that it is open for.
    pub open: usize,
    /// `ready`, `missing` (its sets are not in the firewall), or `none` for a door without a firewall part.
    pub firewall: &'a str,
    /// That the door is open to everybody, or that another firewall keeps out whoever knocked; in words.
    pub warning: Option<&'a str>,
}

/// `user`: somebody with a secret of his own.
#[derive(Debug, Serialize)]
pub struct User<'a> {
    /// His name.
    pub name: &'a str,
    /// How many doors he may open.
    pub doors: usize,
    /// Seconds since a knock of this user opened a door; `None`: not since the start.
    pub seen_seconds_ago: Option<u64>,
}

/// `grant`: an address that a door is open for.
#[derive(Debug, Serialize)]
pub struct Grant<'a> {
    /// The door.
    pub door: &'a str,
    /// The address.
    pub address: &'a str,
    /// The user who opened it last, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    /// Seconds left, rounded up; `None`: until it is shut, or until its last connection ends.
    pub seconds_left: Option<u64>,
    /// Whether its time is over and only its connections keep it open.
    pub held: bool,
    /// Connections through it; `None` where they cannot be counted.
    pub sessions: Option<u32>,
    /// Whether it is in the firewall.
    pub in_firewall: bool,
}

/// `recent`: how a source's last knock at a door was judged.
#[derive(Debug, Serialize)]
pub struct Recent<'a> {
    /// The door; `None` if the knock was for no door.
    pub door: Option<&'a str>,
    /// The user, if the knock proved one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    /// The source address.
    pub address: &'a str,
    /// The port with its protocol; `None` if the attempt ended because its time was over.
    pub port: Option<&'a str>,
    /// Steps taken, this knock included; if the attempt ended, the steps before its end.
    pub stage: u8,
    /// Steps of the door's sequence.
    pub steps: usize,
    /// Why: the name of the counter that counted it.
    pub reason: &'a str,
    /// How many times in a row this result came.
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

/// `knock`: the result of a packet, once for each door that it was for.
#[derive(Debug, Serialize)]
pub struct Knock<'a> {
    /// The source address.
    pub address: &'a str,
    /// The port with its protocol.
    pub port: &'a str,
    /// The door, if there is one.
    pub door: Option<&'a str>,
    /// Steps taken now.
    pub stage: u8,
    /// Steps of the door's sequence.
    pub steps: u8,
    /// Why: the name of the counter that counted it.
    pub judged: &'a str,
    /// The user, if the knock proved one.
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
    /// The address.
    pub address: &'a str,
    /// Seconds from now until it shuts; `None`: until it is shut.
    pub seconds: Option<u64>,
    /// Why.
    pub reason: &'a str,
    /// The user, if the knock proved one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
}

/// `error`: the request was refused.
#[derive(Debug, Serialize)]
pub struct ErrorReply<'a> {
    /// The exit code for the command line: 1 for a failure, 2 for a wrong configuration.
    pub code: u8,
    /// What was wrong.
    pub message: &'a str,
}

/// An [`ErrorReply`] as the client reads it. The message may quote a whole line of the configuration.
#[derive(Debug, Deserialize)]
pub struct ReceivedError<'a> {
    /// As above.
    pub code: u8,
    /// As above.
    #[serde(borrow)]
    pub message: EscapedStr<'a>,
}

/// The text of a JSON string; `None` if an escape in it is not valid JSON.
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
