//! One-time sequences, in knockd's file format: a used line begins with `#`.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::num::NonZeroU16;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use log::warn;
use nix::errno::Errno;

use super::systemd;
use crate::core::sequence::{Protocol, Sequence, Step};

/// Largest file, in bytes: some ten thousand sequences.
const MAX_FILE: u64 = 256 * 1024;

/// The first unused line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneTimeLine {
    file: PathBuf,
    /// The line's start in the file, in bytes.
    offset: u64,
    text: Vec<u8>,
    /// The line's sequence.
    pub(crate) sequence: Sequence,
}

/// Why a line could not be marked.
#[derive(Debug)]
pub enum MarkError {
    /// The door has no unused line.
    None,
    /// The file has changed since it was read.
    Changed(PathBuf),
    /// The file cannot be written.
    Io(PathBuf, io::Error),
}

impl MarkError {
    /// The error for a number that [`Self::number`] gave.
    pub(super) fn from_io(file: &Path, error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ESTALE) => Self::Changed(file.to_owned()),
            Some(libc::ENOENT) => Self::None,
            _ => Self::Io(file.to_owned(), error),
        }
    }

    /// The number that stands for this error between the two processes.
    pub(super) fn number(&self) -> Errno {
        match self {
            Self::None => Errno::ENOENT,
            Self::Changed(_) => Errno::ESTALE,
            // ENOENT means that there is no line. A missing file is another error.
            Self::Io(_, error) => error
                .raw_os_error()
                .map(Errno::from_raw)
                .filter(|errno| *errno != Errno::ENOENT)
                .unwrap_or(Errno::EIO),
        }
    }
}

impl fmt::Display for MarkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("the door has no unused line"),
            Self::Changed(file) => {
                write!(f, "{}: the file was changed since it was read; reload", file.display())
            }
            Self::Io(file, error) => {
                write!(f, "{}: {error}{}", file.display(), systemd::advice(error, file))
            }
        }
    }
}

/// The first unused line, or `None`. Lines that are not a sequence are skipped with a warning.
///
/// # Errors
/// The file cannot be read.
pub fn next_line(file: &Path) -> io::Result<Option<OneTimeLine>> {
    if fs::metadata(file)?.len() > MAX_FILE {
        return Err(Errno::EFBIG.into());
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
                return Ok(Some(OneTimeLine { file, offset: begins, text, sequence }));
            }
            None => warn!("{}:{}: this is no sequence", file.display(), number + 1),
        }
    }
    Ok(None)
}

impl OneTimeLine {
    /// The line's start in the file, in bytes.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Marks the line as used. The mark is on the disk when this returns. Only one byte is written, so after a power
    /// cut the line is either unchanged or marked.
    ///
    /// # Errors
    /// The line may not be marked, so the door must stay shut.
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

/// Parses `7000,8000:udp,9000`. Blanks are allowed anywhere.
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

    fn shown(line: &OneTimeLine) -> String {
        line.sequence.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn one_line_after_the_other() {
        in_file("# mine\n\n 7000, 8000:UDP ,9000\r\n wrong,1\n1,2\n3,4", |path| {
            for expected in ["7000:tcp 8000:udp 9000:tcp", "1:tcp 2:tcp", "3:tcp 4:tcp"] {
                let line = next_line(path).unwrap().unwrap();
                assert_eq!(shown(&line), expected);
                let text = fs::read(path).unwrap();
                assert!(text[usize::try_from(line.offset()).unwrap()..].starts_with(&line.text));
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
    fn a_file_that_is_too_large_is_not_read() {
        let most = "#\n".repeat(128 * 1024);
        in_file(&most, |path| assert_eq!(next_line(path).unwrap(), None));
        let error = |path: &Path| next_line(path).unwrap_err().raw_os_error();
        in_file(&(most + "#"), |path| assert_eq!(error(path), Some(libc::EFBIG)));
    }

    /// The monitor answers with the number of the error.
    #[test]
    fn an_error_keeps_its_meaning_between_the_processes() {
        let io = |errno: Errno| MarkError::Io(PathBuf::new(), errno.into());
        let errors =
            [MarkError::None, MarkError::Changed(PathBuf::new()), io(Errno::EROFS), io(Errno::ENOENT)];
        let numbers = [Errno::ENOENT, Errno::ESTALE, Errno::EROFS, Errno::EIO];
        assert_eq!(errors.map(|error| error.number()), numbers);
        let meant = numbers.map(|number| MarkError::from_io(Path::new(""), number.into()));
        assert!(matches!(
            meant,
            [MarkError::None, MarkError::Changed(_), MarkError::Io(..), MarkError::Io(..)]
        ));
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
