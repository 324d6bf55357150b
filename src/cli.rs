//! `ketukd`'s command line.

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{self, Config, Family, Table};
use crate::control::message::{Refusal, Request, Verb};
use crate::control::{DEFAULT_SOCKET, client, show};
use crate::daemon::run::{self, Options};

use crate::firewall::ruleset::{self, Zone};

/// Where the configuration is unless `--config` says otherwise.
pub const DEFAULT_CONFIG: &str = "/etc/config/ketuk";

const USAGE: &str = "\
ketukd opens a port to whoever knocks right, and shuts it again.

usage:
  ketukd run [--config FILE] [--device DEV]... [--socket PATH]
                                  run in the foreground
  ketukd check [--config FILE]    read the configuration, say what is wrong with it
  ketukd ruleset [--config FILE] [--table 'FAMILY NAME'] [--zone ZONE]
                                  the sets and rules that the firewall must contain, for nft -f
  ketukd status [--json]          doors, who is in, counters
  ketukd open DOOR ADDRESS [SECONDS]
                                  open a door by hand; 0 seconds: until it is closed
  ketukd close DOOR [ADDRESS]     shut a door, for one address or for all
  ketukd reload                   read the configuration anew
  ketukd watch [--json]           every knock as it is judged
  ketukd --version | --help

status, open, close, reload and watch take --socket PATH too.
exit codes: 0 done, 1 it failed, 2 wrong usage or configuration
";

/// What ended a command other than well.
enum Failure {
    /// Exit code 1.
    Failed(String),
    /// Exit code 2: the configuration.
    Config(String),
    /// Exit code 2: the command line.
    Usage(String),
}

type Outcome = Result<(), Failure>;

/// Runs the command that the arguments (without the program's name) ask for.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let (code, message) = match command(arguments) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Failed(message)) => (1, message),
        Err(Failure::Config(message)) => (2, message),
        Err(Failure::Usage(message)) => (2, format!("{message}\ntry 'ketukd --help'")),
    };
    eprintln!("ketukd: {message}");
    ExitCode::from(code)
}

fn command(mut arguments: impl Iterator<Item = String>) -> Outcome {
    let Some(name) = arguments.next() else { return Err(Failure::Usage("which command?".to_owned())) };
    let rest: Vec<String> = arguments.collect();
    let parse = |options: &[&str], operands| Arguments::parse(&name, &rest, options, operands);
    match name.as_str() {
        "run" => run(&parse(&["--config", "--device", "--socket"], 0..=0)?),
        "check" => check(&parse(&["--config"], 0..=0)?),
        "ruleset" => ruleset(&parse(&["--config", "--table", "--zone"], 0..=0)?),
        "status" => status(&parse(&["--socket", "--json"], 0..=0)?),
        "open" => open(&parse(&["--socket"], 2..=3)?),
        "close" => close(&parse(&["--socket"], 1..=2)?),
        "reload" => ask(&parse(&["--socket"], 0..=0)?, &Request::plain(Verb::Reload)),
        "watch" => watch(&parse(&["--socket", "--json"], 0..=0)?),
        "--version" | "-V" => print(&format!("ketukd {}\n", env!("CARGO_PKG_VERSION"))),
        "--help" | "-h" | "help" => print(USAGE),
        _ => Err(Failure::Usage(format!("there is no command '{name}'"))),
    }
}

/// A command's arguments, told apart.
#[derive(Debug, Default)]
struct Arguments {
    config: Option<PathBuf>,
    devices: Vec<String>,
    socket: Option<PathBuf>,
    table: Option<String>,
    zone: Option<String>,
    json: bool,
    operands: Vec<String>,
}

impl Arguments {
    fn parse(
        command: &str,
        arguments: &[String],
        options: &[&str],
        operands: std::ops::RangeInclusive<usize>,
    ) -> Result<Self, Failure> {
        let mut parsed = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            if !argument.starts_with('-') {
                parsed.operands.push(argument.clone());
                continue;
            }
            let (option, attached) = match argument.split_once('=') {
                Some((option, value)) => (option, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            if !options.contains(&option) {
                return Err(Failure::Usage(format!("'ketukd {command}' has no option '{option}'")));
            }
            if option == "--json" {
                parsed.json = true;
                continue;
            }
            let value = attached.or_else(|| arguments.next().cloned());
            let value = value.ok_or_else(|| Failure::Usage(format!("option '{option}' needs a value")))?;
            match option {
                "--config" => parsed.config = Some(value.into()),
                "--device" => parsed.devices.push(value),
                "--socket" => parsed.socket = Some(value.into()),
                "--table" => parsed.table = Some(value),
                _ => parsed.zone = Some(value),
            }
        }
        if operands.contains(&parsed.operands.len()) {
            return Ok(parsed);
        }
        let problem = if parsed.operands.len() < *operands.start() { "few" } else { "many" };
        Err(Failure::Usage(format!("too {problem} arguments for 'ketukd {command}'")))
    }

    fn config_path(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG))
    }

    fn config(&self) -> Result<Config, Failure> {
        config::load(self.config_path()).map_err(|error| Failure::Config(error.to_string()))
    }

    fn socket(&self) -> &Path {
        self.socket.as_deref().unwrap_or(Path::new(DEFAULT_SOCKET))
    }
}

fn run(arguments: &Arguments) -> Outcome {
    let options = Options {
        config: arguments.config_path().to_owned(),
        devices: arguments.devices.clone(),
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
    print(&format!("{}: fine: {doors} doors, {off} of them disabled\n", arguments.config_path().display()))
}

fn ruleset(arguments: &Arguments) -> Outcome {
    let config = arguments.config()?;
    let table = match &arguments.table {
        Some(text) => table(text)?,
        None => config
            .globals
            .nft_table
            .clone()
            .unwrap_or_else(|| Table { family: Family::Inet, name: "fw4".to_owned() }),
    };
    let zone = arguments.zone.as_deref().unwrap_or("wan");
    let zone = Zone::new(zone).ok_or_else(|| Failure::Usage(format!("'{zone}' is no zone name")))?;
    let mut text = String::new();
    ruleset::write(&mut text, &config, &table, zone).expect("a String takes everything");
    print(&text)
}

/// `FAMILY NAME`, or a name alone for family inet.
fn table(text: &str) -> Result<Table, Failure> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (family, name) = match words[..] {
        [name] | ["inet", name] => (Family::Inet, name),
        ["ip", name] => (Family::Ip, name),
        ["ip6", name] => (Family::Ip6, name),
        _ => return Err(Failure::Usage(format!("'{text}' is no table: 'inet NAME', 'ip NAME', 'ip6 NAME'"))),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    if name.len() > 255 || !name.bytes().all(plain) {
        return Err(Failure::Usage(format!("'{name}' is no table name")));
    }
    Ok(Table { family, name: name.to_owned() })
}

fn open(arguments: &Arguments) -> Outcome {
    let seconds = arguments
        .operands
        .get(2)
        .map(|text| text.parse().map_err(|_| Failure::Usage(format!("'{text}' is no number of seconds"))));
    let (door, address) = (&arguments.operands[0], address(&arguments.operands[1])?.to_string());
    let request = Request {
        request: Verb::Open,
        door: Some(door),
        address: Some(&address),
        seconds: seconds.transpose()?,
    };
    ask(arguments, &request)
}

fn close(arguments: &Arguments) -> Outcome {
    let address = arguments.operands.get(1).map(|text| address(text)).transpose()?;
    let address = address.map(|address| address.to_string());
    let request = Request {
        request: Verb::Close,
        door: Some(&arguments.operands[0]),
        address: address.as_deref(),
        seconds: None,
    };
    ask(arguments, &request)
}

fn address(text: &str) -> Result<IpAddr, Failure> {
    text.parse().map_err(|_| Failure::Usage(format!("'{text}' is no address")))
}

/// A request whose answer is only done or not.
fn ask(arguments: &Arguments, request: &Request<'_>) -> Outcome {
    talk(arguments, request, |_, _| Ok(true))
}

fn status(arguments: &Arguments) -> Outcome {
    let mut status = show::Status::default();
    talk(arguments, &Request::plain(Verb::Status), |kind, json| {
        status.add(kind, json);
        Ok(true)
    })?;
    let mut text = String::new();
    if arguments.json { status.json(&mut text) } else { status.text(&mut text) }
        .expect("a String takes everything");
    print(&text)
}

fn watch(arguments: &Arguments) -> Outcome {
    talk(arguments, &Request::plain(Verb::Watch), |kind, json| {
        let mut line = String::new();
        if arguments.json {
            show::watch_json(&mut line, kind, json)
        } else {
            show::watch(&mut line, kind, json)
        }
        .expect("a String takes everything");
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()?;
        Ok(true)
    })
}

/// Asks the daemon; its refusal is the command's failure.
fn talk(
    arguments: &Arguments,
    request: &Request<'_>,
    mut each: impl FnMut(&str, &str) -> io::Result<bool>,
) -> Outcome {
    let socket = arguments.socket();
    let mut outcome = Ok(());
    client::ask(socket, request, |kind, json| {
        if kind == "error" {
            outcome = Err(refusal(json));
            return Ok(false);
        }
        if kind == "ok" { Ok(false) } else { each(kind, json) }
    })
    .map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            Failure::Failed(format!("no daemon answers at {}: is 'ketukd run' running?", socket.display()))
        }
        _ => Failure::Failed(format!("{}: {error}", socket.display())),
    })?;
    outcome
}

fn refusal(json: &str) -> Failure {
    let mut unescaped = vec![0; json.len()];
    match serde_json_core::from_str_escaped::<Refusal<'_>>(json, &mut unescaped) {
        Ok((Refusal { code: 2, message }, _)) => Failure::Config(message.to_owned()),
        Ok((Refusal { message, .. }, _)) => Failure::Failed(message.to_owned()),
        Err(_) => Failure::Failed(format!("the daemon's answer cannot be read: {json}")),
    }
}

/// Prints to standard output; a closed pipe is not an error worth a word.
fn print(text: &str) -> Outcome {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Failed(error.to_string())),
        _ => Ok(()),
    }
}
