//! The output of a program, for the log.
//!
//! The program's standard output and error are one pipe, which is opened for reading and writing. So the program and its
//! background processes are readers of the pipe too, and get no SIGPIPE when the daemon ends. A background process that
//! SIGPIPE ended would not shut its door.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;

/// Bytes of a program's output that are kept: several lines of an error message. The last bytes are kept, because a program
/// names the reason for its end last.
pub const MAX_PRINTED: usize = 1024;

/// Most bytes that one call of [`Printed::read`] reads: the size of a full pipe (pipe(7)). So a program that prints without
/// end does not keep the daemon from its packets.
const MAX_READ: usize = 64 * 1024;

/// The output of one program. The end is kept, and the rest is read and dropped, so that the program never has to wait
/// for a reader.
#[derive(Debug)]
pub struct Printed {
    reader: File,
    /// The program's standard output and error.
    writer: File,
    tail: Vec<u8>,
}

impl Printed {
    /// A new pipe.
    ///
    /// # Errors
    /// No descriptor is free, or /proc is not mounted.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let writer = File::options().read(true).write(true).open(path)?;
        Ok(Self { reader: reader.into(), writer, tail: Vec::new() })
    }

    /// The descriptor for the program.
    pub fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }

    /// The descriptor that can be read when the program has printed.
    pub fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// Reads what the program has printed. Does not block.
    pub fn read(&mut self) {
        let mut chunk = [0; 4096];
        for _ in 0..MAX_READ / chunk.len() {
            // The pipe has no end while the daemon holds the writer, so only an empty pipe ends the loop.
            let Ok(len) = self.reader.read(&mut chunk) else { return };
            self.tail.extend_from_slice(&chunk[..len]);
            let excess = self.tail.len().saturating_sub(MAX_PRINTED);
            self.tail.drain(..excess);
        }
    }

    /// Takes the last [`MAX_PRINTED`] bytes of the output.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.tail)
    }
}

/// After this, nobody reads the pipe. Writing must not block a process in the background: when the pipe is full, its output
/// is lost.
impl Drop for Printed {
    fn drop(&mut self) {
        // An error would mean that the descriptor is not open.
        let _ = fcntl(&self.writer, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK));
    }
}
