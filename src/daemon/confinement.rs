//! The privileges that the daemon gives up once it runs, so that an attacker who takes it over with a packet can do little.
//!
//! The daemon stops being root where it can, and gives up core dumps, all capabilities but two (three if it stays root), all
//! system calls that it does not make, and writing outside of a few folders. It cannot get these rights back. A program that
//! it started would lack them too, so [the monitor](super::monitor) runs the programs.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use log::{debug, info, warn};

use super::account::{self, Use};
use super::last_shut;
use crate::config::Config;
use crate::linux::privileges::{self, Capability};
use crate::linux::{landlock, seccomp};

/// The privileges that the daemon has given up.
#[derive(Debug, Default)]
pub(super) struct Confinement {
    /// Whether there is a monitor, which runs the doors' commands.
    has_monitor: bool,
    /// The folders below which files can be written; `None` means everywhere.
    folders: Option<Vec<PathBuf>>,
    /// Why the process is still root, and what to do about it.
    stays_root: Option<String>,
}

/// The reason why a daemon cannot serve a new configuration: it has given up a right that the configuration needs.
#[derive(Debug, PartialEq, Eq)]
pub enum Unfit {
    /// This door has commands.
    Commands(String),
    /// This file is in a folder where nothing can be written.
    File(PathBuf),
}

impl Confinement {
    /// Gives up the rights that this configuration does not need. `socket` is the control socket's file. `inputs` are the files
    /// that the daemon reads again.
    pub(super) fn begin(socket: &Path, inputs: &[&Path], config: &Config, has_monitor: bool) -> Self {
        let last_shut = last_shut::file();
        // The monitor writes the files.
        let mut files = if has_monitor { Vec::new() } else { files(config) };
        let mut uses = opened(inputs, &files);
        uses.extend(filled(socket, last_shut.as_deref()));
        let (account, stays_root) = match account::to_become(&uses) {
            Ok(account) => (account, None),
            Err(why) => (None, Some(why.to_string())),
        };
        if let Some(why) = &stays_root {
            info!("{why}");
        }
        // Root without this capability may be unable to use the folder of the control socket, which another user may own.
        let kept = [Capability::NetAdmin, Capability::NetRaw, Capability::Files];
        let kept = if stays_root.is_some() { &kept[..] } else { &kept[..2] };
        said("capabilities are kept", privileges::keep_capabilities(kept, account));
        // Becoming another user would undo this.
        said("core dumps are not forbidden", privileges::forbid_core_dumps());
        said("new privileges are not forbidden", privileges::forbid_new_privileges());
        files.push(socket);
        files.extend(last_shut.as_deref());
        let folders: Vec<_> = files.iter().map(|file| folder(file).to_owned()).collect();
        let mut there = folders.clone();
        there.extend(files.iter().filter_map(|file| Some(folder(&file.canonicalize().ok()?).to_owned())));
        // Landlock cannot name a folder that does not exist yet. The daemon writes there only after a restart.
        there.retain(|folder| folder.exists());
        let locked = landlock::write_only_below(there.iter().map(PathBuf::as_path));
        let folders = locked.is_ok().then_some(folders);
        match locked {
            Err(error) if is_missing(&error) => debug!("this kernel has no Landlock: {error}"),
            locked => said("files can be written everywhere", locked),
        }
        said("this kernel does not bound system calls", seccomp::install());
        Self { has_monitor, folders, stays_root }
    }

    /// Why the process is still root, and what to do about it.
    pub(super) fn stays_root(&self) -> Option<&str> {
        self.stays_root.as_deref()
    }

    /// Checks that a new configuration needs nothing that was given up.
    ///
    /// # Errors
    /// The configuration needs something that was given up. The daemon must be restarted to serve it.
    pub(super) fn check(&self, config: &Config) -> Result<(), Unfit> {
        if self.has_monitor {
            return Ok(());
        }
        if let Some(door) = config.doors.iter().find(|door| door.enabled && door.commands.any()) {
            return Err(Unfit::Commands(door.name.clone()));
        }
        let Some(folders) = &self.folders else { return Ok(()) };
        let is_known = |file: &&Path| folders.iter().any(|known| folder(file).starts_with(known));
        match files(config).into_iter().find(|file| !is_known(file)) {
            Some(file) => Err(Unfit::File(file.to_owned())),
            None => Ok(()),
        }
    }
}

/// Whether the daemon can only become user `ketuk` if a monitor opens files for it. `socket` is the control socket's file, and
/// `inputs` are the files that the daemon reads again.
pub(super) fn needs_monitor(socket: &Path, inputs: &[&Path], config: &Config) -> bool {
    let last_shut = last_shut::file();
    let filled: Vec<_> = filled(socket, last_shut.as_deref()).collect();
    account::can_do_one_and_not_the_other(&filled, &opened(inputs, &files(config)))
}

/// The files that the daemon reads again, and those that it writes.
fn opened<'a>(inputs: &[&'a Path], written: &[&'a Path]) -> Vec<Use<'a>> {
    let mut uses: Vec<_> = inputs.iter().map(|file| Use::Read(file)).collect();
    uses.extend(written.iter().map(|file| Use::Write(file)));
    uses
}

/// The folders that the packet side makes files in.
fn filled<'a>(socket: &'a Path, last_shut: Option<&'a Path>) -> impl Iterator<Item = Use<'a>> {
    [Some(socket), last_shut].into_iter().flatten().map(folder).map(Use::Fill)
}

/// The files that the daemon writes with this configuration: the log and the one-time sequences.
fn files(config: &Config) -> Vec<&Path> {
    let mut files: Vec<_> = config.globals.log_file.as_deref().into_iter().collect();
    files.extend(config.doors.iter().filter_map(|door| door.one_time.as_deref()));
    files
}

/// The folder of a file.
fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether the kernel does not know such a call, or was started without it.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EOPNOTSUPP))
}

/// Logs that a right could not be given up. The daemon goes on, because its doors matter more.
fn said(what: &str, done: io::Result<()>) {
    if let Err(error) = done {
        warn!("{what}: {error}");
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commands(door) => {
                write!(f, "door '{door}' has commands, and the daemon has given up starting programs")?;
            }
            Self::File(file) => {
                write!(f, "the daemon has given up writing in the folder of {}", file.display())?;
            }
        }
        f.write_str(", which the configuration did not need when it started: restart ketukd")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        crate::config::parse("test", text.as_bytes()).expect("a configuration")
    }

    #[test]
    fn a_configuration_that_needs_more_wants_a_restart() {
        let confined =
            Confinement { has_monitor: false, folders: Some(vec!["/run/ketuk".into()]), stays_root: None };
        let free = Confinement { has_monitor: true, folders: None, stays_root: None };
        let door = "config door 'ssh'\nlist sequence '7000'\n";
        let plain = format!("{door}option dest_port '22'\n");
        let command = format!("{door}option start_command '/bin/true'\n");
        let once =
            "config door 'ssh'\noption one_time_sequences '/etc/once'\noption dest_port '22'\n".to_owned();
        let globals = |file: &str| format!("config globals 'globals'\noption log_file '{file}'\n{plain}");
        let unfit = |file: &str| Err(Unfit::File(file.into()));
        for (text, expected) in [
            (plain.clone(), Ok(())),
            (command, Err(Unfit::Commands("ssh".to_owned()))),
            (once, unfit("/etc/once")),
            (globals("/var/log/ketuk"), unfit("/var/log/ketuk")),
            (globals("/run/ketuk-log"), unfit("/run/ketuk-log")),
            (globals("/run/ketuk/log"), Ok(())),
        ] {
            assert_eq!(confined.check(&config(&text)), expected, "{text}");
            assert_eq!(free.check(&config(&text)), Ok(()), "{text}");
        }
    }
}
