//! The commands that speak to the running daemon.

use std::env;
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::net::IpAddr;

use super::arguments::Arguments;
use super::{CommandResult, Failure, print};
use crate::control::message::{ControlRequest, ReceivedError, Verb, unescaped};
use crate::control::{WATCHING, client, row, show};
use crate::linux::{clock, output};

/// Opens a door by hand.
pub(super) fn open(arguments: &Arguments) -> CommandResult {
    let seconds = arguments
        .operands
        .get(2)
        .map(|text| text.parse().map_err(|_| Failure::Usage(format!("'{text}' is no number of seconds"))));
    let (door, address) = (&arguments.operands[0], address(&arguments.operands[1])?.to_string());
    let request = ControlRequest {
        request: Verb::Open,
        door: Some(door),
        address: Some(&address),
        seconds: seconds.transpose()?,
    };
    ask(arguments, &request)
}

/// Shuts a door by hand.
pub(super) fn close(arguments: &Arguments) -> CommandResult {
    let address = arguments.operands.get(1).map(|text| address(text)).transpose()?;
    let address = address.map(|address| address.to_string());
    let request = ControlRequest {
        request: Verb::Close,
        door: Some(&arguments.operands[0]),
        address: address.as_deref(),
        seconds: None,
    };
    ask(arguments, &request)
}

/// Reads an address. An IPv4-mapped one (`::ffff:192.0.2.1`, RFC 4291 section 2.5.5.2) becomes IPv4.
pub(super) fn address(text: &str) -> Result<IpAddr, Failure> {
    let address: Result<IpAddr, _> = text.parse();
    address
        .map(|address| address.to_canonical())
        .map_err(|_| Failure::Usage(format!("'{text}' is no address")))
}

/// Tells the daemon to read its configuration again.
pub(super) fn reload(arguments: &Arguments) -> CommandResult {
    ask(arguments, &ControlRequest::plain(Verb::Reload))
}

/// Sends a request whose answer has no lines but the last.
fn ask(arguments: &Arguments, request: &ControlRequest<'_>) -> CommandResult {
    talk(arguments, request, &mut |_, _| Ok(true))
}

/// Prints the state of the daemon.
pub(super) fn status(arguments: &Arguments) -> CommandResult {
    let status = ask_status(arguments).map_err(|unreached| Failure::Failed(unreached.to_string()))?;
    let mut text = String::new();
    if arguments.json { status.json(&mut text) } else { status.text(&mut text) }
        .expect("a String takes everything");
    print(&text)
}

/// Prints every knock as it is judged.
pub(super) fn watch(arguments: &Arguments) -> CommandResult {
    let from = arguments.from.as_deref().map(address).transpose()?.map(|from| from.to_string());
    let request = ControlRequest {
        request: if arguments.events { Verb::Events } else { Verb::Watch },
        door: arguments.door.as_deref(),
        address: from.as_deref(),
        seconds: None,
    };
    let is_coloured =
        output::descriptor().is_terminal() && env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
    talk(arguments, &request, &mut |kind, json| {
        let mut line = String::new();
        if kind == WATCHING {
            if arguments.json {
                return Ok(true);
            }
            line.push_str(row::HEADING);
        } else if arguments.json {
            row::watch_json(&mut line, kind, json).expect("a String takes everything");
        } else {
            let (tone, text) = row::watch(clock::local_time(clock::wall_s()).second, kind, json);
            let (begin, end) = if is_coloured { (tone.begin(), tone.end()) } else { ("", "") };
            line.extend([begin, &text, end]);
        }
        line.push('\n');
        match output::write(&line) {
            // The reader has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            written => written.map(|()| true),
        }
    })
}

/// Why the daemon could not be asked.
#[derive(Debug)]
pub(super) enum Unreached {
    /// No daemon listens at these sockets.
    Absent(String),
    /// This user may not ask, or too many ask now. The daemon may be well.
    Refused(String),
    /// It does not answer in time, or its answer cannot be read.
    Broken(String, io::Error),
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(tried) => write!(f, "no daemon answers at {tried}: is 'ketukd run' running?"),
            Self::Refused(reason) => f.write_str(reason),
            Self::Broken(socket, error) => write!(f, "{socket}: {error}"),
        }
    }
}

/// Asks the daemon at the first socket that answers. If it refuses, the command fails.
pub(super) fn talk(
    arguments: &Arguments,
    request: &ControlRequest<'_>,
    each: &mut dyn FnMut(&str, &str) -> io::Result<bool>,
) -> CommandResult {
    reach(arguments, request, each).map_err(|unreached| Failure::Failed(unreached.to_string()))?
}

/// The daemon's whole state.
pub(super) fn ask_status(arguments: &Arguments) -> Result<show::Status, Unreached> {
    let mut status = show::Status::default();
    let outcome = reach(arguments, &ControlRequest::plain(Verb::Status), &mut |kind, json| {
        status.add(kind, json);
        Ok(true)
    })?;
    outcome.map(|()| status).map_err(|failure| Unreached::Refused(failure.parts().1))
}

/// Asks the daemon at the first socket that answers. Returns whether it refused.
fn reach(
    arguments: &Arguments,
    request: &ControlRequest<'_>,
    each: &mut dyn FnMut(&str, &str) -> io::Result<bool>,
) -> Result<CommandResult, Unreached> {
    let sockets = arguments.sockets();
    for socket in &sockets {
        let mut outcome = Ok(());
        let asked = client::ask(socket, request, &mut |kind, json| {
            if kind == "error" {
                outcome = Err(refusal(json));
                return Ok(false);
            }
            if kind == "ok" { Ok(false) } else { each(kind, json) }
        });
        let socket = socket.display();
        match asked {
            Ok(()) => return Ok(outcome),
            // No daemon listens there.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(Unreached::Refused(format!(
                    "{socket}: permission denied: only root and the members of group ketuk may ask"
                )));
            }
            Err(error) => return Err(Unreached::Broken(socket.to_string(), error)),
        }
    }
    let tried: Vec<_> = sockets.iter().map(|socket| socket.display().to_string()).collect();
    Err(Unreached::Absent(tried.join(" or ")))
}

fn refusal(json: &str) -> Failure {
    let unreadable = || Failure::Failed(format!("the daemon's answer cannot be read: {json}"));
    let Ok((refused, _)) = serde_json_core::from_str::<ReceivedError<'_>>(json) else { return unreadable() };
    match (refused.code, unescaped(refused.message)) {
        (2, Some(message)) => Failure::Config(message),
        (_, Some(message)) => Failure::Failed(message),
        (_, None) => unreadable(),
    }
}
