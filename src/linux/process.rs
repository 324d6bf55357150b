//! Other programs: started in a process group of their own, waited for without blocking, killed
//! together with whatever they started.
//!
//! SIGCHLD must have its default action: were it ignored, the kernel would throw the exit codes away.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{self, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::Pid;

/// Where `iptables` and its kind live. A PATH that cron or a login shell made may lack them.
const SYSTEM_PATH: &str = "/usr/sbin:/sbin";

/// PATH where the daemon has none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a program inherits of the daemon's environment, besides PATH. The rest is not its business.
const INHERITED: [&str; 3] = ["HOME", "LANG", "TZ"];

/// How long [`output`] sleeps between two looks at a program that has shut its standard output but
/// has not ended: such programs end at once, so this is rarely slept even once.
const EXIT_POLL: Duration = Duration::from_millis(1);

/// A program that was started and has not been waited for.
#[derive(Debug)]
pub struct Child(process::Child);

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Why [`output`] has none.
#[derive(Debug)]
pub enum OutputError {
    /// The program could not be started or read.
    Io(io::Error),
    /// It ran beyond its time, and was killed.
    TimeLimit,
    /// It wrote more than was allowed, and was killed.
    TooLong,
}

/// Starts `argv` without a shell.
///
/// Standard input, output and error are /dev/null. A pipe would have to be drained, or the program
/// would block on it, and the daemon's own standard error is its log, which whoever makes the
/// program run must not be able to fill. The exit code tells what matters.
///
/// # Errors
/// `argv` is empty, there is no such program, or the kernel has no memory or process to spare.
pub fn spawn(argv: &[String]) -> io::Result<Child> {
    command(argv)?.stdout(Stdio::null()).spawn().map(Child)
}

/// Runs `argv` until it ends, at most until `deadline`, and returns what it wrote to its standard
/// output, at most `max_len` bytes of it, and how it ended.
///
/// # Errors
/// See [`OutputError`]. The program has ended in every case.
pub fn output(argv: &[String], deadline: Instant, max_len: usize) -> Result<(Vec<u8>, Exit), OutputError> {
    if Instant::now() >= deadline {
        return Err(OutputError::TimeLimit);
    }
    let mut child = Child(command(argv)?.stdout(Stdio::piped()).spawn()?);
    let stdout = child.0.stdout.take().expect("standard output was just piped");
    let result =
        read_until(stdout, deadline, max_len).and_then(|text| Ok((text, child.wait_until(deadline)?)));
    if result.is_err() {
        child.kill_group();
        // Killed, so this does not take long; and it must not stay a zombie.
        let _ = child.0.wait();
    }
    result
}

/// The first file of this name that may be executed, in PATH and then in /usr/sbin and /sbin; `name` may
/// be an absolute path too.
pub fn find_program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&search_path()).map(|folder| folder.join(name)).find(|file| {
        file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    })
}

impl Child {
    /// How the program ended, if it has. This waits for no other process, and does not block.
    ///
    /// # Errors
    /// Somebody else has waited for it.
    pub fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        Ok(self.0.try_wait()?.map(Exit::from))
    }

    /// Kills the program and everything it started that has not left its process group.
    ///
    /// To be called before [`Self::try_wait`] has said that it ended: until then its id, which is the
    /// group's too, cannot belong to anyone else.
    pub fn kill_group(&mut self) {
        // The one error that can happen, ESRCH, means that there is nothing left to kill.
        let _ = killpg(self.group(), Signal::SIGKILL);
    }

    /// The process group, whose id is the program's own.
    fn group(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).expect("the kernel's pid_t is an i32"))
    }

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

impl Exit {
    /// Whether the program says that it did what it was asked.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        // One of the two: `try_wait` reports neither stopped nor continued programs.
        status.signal().map_or_else(|| Self::Code(status.code().unwrap_or(-1)), Self::Signal)
    }
}

/// In knockd's words, which scripts look for.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(0) => f.write_str("command succeeded"),
            Self::Code(code) => write!(f, "command returned non-zero status code ({code})"),
            Self::Signal(signal) => write!(f, "command was killed by signal ({signal})"),
        }
    }
}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// All of `argv` but its standard output.
fn command(argv: &[String]) -> io::Result<Command> {
    let (program, arguments) =
        argv.split_first().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "the command is empty"))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.env_clear().env("PATH", search_path());
    command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    // SAFETY: between fork and exec only async-signal-safe functions may be called (signal-safety(7));
    // sigemptyset and pthread_sigmask, all that this does, are, and making an error of errno does not
    // allocate.
    unsafe {
        // The daemon blocks the signals that it reads from a descriptor, and a mask survives exec: a
        // program that inherits it could not be stopped with SIGTERM.
        command.pre_exec(|| SigSet::empty().thread_set_mask().map_err(io::Error::from));
    }
    Ok(command)
}

/// The daemon's PATH, and [`SYSTEM_PATH`] behind it.
fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    path.push(OsStr::new(":"));
    path.push(SYSTEM_PATH);
    path
}

/// Reads until the other end is shut.
fn read_until(
    mut pipe: process::ChildStdout,
    deadline: Instant,
    max_len: usize,
) -> Result<Vec<u8>, OutputError> {
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
