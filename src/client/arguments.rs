//! The command line, read as knock(1) reads its own with `getopt_long(3)`: options anywhere, `-vd100`,
//! `--delay=100`, long names by any beginning that fits one only, `--` before operands that begin with `-`.

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use super::knock::NotAPort;
use super::socket::Source;
use crate::protocol::AddressFamily;

/// Time between two knocks unless `-d` says otherwise.
///
/// knock(1) does not wait. But the knocks of a sequence go to different ports from different ports, so load
/// balancers and multiqueue network cards may send them different ways, and one that overtakes another is a wrong
/// knock. Two ways to the same host seldom differ by more than some tens of milliseconds. The longest
/// sequence, 32 steps, takes 3 seconds then, far from the 25 that a daemon gives by default.
pub const DEFAULT_DELAY: Duration = Duration::from_millis(100);

/// The command line, told apart. What it means is [`super::command`]'s business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// What is no option, in front of `--`.
    pub operands: Vec<String>,
    /// What stands behind `--`.
    pub rest: Option<Vec<OsString>>,
    /// The options.
    pub options: Options,
    /// Which options were given, as they are written in full.
    pub given: Vec<&'static str>,
}

/// The options' values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `-4`, `-6`: what an address must be; `None`: either.
    pub family: Option<AddressFamily>,
    /// `-u`: every knock is a datagram.
    pub udp: bool,
    /// `-v`: say each knock.
    pub verbose: bool,
    /// `-d`: from one knock to the next.
    pub delay: Duration,
    /// `-t`: for how many seconds to open; 0: as long as the door does.
    pub seconds: u32,
    /// `-a`: open for this address instead of one's own.
    pub address: Option<std::net::IpAddr>,
    /// `-w`: wait until this TCP port answers.
    pub wait: Option<u16>,
    /// `-s`: where knocks come from.
    pub source: Option<Source>,
    /// `-V` or `-h`, the first of them: what to print instead of anything else.
    pub instead: Option<Instead>,
}

/// What is printed instead of doing anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instead {
    /// The version.
    Version,
    /// How it is used.
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

/// What is wrong with the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageError {
    /// No such option, as it was written.
    UnknownOption(String),
    /// The beginning of two long options or more.
    AmbiguousOption(String),
    /// An option that lacks its value.
    NoValue(String),
    /// `--verbose=1`.
    UnexpectedValue(String),
    /// An option of another command: the command, and the option.
    OtherOption(String, &'static str),
    /// A delay that is no number of milliseconds.
    Delay(String),
    /// A time that is no number of seconds.
    Seconds(String),
    /// What is no IP address.
    Address(String),
    /// A port that is none.
    Port(NotAPort),
    /// Neither host nor port.
    NoHost,
    /// A host and nothing else.
    NoPort(String),
    /// What the command needs.
    Missing(&'static str),
    /// An operand too many.
    TooMany(String),
    /// `--` and nothing behind it.
    NoCommand,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOption(option) => write!(f, "there is no option '{option}'"),
            Self::AmbiguousOption(option) => write!(f, "option '{option}' can mean more than one"),
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
            Self::Port(problem) => write!(f, "{problem}"),
            Self::NoHost => f.write_str("which host, and which ports?"),
            Self::NoPort(host) => write!(f, "at which ports of '{host}'?"),
            Self::Missing(what) => write!(f, "which {what}?"),
            Self::TooMany(operand) => write!(f, "what is '{operand}'? that is one argument too many"),
            Self::NoCommand => f.write_str("which command, behind '--'?"),
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

/// Reads the arguments (without the program's name).
///
/// # Errors
/// The first [`UsageError`].
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Arguments, UsageError> {
    let mut parsed =
        Arguments { operands: Vec::new(), rest: None, options: Options::default(), given: Vec::new() };
    let mut raw = arguments;
    while let Some(argument) = raw.next() {
        if argument == "--" {
            parsed.rest = Some(raw.collect());
            break;
        }
        // What is no Unicode is neither a name nor a number; an error shows it as well as can be.
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
                // Most that can be waited between two knocks is 49 days.
                self.delay = Duration::from_millis(number.into());
            }
            Flag::Time => self.seconds = number(&value).ok_or(UsageError::Seconds(value))?,
            Flag::Address => {
                self.address = Some(value.parse().map_err(|_| UsageError::Address(value))?);
            }
            Flag::Wait => self.wait = Some(port(&value)?),
            Flag::Source => self.source = Some(Source::named(&value)),
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

/// `parse` would take a plus sign too.
fn number(text: &str) -> Option<u32> {
    if text.starts_with('+') { None } else { text.parse().ok() }
}

/// A TCP port.
pub(super) fn port(text: &str) -> Result<u16, UsageError> {
    let port = number(text).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    port.ok_or_else(|| UsageError::Port(NotAPort(text.to_owned())))
}

/// One long option, whole as it was written, with its value (empty if it takes none).
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

/// The short options behind one `-`, with their values as [`long`] has them.
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
