//! `ketuk`, the client.
//!
//! [`arguments`] tells options and operands apart, [`command`] says what is wanted, [`target`] finds the addresses, [`knock`] sends.
//! [`open`] does the same as a profile says, of which [`profiles`] keeps several; [`wait`] waits for what is behind the
//! door. It builds wherever `std` does; on Linux it knocks with a socket that is closed at once, see [`knock`].
#![forbid(unsafe_code)]

pub mod arguments;
pub mod command;
pub mod failure;
pub mod help;
pub mod knock;
pub mod open;
pub mod profiles;
pub mod relay;
pub mod socket;
pub mod target;
pub mod wait;
pub mod way;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use command::{Command, Knocking};
use failure::Failure;
use zeroize::Zeroizing;

use crate::profile::{Profile, ProfileError};

/// Runs the command that the arguments (without the program's name) ask for.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let done = match command::parse(arguments) {
        Ok(command) => run(&command),
        Err(error) => Err(Failure::usage(format!("{error}\ntry 'ketuk --help'"))),
    };
    done.map_or_else(
        |failure| {
            eprintln!("ketuk: {}", failure.message);
            ExitCode::from(failure.code)
        },
        ExitCode::from,
    )
}

fn run(command: &Command) -> Result<u8, Failure> {
    match command {
        Command::Knock(knocking) => knock_all(knocking),
        Command::Open(opening) => return open::open(opening),
        Command::Connect(opening, port) => return open::connect(opening, *port),
        Command::Add(line, name) => add(line, name.as_deref()),
        Command::List => list(),
        Command::Show(name) => show(name),
        Command::Remove(names) => names.iter().try_for_each(|name| profiles::remove(name)),
        Command::Keygen => {
            let secrets =
                crate::profile::new_secrets().map_err(|error| Failure::failed(error.to_string()))?;
            print(&secrets)
        }
        Command::Version => print(&format!("ketuk {}\n", env!("CARGO_PKG_VERSION"))),
        Command::Help(text) => print(text),
    }
    .map(|()| 0)
}

/// Keeps a profile.
fn add(line: &str, name: Option<&str>) -> Result<(), Failure> {
    let mut text = Zeroizing::new(line.to_owned());
    if *text == "-" {
        text.clear();
        io::stdin()
            .read_line(&mut text)
            .map_err(|error| Failure::failed(format!("standard input: {error}")))?;
    } else if !text.contains("ketuk://") {
        text = read(line)?;
    }
    // A link to the knock page ends with the line.
    let at = text.find("#ketuk://").map_or(0, |at| at + 1);
    let profile: Profile =
        text[at..].parse().map_err(|error: ProfileError| Failure::usage(error.to_string()))?;
    let name = name.map_or_else(|| profiles::default_name(&profile), str::to_owned);
    let path = profiles::add(&name, &profile)?;
    print(&format!(
        "profile '{name}' is in {}: 'ketuk open {name}'\n{}",
        path.display(),
        what_it_sends(&profile)
    ))
}

/// A file with a profile.
fn read(path: &str) -> Result<Zeroizing<String>, Failure> {
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::usage(format!("{}, nor is '{path}' a file", ProfileError::Scheme))
        }
        _ => Failure::usage(format!("{path}: {error}")),
    })
}

/// What a profile sends where, and no secret.
fn what_it_sends(profile: &Profile) -> String {
    let doors: Vec<_> = profile
        .doors
        .iter()
        .map(|door| door.port.map_or(door.name.clone(), |port| format!("{} (port {port})", door.name)))
        .collect();
    let what = match (&profile.key, &profile.totp) {
        (Some(_), _) => format!("one packet to UDP port {}", profile.port),
        (None, Some(_)) => {
            format!("four TCP knocks at ports {}, others every half minute", profile.range.range())
        }
        (None, None) => {
            format!("{} knocks at ports {}", profile.sequence.len(), profile.sequence.join(", "))
        }
    };
    let user = profile.user.as_ref().map_or(String::new(), |user| format!(", as {user}"));
    format!("it sends {what} of {}{user}, and opens {}\n", profile.host, doors.join(", "))
}

/// Says what a profile does.
fn show(name: &str) -> Result<(), Failure> {
    let profile = profiles::load(name)?;
    print(&format!(
        "profile '{name}' is in {}\n{}",
        profiles::place(name)?.display(),
        what_it_sends(&profile)
    ))
}

/// Prints the profiles, and no secret.
fn list() -> Result<(), Failure> {
    for name in profiles::names()? {
        let Ok(profile) = profiles::load(&name) else { continue };
        let doors: Vec<_> = profile.doors.iter().map(|door| door.name.as_str()).collect();
        let kind = match (&profile.key, &profile.totp) {
            (Some(_), _) => "packet",
            (None, Some(_)) => "changing sequence",
            (None, None) => "sequence",
        };
        print(&format!("{name}: {} at {}, by {kind}\n", doors.join(", "), profile.host))?;
    }
    Ok(())
}

/// Sends every knock to every address of the host.
fn knock_all(Knocking { host, knocks, options }: &Knocking) -> Result<(), Failure> {
    let targets = target::resolve(host, options.family, options.source.as_ref())
        .map_err(|error| Failure::failed(format!("'{host}': {error}")))?;
    let say = |line: &str| {
        if options.verbose { print(&format!("{line}\n")).map_err(|failure| failure.message) } else { Ok(()) }
    };
    knock::at_all(&targets, knocks, options.delay, options.source.as_ref(), say).map_err(Failure::failed)
}

/// Prints to standard output; a closed pipe is not an error worth a word.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}
