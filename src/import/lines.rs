//! The lines of a foreign file, without byte order mark and carriage returns, each with its place.

use super::outcome::{ImportError, Imported, Note, Warning};
use crate::config::MAX_FILE;

/// Most files that an import reads. fwknopd allows three levels of includes, and a folder holds few files.
pub(super) const MAX_FILES: usize = 64;

/// The lines of a file and of its includes.
#[derive(Debug, Default)]
pub(super) struct Lines {
    all: Vec<Line>,
    files: Vec<String>,
    /// Whether the first file begins with a byte order mark.
    has_mark: bool,
    /// Bytes read so far from all files together.
    size: usize,
}

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// The line's number among all lines of all files, from 1. A [`super::outcome::Note`] names it.
    pub(super) number: usize,
    /// The line's text without the end of line. Bytes that are not UTF-8 are replaced.
    pub(super) text: String,
    /// Whether the whole line is UTF-8.
    pub(super) is_text: bool,
    file: usize,
    in_file: usize,
}

impl Lines {
    /// Adds the lines of one more file. Returns the range of the new lines, as indices.
    ///
    /// # Errors
    /// The files together are too large or too many, or this one is UTF-16.
    pub(super) fn add(&mut self, file: &str, text: &[u8]) -> Result<std::ops::Range<usize>, ImportError> {
        self.size += text.len();
        if self.size > MAX_FILE || self.files.len() == MAX_FILES {
            return Err(ImportError::TooLarge);
        }
        if text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff]) {
            return Err(ImportError::Utf16);
        }
        let marked = text.strip_prefix(b"\xef\xbb\xbf");
        self.has_mark |= marked.is_some() && self.files.is_empty();
        let text = marked.unwrap_or(text);
        let from = self.all.len();
        let file_number = self.files.len();
        self.files.push(file.to_owned());
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        for (in_file, bytes) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            // A C program stops reading a line at a NUL, and UCI has none.
            let is_text = std::str::from_utf8(bytes).is_ok() && !bytes.contains(&0);
            let text = String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}");
            let number = self.all.len() + 1;
            self.all.push(Line { number, text, is_text, file: file_number, in_file });
        }
        Ok(from..self.all.len())
    }

    /// Whether the first file begins with a byte order mark.
    pub(super) fn has_mark(&self) -> bool {
        self.has_mark
    }

    /// The lines in a range of indices.
    pub(super) fn get(&self, range: std::ops::Range<usize>) -> &[Line] {
        &self.all[range]
    }

    /// The file and the line in it, from 1, of a [`Line::number`].
    pub(super) fn place(&self, number: usize) -> (&str, usize) {
        let line = number.checked_sub(1).and_then(|at| self.all.get(at));
        let file = line.map_or(0, |line| line.file);
        (self.files.get(file).map_or("", String::as_str), line.map_or(number, |line| line.in_file))
    }

    /// The configuration, with the notes in the order of the lines.
    pub(super) fn imported(&self, uci: String, mut notes: Vec<Note>) -> Imported {
        notes.sort_by_key(|note| note.line);
        let warning = |Note { line, message }| {
            let (file, line) = self.place(line);
            Warning { file: file.to_owned(), line, message }
        };
        Imported { uci, warnings: notes.into_iter().map(warning).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_carriage_returns_are_not_there() {
        let mut lines = Lines::default();
        let range = lines.add("a", b"\xef\xbb\xbf[x]\r\nb = \xff\n\n").unwrap();
        let read: Vec<_> = lines.get(range).iter().map(|line| (line.text.as_str(), line.is_text)).collect();
        assert_eq!(read, [("[x]", true), ("b = \u{fffd}", false), ("", true)]);
        lines.add("b", b"1\n2").unwrap();
        assert_eq!((lines.place(2), lines.place(5)), (("a", 2), ("b", 2)));
        assert_eq!(lines.add("c", b"\xff\xfea\0").unwrap_err(), ImportError::Utf16);
        assert_eq!(lines.add("c", &vec![b'a'; MAX_FILE]).unwrap_err(), ImportError::TooLarge);
    }
}
