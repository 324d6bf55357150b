//! `ketuk`, the client: its command line, and the knocking.
//!
//! [`arguments`] says what is wanted, [`target`] finds the address, [`knock`] sends. [`open`] does the same as a
//! profile says, of which [`profiles`] keeps several. It builds wherever `std` does; on Linux it knocks with a socket that `std` does not offer, see [`knock`].
#![forbid(unsafe_code)]

pub mod arguments;
pub mod knock;
pub mod open;
pub mod profiles;
pub mod target;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use arguments::{Command, Knocking};
use zeroize::Zeroizing;

use crate::profile::{Profile, ProfileError};

const USAGE: &str = "\
ketuk knocks at a host's ports, one after the other.

usage: ketuk [options] HOST PORT[:tcp|:udp]...
  -u, --udp            knock with UDP at every port (default is TCP)
  -d, --delay MS       wait so many milliseconds between knocks (default is 100)
  -4, --ipv4           use IPv4 only
  -6, --ipv6           use IPv6 only
  -v, --verbose        say each knock
  -V, --version        print the version
  -h, --help           print this

example: ketuk router.example.com 7000 8000:udp 9000

With a secret (see 'ketukd invite' on the router):
  ketuk add 'ketuk://...' [NAME]     keep a profile; '-' reads it from standard input
  ketuk open [-4|-6] [-v] [-d MS] [-t SECONDS] [-a ADDRESS] [-w PORT] PROFILE [DOOR] [-- COMMAND...]
                                     open a door as a profile says; with a command, wait until the
                                     door is open, and run it
       -t, --time SECONDS            ask for so long, if the door's max_time allows it
       -a, --address ADDRESS         open for this address instead of one's own, if one may
       -w, --wait PORT               wait until this TCP port answers
  ketuk list                         the profiles
  ketuk keygen                       a new key and a new secret, for the router's configuration

example: ketuk open home -- ssh me@home.example.com
exit codes: 0 all knocks were sent, 1 one could not be, 2 wrong usage
";

/// Runs the command that the arguments (without the program's name) ask for.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    if let Some(outcome) = with_profiles(&arguments) {
        return match outcome {
            Ok(code) => ExitCode::from(code),
            Err((code, message)) => {
                eprintln!("ketuk: {message}");
                ExitCode::from(code)
            }
        };
    }
    // What is no Unicode is neither a name nor a number; the error shows it as well as can be.
    let arguments = arguments.iter().map(|argument| argument.to_string_lossy().into_owned());
    let result = match arguments::parse(arguments) {
        Ok(Command::Knock(knocking)) => knock_all(&knocking),
        Ok(Command::Version) => print(&format!("ketuk {}\n", env!("CARGO_PKG_VERSION"))),
        Ok(Command::Help) => print(USAGE),
        Err(error) => {
            eprintln!("ketuk: {error}\ntry 'ketuk --help'");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("ketuk: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The commands that are words; `None` for any other first argument. (A host of such a name is knocked at behind
/// `--`.)
fn with_profiles(arguments: &[OsString]) -> Option<Result<u8, open::Failure>> {
    let (command, rest) = arguments.split_first()?;
    let failed = |message| (1, message);
    let too_many = || Err((2, "too many arguments\ntry 'ketuk --help'".to_owned()));
    Some(match (command.to_str()?, rest) {
        ("open", rest) => open::parse(rest).and_then(|opening| open::open(&opening)),
        ("add", [line]) => add(line, None).map(|()| 0),
        ("add", [line, name]) => add(line, Some(name)).map(|()| 0),
        ("add", []) => Err((2, "which profile? give the line that 'ketukd invite' printed".to_owned())),
        ("list", []) => list().map(|()| 0).map_err(failed),
        ("keygen", []) => crate::profile::new_secrets()
            .map_err(|error| error.to_string())
            .and_then(|secrets| print(&secrets))
            .map(|()| 0)
            .map_err(failed),
        ("add" | "list" | "keygen", _) => too_many(),
        _ => return None,
    })
}

/// Keeps a profile.
fn add(line: &OsStr, name: Option<&OsString>) -> Result<(), open::Failure> {
    let mut text = Zeroizing::new(line.to_string_lossy().into_owned());
    if *text == "-" {
        text.clear();
        io::stdin().read_line(&mut text).map_err(|error| (1, format!("standard input: {error}")))?;
    }
    let profile: Profile = text.parse().map_err(|error: ProfileError| (2, error.to_string()))?;
    let name =
        name.map_or_else(|| profiles::default_name(&profile), |name| name.to_string_lossy().into_owned());
    let path = profiles::folder().and_then(|folder| profiles::add(&folder, &name, &profile));
    let path = path.map_err(|message| (1, message))?;
    print(&format!("profile '{name}' is in {}: 'ketuk open {name}'\n", path.display()))
        .map_err(|message| (1, message))
}

/// Prints the profiles, and no secret.
fn list() -> Result<(), String> {
    let folder = profiles::folder()?;
    for name in profiles::names(&folder) {
        let Ok(profile) = profiles::load(&folder, &name) else { continue };
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

/// Sends every knock to the same address, and stops at the first that cannot be sent: what comes after a gap
/// opens nothing.
fn knock_all(knocking: &Knocking) -> Result<(), String> {
    let host = &knocking.host;
    let target = target::resolve(host, knocking.family).map_err(|error| format!("'{host}': {error}"))?;
    let mut last: Option<Instant> = None;
    for knock in &knocking.knocks {
        if let Some(last) = last {
            thread::sleep(knocking.delay.saturating_sub(last.elapsed()));
        }
        let address = knock.address(target);
        if knocking.verbose {
            print(&format!("hitting {} {address}\n", knock.protocol))?;
        }
        last = Some(Instant::now());
        knock
            .send(target)
            .map_err(|error| format!("cannot knock at {} {address}: {error}", knock.protocol))?;
    }
    Ok(())
}

/// Prints to standard output; a closed pipe is not an error worth a word.
fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("standard output: {error}")),
        _ => Ok(()),
    }
}
