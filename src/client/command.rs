//! The command that the command line asks for.

use std::ffi::OsString;

use super::arguments::{self, CommandLine, Instead, Options, UsageError};
use super::help;
use super::knock::Knock;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Knock at ports.
    Knock(Knocking),
    /// Open a door.
    Open(OpenCommand),
    /// Open a door and relay to a port behind it; `None` means the door's own port.
    Connect(OpenCommand, Option<u16>),
    /// Keep a profile. Holds its line, `-` or a file, and the name to keep it under.
    Add(String, Option<String>),
    /// List the profiles.
    List,
    /// Show what a profile does.
    Show(String),
    /// Delete profiles, at least one.
    Remove(Vec<String>),
    /// Print new secrets.
    Keygen,
    /// Print the version.
    Version,
    /// Print help, of the program or of one command.
    Help(&'static str),
}

/// A sequence to knock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knocking {
    /// The host's name or address.
    pub(crate) host: String,
    /// The knocks, at least one.
    pub(crate) knocks: Vec<Knock>,
    /// The options.
    pub(crate) options: Options,
}

/// A door to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCommand {
    /// The profile's name.
    pub(crate) profile: String,
    /// The door; `None` means the profile's first door.
    pub(crate) door: Option<String>,
    /// The options.
    pub(crate) options: Options,
    /// The command to run after the door is open; empty means none.
    pub(crate) command: Vec<OsString>,
}

/// The options that each kind of command takes.
const KNOCKING: &[&str] = &["ipv4", "ipv6", "udp", "verbose", "delay", "source"];
const OPENING: &[&str] = &["ipv4", "ipv6", "verbose", "delay", "source", "time", "address", "wait"];
const CONNECTING: &[&str] = &["ipv4", "ipv6", "verbose", "delay", "source", "time"];

/// Reads the arguments, without the program's name.
///
/// # Errors
/// The first [`UsageError`].
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, UsageError> {
    let read = arguments::parse(arguments)?;
    let named = read.operands.first().and_then(|word| help::COMMANDS.iter().find(|(name, _)| name == word));
    match read.options.instead {
        Some(Instead::Version) => return Ok(Command::Version),
        Some(Instead::Help) => return Ok(Command::Help(named.map_or(help::ALL, |(_, text)| *text))),
        None => {}
    }
    // A word after '--' is a host, even if a command has this name.
    match named {
        Some((name, _)) => command(name, read),
        None => knocking(read),
    }
}

fn knocking(read: CommandLine) -> Result<Command, UsageError> {
    let rest = read.rest.into_iter().flatten().map(|operand| operand.to_string_lossy().into_owned());
    let mut operands = read.operands.into_iter().chain(rest);
    let host = operands.next().ok_or(UsageError::NoHost)?;
    let lists = operands
        .map(|text| Knock::parse_list(&text, read.options.udp).map_err(UsageError::Port))
        .collect::<Result<Vec<_>, _>>()?;
    let knocks = lists.concat();
    if knocks.is_empty() {
        return Err(UsageError::NoPort(host));
    }
    fits("HOST PORT", &read.given, KNOCKING)?;
    Ok(Command::Knock(Knocking { host, knocks, options: read.options }))
}

fn command(name: &'static str, read: CommandLine) -> Result<Command, UsageError> {
    let CommandLine { operands, rest, options, given } = read;
    let mut operands = operands.into_iter().skip(1);
    let profile = "the profile is missing: 'ketuk list' lists the profiles";
    let mut one = |message| operands.next().ok_or(UsageError::Missing(message));
    let command = match name {
        "open" => {
            let (profile, door) = (one(profile)?, operands.next());
            let command = match rest {
                Some(command) if command.is_empty() => return Err(UsageError::NoCommand),
                command => command.unwrap_or_default(),
            };
            fits(name, &given, OPENING)?;
            none(operands)?;
            return Ok(Command::Open(OpenCommand { profile, door, options, command }));
        }
        "connect" => {
            let profile = one(profile)?;
            let port = operands.next().map(|text| arguments::port(&text)).transpose()?;
            fits(name, &given, CONNECTING)?;
            Command::Connect(OpenCommand { profile, door: None, options, command: Vec::new() }, port)
        }
        "add" => Command::Add(one("the line is missing: 'ketukd invite' prints it")?, operands.next()),
        "show" => Command::Show(one(profile)?),
        "remove" => Command::Remove([vec![one(profile)?], operands.by_ref().collect()].concat()),
        "list" => Command::List,
        _ => Command::Keygen,
    };
    if name != "connect" {
        fits(name, &given, &[])?;
    }
    none(operands.chain(rest.into_iter().flatten().map(|word| word.to_string_lossy().into_owned())))?;
    Ok(command)
}

/// Checks that the command takes the options that were given.
fn fits(command: &str, given: &[&'static str], useful: &[&str]) -> Result<(), UsageError> {
    match given.iter().find(|option| !useful.contains(option)) {
        Some(option) => Err(UsageError::OtherOption(command.to_owned(), option)),
        None => Ok(()),
    }
}

fn none(mut operands: impl Iterator<Item = String>) -> Result<(), UsageError> {
    operands.next().map_or(Ok(()), |operand| Err(UsageError::TooMany(operand)))
}

#[cfg(test)]
mod tests;
