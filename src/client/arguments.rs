//! The command line, read as knock(1) reads its own with `getopt_long(3)`: options anywhere, `-vd100`,
//! `--delay=100`, long names by any beginning that fits one only, `--` before operands that begin with `-`.

use std::fmt;
use std::time::Duration;

use super::knock::{Knock, NotAPort};
use crate::protocol::AddressFamily;

/// Time between two knocks unless `-d` says otherwise.
///
/// knock(1) does not wait. But the knocks of a sequence go to different ports from different ports, so load
/// balancers and multiqueue network cards may send them different ways, and one that overtakes another is a wrong
/// knock. Two ways to the same host seldom differ by more than some tens of milliseconds. The longest
/// sequence, 32 steps, takes 3 seconds then, far from the 25 that a daemon gives by default.
pub const DEFAULT_DELAY: Duration = Duration::from_millis(100);

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Knock.
    Knock(Knocking),
    /// Print the version.
    Version,
    /// Print the usage.
    Help,
}

/// A sequence to knock, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knocking {
    /// Name or address.
    pub host: String,
    /// What the address must be; `None`: either.
    pub family: Option<AddressFamily>,
    /// At least one.
    pub knocks: Vec<Knock>,
    /// From one knock to the next.
    pub delay: Duration,
    /// Say each knock.
    pub verbose: bool,
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
    /// A delay that is no number of milliseconds.
    Delay(String),
    /// A port that is none.
    Port(NotAPort),
    /// Neither host nor port.
    NoHost,
    /// A host and nothing else.
    NoPort(String),
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOption(option) => write!(f, "there is no option '{option}'"),
            Self::AmbiguousOption(option) => write!(f, "option '{option}' can mean more than one"),
            Self::NoValue(option) => write!(f, "option '{option}' needs a value"),
            Self::UnexpectedValue(option) => write!(f, "option '{option}' takes no value"),
            Self::Delay(value) => {
                write!(f, "delay '{value}' is no number of milliseconds from 0 to {}", u32::MAX)
            }
            Self::Port(problem) => write!(f, "{problem}"),
            Self::NoHost => f.write_str("which host, and which ports?"),
            Self::NoPort(host) => write!(f, "at which ports of '{host}'?"),
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
    Version,
    Help,
}

const FLAGS: [(char, &str, Flag); 7] = [
    ('4', "ipv4", Flag::Ipv4),
    ('6', "ipv6", Flag::Ipv6),
    ('u', "udp", Flag::Udp),
    ('v', "verbose", Flag::Verbose),
    ('d', "delay", Flag::Delay),
    ('V', "version", Flag::Version),
    ('h', "help", Flag::Help),
];

/// Reads the arguments (without the program's name).
///
/// # Errors
/// The first [`UsageError`].
pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Command, UsageError> {
    let (mut family, mut udp, mut verbose, mut delay) = (None, false, false, DEFAULT_DELAY);
    let mut operands = Vec::new();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            operands.extend(arguments);
            break;
        }
        let flags = match argument.strip_prefix("--") {
            Some(_) => vec![long(&argument, &mut arguments)?],
            None if argument.starts_with('-') && argument != "-" => short(&argument, &mut arguments)?,
            None => {
                operands.push(argument);
                continue;
            }
        };
        for (flag, value) in flags {
            match flag {
                Flag::Ipv4 => family = Some(AddressFamily::V4),
                Flag::Ipv6 => family = Some(AddressFamily::V6),
                Flag::Udp => udp = true,
                Flag::Verbose => verbose = true,
                Flag::Delay => delay = milliseconds(value)?,
                Flag::Version => return Ok(Command::Version),
                Flag::Help => return Ok(Command::Help),
            }
        }
    }
    let mut operands = operands.into_iter();
    let host = operands.next().ok_or(UsageError::NoHost)?;
    let knocks: Vec<Knock> =
        operands.map(|text| Knock::parse(&text, udp)).collect::<Result<_, _>>().map_err(UsageError::Port)?;
    if knocks.is_empty() {
        return Err(UsageError::NoPort(host));
    }
    Ok(Command::Knock(Knocking { host, family, knocks, delay, verbose }))
}

/// Most that can be waited between two knocks is 49 days.
fn milliseconds(value: String) -> Result<Duration, UsageError> {
    // `parse` would take a plus sign too.
    let number = if value.starts_with('+') { None } else { value.parse::<u32>().ok() };
    number.map(|number| Duration::from_millis(number.into())).ok_or(UsageError::Delay(value))
}

/// One long option, whole as it was written, with its value (empty if it takes none).
fn long(argument: &str, rest: &mut impl Iterator<Item = String>) -> Result<(Flag, String), UsageError> {
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
    let value = match (flag, attached) {
        (Flag::Delay, None) => rest.next().ok_or_else(|| UsageError::NoValue(option.to_owned()))?,
        (Flag::Delay, Some(value)) => value,
        (_, None) => String::new(),
        (_, Some(_)) => return Err(UsageError::UnexpectedValue(option.to_owned())),
    };
    Ok((flag, value))
}

/// The short options behind one `-`, with their values as [`long`] has them.
fn short(argument: &str, rest: &mut impl Iterator<Item = String>) -> Result<Vec<(Flag, String)>, UsageError> {
    let mut flags = Vec::new();
    let mut letters = argument.chars().skip(1);
    while let Some(letter) = letters.next() {
        let option = || format!("-{letter}");
        let found = FLAGS.iter().find(|(short, ..)| *short == letter);
        let &(.., flag) = found.ok_or_else(|| UsageError::UnknownOption(option()))?;
        let mut value = String::new();
        if flag == Flag::Delay {
            value = letters.by_ref().collect();
            if value.is_empty() {
                value = rest.next().ok_or_else(|| UsageError::NoValue(option()))?;
            }
        }
        flags.push((flag, value));
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, UsageError> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    fn knocking(line: &str) -> Knocking {
        match read(line) {
            Ok(Command::Knock(knocking)) => knocking,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn knocks(line: &str) -> Vec<String> {
        let knocks = knocking(line).knocks;
        knocks.iter().map(|knock| format!("{}/{}", knock.port, knock.protocol)).collect()
    }

    fn error(line: &str) -> String {
        match read(line) {
            Err(error) => error.to_string(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_host_and_its_ports() {
        let Knocking { host, family, delay, verbose, .. } = knocking("router 7000");
        assert_eq!((host.as_str(), family, delay, verbose), ("router", None, DEFAULT_DELAY, false));
        assert_eq!(
            knocks("router 7000 8000:udp 9000:tcp 7000 8000:UDP"),
            ["7000/tcp", "8000/udp", "9000/tcp", "7000/tcp", "8000/udp"]
        );
        assert_eq!(knocks("router 1 65535"), ["1/tcp", "65535/tcp"]);
    }

    #[test]
    fn options_as_getopt_reads_them() {
        let plain = knocking("-v -d 250 -6 router 7000");
        assert!(plain.verbose);
        assert_eq!(plain.delay, Duration::from_millis(250));
        assert_eq!(plain.family, Some(AddressFamily::V6));
        for line in [
            "-v6d 250 router 7000",
            "-6vd250 router 7000",
            "router -v 7000 -6 -d250",
            "--verbose --delay 250 --ipv6 router 7000",
            "--verb --del=250 --ipv6 router 7000",
            "-v6d250 -- router 7000",
            "-4 -v6d250 router 7000",
        ] {
            assert_eq!(knocking(line), plain, "{line}");
        }
        assert_eq!(knocking("-4 router 7000").family, Some(AddressFamily::V4));
        assert_eq!(knocking("-d 0 router 7000").delay, Duration::ZERO);
        assert_eq!(knocking("-- -router 7000").host, "-router");
    }

    #[test]
    fn udp_goes_for_every_port() {
        for line in ["-u router 1 2:tcp 3:udp", "router 1 2:tcp 3:udp --udp"] {
            assert_eq!(knocks(line), ["1/udp", "2/udp", "3/udp"], "{line}");
        }
    }

    #[test]
    fn version_and_help_need_no_host() {
        for line in ["-V", "--version", "--vers", "-vV", "router -V"] {
            assert_eq!(read(line), Ok(Command::Version), "{line}");
        }
        for line in ["-h", "--help", "--h", "router 7000 -h"] {
            assert_eq!(read(line), Ok(Command::Help), "{line}");
        }
    }

    #[test]
    fn errors_name_the_argument() {
        for (line, text) in [
            ("", "which host, and which ports?"),
            ("router", "at which ports of 'router'?"),
            ("-x router 1", "there is no option '-x'"),
            ("-vx router 1", "there is no option '-x'"),
            ("--fast=1 router 1", "there is no option '--fast'"),
            ("--verbose-v router 1", "there is no option '--verbose-v'"),
            ("--ver router 1", "option '--ver' can mean more than one"),
            ("--verbose=1 router 1", "option '--verbose' takes no value"),
            ("router 1 -d", "option '-d' needs a value"),
            ("router 1 --delay", "option '--delay' needs a value"),
        ] {
            assert_eq!(error(line), text, "{line}");
        }
        for value in ["", "-5", "1.5", "100ms", "4294967296", "+5", "x"] {
            let text = format!("delay '{value}' is no number of milliseconds from 0 to 4294967295");
            assert_eq!(error(&format!("--delay={value} router 1")), text);
        }
        for port in ["0", "65536", "x", "7000:", ":udp", "7000:sctp", "7000:udp:", "+7", "1-2"] {
            let text =
                format!("'{port}' is no port: a number from 1 to 65535, then ':tcp', ':udp' or nothing");
            assert_eq!(error(&format!("router 7000 {port}")), text);
            assert_eq!(error(&format!("-u router {port}")), text);
        }
    }
}
