//! `ketuk open`: knocks as a profile says, waits until the door is open, runs a command.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::num::NonZeroU16;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::arguments::DEFAULT_DELAY;
use super::knock::{Knock, Protocol};
use super::profiles;
use super::target;
use crate::profile::Profile;
use crate::protocol::AddressFamily;
use crate::protocol::packet::{self, DoorName, Keys, NONCE};
use crate::protocol::totp;

/// How long a door may take to open: until the next window, if the current one has opened it already, and
/// knocks that get lost.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long one try to connect may take: a satellite's way there and back, twice.
const CONNECT: Duration = Duration::from_millis(1500);
/// After how long it is knocked again: packets get lost.
const KNOCK_AGAIN: Duration = Duration::from_secs(4);
// Otherwise the router would not listen to the last tries.
const _: () = assert!(PATIENCE.as_secs() / KNOCK_AGAIN.as_secs() < totp::TRIES_PER_MINUTE as u64);
/// Time between two tries to connect where the host refuses at once.
const RETRY: Duration = Duration::from_millis(100);

/// What the command line says.
#[derive(Debug, Default)]
pub struct Opening {
    profile: String,
    door: Option<String>,
    family: Option<AddressFamily>,
    delay: Option<Duration>,
    verbose: bool,
    seconds: u32,
    address: Option<IpAddr>,
    wait: Option<u16>,
    command: Vec<OsString>,
}

/// Why it did not work: the exit code, and why.
pub type Failure = (u8, String);

/// Reads the arguments behind `open`.
///
/// # Errors
/// Exit code 2.
pub fn parse(arguments: &[OsString]) -> Result<Opening, Failure> {
    let usage = |message: String| (2, format!("{message}\ntry 'ketuk --help'"));
    let mut opening = Opening::default();
    let mut operands = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let text = argument.to_string_lossy();
        if text == "--" {
            opening.command = rest.cloned().collect();
            if opening.command.is_empty() {
                return Err(usage("which command, behind '--'?".to_owned()));
            }
            break;
        }
        let (option, attached) = match text.split_once('=') {
            Some((option, value)) if option.starts_with("--") => (option.to_owned(), Some(value.to_owned())),
            _ => (text.clone().into_owned(), None),
        };
        let mut value = || {
            let next =
                attached.clone().or_else(|| rest.next().map(|next| next.to_string_lossy().into_owned()));
            next.ok_or_else(|| usage(format!("option '{option}' needs a value")))
        };
        let wrong = |value: &str, what: &str| usage(format!("'{value}' is no {what}"));
        match option.as_str() {
            "-4" | "--ipv4" => opening.family = Some(AddressFamily::V4),
            "-6" | "--ipv6" => opening.family = Some(AddressFamily::V6),
            "-v" | "--verbose" => opening.verbose = true,
            "-d" | "--delay" => {
                let value = value()?;
                let ms = value.parse().map_err(|_| wrong(&value, "number of milliseconds"))?;
                opening.delay = Some(Duration::from_millis(ms));
            }
            "-t" | "--time" => {
                let value = value()?;
                opening.seconds = value.parse().map_err(|_| wrong(&value, "number of seconds"))?;
            }
            "-a" | "--address" => {
                let value = value()?;
                opening.address = Some(value.parse().map_err(|_| wrong(&value, "IP address"))?);
            }
            "-w" | "--wait" => {
                let value = value()?;
                let port = value.parse().ok().filter(|port| *port > 0);
                opening.wait = Some(port.ok_or_else(|| wrong(&value, "port"))?);
            }
            _ if option.starts_with('-') => {
                return Err(usage(format!("'ketuk open' has no option '{option}'")));
            }
            _ => operands.push(text.into_owned()),
        }
    }
    let mut operands = operands.into_iter();
    opening.profile = operands.next().ok_or_else(|| usage("which profile?".to_owned()))?;
    opening.door = operands.next();
    match operands.next() {
        Some(more) => Err(usage(format!("what is '{more}'? a command stands behind '--'"))),
        None => Ok(opening),
    }
}

/// Opens, and runs the command if there is one: then its end is the end of this.
///
/// # Errors
/// Exit code 1, or 2 for a profile or a door that is not there.
pub fn open(opening: &Opening) -> Result<u8, Failure> {
    let profile = profiles::folder().and_then(|folder| profiles::load(&folder, &opening.profile));
    let profile = profile.map_err(|message| (2, message))?;
    let door = match &opening.door {
        None => profile.doors.first(),
        Some(name) => profile.doors.iter().find(|door| door.name == *name),
    };
    let door = door.ok_or_else(|| {
        let names: Vec<_> = profile.doors.iter().map(|door| door.name.as_str()).collect();
        (2, format!("the profile has no such door; it has: {}", names.join(", ")))
    })?;
    let target = target::resolve(&profile.host, opening.family)
        .map_err(|error| (1, format!("'{}': {error}", profile.host)))?;
    let knock = || knock(&profile, &door.name, target, opening).map_err(|message| (1, message));
    knock()?;
    // Who asks for another address does not get in from here.
    let wait =
        opening.wait.or(door.port.filter(|_| !opening.command.is_empty() && opening.address.is_none()));
    if let Some(port) = wait {
        wait_for(SocketAddr::new(target.ip(), port), knock)?;
    }
    if opening.command.is_empty() { Ok(0) } else { run(&opening.command) }
}

/// Knocks with the best that the profile has.
fn knock(profile: &Profile, door: &str, target: SocketAddr, opening: &Opening) -> Result<(), String> {
    let unix_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let unix_s = unix_s.map_err(|_| "this machine's clock is before 1970: set it")?.as_secs();
    if let Some(key) = &profile.key {
        let request = packet::Request {
            time: unix_s,
            seconds: opening.seconds,
            address: opening.address,
            door: DoorName::new(door).ok_or("no door is called so")?,
        };
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|error| error.to_string())?;
        let key: &[u8; packet::KEY] = key.bytes().try_into().map_err(|_| "the profile's key is none")?;
        let address = SocketAddr::new(target.ip(), profile.port);
        if opening.verbose {
            eprintln!("ketuk: a packet to {address}");
        }
        return send(address, &Keys::derive(key).seal(nonce, &request))
            .map_err(|error| format!("cannot send a packet to {address}: {error}"));
    }
    if opening.seconds > 0 || opening.address.is_some() {
        return Err("a time or an address can be asked for with a key only".to_owned());
    }
    let knocks: Vec<Knock> = if let Some(secret) = &profile.totp {
        let ports = totp::sequence(secret.bytes(), door, totp::window(unix_s), profile.range);
        let ports = ports.into_iter().filter_map(NonZeroU16::new);
        ports.map(|port| Knock { protocol: Protocol::Tcp, port }).collect()
    } else {
        let knocks = profile.sequence.iter().map(|text| Knock::parse(text, false));
        knocks.collect::<Result<_, _>>().map_err(|error| error.to_string())?
    };
    for (at, knock) in knocks.into_iter().enumerate() {
        if at > 0 {
            thread::sleep(opening.delay.unwrap_or(DEFAULT_DELAY));
        }
        let address = knock.address(target);
        if opening.verbose {
            eprintln!("ketuk: hitting {} {address}", knock.protocol);
        }
        knock
            .send(target)
            .map_err(|error| format!("cannot knock at {} {address}: {error}", knock.protocol))?;
    }
    Ok(())
}

fn send(address: SocketAddr, packet: &[u8]) -> io::Result<()> {
    let socket = match address {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
    };
    socket.send_to(packet, address).map(drop)
}

/// Waits until a port answers, and knocks again now and then.
fn wait_for(address: SocketAddr, mut knock: impl FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut knocked = begun;
    loop {
        let Err(tried) = TcpStream::connect_timeout(&address, CONNECT) else { return Ok(()) };
        if begun.elapsed() > PATIENCE {
            return Err((1, format!("{address} does not answer: {tried}; is this machine's clock right?")));
        }
        thread::sleep(RETRY);
        if knocked.elapsed() > KNOCK_AGAIN {
            knocked = Instant::now();
            knock()?;
        }
    }
}

/// Runs the command in the place of this program, or as near to that as the system has it.
fn run(command: &[OsString]) -> Result<u8, Failure> {
    let mut process = Command::new(&command[0]);
    process.args(&command[1..]);
    let failed = |error: io::Error| (1, format!("{}: {error}", command[0].to_string_lossy()));
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt as _;
        Err(failed(process.exec()))
    }
    #[cfg(not(unix))]
    {
        let status = process.status().map_err(failed)?;
        Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Opening, String> {
        let words: Vec<_> = line.split_whitespace().map(OsString::from).collect();
        parse(&words).map_err(|(code, message)| {
            assert_eq!(code, 2, "{line}");
            message.lines().next().unwrap_or_default().to_owned()
        })
    }

    #[test]
    fn options_anywhere_and_a_command_behind_dashes() {
        let opening = read("-6 home --time=60 nas -v -a 192.0.2.1 -w 443 -d 5 -- ssh -v me@home").unwrap();
        assert_eq!((opening.profile.as_str(), opening.door.as_deref()), ("home", Some("nas")));
        assert_eq!((opening.seconds, opening.wait, opening.verbose), (60, Some(443), true));
        assert_eq!(
            (opening.family, opening.delay),
            (Some(AddressFamily::V6), Some(Duration::from_millis(5)))
        );
        assert_eq!(opening.address, Some("192.0.2.1".parse().unwrap()));
        assert_eq!(opening.command, ["ssh", "-v", "me@home"]);
    }

    #[test]
    fn errors_name_the_argument() {
        for (line, expected) in [
            ("", "which profile?"),
            ("home -x", "'ketuk open' has no option '-x'"),
            ("home ssh more", "what is 'more'? a command stands behind '--'"),
            ("home -t", "option '-t' needs a value"),
            ("home -t x", "'x' is no number of seconds"),
            ("home -w 0", "'0' is no port"),
            ("home -a home", "'home' is no IP address"),
            ("home --", "which command, behind '--'?"),
        ] {
            assert_eq!(read(line).unwrap_err(), expected, "{line}");
        }
    }
}
