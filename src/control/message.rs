//! The answers on the control socket.

use super::json::{Object, Writer};

/// Longest request, in bytes.
pub const MAX_REQUEST: usize = 256;
/// Longest line of an answer, in bytes. An error that quotes a line of the configuration fits.
pub const MAX_LINE: usize = 2048;

/// A line of an answer.
pub trait Line {
    /// Writes the line's members.
    fn write(&self, to: &mut Writer);

    /// The line's text.
    fn json(&self) -> String {
        let mut to = Writer::default();
        self.write(&mut to);
        to.end()
    }
}

/// `daemon`: the daemon itself.
#[derive(Debug)]
pub struct DaemonLine<'a> {
    /// Its version.
    pub(crate) version: &'a str,
    /// Seconds since it started.
    pub(crate) uptime_seconds: u64,
    /// The configuration file.
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

impl Line for DaemonLine<'_> {
    fn write(&self, to: &mut Writer) {
        to.add("version", self.version)
            .add("uptime_seconds", self.uptime_seconds)
            .add("config", self.config)
            .add("backend", self.backend)
            .add("table", self.table)
            .add("knocking", self.knocking)
            .add("commands_pending", self.commands_pending)
            .add("clock_trusted", self.clock_trusted)
            .add("root", self.root);
    }
}

/// `device`: a device that is listened on.
#[derive(Debug)]
pub struct DeviceLine<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// `listening`, `waiting` for it to appear, `refused`: the kernel refuses the packet filter, or `port`: another
    /// device takes its packets.
    pub(crate) state: &'a str,
    /// A sentence about a device that is a port of another one: `is a port of ...`.
    pub(crate) text: Option<&'a str>,
}

impl Line for DeviceLine<'_> {
    fn write(&self, to: &mut Writer) {
        to.add("name", self.name).add("state", self.state).add("text", self.text);
    }
}

/// `door`: a door.
#[derive(Debug)]
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

impl Line for DoorLine<'_> {
    fn write(&self, to: &mut Writer) {
        to.add("name", self.name)
            .add("action", self.action)
            .add("steps", self.steps)
            .add("open_time", self.open_time)
            .add("open", self.open)
            .add("firewall", self.firewall)
            .add("warning", self.warning);
    }
}

/// `user`: one user of the configuration, without secrets.
#[derive(Debug)]
pub struct UserLine<'a> {
    /// The user's name.
    pub(crate) name: &'a str,
    /// The number of doors that the user may open.
    pub(crate) doors: usize,
    /// Seconds since a packet of this user opened a door; `None` if none has since the start.
    pub(crate) seen_seconds_ago: Option<u64>,
}

impl Line for UserLine<'_> {
    fn write(&self, to: &mut Writer) {
        to.add("name", self.name).add("doors", self.doors).add("seen_seconds_ago", self.seen_seconds_ago);
    }
}

/// `grant`: an address that a door is open for.
#[derive(Debug)]
pub struct GrantLine<'a> {
    /// The door.
    pub(crate) door: &'a str,
    /// The address.
    pub(crate) address: &'a str,
    /// The port that it may reach, at a door with `any_port`.
    pub(crate) port: Option<&'a str>,
    /// The user who opened it last, if one did.
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

impl Line for GrantLine<'_> {
    fn write(&self, to: &mut Writer) {
        to.add("door", self.door)
            .add("address", self.address)
            .add_some("port", self.port)
            .add_some("user", self.user)
            .add("seconds_left", self.seconds_left)
            .add("held", self.held)
            .add("sessions", self.sessions)
            .add("in_firewall", self.in_firewall);
    }
}

/// `recent`: the judgement of a source's last knock at a door.
#[derive(Debug)]
pub struct RecentLine<'a> {
    /// The door; `None` if the knock was for no door.
    pub(crate) door: Option<&'a str>,
    /// The user, if the knock proved one.
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

impl Line for RecentLine<'_> {
    fn write(&self, to: &mut Writer) {
        to.add("door", self.door)
            .add_some("user", self.user)
            .add("address", self.address)
            .add("port", self.port)
            .add("stage", self.stage)
            .add("steps", self.steps)
            .add("reason", self.reason)
            .add("text", self.text)
            .add("failed", self.failed)
            .add("times", self.times)
            .add("seconds_ago", self.seconds_ago);
    }
}

/// `counter`: the number of events of a kind since the start.
#[derive(Debug)]
pub struct CounterLine<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// The number of events.
    pub(crate) value: u64,
}

impl Line for CounterLine<'_> {
    fn write(&self, to: &mut Writer) {
        to.add("name", self.name).add("value", self.value);
    }
}

/// `knock`: the result of a packet, once for each door that it was for.
#[derive(Debug)]
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
    pub(crate) user: Option<&'a str>,
}

impl Line for KnockLine<'_> {
    fn write(&self, to: &mut Writer) {
        to.add("address", self.address)
            .add("port", self.port)
            .add("door", self.door)
            .add("stage", self.stage)
            .add("steps", self.steps)
            .add("judged", self.judged)
            .add("text", self.text)
            .add("failed", self.failed)
            .add_some("user", self.user);
    }
}

/// `event`: a door opened or shut.
#[derive(Debug)]
pub struct EventLine<'a> {
    /// `open`, `renew`, `close` or `refuse`.
    pub(crate) event: &'a str,
    /// The door.
    pub(crate) door: &'a str,
    /// The address.
    pub(crate) address: &'a str,
    /// The port that opened or shut, at a door with `any_port`.
    pub(crate) port: Option<&'a str>,
    /// Seconds from now until it shuts; `None`: until it is shut.
    pub(crate) seconds: Option<u64>,
    /// The reason.
    pub(crate) reason: &'a str,
    /// The same as a sentence.
    pub(crate) text: &'a str,
    /// The user, if the knock proved one.
    pub(crate) user: Option<&'a str>,
}

impl Line for EventLine<'_> {
    fn write(&self, to: &mut Writer) {
        to.add("event", self.event)
            .add("door", self.door)
            .add("address", self.address)
            .add_some("port", self.port)
            .add("seconds", self.seconds)
            .add("reason", self.reason)
            .add("text", self.text)
            .add_some("user", self.user);
    }
}

/// `error`: the request was refused.
#[derive(Debug)]
pub struct ErrorReply<'a> {
    /// The exit code for the command line: 1 for a failure, 2 for a wrong configuration.
    pub(crate) code: u8,
    /// The fault.
    pub message: &'a str,
}

impl Line for ErrorReply<'_> {
    fn write(&self, to: &mut Writer) {
        to.add("code", self.code).add("message", self.message);
    }
}

/// The code and the message of an [`ErrorReply`], as the client reads it.
pub fn read_error(json: &str) -> Option<(u8, String)> {
    let object = Object::parse(json)?;
    Some((object.get("code")?.parse().ok()?, object.text("message")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_may_say_anything() {
        let message =
            "ketuk:3:9: unknown option 'dest_prot'\n    3 | \toption dest_prot \"22\"\n\u{7}\\ \u{e9}";
        let json = ErrorReply { code: 2, message }.json();
        assert_eq!(read_error(&json), Some((2, message.to_owned())));
    }
}
