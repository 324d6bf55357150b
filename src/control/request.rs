//! The requests on the control socket.

use super::json::{Object, Writer};

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlRequest<'a> {
    /// The kind of the request.
    pub(crate) request: Verb,
    /// The door to open or close.
    pub(crate) door: Option<&'a str>,
    /// The address to open or close for; `close` without an address shuts the door for everybody.
    pub(crate) address: Option<&'a str>,
    /// Seconds to open for; `None` means the door's `open_time`.
    pub(crate) seconds: Option<u32>,
}

/// The kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl Verb {
    /// All of them.
    const ALL: [Self; 6] = [Self::Status, Self::Open, Self::Close, Self::Reload, Self::Watch, Self::Events];

    const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Open => "open",
            Self::Close => "close",
            Self::Reload => "reload",
            Self::Watch => "watch",
            Self::Events => "events",
        }
    }
}

impl<'a> ControlRequest<'a> {
    /// A request without arguments.
    pub const fn plain(request: Verb) -> Self {
        Self { request, door: None, address: None, seconds: None }
    }

    /// Reads a request. `None` if it is none.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let object = Object::parse(str::from_utf8(line).ok()?)?;
        let verb = object.raw("request")?;
        // A value of the wrong kind is a mistake, and does not count as none.
        let text = |name| object.get(name).map(|_| object.raw(name).ok_or(())).transpose();
        let seconds = object.get("seconds").map(str::parse).transpose();
        Some(Self {
            request: Verb::ALL.into_iter().find(|known| known.name() == verb)?,
            door: text("door").ok()?,
            address: text("address").ok()?,
            seconds: seconds.ok()?,
        })
    }

    /// The request's text.
    pub fn json(&self) -> String {
        let Self { request, door, address, seconds } = *self;
        let mut to = Writer::default();
        to.add("request", request.name()).add_some("door", door).add_some("address", address);
        to.add_some("seconds", seconds).end()
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::MAX_REQUEST;
    use super::*;

    #[test]
    fn requests_survive_the_way_over_the_socket() {
        let open = ControlRequest {
            request: Verb::Open,
            door: Some("ssh"),
            address: Some("2001:db8::1"),
            seconds: Some(90),
        };
        for request in [open, ControlRequest::plain(Verb::Status)] {
            let json = request.json();
            assert!(json.len() < MAX_REQUEST, "{json}");
            assert_eq!(ControlRequest::parse(json.as_bytes()), Some(request));
        }
    }

    #[test]
    fn what_is_no_request_is_an_error() {
        for bad in [
            "",
            "{}",
            "status",
            r#"{"request":"dance"}"#,
            r#"{"request":"open","seconds":-1}"#,
            r#"{"request":"open","seconds":"1"}"#,
            r#"{"request":"open","door":1}"#,
            r#"{"request":"open","address":true}"#,
            "[1]",
        ] {
            assert_eq!(ControlRequest::parse(bad.as_bytes()), None, "{bad}");
        }
        let fine = br#"{"request":"open","door":null,"seconds":null,"later":1}"#;
        assert_eq!(ControlRequest::parse(fine), Some(ControlRequest::plain(Verb::Open)));
    }
}
