//! Reads the command line as knock(1) does with `getopt_long(3)`: options anywhere, `-vd100`, `--delay=100`, long
//! names by any unique beginning, and `--` before operands that begin with `-`.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::knock::NotAPort;
use super::socket::KnockSource;
use crate::protocol::AddressFamily;

/// Default time between two knocks (`-d`).
///
/// knock(1) does not wait. But the knocks of a sequence differ in both ports, so load balancers and multiqueue network
/// cards may send them on different paths. A knock that overtakes another one is wrong. The delays of two paths to one
/// host seldom differ by more than some tens of milliseconds. The longest sequence, 32 steps, takes 3 seconds with this
/// delay. A daemon's default `seq_timeout` is 25 seconds.
pub const DEFAULT_DELAY: Duration = Duration::from_millis(100);

/// The command line, split into operands and options. [`super::command`] gives it its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The operands before `--`.
    pub(crate) operands: Vec<String>,
    /// The words after `--`.
    pub(crate) rest: Option<Vec<OsString>>,
    /// The options.
    pub(crate) options: Options,
    /// The options that were given, by their long names.
    pub(crate) given: Vec<&'static str>,
}

/// The options' values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `-4`, `-6`: the address family; `None` means either.
    pub(crate) family: Option<AddressFamily>,
    /// `-u`: every knock is a datagram.
    pub(crate) udp: bool,
    /// `-v`: print each knock.
    pub(crate) verbose: bool,
    /// `-d`: the time between two knocks.
    pub(crate) delay: Duration,
    /// `-t`: the time to open for, in seconds; 0 means the door's own time.
    pub(crate) seconds: u32,
    /// `-a`: the address to open for; `None` means the sender's.
    pub(crate) address: Option<IpAddr>,
    /// `-w`: wait until this TCP port answers.
    pub(crate) wait: Option<u16>,
    /// `-s`: the address or device that knocks leave from.
    pub(crate) source: Option<KnockSource>,
    /// `-V` or `-h`, whichever comes first.
    pub(crate) instead: Option<Instead>,
}

/// A text to print instead of running a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instead {
    /// The version.
    Version,
    /// The help.
    Help,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            family: None,
            udp: false,
            verbose: false,
            delay: DEFAULT_DELAY,
            seconds: 0,
            address: None,
            wait: None,
            source: None,
            instead: None,
        }
    }
}

/// A mistake in the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageError {
    /// An unknown option, as written.
    UnknownOption(String),
    /// A beginning of two or more long options.
    AmbiguousOption(String),
    /// An option without its value.
    NoValue(String),
    /// A value for an option that takes none, such as `--verbose=1`.
    UnexpectedValue(String),
    /// An option that this command does not take. Holds the command and the option.
    OtherOption(String, &'static str),
    /// A delay that is not a number of milliseconds.
    Delay(String),
    /// A time that is not a number of seconds.
    Seconds(String),
    /// A text that is not an IP address.
    Address(String),
    /// A text that is not a port.
    Port(NotAPort),
    /// No host and no port.
    NoHost,
    /// A host without ports.
    NoPort(String),
    /// The command lacks an operand. Holds the message, which names the operand and where to find it.
    Missing(&'static str),
    /// One operand too many.
    TooMany(String),
    /// `--` without a command after it.
    NoCommand,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOption(option) => write!(f, "there is no option '{option}'"),
            Self::AmbiguousOption(option) => {
                write!(f, "option '{option}' is the beginning of several options")
            }
            Self::NoValue(option) => write!(f, "option '{option}' needs a value"),
            Self::UnexpectedValue(option) => write!(f, "option '{option}' takes no value"),
            Self::OtherOption(command, option) => write!(f, "'ketuk {command}' has no option '--{option}'"),
            Self::Delay(value) => {
                write!(f, "delay '{value}' is no number of milliseconds from 0 to {}", u32::MAX)
            }
            Self::Seconds(value) => {
                write!(f, "time '{value}' is no number of seconds from 0 to {}", u32::MAX)
            }
            Self::Address(value) => write!(f, "'{value}' is no IP address"),
            Self::Port(NotAPort(text)) if text.parse::<IpAddr>().is_ok() => {
                write!(f, "'{text}' is no port: the host comes first, and then its ports")
            }
            Self::Port(problem) => write!(f, "{problem}"),
            Self::NoHost => f.write_str("no host and no ports are given"),
            Self::NoPort(host) => match host.rsplit_once(':') {
                Some((name, port))
                    if port.parse::<u16>().is_ok() && (!name.contains(':') || name.ends_with(']')) =>
                {
                    write!(f, "the ports come after the host, with a blank between: ketuk {name} {port}")
                }
                _ => write!(f, "no ports follow the host '{host}': write ketuk {host} 7000 8000 9000"),
            },
            Self::Missing(message) => f.write_str(message),
            Self::TooMany(operand) => write!(f, "'{operand}' is one argument too many"),
            Self::NoCommand => f.write_str("no command follows '--'"),
        }
    }
}

impl std::error::Error for UsageError {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flag {
    Ipv4,
    Ipv6,
    Udp,
    Verbose,
    Delay,
    Time,
    Address,
    Wait,
    Source,
    Version,
    Help,
}

const FLAGS: [(char, &str, Flag); 11] = [
    ('4', "ipv4", Flag::Ipv4),
    ('6', "ipv6", Flag::Ipv6),
    ('u', "udp", Flag::Udp),
    ('v', "verbose", Flag::Verbose),
    ('d', "delay", Flag::Delay),
    ('t', "time", Flag::Time),
    ('a', "address", Flag::Address),
    ('w', "wait", Flag::Wait),
    ('s', "source", Flag::Source),
    ('V', "version", Flag::Version),
    ('h', "help", Flag::Help),
];

impl Flag {
    fn takes_value(self) -> bool {
        matches!(self, Self::Delay | Self::Time | Self::Address | Self::Wait | Self::Source)
    }
}

/// Reads the arguments, without the program's name.
///
/// # Errors
/// The first [`UsageError`].
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<CommandLine, UsageError> {
    let mut parsed =
        CommandLine { operands: Vec::new(), rest: None, options: Options::default(), given: Vec::new() };
    let mut raw = arguments;
    while let Some(argument) = raw.next() {
        if argument == "--" {
            parsed.rest = Some(raw.collect());
            break;
        }
        // An argument that is not Unicode is neither a name nor a number. An error shows it as well as possible.
        let argument = argument.to_string_lossy().into_owned();
        let mut next = || raw.next().map(|value| value.to_string_lossy().into_owned());
        let flags = match argument.strip_prefix("--") {
            Some(_) => vec![long(&argument, &mut next)?],
            None if argument.starts_with('-') && argument != "-" => short(&argument, &mut next)?,
            None => {
                parsed.operands.push(argument);
                continue;
            }
        };
        for (flag, value) in flags {
            parsed.options.set(flag, value)?;
            parsed.given.extend(FLAGS.iter().filter(|(.., known)| *known == flag).map(|(_, name, _)| *name));
        }
    }
    Ok(parsed)
}

impl Options {
    fn set(&mut self, flag: Flag, value: String) -> Result<(), UsageError> {
        match flag {
            Flag::Ipv4 => self.family = Some(AddressFamily::V4),
            Flag::Ipv6 => self.family = Some(AddressFamily::V6),
            Flag::Udp => self.udp = true,
            Flag::Verbose => self.verbose = true,
            Flag::Delay => {
                let number = number(&value).ok_or(UsageError::Delay(value))?;
                // The longest delay is 49 days.
                self.delay = Duration::from_millis(number.into());
            }
            Flag::Time => self.seconds = number(&value).ok_or(UsageError::Seconds(value))?,
            Flag::Address => {
                self.address = Some(value.parse().map_err(|_| UsageError::Address(value))?);
            }
            Flag::Wait => self.wait = Some(port(&value)?),
            Flag::Source => self.source = Some(KnockSource::named(&value)),
            Flag::Version => {
                self.instead.get_or_insert(Instead::Version);
            }
            Flag::Help => {
                self.instead.get_or_insert(Instead::Help);
            }
        }
        Ok(())
    }
}

/// Reads digits only: `parse` would take a plus sign too.
fn number(text: &str) -> Option<u32> {
    if text.starts_with('+') { None } else { text.parse().ok() }
}

/// Reads a TCP port.
pub(super) fn port(text: &str) -> Result<u16, UsageError> {
    let port = number(text).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    port.ok_or_else(|| UsageError::Port(NotAPort(text.to_owned())))
}

/// Reads one long option, as written, and its value (empty if it takes none).
fn long(argument: &str, next: &mut impl FnMut() -> Option<String>) -> Result<(Flag, String), UsageError> {
    let (option, attached) = match argument.split_once('=') {
        Some((option, value)) => (option, Some(value.to_owned())),
        None => (argument, None),
    };
    let mut fitting = FLAGS.iter().filter(|(_, name, _)| name.starts_with(&option[2..]));
    let flag = match (fitting.next(), fitting.next()) {
        (Some(&(.., flag)), None) => flag,
        (None, _) => return Err(UsageError::UnknownOption(option.to_owned())),
        (Some(_), Some(_)) => return Err(UsageError::AmbiguousOption(option.to_owned())),
    };
    let value = match (flag.takes_value(), attached) {
        (true, None) => next().ok_or_else(|| UsageError::NoValue(option.to_owned()))?,
        (true, Some(value)) => value,
        (false, None) => String::new(),
        (false, Some(_)) => return Err(UsageError::UnexpectedValue(option.to_owned())),
    };
    Ok((flag, value))
}

/// Reads the short options after one `-`, with their values as in [`long`].
fn short(
    argument: &str,
    next: &mut impl FnMut() -> Option<String>,
) -> Result<Vec<(Flag, String)>, UsageError> {
    let mut flags = Vec::new();
    let mut letters = argument.chars().skip(1);
    while let Some(letter) = letters.next() {
        let option = || format!("-{letter}");
        let found = FLAGS.iter().find(|(short, ..)| *short == letter);
        let &(.., flag) = found.ok_or_else(|| UsageError::UnknownOption(option()))?;
        let mut value = String::new();
        if flag.takes_value() {
            value = letters.by_ref().collect();
            if value.is_empty() {
                value = next().ok_or_else(|| UsageError::NoValue(option()))?;
            }
        }
        flags.push((flag, value));
    }
    Ok(flags)
}
