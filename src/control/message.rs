//! The requests and answers on the control socket.

use serde::{Deserialize, Serialize};
use serde_json_core::str::{EscapedStr, EscapedStringFragment};

/// Longest request, in bytes.
pub const MAX_REQUEST: usize = 256;
/// Longest line of an answer, in bytes. An error that quotes a line of the configuration fits.
pub const MAX_LINE: usize = 2048;

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlRequest<'a> {
    /// The kind of the request.
    pub(crate) request: Verb,
    /// The door to open or close.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub(crate) door: Option<&'a str>,
    /// The address to open or close for; `close` without an address shuts the door for everybody.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub(crate) address: Option<&'a str>,
    /// Seconds to open for; `None` means the door's `open_time`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<u32>,
}

/// The kinds of requests.
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
    /// Every door that opens or shuts, until the connection ends.
    Events,
}

impl<'a> ControlRequest<'a> {
    /// A request without arguments.
    pub const fn plain(request: Verb) -> Self {
        Self { request, door: None, address: None, seconds: None }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// The fault in the JSON.
    pub fn parse(line: &'a [u8]) -> Result<Self, serde_json_core::de::Error> {
        serde_json_core::from_slice(line).map(|(request, _)| request)
    }
}

/// `daemon`: the daemon itself.
#[derive(Debug, Serialize)]
pub struct DaemonLine<'a> {
    /// Its version.
    pub(crate) version: &'a str,
    /// Seconds since it started.
    pub(crate) uptime_seconds: u64,
    /// The absolute path of the configuration file.
    pub(crate) config: &'a str,
    /// `fw4`, `nft`, `own`, `iptables` or `none`.
    pub(crate) backend: &'a str,
    /// The nftables table; empty for the other backends.
    pub(crate) table: &'a str,
    /// The number of attempts: sources that have begun to knock, counted once for each door.
    pub(crate) knocking: usize,
    /// Whether commands wait or run.
    pub(crate) commands_pending: bool,
    /// Whether the wall clock can be trusted. Users' packets are refused until then. `None` if there are no users,
    /// because only they need it.
    pub(crate) clock_trusted: Option<bool>,
    /// A sentence, if the process that reads packets is root.
    pub(crate) root: Option<&'a str>,
}

/// `device`: a device that is listened on.
#[derive(Debug, Serialize)]
pub struct DeviceLine<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// `listening`, `waiting` for it to appear, `refused`: the kernel refuses the packet filter, or `port`: another
    /// device takes its packets.
    pub(crate) state: &'a str,
    /// A sentence about a device that is a port of another one: `is a port of ...`.
    pub(crate) text: Option<&'a str>,
}

/// `door`: a door.
#[derive(Debug, Serialize)]
pub struct DoorLine<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// `open`, or `close` for one whose knock shuts others.
    pub(crate) action: &'a str,
    /// Steps of its sequence.
    pub(crate) steps: usize,
    /// Seconds that it opens for; `None`: until it is shut.
    pub(crate) open_time: Option<u64>,
    /// Number of addresses that it is open for.
    pub(crate) open: usize,
    /// `ready`, `missing` (its sets are not in the firewall), or `none` for a door without a firewall part.
    pub(crate) firewall: &'a str,
    /// A sentence if the door is open to everybody, or if another firewall keeps knockers out.
    pub(crate) warning: Option<&'a str>,
}

/// `user`: one user of the configuration, without secrets.
#[derive(Debug, Serialize)]
pub struct UserLine<'a> {
    /// The user's name.
    pub(crate) name: &'a str,
    /// The number of doors that the user may open.
    pub(crate) doors: usize,
    /// Seconds since a packet of this user opened a door; `None` if none has since the start.
    pub(crate) seen_seconds_ago: Option<u64>,
}

/// `grant`: an address that a door is open for.
#[derive(Debug, Serialize)]
pub struct GrantLine<'a> {
    /// The door.
    pub(crate) door: &'a str,
    /// The address.
    pub(crate) address: &'a str,
    /// The port that it may reach, at a door with `any_port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<&'a str>,
    /// The user who opened it last, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<&'a str>,
    /// Seconds left, rounded up; `None`: until it is shut, or until its last connection ends.
    pub(crate) seconds_left: Option<u64>,
    /// Whether its time is over and only its connections keep it open.
    pub(crate) held: bool,
    /// Connections through it; `None` where they cannot be counted.
    pub(crate) sessions: Option<u32>,
    /// Whether it is in the firewall.
    pub(crate) in_firewall: bool,
}

/// `recent`: the judgement of a source's last knock at a door.
#[derive(Debug, Serialize)]
pub struct RecentLine<'a> {
    /// The door; `None` if the knock was for no door.
    pub(crate) door: Option<&'a str>,
    /// The user, if the knock proved one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<&'a str>,
    /// The source address.
    pub(crate) address: &'a str,
    /// The port with its protocol; `None` if the attempt ended because its time was over.
    pub(crate) port: Option<&'a str>,
    /// Steps taken, this knock included; if the attempt ended, the steps before its end.
    pub(crate) stage: u8,
    /// Steps of the door's sequence.
    pub(crate) steps: usize,
    /// The result: the name of the counter that counted it.
    pub(crate) reason: &'a str,
    /// The same as a sentence.
    pub(crate) text: &'a str,
    /// Whether it is a reason why a door did not open.
    pub(crate) failed: bool,
    /// How many times in a row this result came.
    pub(crate) times: u32,
    /// Seconds since then.
    pub(crate) seconds_ago: u64,
}

/// `counter`: the number of events of a kind since the start.
#[derive(Debug, Serialize)]
pub struct CounterLine<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// The number of events.
    pub(crate) value: u64,
}

/// `knock`: the result of a packet, once for each door that it was for.
#[derive(Debug, Serialize)]
pub struct KnockLine<'a> {
    /// The source address.
    pub(crate) address: &'a str,
    /// The port with its protocol; `None` if no knock came.
    pub(crate) port: Option<&'a str>,
    /// The door, if there is one.
    pub(crate) door: Option<&'a str>,
    /// Steps taken now.
    pub(crate) stage: u8,
    /// Steps of the door's sequence.
    pub(crate) steps: u8,
    /// The result: the name of the counter that counted it.
    pub(crate) judged: &'a str,
    /// The same as a sentence.
    pub(crate) text: &'a str,
    /// Whether it is a reason why a door did not open.
    pub(crate) failed: bool,
    /// The user, if the knock proved one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<&'a str>,
}

/// `event`: a door opened or shut.
#[derive(Debug, Serialize)]
pub struct EventLine<'a> {
    /// `open`, `renew`, `close` or `refuse`.
    pub(crate) event: &'a str,
    /// The door.
    pub(crate) door: &'a str,
    /// The address.
    pub(crate) address: &'a str,
    /// The port that opened or shut, at a door with `any_port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<&'a str>,
    /// Seconds from now until it shuts; `None`: until it is shut.
    pub(crate) seconds: Option<u64>,
    /// The reason.
    pub(crate) reason: &'a str,
    /// The same as a sentence.
    pub(crate) text: &'a str,
    /// The user, if the knock proved one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<&'a str>,
}

/// `error`: the request was refused.
#[derive(Debug, Serialize)]
pub struct ErrorReply<'a> {
    /// The exit code for the command line: 1 for a failure, 2 for a wrong configuration.
    pub(crate) code: u8,
    /// The fault.
    pub message: &'a str,
}

/// An [`ErrorReply`] as the client reads it. The message may quote a whole line of the configuration.
#[derive(Debug, Deserialize)]
pub struct ReceivedError<'a> {
    /// The exit code for the command line.
    pub(crate) code: u8,
    /// The fault.
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
        let open = ControlRequest {
            request: Verb::Open,
            door: Some("ssh"),
            address: Some("2001:db8::1"),
            seconds: Some(90),
        };
        for request in [open, ControlRequest::plain(Verb::Status)] {
            let mut buffer = [0; MAX_REQUEST];
            let len = serde_json_core::to_slice(&request, &mut buffer).unwrap();
            assert_eq!(ControlRequest::parse(&buffer[..len]).unwrap(), request);
        }
    }

    #[test]
    fn what_is_no_request_is_an_error() {
        for bad in ["", "{}", "status", r#"{"request":"dance"}"#, r#"{"request":"open","seconds":-1}"#, "[1]"]
        {
            assert!(ControlRequest::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
