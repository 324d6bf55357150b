//! Sequences for one time: knockd's file, in which a used line begins with `#`.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::num::NonZeroU16;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use log::{error, warn};

use super::slots::Slots;
use super::systemd;
use crate::core::door::{self, DoorId};
use crate::core::sequence::{Protocol, Sequence, Step};

/// Largest file, in bytes: some ten thousand sequences.
const MAX_FILE: u64 = 256 * 1024;

/// The line whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    file: PathBuf,
    /// Where it begins, in bytes.
    offset: u64,
    text: Vec<u8>,
    /// What it says.
    pub sequence: Sequence,
}

/// The lines whose turn it is, each with its door.
#[derive(Debug, Default)]
pub struct Lines {
    lines: Vec<(DoorId, Line)>,
    is_used_up: bool,
}

impl Lines {
    /// Reads the line whose turn it is at each door that has a file of them, and makes it the door's sequence.
    pub fn read(&mut self, slots: &Slots, knocks: &mut [Option<door::Door>]) {
        self.is_used_up = false;
        self.lines.clear();
        for (id, door) in slots.iter() {
            let (Some(file), Some(Some(knock))) = (&door.one_time, knocks.get_mut(id.index())) else {
                continue;
            };
            match next_line(file) {
                Ok(Some(line)) => {
                    knock.sequence.clone_from(&line.sequence);
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
    /// The door must stay shut.
    pub fn mark(&mut self, door: DoorId) -> Result<(), MarkError> {
        let at = self.lines.iter().position(|(of, _)| *of == door).ok_or(MarkError::None)?;
        let marked = self.lines[at].1.mark();
        // A line that cannot be written stays the one whose turn it is: repeating the knock reads nothing anew.
        if !matches!(marked, Err(MarkError::Io(..))) {
            self.lines.swap_remove(at);
            self.is_used_up = true;
        }
        marked
    }

    /// Whether a line was used, so that the doors must be given their next ones.
    pub const fn is_used_up(&self) -> bool {
        self.is_used_up
    }
}

/// Why a line could not be used up.
#[derive(Debug)]
pub enum MarkError {
    /// The door has no line whose turn it is.
    None,
    /// The file was changed since it was read.
    Changed(PathBuf),
    /// It cannot be written.
    Io(PathBuf, io::Error),
}

impl fmt::Display for MarkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("there is no line whose turn it is"),
            Self::Changed(file) => {
                write!(f, "{}: the file was changed since it was read; reload", file.display())
            }
            Self::Io(file, error) => {
                write!(f, "{}: {error}{}", file.display(), systemd::advice(error, file))
            }
        }
    }
}

/// The first line that is not used; `None` if there is none. Lines that are no sequence are passed over with a
/// warning.
///
/// # Errors
/// The file cannot be read.
pub fn next_line(file: &Path) -> io::Result<Option<Line>> {
    if fs::metadata(file)?.len() > MAX_FILE {
        return Err(io::Error::other(format!("larger than {} KiB", MAX_FILE / 1024)));
    }
    let text = fs::read(file)?;
    let mut offset = 0;
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let begins = offset;
        offset += line.len() as u64 + 1;
        if line.first() == Some(&b'#') || line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match parse(line) {
            Some(sequence) => {
                let (file, text) = (file.to_owned(), line.to_vec());
                return Ok(Some(Line { file, offset: begins, text, sequence }));
            }
            None => warn!("{}:{}: this is no sequence", file.display(), number + 1),
        }
    }
    Ok(None)
}

impl Line {
    /// Marks the line as used, on the disk when this returns. One byte is written, so that a power cut leaves
    /// the line as it was or marked, and nothing in between.
    ///
    /// # Errors
    /// The line is not marked, as far as anyone knows: the door must stay shut.
    pub fn mark(&self) -> Result<(), MarkError> {
        let opened = OpenOptions::new().read(true).write(true).open(&self.file);
        self.mark_in(&opened.map_err(|error| self.unwritten(error))?)
    }

    fn mark_in(&self, file: &File) -> Result<(), MarkError> {
        let mut there = vec![0; self.text.len()];
        file.read_exact_at(&mut there, self.offset).map_err(|_| self.changed())?;
        if there != self.text {
            return Err(self.changed());
        }
        file.write_all_at(b"#", self.offset).map_err(|error| self.unwritten(error))?;
        file.sync_data().map_err(|error| self.unwritten(error))
    }

    fn changed(&self) -> MarkError {
        MarkError::Changed(self.file.clone())
    }

    fn unwritten(&self, error: io::Error) -> MarkError {
        MarkError::Io(self.file.clone(), error)
    }
}

/// `7000,8000:udp,9000`, with blanks wherever.
fn parse(line: &[u8]) -> Option<Sequence> {
    let mut sequence = Sequence::new();
    for piece in std::str::from_utf8(line).ok()?.split(',') {
        let (port, protocol) = match piece.trim().split_once(':') {
            None => (piece.trim(), Protocol::Tcp),
            Some((port, word)) => (port, Protocol::named(word)?),
        };
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse::<NonZeroU16>().ok().filter(|_| digits)?;
        sequence.push(Step { protocol, port }).ok()?;
    }
    Some(sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_file(text: &str, body: impl FnOnce(&Path)) {
        let path = std::env::temp_dir().join(format!("ketuk-once-{}-{}", std::process::id(), text.len()));
        fs::write(&path, text).unwrap();
        body(&path);
        fs::remove_file(&path).unwrap();
    }

    fn shown(line: &Line) -> String {
        line.sequence.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn one_line_after_the_other() {
        in_file("# mine\n\n 7000, 8000:UDP ,9000\r\n wrong,1\n1,2\n3,4", |path| {
            for expected in ["7000:tcp 8000:udp 9000:tcp", "1:tcp 2:tcp", "3:tcp 4:tcp"] {
                let line = next_line(path).unwrap().unwrap();
                assert_eq!(shown(&line), expected);
                line.mark().unwrap();
                assert!(matches!(line.mark(), Err(MarkError::Changed(_))), "used is used");
            }
            assert_eq!(next_line(path).unwrap(), None);
            let left = fs::read_to_string(path).unwrap();
            assert_eq!(left, "# mine\n\n#7000, 8000:UDP ,9000\r\n wrong,1\n#,2\n#,4");
        });
    }

    #[test]
    fn a_file_that_was_changed_is_left_alone() {
        in_file(" 1,2\n 3,4\n ", |path| {
            let line = next_line(path).unwrap().unwrap();
            for changed in [" 5,6\n 1,2\n", "", " 1"] {
                fs::write(path, changed).unwrap();
                assert!(matches!(line.mark(), Err(MarkError::Changed(_))));
                assert_eq!(fs::read_to_string(path).unwrap(), changed);
            }
        });
    }

    #[test]
    fn what_is_no_sequence() {
        for wrong in ["", "0", "1,", "65536", "1:icmp", "+1", "1 2", "1:udp:tcp"] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
        let most = vec!["1"; 33].join(",");
        assert_eq!(
            (parse(most.as_bytes()), parse(&most.as_bytes()[2..]).map(|all| all.len())),
            (None, Some(32))
        );
    }
}
