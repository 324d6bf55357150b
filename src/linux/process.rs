//! Other programs. Each is started in a process group of its own, waited for without blocking, and killed together with
//! the processes that it started.
//!
//! SIGCHLD must have its default action. If it were ignored, the kernel would drop the exit codes.

mod exit;
mod output;

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::Pid;

pub use self::exit::Exit;
pub use self::output::{Output, OutputError, output};
use super::cerr::cerr;
use super::printed::Printed;

/// The folders of `iptables` and the like. A PATH from cron or a login shell may lack them.
const SYSTEM_PATH: &str = "/usr/sbin:/sbin";

/// The PATH of a daemon that has none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables that a program inherits from the daemon, besides PATH.
const INHERITED: [&str; 3] = ["HOME", "LANG", "TZ"];

/// The standard input of programs, and the output of programs whose output is not kept.
const NULL: &str = "/dev/null";

/// A program that was started. No other process gets its id until it has been waited for.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    /// How the program ended, once it has been waited for.
    exit: Option<Exit>,
    /// Its output, from [`spawn_heard`].
    printed: Option<Printed>,
}

/// Starts `argv` without a shell. Standard input, output and error are /dev/null. The daemon's own standard error is its log,
/// and a stranger's knock that runs a command must not fill it.
///
/// # Errors
/// `argv` is empty, there is no such program, or the kernel has no memory or process to spare.
pub fn spawn(argv: &[String]) -> io::Result<Child> {
    start(argv, Streams::default())
}

/// The same, but the end of the program's output is kept for [`Child::take_printed`]. Call [`Child::try_wait`] whenever
/// [`Child::descriptor`] can be read. Otherwise the pipe fills, and the program waits.
///
/// # Errors
/// Those of [`spawn`].
pub fn spawn_heard(argv: &[String]) -> io::Result<Child> {
    // Without a free descriptor or /proc the output is lost, but the command runs: it may be the one that shuts a door.
    let printed = Printed::new().ok();
    let writer = printed.as_ref().map(Printed::writer);
    let child = start(argv, Streams { output: writer, error: writer, ..Streams::default() })?;
    Ok(Child { printed, ..child })
}

/// Makes a copy of this process, which must have one thread. Returns true in the copy.
///
/// # Errors
/// There are more threads, or the kernel has no memory or process to spare.
pub fn fork() -> io::Result<bool> {
    // The kernel refuses this to a process with more threads (unshare(2)); for one with a single thread it does nothing.
    // SAFETY: the call takes no pointers.
    cerr(unsafe { libc::unshare(libc::CLONE_THREAD) })?;
    // SAFETY: no other thread holds a lock that the copy would wait for.
    let copied = unsafe { nix::unistd::fork() }?;
    Ok(copied.is_child())
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
    /// Another part of the program has waited for it.
    pub fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        let exit = self.wait(libc::WNOHANG);
        // A program that has ended prints no more, so this also reads the last of its output.
        if let Some(printed) = &mut self.printed {
            printed.read();
        }
        exit
    }

    /// The descriptor that can be read when the program has printed; `None` if its output is not kept.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.printed.as_ref().map(Printed::reader)
    }

    /// Takes the end of the output of the program, as far as [`Self::try_wait`] has read it.
    pub fn take_printed(&mut self) -> Vec<u8> {
        self.printed.as_mut().map(Printed::take).unwrap_or_default()
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
}

/// The standard input, output and error of a program. /dev/null takes the place of those that are `None`.
#[derive(Clone, Copy, Default)]
struct Streams<'s> {
    input: Option<BorrowedFd<'s>>,
    output: Option<BorrowedFd<'s>>,
    error: Option<BorrowedFd<'s>>,
}

/// Starts `argv`. It uses `posix_spawn`, because `std::process::Command` adds 15 kB to the program on MIPS.
fn start(argv: &[String], streams: Streams<'_>) -> io::Result<Child> {
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
    let Streams { input, output, error } = streams;
    for (stream, number) in
        [(input, libc::STDIN_FILENO), (output, libc::STDOUT_FILENO), (error, libc::STDERR_FILENO)]
    {
        files.add_dup2(stream.unwrap_or(null.as_fd()).as_raw_fd(), number)?;
    }

    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
    )?;
    attributes.set_pgroup(Pid::from_raw(0))?;
    // The daemon blocks the signals that it reads from a descriptor. The mask survives exec, and a program that
    // inherits it could not be stopped with SIGTERM.
    attributes.set_sigmask(&SigSet::empty())?;
    // Rust's runtime ignores SIGPIPE, and that survives exec too.
    attributes.set_sigdefault(&SigSet::from(Signal::SIGPIPE))?;

    let pid = posix_spawn(&file, &files, &attributes, &arguments, &environment)?;
    Ok(Child { pid, exit: None, printed: None })
}

/// `NAME=value`. The value comes from the environment, so it has no NUL byte.
fn variable(name: &str, value: OsString) -> CString {
    let line = [name.as_bytes(), b"=", &value.into_vec()].concat();
    CString::new(line).unwrap_or_default()
}

/// The daemon's PATH, followed by [`SYSTEM_PATH`].
fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    path.push(OsStr::new(":"));
    path.push(SYSTEM_PATH);
    path
}
