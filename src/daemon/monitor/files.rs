//! The files that the monitor opens for the packet side: those that a reload reads again, and one-time sequences.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use super::message::{ConfigPlace, Input, LineId};
use crate::config::{Door, FirewallFile};
use crate::daemon::one_time::{OneTimeLine, next_line};
use crate::daemon::options::RunOptions;

/// The files, and the lines that were read from them.
#[derive(Debug)]
pub(super) struct Files {
    config: PathBuf,
    /// The file of devices, if there is one.
    devices: Option<PathBuf>,
    /// For each door with one-time sequences, the line that was read last.
    lines: Vec<(ConfigPlace, OneTimeLine)>,
}

impl Files {
    /// The files that these options name.
    pub(super) fn new(options: &RunOptions) -> Self {
        Self { config: options.config.clone(), devices: options.device_file.clone(), lines: Vec::new() }
    }

    /// Opens a file that the packet side reads again.
    pub(super) fn open(&self, input: Input) -> io::Result<File> {
        match input {
            Input::Config => File::open(&self.config),
            Input::Firewall => File::open(FirewallFile::path(&self.config)),
            Input::Devices => File::open(self.devices.as_ref().ok_or(Errno::ENOENT)?),
        }
    }

    /// Reads the first unused line of a door's one-time sequences, if there is one.
    ///
    /// # Errors
    /// `ENOENT`: the door has no such sequences. Others: the file cannot be read.
    pub(super) fn read_line(&mut self, place: ConfigPlace, door: &Door) -> io::Result<Option<&OneTimeLine>> {
        let line = next_line(door.one_time.as_ref().ok_or(Errno::ENOENT)?)?;
        self.lines.retain(|(of, _)| *of != place);
        self.lines.extend(line.map(|line| (place, line)));
        Ok(self.lines.last().filter(|(of, _)| *of == place).map(|(_, line)| line))
    }

    /// Marks a line as used that was read before.
    ///
    /// # Errors
    /// `ENOENT`: this line was not read. `ESTALE`: it is used, or is not in the file any more. Others: the file cannot be
    /// written.
    pub(super) fn mark(&self, LineId { door, offset }: LineId) -> Result<(), Errno> {
        let is_it = |(of, line): &&(ConfigPlace, OneTimeLine)| *of == door && line.offset() == offset;
        let (_, line) = self.lines.iter().find(is_it).ok_or(Errno::ENOENT)?;
        line.mark().map_err(|error| error.number())
    }

    /// Forgets the lines that were read, because the doors have other places after a reload.
    pub(super) fn forget_lines(&mut self) {
        self.lines.clear();
    }
}
