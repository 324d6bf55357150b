//! `ketuk`, the client.
//!
//! [`arguments`] splits the command line, [`command`] gives it its meaning, [`target`] finds the addresses, and
//! [`knock`] sends. [`open`] knocks as a profile says; [`profiles`] keeps profiles; [`wait`] waits for the service
//! behind the door. The client builds for every system that has `std`. How a knock is sent depends on the system, see
//! [`knock`].
#![forbid(unsafe_code)]

pub mod arguments;
pub mod command;
pub mod failure;
pub mod fwknoprc;
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
use failure::ClientFailure;
use zeroize::Zeroizing;

use crate::profile::{Profile, ProfileError, ProfileKind, is_user};

/// Runs the command that the arguments ask for, without the program's name.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.collect();
    let done = match command::parse(arguments.iter().cloned()) {
        Ok(command) => run(&command),
        Err(error) => Err(ClientFailure::usage(format!("{error}\n{}", help::hint(&arguments)))),
    };
    done.map_or_else(
        |failure| {
            eprintln!("ketuk: {}", failure.message);
            ExitCode::from(failure.code)
        },
        ExitCode::from,
    )
}

fn run(command: &Command) -> Result<u8, ClientFailure> {
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
                crate::profile::new_secrets().map_err(|error| ClientFailure::failed(error.to_string()))?;
            print(&secrets)
        }
        Command::Version => print(&format!("ketuk {}\n", env!("CARGO_PKG_VERSION"))),
        Command::Help(text) => print(text),
    }
    .map(|()| 0)
}

/// Keeps a profile, or the profiles of a `.fwknoprc`.
fn add(line: &str, name: Option<&str>) -> Result<(), ClientFailure> {
    let mut text = Zeroizing::new(line.to_owned());
    if *text == "-" {
        text.clear();
        io::stdin()
            .read_line(&mut text)
            .map_err(|error| ClientFailure::failed(format!("standard input: {error}")))?;
    } else if !text.contains("ketuk://") {
        text = read(line)?;
        if !text.contains("ketuk://") && fwknoprc::has_stanza(&text) {
            return add_stanzas(line, &text, name);
        }
    }
    // A link to the knock page ends with the profile's line.
    let at = text.find("#ketuk://").map_or(0, |at| at + 1);
    let profile: Profile =
        text[at..].parse().map_err(|error: ProfileError| ClientFailure::usage(error.to_string()))?;
    keep(&name.map_or_else(|| profiles::default_name(&profile), str::to_owned), &profile)
}

/// Keeps the profiles of a `.fwknoprc`, each under its stanza's name. A single one gets `name` if it is given.
fn add_stanzas(file: &str, text: &str, name: Option<&str>) -> Result<(), ClientFailure> {
    // The user name that fwknop's client puts into its packets.
    let login = ["LOGNAME", "USER", "USERNAME"].iter().find_map(|name| std::env::var(name).ok());
    let login = login.as_deref().filter(|login| is_user(login));
    let stanzas = fwknoprc::read(file, text, name, login).map_err(ClientFailure::usage)?;
    match (name, stanzas.as_slice()) {
        (Some(name), [one]) => keep(name, &one.profile),
        _ => stanzas.iter().try_for_each(|stanza| keep(&stanza.name, &stanza.profile)),
    }
}

/// Writes a profile to its file, and prints what it will send.
fn keep(name: &str, profile: &Profile) -> Result<(), ClientFailure> {
    let path = profiles::add(name, profile)?;
    print(&format!(
        "profile '{name}' is in {}: 'ketuk open {name}'\n{}",
        path.display(),
        what_it_sends(profile)
    ))
}

/// Reads a file with a profile.
fn read(path: &str) -> Result<Zeroizing<String>, ClientFailure> {
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            ClientFailure::usage(format!("{}, nor is '{path}' a file", ProfileError::Scheme))
        }
        _ => ClientFailure::usage(format!("{path}: {error}")),
    })
}

/// The packets of a profile and their destination, without secrets.
fn what_it_sends(profile: &Profile) -> String {
    let doors: Vec<_> = profile
        .doors
        .iter()
        .map(|door| door.port.map_or(door.name.clone(), |port| format!("{} (port {port})", door.name)))
        .collect();
    let what = match profile.kind() {
        ProfileKind::Packet => format!("one packet to UDP port {}", profile.port),
        ProfileKind::Fwknop => format!("one packet of fwknop's to UDP port {}", profile.port),
        ProfileKind::ChangingSequence => {
            format!("four TCP knocks at ports in {}", profile.range.range())
        }
        ProfileKind::Sequence => match profile.sequence.as_slice() {
            [port] => format!("one knock at port {port}"),
            ports => format!("{} knocks at ports {}", ports.len(), ports.join(", ")),
        },
    };
    let user = profile.user.as_ref().map_or(String::new(), |user| format!(", as {user}"));
    let changing = if profile.kind() == ProfileKind::ChangingSequence {
        "; the ports change every half minute"
    } else {
        ""
    };
    format!("it sends {what} of {}{user}, and opens {}{changing}\n", profile.host, doors.join(", "))
}

/// Prints what a profile does.
fn show(name: &str) -> Result<(), ClientFailure> {
    let profile = profiles::load(name)?;
    print(&format!(
        "profile '{name}' is in {}\n{}",
        profiles::place(name)?.display(),
        what_it_sends(&profile)
    ))
}

/// Prints the profiles, without secrets.
fn list() -> Result<(), ClientFailure> {
    for name in profiles::names()? {
        let Ok(profile) = profiles::load(&name) else { continue };
        let doors: Vec<_> = profile.doors.iter().map(|door| door.name.as_str()).collect();
        let kind = match profile.kind() {
            ProfileKind::Packet => "packet",
            ProfileKind::Fwknop => "fwknop's packet",
            ProfileKind::ChangingSequence => "changing sequence",
            ProfileKind::Sequence => "sequence",
        };
        print(&format!("{name}: {} at {}, by {kind}\n", doors.join(", "), profile.host))?;
    }
    Ok(())
}

/// Sends every knock to every address of the host.
fn knock_all(Knocking { host, knocks, options }: &Knocking) -> Result<(), ClientFailure> {
    let targets = target::resolve(host, options.family, options.source.as_ref())
        .map_err(|error| ClientFailure::failed(format!("'{host}': {error}")))?;
    let say = |line: &str| {
        if options.verbose { print(&format!("{line}\n")).map_err(|failure| failure.message) } else { Ok(()) }
    };
    knock::at_all(&targets, knocks, options.delay, options.source.as_ref(), say)
        .map_err(ClientFailure::failed)?;
    wait::a_moment(options.delay);
    Ok(())
}

/// Prints to standard output. A closed pipe is not reported as an error.
fn print(text: &str) -> Result<(), ClientFailure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(ClientFailure::failed(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}
