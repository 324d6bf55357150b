//! Reads the arguments of a command.

use std::path::{Path, PathBuf};

use super::{Failure, help};
use crate::config::{self, Config, device};
use crate::control::{DEFAULT_SOCKET, SOCKETS};

/// The default of `--config`.
pub(super) const DEFAULT_CONFIG: &str = "/etc/config/ketuk";

/// The app that an invitation is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum App {
    /// An app that sends fwknop's packets.
    Fwknop,
    /// An app that reads a `knockd.conf`.
    Knockd,
}

/// The options and operands of a command.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) config: Option<PathBuf>,
    pub(super) devices: Vec<String>,
    pub(super) addresses: Vec<String>,
    pub(super) socket: Option<PathBuf>,
    pub(super) table: Option<String>,
    pub(super) zone: Option<String>,
    pub(super) host: Option<String>,
    pub(super) page: Option<String>,
    pub(super) door: Option<String>,
    pub(super) from: Option<String>,
    pub(super) app: Option<App>,
    pub(super) device_file: Option<PathBuf>,
    pub(super) json: bool,
    pub(super) events: bool,
    pub(super) fw4: bool,
    pub(super) operands: Vec<String>,
}

impl Arguments {
    pub(super) fn parse(
        command: &str,
        arguments: &[String],
        options: &[&str],
        operands: std::ops::RangeInclusive<usize>,
    ) -> Result<Self, Failure> {
        let mut parsed = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                parsed.operands.extend(arguments.cloned());
                break;
            }
            // A single dash is an operand: standard input.
            if !argument.starts_with('-') || argument == "-" {
                parsed.operands.push(argument.clone());
                continue;
            }
            let (option, attached) = match argument.split_once('=') {
                Some((option, value)) => (option, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            if !options.contains(&option) {
                let problem = format!("'ketukd {command}' has no option '{option}'");
                return Err(Failure::unknown(problem, option, options));
            }
            match option {
                "--json" => parsed.json = true,
                "--events" => parsed.events = true,
                "--fw4" => parsed.fw4 = true,
                "--fwknop" => parsed.set_app(App::Fwknop)?,
                "--knockd" => parsed.set_app(App::Knockd)?,
                // `--replace` is accepted and ignored: `ruleset` always replaces.
                _ => {}
            }
            if matches!(option, "--json" | "--events" | "--fw4" | "--replace" | "--fwknop" | "--knockd") {
                if attached.is_some() {
                    return Err(Failure::Usage(format!("option '{option}' takes no value")));
                }
                continue;
            }
            let value = attached.or_else(|| arguments.next().cloned()).filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| Failure::Usage(format!("option '{option}' needs a value")))?;
            match option {
                "--config" => parsed.config = Some(value.into()),
                "--device" => parsed.devices.push(device(value)?),
                "--address" => parsed.addresses.push(value),
                "--device-file" => parsed.device_file = Some(value.into()),
                "--socket" => parsed.socket = Some(value.into()),
                "--host" => parsed.host = Some(value),
                "--page" => parsed.page = Some(value),
                "--door" => parsed.door = Some(value),
                "--from" => parsed.from = Some(value),
                "--table" => parsed.table = Some(value),
                _ => parsed.zone = Some(value),
            }
        }
        if operands.contains(&parsed.operands.len()) {
            return Ok(parsed);
        }
        let (given, needed) = (parsed.operands.len(), *operands.start());
        let problem = match parsed.operands.get(*operands.end()) {
            None => help::missing(command, given, needed),
            // 'check' takes a configuration as an operand too.
            Some(operand) if options.contains(&"--config") && command != "check" => {
                format!("'{operand}' is one argument too many: a configuration is named with --config FILE")
            }
            Some(operand) => format!("'{operand}' is one argument too many"),
        };
        Err(Failure::Usage(format!("{problem}\n{}", help::usage(command))))
    }

    fn set_app(&mut self, app: App) -> Result<(), Failure> {
        match self.app.replace(app) {
            None => Ok(()),
            Some(_) => Err(Failure::Usage("an invitation is for one app: --fwknop or --knockd".to_owned())),
        }
    }

    pub(super) fn config_path(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG))
    }

    pub(super) fn config(&self) -> Result<Config, Failure> {
        config::load(self.config_path()).map_err(|error| Failure::Config(error.to_string()))
    }

    /// The path at which `run` makes the control socket.
    pub(super) fn socket(&self) -> &Path {
        self.socket.as_deref().unwrap_or(Path::new(DEFAULT_SOCKET))
    }

    /// The paths at which the other commands look for the socket.
    pub(super) fn sockets(&self) -> Vec<&Path> {
        self.socket.as_deref().map_or_else(|| SOCKETS.map(Path::new).to_vec(), |socket| vec![socket])
    }
}

/// The value of `--device`. The daemon would wait for ever for a device whose name is impossible.
fn device(name: String) -> Result<String, Failure> {
    let Some(wrong) = device::fault(&name) else { return Ok(name) };
    let help = wrong.help().map_or_else(String::new, |help| format!(": {help}"));
    Err(Failure::Usage(format!("'{name}' {wrong}{help}")))
}
