//! Programs whose output the daemon waits for.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::pipe2;

use super::{Child, Exit, Streams, start};

/// The sleep of [`output`] between two checks of a program that has closed its standard output but has not ended. Most
/// programs end at once, so this is rare.
const EXIT_POLL: Duration = Duration::from_millis(1);

/// The output and end of a program, from [`output`].
#[derive(Debug)]
pub struct Output {
    /// The bytes of its standard output.
    pub text: Vec<u8>,
    /// How the program ended.
    pub exit: Exit,
}

/// Why [`output`] failed.
#[derive(Debug)]
pub enum OutputError {
    /// The program could not be started or read.
    Io(io::Error),
    /// The program ran beyond its time, and was killed.
    TimeLimit,
    /// The program wrote too much, and was killed.
    TooLong,
}

/// Runs `argv` with this standard input until it ends, at most until `deadline`. It may write `max_len` bytes to its
/// standard output. Without `input` its standard input is empty.
///
/// # Errors
/// See [`OutputError`]. The program has ended in every case.
pub fn output(
    argv: &[String],
    input: Option<&str>,
    deadline: Instant,
    max_len: usize,
) -> Result<Output, OutputError> {
    if Instant::now() >= deadline {
        return Err(OutputError::TimeLimit);
    }
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(io::Error::from)?;
    let input = input.map(file_of).transpose()?;
    let streams = Streams {
        input: input.as_ref().map(File::as_fd),
        output: Some(writer.as_fd()),
        ..Streams::default()
    };
    let mut child = start(argv, streams)?;
    // Now only the program holds the writing end, so the reader sees when the program closes it.
    drop(writer);
    let result = read_until(reader, deadline, max_len)
        .and_then(|text| Ok(Output { text, exit: child.wait_until(deadline)? }));
    if result.is_err() {
        child.kill_group();
        // The program was killed, so this wait is short. Without it the process would stay a zombie.
        let _ = child.wait(0);
    }
    result
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "could not run: {error}"),
            Self::TimeLimit => f.write_str("took too long"),
            Self::TooLong => f.write_str("wrote too much"),
        }
    }
}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Child {
    fn wait_until(&mut self, deadline: Instant) -> Result<Exit, OutputError> {
        loop {
            match self.try_wait()? {
                Some(exit) => return Ok(exit),
                None if Instant::now() >= deadline => return Err(OutputError::TimeLimit),
                None => std::thread::sleep(EXIT_POLL),
            }
        }
    }
}

/// A file in memory that holds this text. With a pipe a long text would block the daemon.
fn file_of(text: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"ketuk", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Reads until the other end is closed.
fn read_until(pipe: OwnedFd, deadline: Instant, max_len: usize) -> Result<Vec<u8>, OutputError> {
    let mut pipe = File::from(pipe);
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(OutputError::TimeLimit);
        }
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        match pipe.read(&mut chunk)? {
            0 => return Ok(text),
            len if text.len() + len > max_len => return Err(OutputError::TooLong),
            len => text.extend_from_slice(&chunk[..len]),
        }
    }
}
