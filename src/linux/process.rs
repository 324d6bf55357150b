//! Other programs. Each is started in a process group of its own, waited for without blocking, and killed together with
//! the processes that it started.
//!
//! SIGCHLD must have its default action. If it were ignored, the kernel would drop the exit codes.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::{Pid, pipe2};

use super::cerr::cerr;

/// The folders of `iptables` and the like. A PATH from cron or a login shell may lack them.
const SYSTEM_PATH: &str = "/usr/sbin:/sbin";

/// PATH if the daemon has none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables that a program inherits from the daemon, besides PATH.
const INHERITED: [&str; 3] = ["HOME", "LANG", "TZ"];

/// Standard input and output of programs.
const NULL: &str = "/dev/null";

/// How long [`output`] sleeps between two checks of a program that has closed its standard output but has not ended. Such
/// programs end at once, so this sleep is rare.
const EXIT_POLL: Duration = Duration::from_millis(1);

/// A program that was started. No other process gets its id until it has been waited for.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    /// How it ended, once it has been waited for.
    exit: Option<Exit>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Why [`output`] failed.
#[derive(Debug)]
pub enum OutputError {
    /// The program could not be started or read.
    Io(io::Error),
    /// It ran beyond its time, and was killed.
    TimeLimit,
    /// It wrote too much, and was killed.
    TooLong,
}

/// Starts `argv` without a shell.
///
/// Standard input, output and error are /dev/null. With a pipe the daemon would have to read it, or the program would block.
/// The daemon's own standard error is its log, which strangers who cause a command must not be able to fill. The exit
/// code tells enough.
///
/// # Errors
/// `argv` is empty, there is no such program, or the kernel has no memory or process to spare.
pub fn spawn(argv: &[String]) -> io::Result<Child> {
    start(argv, None)
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
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(io::Error::from)?;
    let mut child = start(argv, Some(&writer))?;
    // Now only the program holds the other end, so its closing can be seen.
    drop(writer);
    let result =
        read_until(reader, deadline, max_len).and_then(|text| Ok((text, child.wait_until(deadline)?)));
    if result.is_err() {
        child.kill_group();
        // It was killed, so this is short. Without it the process would stay a zombie.
        let _ = child.wait(0);
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
    /// How the program ended, if it has ended. This does not block, and waits for no other process.
    ///
    /// # Errors
    /// Something else has waited for it.
    pub fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        self.wait(libc::WNOHANG)
    }

    /// Kills the program and everything it started that has not left its process group.
    ///
    /// Call this only before [`Self::try_wait`] has returned its end. Until then no other process or group can have its id.
    pub fn kill_group(&mut self) {
        // The only possible error is ESRCH: there is nothing left to kill.
        let _ = killpg(self.pid, Signal::SIGKILL);
    }

    /// Waits as `waitpid(2)` with `options` does; `None` if the program still runs.
    fn wait(&mut self, options: libc::c_int) -> io::Result<Option<Exit>> {
        let mut status = 0;
        while self.exit.is_none() {
            // SAFETY: the pointer is to a live integer. nix's `waitpid` refuses the real-time signals.
            match cerr(unsafe { libc::waitpid(self.pid.as_raw(), &raw mut status, options) }) {
                Ok(0) => return Ok(None),
                Ok(_) => self.exit = Some(Exit::from_status(status)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.exit)
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
    /// Whether the program reports success.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// From what `waitpid` says, which of stopped and continued programs says nothing unless it is asked.
    const fn from_status(status: libc::c_int) -> Self {
        if libc::WIFSIGNALED(status) {
            Self::Signal(libc::WTERMSIG(status))
        } else {
            Self::Code(libc::WEXITSTATUS(status))
        }
    }
}

/// Written as knockd does, since scripts look for these words.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(0) => f.write_str("command succeeded"),
            Self::Code(code) => write!(f, "command returned non-zero status code ({code})"),
            Self::Signal(signal) => write!(f, "command was killed by signal ({signal})"),
        }
    }
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

/// Starts `argv` with this standard output, else /dev/null.
///
/// `std::process::Command` takes 15 kB on MIPS.
fn start(argv: &[String], stdout: Option<&OwnedFd>) -> io::Result<Child> {
    let program =
        argv.first().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "the command is empty"))?;
    let file = if program.contains('/') { Some(PathBuf::from(program)) } else { find_program(program) };
    let file = file.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;

    let arguments =
        argv.iter().map(|word| Ok(CString::new(word.as_str())?)).collect::<io::Result<Vec<_>>>()?;
    let mut environment = vec![variable("PATH", search_path())];
    environment.extend(INHERITED.iter().filter_map(|name| Some(variable(name, std::env::var_os(name)?))));

    let null = File::options().read(true).write(true).open(NULL)?;
    let mut files = PosixSpawnFileActions::init()?;
    files.add_dup2(null.as_raw_fd(), libc::STDIN_FILENO)?;
    files.add_dup2(stdout.map_or(null.as_raw_fd(), AsRawFd::as_raw_fd), libc::STDOUT_FILENO)?;
    files.add_dup2(null.as_raw_fd(), libc::STDERR_FILENO)?;

    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
    )?;
    attributes.set_pgroup(Pid::from_raw(0))?;
    // The daemon blocks the signals that it reads from a descriptor, and a mask survives exec: a
    // program that inherits it could not be stopped with SIGTERM.
    attributes.set_sigmask(&SigSet::empty())?;
    // Rust's runtime ignores it, and that survives exec too.
    attributes.set_sigdefault(&SigSet::from(Signal::SIGPIPE))?;

    let pid = posix_spawn(&file, &files, &attributes, &arguments, &environment)?;
    Ok(Child { pid, exit: None })
}

/// `NAME=value`; a value that came from the environment, as these do, has no NUL byte.
fn variable(name: &str, value: OsString) -> CString {
    let line = [name.as_bytes(), b"=", &value.into_vec()].concat();
    CString::new(line).unwrap_or_default()
}

/// The daemon's PATH, and [`SYSTEM_PATH`] behind it.
fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    path.push(OsStr::new(":"));
    path.push(SYSTEM_PATH);
    path
}

/// Reads until the other end is shut.
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
