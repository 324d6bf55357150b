//! Log lines: to standard error, syslog and a file.
//!
//! Each level has a macro:
//!
//! | macro    | `option log_level` | syslog  | lines                                   |
//! |----------|--------------------|---------|-----------------------------------------|
//! | `error!` | `error`            | ERR     | something does not work                 |
//! | `warn!`  | `warn`             | WARNING | something may not work                  |
//! | `info!`  | `notice`           | NOTICE  | the events that knockd logs             |
//! | `debug!` | `info`             | INFO    | refusals and resets too                 |
//! | `trace!` | `debug`            | DEBUG   | everything                              |
//!
//! The service manager may copy standard error into the log. Each line must get there once, with its own level. journald
//! reads the level at the start of a line. procd does not, and logs every line as an error. So under procd the daemon writes
//! a line to standard error only if syslog does not take it.
//!
//! If a disk is full or a log daemon is missing, lines are lost, but the daemon goes on.

mod level;
mod syslog;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;

pub use self::level::Level;
use self::syslog::Syslog;
use crate::config::LogLevel;
use crate::core::limit::Limit;
use crate::linux::clock;

/// The lines that the monitor writes into the log file: the rate a second, and the burst. An attacker in the process that
/// reads packets must not fill the disk within minutes. Lines about knocks have limits of their own, which are far lower.
const FILE_LINES: (u32, u32) = (100, 1000);

/// The last level that is written; none before the start.
static MAX_LEVEL: AtomicU8 = AtomicU8::new(0);

static SINKS: Mutex<Sinks> =
    Mutex::new(Sinks { stderr: Stderr::Shown, syslog: Syslog::NEW, file: None, limit: None });

struct Sinks {
    stderr: Stderr,
    syslog: Syslog,
    file: Option<LogFile>,
    /// The limit for lines in the file.
    limit: Option<Limit>,
}

/// The reader of standard error.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stderr {
    /// A person or a file, which gets every line, beside syslog.
    Shown,
    /// systemd's journal. It reads the level of a line from `<3>` in front of it (sd-daemon(3)).
    Journal,
    /// procd. It logs every line as an error.
    Procd,
}

struct LogFile {
    path: PathBuf,
    way: LogSink,
    /// Whether the loss of a line has been reported.
    complained: bool,
}

/// The way into the log file.
enum LogSink {
    /// It could not be opened.
    None,
    /// This process writes it.
    Own(File),
    /// Another process writes it.
    Courier(Box<dyn Courier>),
}

/// Carries lines to the process that writes the log file.
pub trait Courier: Send {
    /// Carries a line.
    ///
    /// # Errors
    /// The line is lost.
    fn carry(&mut self, line: &str) -> io::Result<()>;
}

/// Starts logging.
pub fn start(level: LogLevel) {
    sinks().stderr = Stderr::find();
    set_level(level);
}

/// Sets the least severe level that is logged.
pub fn set_level(level: LogLevel) {
    let last = match level {
        LogLevel::Error => Level::Error,
        LogLevel::Warn => Level::Warn,
        LogLevel::Notice => Level::Info,
        LogLevel::Info => Level::Debug,
        LogLevel::Debug => Level::Trace,
    };
    MAX_LEVEL.store(last as u8, Ordering::Relaxed);
}

/// Whether lines of this level are written.
pub fn is_on(level: Level) -> bool {
    level as u8 <= MAX_LEVEL.load(Ordering::Relaxed)
}

/// Writes a line, if its level is on. The macros call this function.
pub fn say(level: Level, words: fmt::Arguments<'_>) {
    if is_on(level) {
        sinks().write(level, &words.to_string());
    }
}

macro_rules! error_line {
    ($($words:tt)+) => { $crate::log::say($crate::log::Level::Error, format_args!($($words)+)) };
}
macro_rules! warn_line {
    ($($words:tt)+) => { $crate::log::say($crate::log::Level::Warn, format_args!($($words)+)) };
}
macro_rules! info_line {
    ($($words:tt)+) => { $crate::log::say($crate::log::Level::Info, format_args!($($words)+)) };
}
// These two levels are usually off. Then the arguments are not computed, because a flood of packets would pay for them.
macro_rules! debug_line {
    ($($words:tt)+) => {
        if $crate::log::is_on($crate::log::Level::Debug) {
            $crate::log::say($crate::log::Level::Debug, format_args!($($words)+));
        }
    };
}
macro_rules! trace_line {
    ($($words:tt)+) => {
        if $crate::log::is_on($crate::log::Level::Trace) {
            $crate::log::say($crate::log::Level::Trace, format_args!($($words)+));
        }
    };
}
pub(crate) use {
    debug_line as debug, error_line as error, info_line as info, trace_line as trace, warn_line as warn,
};

/// Opens the log file, or opens it anew after it was rotated away; `None` for none.
///
/// # Errors
/// Those of open(2). The daemon goes on without the file.
pub fn set_file(path: Option<&Path>) -> io::Result<()> {
    let (file, opened) = match path.map(|path| (path, open(path))) {
        None => (None, Ok(())),
        Some((path, opened)) => {
            let (way, opened) =
                opened.map_or_else(|error| (LogSink::None, Err(error)), |file| (LogSink::Own(file), Ok(())));
            (Some(LogFile { path: path.to_owned(), way, complained: false }), opened)
        }
    };
    sinks().file = file;
    opened
}

/// From now on the courier carries lines for the log file to the process that writes it; `None` for no log file.
pub fn set_courier(path: Option<&Path>, courier: Box<dyn Courier>) {
    let path = path.map(Path::to_owned);
    sinks().file = path.map(|path| LogFile { path, way: LogSink::Courier(courier), complained: false });
}

/// From now on this process writes at most `FILE_LINES` into the log file.
pub fn bound_file() {
    sinks().limit = Some(Limit::new(FILE_LINES.0, FILE_LINES.1));
}

/// Writes a line of another process into the log file, and nowhere else.
pub fn append(line: &str) {
    sinks().write_file(line);
}

fn open(path: &Path) -> io::Result<File> {
    // The file contains addresses of people, so others may not read it.
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

impl Stderr {
    /// Finds the reader. systemd names the journal's stream in the environment, which child processes inherit
    /// (systemd.exec(5)). procd sets nothing: it is the parent process, or its jail is, which sets a variable (ujail,
    /// `build_envp`).
    fn find() -> Self {
        let stream = fstat(io::stderr()).map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino));
        if stream.is_ok_and(|stream| std::env::var_os("JOURNAL_STREAM").is_some_and(|named| named == *stream))
        {
            return Self::Journal;
        }
        let parent = std::fs::read_to_string(format!("/proc/{}/comm", std::os::unix::process::parent_id()));
        let jailed = std::env::var_os("container").is_some_and(|container| container == "ujail");
        if jailed || parent.is_ok_and(|name| matches!(name.trim_end(), "procd" | "ujail")) {
            return Self::Procd;
        }
        Self::Shown
    }
}

/// Writes a line to standard error, unless that would block. A writable pipe takes `PIPE_BUF` bytes. A full pipe or a
/// stopped terminal would block the daemon.
fn complain(line: &str) {
    let stderr = io::stderr();
    let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    let writable = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
    if writable {
        // If the terminal is closed, the daemon goes on.
        let _ = writeln!(stderr.lock(), "{line}");
    }
}

fn sinks() -> MutexGuard<'static, Sinks> {
    SINKS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sinks {
    fn write(&mut self, level: Level, text: &str) {
        // An error in the configuration has several lines. syslog would show them as one.
        for line in text.lines() {
            match self.stderr {
                Stderr::Shown => {
                    complain(line);
                    self.syslog.write(level, line);
                }
                Stderr::Journal => complain(&format!("<{}>{line}", level as u8)),
                Stderr::Procd if self.syslog.write(level, line) => {}
                Stderr::Procd => complain(line),
            }
            self.write_file(line);
        }
    }

    fn write_file(&mut self, line: &str) {
        let Some(file) = &mut self.file else { return };
        if let Some(limit) = &mut self.limit {
            if !limit.allow(clock::now()) {
                return;
            }
            let left_out = limit.take_refused();
            if left_out > 0 {
                file.write(&format!("{left_out} lines were left out"));
            }
        }
        file.write(line);
    }
}

impl LogFile {
    fn write(&mut self, line: &str) {
        let written = match &mut self.way {
            LogSink::None => return,
            // One write for the whole line, so that lines of two processes do not mix.
            LogSink::Own(file) => file.write_all(format!("[{}] {line}\n", clock::local_minute()).as_bytes()),
            LogSink::Courier(courier) => courier.carry(line),
        };
        match written {
            Ok(()) => self.complained = false,
            Err(error) if !self.complained => {
                self.complained = true;
                complain(&format!("log file {}: {error}", self.path.display()));
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
