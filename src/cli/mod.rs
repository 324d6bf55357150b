//! `ketukd`'s command line.

mod arguments;
#[cfg(feature = "explain")]
mod capture;
mod control;
mod enrol;
#[cfg(feature = "explain")]
mod explain;
mod foreign;
#[cfg(feature = "import")]
mod import;
mod importer;
mod invite;
mod keygen;
mod rpcd;
mod ruleset;

use std::io::{self, Write as _};
use std::process::ExitCode;

use arguments::Arguments;

use crate::config::{self, Config};
use crate::daemon::run;
use crate::daemon::start::Options;
use crate::firewall::own::{ANY, Own};
use crate::firewall::{backend, exposure};

const USAGE: &str = "\
ketukd opens a port to whoever knocks right, and shuts it again.

usage:
  ketukd run [--config FILE] [--device DEV]... [--device-file FILE] [--socket PATH]
                                  run in the foreground
  ketukd check [--config FILE]    read the configuration, say what is wrong with it
  ketukd ruleset [--config FILE] [--table 'FAMILY NAME'] [--zone ZONE]
                                  the sets and rules that the firewall must contain, for nft -f
  ketukd ruleset --replace ...    the same in the place of the rules that are loaded: it can be loaded again
  ketukd ruleset --fw4 [--config FILE] [--zone ZONE]
                                  the same as objects for fw4, one option a line
  ketukd explain CAPTURE [--config FILE] [--address ADDRESS]...
                                  the knocks in a pcap or pcapng file as they would be judged
  ketukd import FILE|-            knockd.conf, access.conf, fwknopd.conf or OpenWrt's configuration of either as
                                  ketuk's own, on standard output
  ketukd invite USER [--host HOST] [--page URL | --fwknop | --knockd] [--config FILE]
                                  a user's profile for 'ketuk add', and as a QR code; as a link to the
                                  knock page, as fwknop's keys, or as a knockd.conf
  ketukd unload                   take the daemon's own table away: the ports are open again
  ketukd keygen                   a new key and a new secret for a user, and a sequence for a door
  ketukd status [--json]          doors, who is in, counters
  ketukd open DOOR ADDRESS [SECONDS]
                                  open a door by hand; 0 seconds: until it is closed
  ketukd close DOOR [ADDRESS]     shut a door, for one address or for all
  ketukd reload                   read the configuration anew
  ketukd watch [--json]           every knock as it is judged
  ketukd rpcd list | call METHOD  answer rpcd, for the router's web page
  ketukd --version | --help

status, open, close, reload, watch and rpcd take --socket PATH too.
exit codes: 0 done, 1 it failed, 2 wrong usage or configuration
";

/// The lines of [`USAGE`] that say how `command` is written.
fn usage_of(command: &str) -> String {
    let begin = format!("ketukd {command}");
    let mut lines =
        USAGE.lines().map(|line| line.split("  ").find(|part| !part.is_empty()).unwrap_or("").trim());
    let mut found: Vec<&str> = Vec::new();
    while let Some(line) = lines.find(|line| *line == begin || line.starts_with(&format!("{begin} "))) {
        found.push(line);
    }
    found.join("\n       ")
}

/// The commands, to name the one that a misspelt word may mean.
const COMMANDS: &[&str] = &[
    "run",
    "check",
    "ruleset",
    "explain",
    "import",
    "invite",
    "unload",
    "keygen",
    "status",
    "open",
    "close",
    "reload",
    "watch",
    "rpcd",
    "--version",
    "--help",
];

/// The end of the path by which rpcd calls its plugin for ketuk.
const RPCD_PLUGIN: &str = "/rpcd/ketuk";

/// Why a command failed.
enum Failure {
    /// Exit code 1.
    Failed(String),
    /// Exit code 2: the configuration.
    Config(String),
    /// Exit code 2: the command line.
    Usage(String),
}

impl Failure {
    /// An unknown word, with the word of `known` that may be meant.
    fn unknown(problem: String, word: &str, known: &[&str]) -> Self {
        Self::Usage(match config::nearest(word.as_bytes(), known) {
            Some(near) => format!("{problem}: did you mean '{near}'?"),
            None => problem,
        })
    }

    /// The exit code and the message.
    fn parts(self) -> (u8, String) {
        match self {
            Self::Failed(message) => (1, message),
            Self::Config(message) | Self::Usage(message) => (2, message),
        }
    }
}

type Outcome = Result<(), Failure>;

/// Runs a command. The first argument is the program's name.
pub fn main(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let is_plugin = arguments.next().is_some_and(|name| name.ends_with(RPCD_PLUGIN));
    let name = if is_plugin { Some("rpcd".to_owned()) } else { arguments.next() };
    exit_code(command(name, &arguments.collect::<Vec<_>>()))
}

/// Runs `ketuk-import`, a program of its own so that flash holds it only where it is wanted; the program's name
/// comes first.
#[cfg(feature = "import")]
pub fn import(arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<_> = arguments.skip(1).collect();
    exit_code(
        Arguments::parse("import", &arguments, &[], 1..=1).and_then(|arguments| import::print(&arguments)),
    )
}

/// Says on standard error why a command failed.
fn exit_code(outcome: Outcome) -> ExitCode {
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    let hint = if matches!(failure, Failure::Usage(_)) { "\ntry 'ketukd --help'" } else { "" };
    // An error in a file begins with its place, as compilers print it, so that editors can jump there.
    let who = if matches!(failure, Failure::Config(_)) { "" } else { "ketukd: " };
    let (code, message) = failure.parts();
    eprintln!("{who}{message}{hint}");
    ExitCode::from(code)
}

fn command(name: Option<String>, rest: &[String]) -> Outcome {
    let Some(name) = name else { return Err(Failure::Usage("which command?".to_owned())) };
    if rest.iter().any(|argument| argument == "--help" || argument == "-h") {
        return print(USAGE);
    }
    let parse = |options: &[&str], operands| Arguments::parse(&name, rest, options, operands);
    match name.as_str() {
        "run" => run(&parse(&["--config", "--device", "--device-file", "--socket"], 0..=0)?),
        "check" => check(&parse(&["--config"], 0..=0)?),
        "ruleset" => ruleset::print(&parse(&["--config", "--table", "--zone", "--fw4", "--replace"], 0..=0)?),
        #[cfg(feature = "explain")]
        "explain" => explain::print(&parse(&["--config", "--address"], 1..=1)?),
        "import" => parse(&[], 1..=1).and_then(|arguments| importer::run(&arguments)),
        "invite" => invite::invite(&parse(
            &["--config", "--host", "--page", "--fwknop", "--knockd", "--socket"],
            1..=1,
        )?),
        "unload" => parse(&[], 0..=0).and_then(|_| unload()),
        "keygen" => parse(&[], 0..=0).and_then(|_| keygen::print_new()),
        "status" => control::status(&parse(&["--socket", "--json"], 0..=0)?),
        "open" => control::open(&parse(&["--socket"], 2..=3)?),
        "close" => control::close(&parse(&["--socket"], 1..=2)?),
        "reload" => control::reload(&parse(&["--socket"], 0..=0)?),
        "watch" => control::watch(&parse(&["--socket", "--json"], 0..=0)?),
        "rpcd" => rpcd::answer(&parse(&["--config", "--socket"], 1..=2)?),
        "--version" | "-V" => print(concat!(env!("CARGO_PKG_VERSION"), "\n")),
        "--help" | "-h" | "help" => print(USAGE),
        #[cfg(not(feature = "explain"))]
        "explain" => Err(Failure::Usage(format!("this ketukd was built without '{name}'"))),
        _ => Err(Failure::unknown(format!("there is no command '{name}'"), &name, COMMANDS)),
    }
}

fn run(arguments: &Arguments) -> Outcome {
    let options = Options {
        config: arguments.config_path().to_owned(),
        devices: arguments.devices.clone(),
        device_file: arguments.device_file.clone(),
        socket: arguments.socket().to_owned(),
    };
    run::run(options).map_err(|error| match error.exit_code() {
        2 => Failure::Config(error.to_string()),
        _ => Failure::Failed(error.to_string()),
    })
}

fn check(arguments: &Arguments) -> Outcome {
    let config = arguments.config()?;
    let enabled = config.doors.iter().filter(|door| door.enabled).count();
    let (doors, off) = (config.doors.len(), config.doors.len() - enabled);
    let path = arguments.config_path();
    let users = match config.users.len() {
        0 => String::new(),
        1 => ", 1 user".to_owned(),
        users => format!(", {users} users"),
    };
    for warning in config::warnings(path, &config) {
        print(&format!("warning: {warning}\n"))?;
    }
    for warning in exposed(&config) {
        print(&format!("warning: {warning}\n"))?;
    }
    print(&format!(
        "{}: fine: {doors} door{}, {off} of them disabled{users}\n",
        path.display(),
        if doors == 1 { "" } else { "s" }
    ))
}

/// What the rules that are loaded make of the doors.
fn exposed(config: &Config) -> Vec<String> {
    let globals = &config.globals;
    // Which devices a logical network has only the init script knows, and says in the daemon's log.
    if globals.devices.is_empty() && !globals.networks.is_empty() {
        return Vec::new();
    }
    let any = [ANY.to_owned()];
    let devices = if globals.devices.is_empty() { &any[..] } else { &globals.devices };
    match exposure::look_at(config, backend::resolve(config), devices) {
        Ok(findings) => findings.iter().map(ToString::to_string).collect(),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            vec![
                "the rules that are loaded cannot be read without privilege: run 'ketukd check' as root"
                    .to_owned(),
            ]
        }
        // Without nf_tables there are no rules of its own.
        Err(_) => Vec::new(),
    }
}

/// Takes the daemon's own table away, and with it all that it shuts.
fn unload() -> Outcome {
    let unloaded = Own::connect()
        .map_err(|error| error.to_string())
        .and_then(|mut own| own.unload().map_err(|error| error.to_string()));
    unloaded.map_err(Failure::Failed)
}

/// Prints to standard output. A closed pipe is no error.
fn print(text: &str) -> Outcome {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Failed(error.to_string())),
        _ => Ok(()),
    }
}

#[cfg(all(test, not(feature = "explain")))]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_says_so() {
        let Err(Failure::Usage(said)) = command(Some("explain".to_owned()), &["file".to_owned()]) else {
            panic!("it is there")
        };
        assert_eq!(said, "this ketukd was built without 'explain'");
    }
}
