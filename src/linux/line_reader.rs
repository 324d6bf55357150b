//! Reads a file or a socket line by line.
//!
//! The standard library's readers are generic, and each kind of file would be a copy of their code.

use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::unistd::read;

/// Bytes that are read at once.
const CHUNK: usize = 4096;

/// Longest line, in bytes. No line that the kernel or the daemon writes is as long.
const MAX_LINE: usize = 64 * 1024;

/// The lines of a file or a socket. Bytes that are not UTF-8 are replaced.
#[derive(Debug)]
pub struct LineReader {
    file: OwnedFd,
    /// The bytes that were read and not returned yet are those from `begin` to `end`.
    chunk: Box<[u8]>,
    begin: usize,
    end: usize,
}

impl LineReader {
    /// The lines of `file`, from its current place.
    pub fn new(file: OwnedFd) -> Self {
        Self { file, chunk: vec![0; CHUNK].into_boxed_slice(), begin: 0, end: 0 }
    }

    /// The next line without its end; `None` at the end of the file.
    fn read(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        loop {
            let rest = &self.chunk[self.begin..self.end];
            let len = rest.iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(&rest[..len.unwrap_or(rest.len())]);
            if line.len() > MAX_LINE {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if let Some(len) = len {
                self.begin += len + 1;
                break;
            }
            (self.begin, self.end) = (0, 0);
            match read(&self.file, &mut self.chunk) {
                Err(Errno::EINTR) => {}
                Ok(0) if line.is_empty() => return Ok(None),
                Ok(0) => break,
                read => self.end = read?,
            }
        }
        Ok(Some(String::from_utf8_lossy(&line).into_owned()))
    }
}

impl Iterator for LineReader {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn lines_of_all_lengths() {
        let long = "a".repeat(2 * CHUNK + 7);
        let (reader, mut writer) = std::os::unix::net::UnixStream::pair().expect("a pair");
        writer.write_all(format!("one\n\n{long}\nb\u{e9}\nlast").as_bytes()).expect("room");
        writer.write_all(b"\xff").expect("room");
        drop(writer);
        let lines: Vec<_> = LineReader::new(reader.into()).map(|line| line.expect("a line")).collect();
        assert_eq!(lines, ["one", "", &long, "b\u{e9}", "last\u{fffd}"]);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let zero = std::fs::File::open("/dev/zero").expect("/dev/zero");
        let error = LineReader::new(zero.into()).next().expect("an answer").expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
