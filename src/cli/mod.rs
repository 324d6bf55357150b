//! `ketukd`'s command line.

mod arguments;
#[cfg(feature = "explain")]
mod capture;
mod control;
#[cfg(feature = "doctor")]
mod doctor;
mod enrol;
#[cfg(feature = "explain")]
mod explain;
mod foreign;
mod help;
#[cfg(feature = "import")]
mod import;
mod importer;
mod invite;
mod keygen;
#[cfg(feature = "metrics")]
mod metrics;
mod rpcd;
mod ruleset;

use std::io;
use std::process::ExitCode;

use arguments::Arguments;

use crate::config::{self, Config, FirewallFile, HAS_IPTABLES};
use crate::daemon::options::RunOptions;
use crate::daemon::run;
use crate::firewall::absent::NotShut;
use crate::firewall::error::NftError;
use crate::firewall::own::{ANY, Own};
use crate::firewall::{absent, backend, exposure, own_chain};
use crate::linux::output;
use crate::linux::upper::with_uppers;

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

type CommandResult = Result<(), Failure>;

/// Runs a command. The first argument is the program's name.
pub fn main(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let is_plugin = arguments.next().is_some_and(|name| name.ends_with(RPCD_PLUGIN));
    let name = if is_plugin { Some("rpcd".to_owned()) } else { arguments.next() };
    let name = name.unwrap_or_default();
    exit_code(&name, command(&name, &arguments.collect::<Vec<_>>()))
}

/// Runs `ketuk-import`. It is a program of its own, so that a router needs it on its flash only for imports. The
/// program's name comes first.
#[cfg(feature = "import")]
pub fn import(arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<_> = arguments.skip(1).collect();
    exit_code(
        "import",
        match arguments.first().map(String::as_str) {
            // OpenWrt's feed asks every program for it.
            Some("--version" | "-V") => version(),
            _ => Arguments::parse("import", &arguments, &[], 1..=1).and_then(|it| import::print(&it)),
        },
    )
}

fn version() -> CommandResult {
    print(concat!(env!("CARGO_PKG_VERSION"), "\n"))
}

/// Prints on standard error why the command failed, and returns the exit code.
fn exit_code(name: &str, outcome: CommandResult) -> ExitCode {
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    let hint = match &failure {
        Failure::Usage(_) if help::of(name).is_some() => format!("\ntry 'ketukd {name} --help'"),
        Failure::Usage(_) => "\ntry 'ketukd --help'".to_owned(),
        _ => String::new(),
    };
    // An error in a file begins with its place, as compilers print it. Editors can jump there.
    let program = if matches!(failure, Failure::Config(_)) { "" } else { "ketukd: " };
    let (code, message) = failure.parts();
    eprintln!("{program}{message}{hint}");
    ExitCode::from(code)
}

fn command(name: &str, rest: &[String]) -> CommandResult {
    if rest.iter().any(|argument| argument == "--help" || argument == "-h") {
        return print(&help::of(name).map_or_else(help::all, str::to_owned));
    }
    let parse = |options: &[&str], operands| Arguments::parse(name, rest, options, operands);
    match name {
        "" => Err(Failure::Usage("a command is missing".to_owned())),
        "run" => run(&parse(&["--config", "--device", "--device-file", "--socket"], 0..=0)?),
        "check" => check(parse(&["--config"], 0..=1)?),
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
        #[cfg(feature = "doctor")]
        "doctor" => doctor::doctor(&parse(&["--config", "--from", "--json", "--socket"], 0..=0)?),
        "status" => control::status(&parse(&["--socket", "--json"], 0..=0)?),
        #[cfg(feature = "metrics")]
        "metrics" => metrics::metrics(&parse(&["--socket"], 0..=0)?),
        "open" => control::open(&parse(&["--socket"], 2..=3)?),
        "close" => control::close(&parse(&["--socket"], 1..=2)?),
        "reload" => control::reload(&parse(&["--socket"], 0..=0)?),
        "watch" => control::watch(&parse(&["--door", "--from", "--events", "--socket", "--json"], 0..=0)?),
        "rpcd" => rpcd::answer(&parse(&["--config", "--socket"], 1..=2)?),
        "--version" | "-V" => version(),
        "--help" | "-h" | "help" => print(&help::all()),
        #[cfg(not(feature = "doctor"))]
        "doctor" => Err(left_out(name)),
        #[cfg(not(feature = "explain"))]
        "explain" => Err(left_out(name)),
        #[cfg(not(feature = "metrics"))]
        "metrics" => Err(left_out(name)),
        _ => Err(help::unknown(name)),
    }
}

fn run(arguments: &Arguments) -> CommandResult {
    let options = RunOptions {
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

fn check(mut arguments: Arguments) -> CommandResult {
    if let Some(file) = arguments.operands.pop()
        && arguments.config.replace(file.into()).is_some()
    {
        return Err(Failure::Usage("the configuration is named twice".to_owned()));
    }
    let config = arguments.config()?;
    let enabled = config.doors.iter().filter(|door| door.enabled).count();
    let doors = config.doors.len();
    let off = match doors - enabled {
        0 => String::new(),
        off => format!(", {off} of them disabled"),
    };
    let path = arguments.config_path();
    let users = match config.users.len() {
        0 => String::new(),
        1 => ", 1 user".to_owned(),
        users => format!(", {users} users"),
    };
    for warning in config::warnings(path, &FirewallFile::beside(path), &config) {
        print(&format!("warning: {warning}\n"))?;
    }
    let of_this_host = absent(&config).chain(ports(&config)).chain(shut_for_all(&config));
    for warning in not_built(&config).into_iter().chain(of_this_host).chain(exposed(&config)) {
        print(&format!("warning: {warning}\n"))?;
    }
    print(&format!(
        "{}: fine: {doors} door{}{off}{users}\n",
        path.display(),
        if doors == 1 { "" } else { "s" }
    ))
}

/// The backend that this host needs and this build lacks.
fn not_built(config: &Config) -> Option<String> {
    let lacks = !HAS_IPTABLES && matches!(backend::resolve(config), backend::BackendKind::Iptables(_));
    lacks.then(|| backend::BackendError::NotBuilt.to_string())
}

/// The devices that this host lacks, and what that means for the others. A device may come later.
fn absent(config: &Config) -> impl Iterator<Item = String> {
    let devices = &config.globals.devices;
    let shuts = backend::resolve(config).shuts();
    let not_shut = shuts.then(|| NotShut::with(devices)).flatten().map(|not_shut| not_shut.to_string());
    let missing = absent::absent(devices);
    let missing =
        missing.map(|name| format!("there is no device '{name}' on this host: 'ip link' lists the devices"));
    missing.chain(not_shut)
}

/// The devices that are ports of others, with the device to listen on.
fn ports(config: &Config) -> impl Iterator<Item = String> {
    let named = with_uppers(&config.globals.devices);
    let wrong = named.iter().filter_map(|(device, upper)| {
        let upper = upper.as_ref().filter(|upper| !upper.is_right_beside(&named))?;
        Some(format!("device {device} {upper}"))
    });
    wrong.collect::<Vec<_>>().into_iter()
}

/// The doors that make the daemon's own table shut nearly every port.
fn shut_for_all(config: &Config) -> impl Iterator<Item = String> {
    let doors = config.doors.iter().filter(|door| door.enabled && door.opens_every_port());
    let is_own = backend::resolve(config) == backend::BackendKind::Own;
    doors.filter(move |_| is_own).map(|door| {
        format!(
            "door '{}': without allow_port, backend 'own' shuts every port except UDP 68 and 546 for every address that has \
             not asked for it: if this host has services for everybody, name their ports with allow_port",
            door.name
        )
    })
}

/// The findings of the loaded rules about the doors.
fn exposed(config: &Config) -> Vec<String> {
    let globals = &config.globals;
    // Only the init script knows the devices of a logical network. The daemon logs findings for them.
    if globals.devices.is_empty() && !globals.networks.is_empty() {
        return Vec::new();
    }
    let any = [ANY.to_owned()];
    let devices = if globals.devices.is_empty() { &any[..] } else { &globals.devices };
    match exposure::look_at(config, backend::resolve(config), devices) {
        Ok(findings) => findings.iter().map(ToString::to_string).collect(),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            vec!["the loaded rules cannot be read without privilege: run 'ketukd check' as root".to_owned()]
        }
        Err(error) => vec![format!(
            "the loaded rules cannot be read, so it is not known whether the doors' ports can be reached without a \
             knock: {error}"
        )],
    }
}

/// The error for a command that Cargo's features left out.
#[cfg(not(all(feature = "doctor", feature = "explain", feature = "metrics")))]
fn left_out(command: &str) -> Failure {
    Failure::Usage(format!("this ketukd was built without '{command}'"))
}

/// Deletes the daemon's own table, and its own chains of iptables. The ports that they shut are then open.
fn unload() -> CommandResult {
    let table = match Own::connect().map(|mut own| own.unload()) {
        // A kernel without nf_tables has no such table.
        Ok(Ok(()) | Err(NftError::Unsupported)) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let chains = if HAS_IPTABLES { own_chain::unload() } else { Ok(()) };
    let chains = chains.map_err(|error| error.to_string());
    table.and(chains).map_err(Failure::Failed)
}

/// Prints to standard output. A closed pipe is no error.
fn print(text: &str) -> CommandResult {
    match output::write(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Failed(error.to_string())),
        _ => Ok(()),
    }
}

#[cfg(all(test, not(all(feature = "doctor", feature = "explain", feature = "metrics"))))]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_says_so() {
        let commands = [
            ("doctor", cfg!(feature = "doctor")),
            ("explain", cfg!(feature = "explain")),
            ("metrics", cfg!(feature = "metrics")),
        ];
        for (name, _) in commands.iter().filter(|(_, is_there)| !is_there) {
            let Err(Failure::Usage(said)) = command(name, &["file".to_owned()]) else {
                panic!("{name} is there")
            };
            assert_eq!(said, format!("this ketukd was built without '{name}'"));
        }
    }
}
