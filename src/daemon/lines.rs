//! The current one-time sequence of each door: the first unused line of its file.

use std::io;
use std::path::{Path, PathBuf};

use log::{error, warn};

use super::monitor::{LineId, Monitor};
use super::one_time::{MarkError, OneTimeLine, next_line};
use super::slots::Slots;
use super::systemd;
use crate::core::door::{self, DoorId};
use crate::core::sequence::Sequence;

/// The first unused line of each door that has a file.
#[derive(Debug, Default)]
pub(super) struct OneTimeLines {
    lines: Vec<(DoorId, CurrentLine)>,
    is_used_up: bool,
}

/// The current line of a door.
#[derive(Debug)]
enum CurrentLine {
    /// This process reads and marks the file.
    Own(OneTimeLine),
    /// The monitor reads and marks the file.
    Monitors { file: PathBuf, line: LineId },
}

impl OneTimeLines {
    /// Reads the first unused line of each door that has a file, and makes it the door's sequence.
    pub(super) fn read(
        &mut self,
        slots: &Slots,
        knocks: &mut [Option<door::DoorKnock>],
        monitor: Option<&Monitor>,
    ) {
        self.is_used_up = false;
        self.lines.clear();
        for (id, door) in slots.iter() {
            let (Some(file), Some(Some(knock))) = (&door.one_time, knocks.get_mut(id.index())) else {
                continue;
            };
            match next(&door.name, file, monitor) {
                Ok(Some((line, sequence))) => {
                    knock.sequence = sequence;
                    self.lines.push((id, line));
                }
                Ok(None) => warn!("{}: {}: no sequence is left", door.name, file.display()),
                Err(error) => {
                    let advice = systemd::advice(&error, file);
                    error!("{}: {}: {error}{advice}", door.name, file.display());
                }
            }
        }
    }

    /// Marks the door's line as used.
    ///
    /// # Errors
    /// The line was not marked, so the door must stay shut.
    pub(super) fn mark(&mut self, door: DoorId, monitor: Option<&Monitor>) -> Result<(), MarkError> {
        let at = self.lines.iter().position(|(of, _)| *of == door).ok_or(MarkError::None)?;
        let marked = match (&self.lines[at].1, monitor) {
            (CurrentLine::Own(line), _) => line.mark(),
            (CurrentLine::Monitors { file, line }, Some(monitor)) => {
                monitor.mark(*line).map_err(|error| MarkError::from_io(file, error))
            }
            (CurrentLine::Monitors { .. }, None) => Err(MarkError::None),
        };
        // If the file cannot be written, the line stays current, so that repeated knocks do not read the file again.
        if !matches!(marked, Err(MarkError::Io(..))) {
            self.lines.swap_remove(at);
            self.is_used_up = true;
        }
        marked
    }

    /// Whether a line was used. The doors must then be given their next lines.
    pub(super) const fn is_used_up(&self) -> bool {
        self.is_used_up
    }
}

/// The first unused line of a door's file.
fn next(door: &str, file: &Path, monitor: Option<&Monitor>) -> io::Result<Option<(CurrentLine, Sequence)>> {
    let Some(monitor) = monitor else {
        let line = next_line(file)?;
        return Ok(line.map(|line| (CurrentLine::Own(line.clone()), line.sequence)));
    };
    let line = monitor.next_line(door)?;
    Ok(line.map(|(line, sequence)| (CurrentLine::Monitors { file: file.to_owned(), line }, sequence)))
}
