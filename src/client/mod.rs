//! `ketuk`, the client: its command line, and the knocking.
//!
//! [`arguments`] says what is wanted, [`target`] finds the address, [`knock`] sends. It builds wherever `std`
//! does; on Linux it knocks with a socket that `std` does not offer, see [`knock`].
#![forbid(unsafe_code)]

pub mod arguments;
pub mod knock;
pub mod target;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use arguments::{Command, Knocking};

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
exit codes: 0 all knocks were sent, 1 one could not be, 2 wrong usage
";

/// Runs the command that the arguments (without the program's name) ask for.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    // What is no Unicode is neither a name nor a number; the error shows it as well as can be.
    let arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
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
