//! The commands that speak to the running daemon.

use std::io::{self, Write as _};
use std::net::IpAddr;

use super::arguments::Arguments;
use super::{Failure, Outcome, print};
use crate::control::message::{ReceivedError, Request, Verb, unescaped};
use crate::control::{client, show};

/// Opens a door by hand.
pub(super) fn open(arguments: &Arguments) -> Outcome {
    let seconds = arguments
        .operands
        .get(2)
        .map(|text| text.parse().map_err(|_| Failure::Usage(format!("'{text}' is no number of seconds"))));
    let (door, address) = (&arguments.operands[0], address(&arguments.operands[1])?.to_string());
    let request = Request {
        request: Verb::Open,
        door: Some(door),
        address: Some(&address),
        seconds: seconds.transpose()?,
    };
    ask(arguments, &request)
}

/// Shuts a door by hand.
pub(super) fn close(arguments: &Arguments) -> Outcome {
    let address = arguments.operands.get(1).map(|text| address(text)).transpose()?;
    let address = address.map(|address| address.to_string());
    let request = Request {
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
pub(super) fn reload(arguments: &Arguments) -> Outcome {
    ask(arguments, &Request::plain(Verb::Reload))
}

/// Sends a request whose answer has no lines but the last.
fn ask(arguments: &Arguments, request: &Request<'_>) -> Outcome {
    talk(arguments, request, &mut |_, _| Ok(true))
}

/// Prints the state of the daemon.
pub(super) fn status(arguments: &Arguments) -> Outcome {
    let mut status = show::Status::default();
    talk(arguments, &Request::plain(Verb::Status), &mut |kind, json| {
        status.add(kind, json);
        Ok(true)
    })?;
    let mut text = String::new();
    if arguments.json { status.json(&mut text) } else { status.text(&mut text) }
        .expect("a String takes everything");
    print(&text)
}

/// Prints every knock as it is judged.
pub(super) fn watch(arguments: &Arguments) -> Outcome {
    talk(arguments, &Request::plain(Verb::Watch), &mut |kind, json| {
        let mut line = String::new();
        if arguments.json {
            show::watch_json(&mut line, kind, json)
        } else {
            show::watch(&mut line, kind, json)
        }
        .expect("a String takes everything");
        let mut out = io::stdout().lock();
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            // The reader has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            written => written.map(|()| true),
        }
    })
}

/// Asks the daemon at the first socket that answers. If it refuses, the command fails.
pub(super) fn talk(
    arguments: &Arguments,
    request: &Request<'_>,
    each: &mut dyn FnMut(&str, &str) -> io::Result<bool>,
) -> Outcome {
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
            Ok(()) => return outcome,
            // No daemon listens there.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(Failure::Failed(format!(
                    "{socket}: permission denied: only root and the members of group ketuk may ask"
                )));
            }
            Err(error) => return Err(Failure::Failed(format!("{socket}: {error}"))),
        }
    }
    let tried: Vec<_> = sockets.iter().map(|socket| socket.display().to_string()).collect();
    Err(Failure::Failed(format!("no daemon answers at {}: is 'ketukd run' running?", tried.join(" or "))))
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
