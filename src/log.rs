//! Log lines: to standard error, syslog and a file.
//!
//! The `log` crate has no notice level, so each of its levels stands for the next of syslog's:
//!
//! | macro    | `option log_level` | syslog  | what                                    |
//! |----------|--------------------|---------|-----------------------------------------|
//! | `error!` | `error`            | ERR     | something does not work                 |
//! | `warn!`  | `warn`             | WARNING | something may not work                  |
//! | `info!`  | `notice`           | NOTICE  | what knockd logs                        |
//! | `debug!` | `info`             | INFO    | refusals and resets too                 |
//! | `trace!` | `debug`            | DEBUG   | everything                              |
//!
//! Where the service manager takes standard error to the log, each line still arrives there once, with its own level:
//! journald reads the level at the start of a line; procd does not, and would log every line as an error, so the
//! daemon speaks to syslog itself, and writes to standard error only the lines that syslog does not take.
//!
//! If a disk is full or a log daemon is missing, lines are lost, but the daemon goes on.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use syslog::{Facility, LogFormat, LoggerBackend, Severity};

use crate::config::LogLevel;
use crate::core::time::Instant;
use crate::linux::clock;

/// Milliseconds between two attempts to reach a missing syslog.
const SYSLOG_RETRY_MS: u64 = 5000;

static LOGGER: Logger = Logger(Mutex::new(Sinks {
    stderr: Stderr::Shown,
    syslog: Syslog::Lost(Instant::from_millis(0)),
    file: None,
}));

struct Logger(Mutex<Sinks>);

struct Sinks {
    stderr: Stderr,
    syslog: Syslog,
    file: Option<LogFile>,
}

/// The reader of standard error.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stderr {
    /// A person, or a file: it gets every line, beside syslog.
    Shown,
    /// systemd's journal, which takes the level of a line from `<3>` in front of it (sd-daemon(3)).
    Journal,
    /// procd, which logs every line as an error.
    Procd,
}

enum Syslog {
    Connected(syslog::Logger<LoggerBackend, Line>),
    /// Not there; not tried again before this moment.
    Lost(Instant),
}

struct LogFile {
    path: PathBuf,
    /// `None`: it could not be opened.
    file: Option<File>,
    /// A line was lost, and that has been said.
    complained: bool,
}

/// Starts logging.
pub fn start(level: LogLevel) {
    LOGGER.sinks().stderr = Stderr::find();
    // Only the first call can succeed. Later calls want the same.
    let _ = log::set_logger(&LOGGER);
    set_level(level);
}

/// Sets which lines are written.
pub fn set_level(level: LogLevel) {
    log::set_max_level(match level {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Notice => LevelFilter::Info,
        LogLevel::Info => LevelFilter::Debug,
        LogLevel::Debug => LevelFilter::Trace,
    });
}

/// Opens the log file, or opens it anew after it was rotated away; `None` for none.
///
/// # Errors
/// As open(2). The daemon goes on without the file.
pub fn set_file(path: Option<&Path>) -> io::Result<()> {
    let (file, opened) = match path.map(|path| (path, open(path))) {
        None => (None, Ok(())),
        Some((path, opened)) => {
            let (file, opened) = opened.map_or_else(|error| (None, Err(error)), |file| (Some(file), Ok(())));
            (Some(LogFile { path: path.to_owned(), file, complained: false }), opened)
        }
    };
    LOGGER.sinks().file = file;
    opened
}

fn open(path: &Path) -> io::Result<File> {
    // The file contains addresses of people, so others may not read it.
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

impl Stderr {
    /// systemd names the journal's stream in the environment, which others inherit (systemd.exec(5)). procd says
    /// nothing: it is the parent, or its jail is, which says so in the environment (ujail, `build_envp`).
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

/// Writes a line to standard error, unless that would block. A writable pipe takes `PIPE_BUF` bytes. A full pipe, or a
/// stopped terminal, would stop the daemon.
fn complain(line: &str) {
    let stderr = io::stderr();
    let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    let writable = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
    if writable {
        // If the terminal is closed, the daemon goes on.
        let _ = writeln!(stderr.lock(), "{line}");
    }
}

impl Logger {
    fn sinks(&self) -> std::sync::MutexGuard<'_, Sinks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut sinks = self.sinks();
        let stderr = sinks.stderr;
        // An error in the configuration has several lines. syslog would show them as one.
        for line in record.args().to_string().lines() {
            let severity = severity(record.level());
            match stderr {
                Stderr::Shown => {
                    complain(line);
                    sinks.syslog.write(severity, line);
                }
                Stderr::Journal => complain(&format!("<{}>{line}", severity as u8)),
                Stderr::Procd if sinks.syslog.write(severity, line) => {}
                Stderr::Procd => complain(line),
            }
            if let Some(file) = &mut sinks.file {
                file.write(line);
            }
        }
    }

    fn flush(&self) {}
}

fn severity(level: Level) -> Severity {
    match level {
        Level::Error => Severity::LOG_ERR,
        Level::Warn => Severity::LOG_WARNING,
        Level::Info => Severity::LOG_NOTICE,
        Level::Debug => Severity::LOG_INFO,
        Level::Trace => Severity::LOG_DEBUG,
    }
}

impl Syslog {
    /// Whether syslog took the line.
    fn write(&mut self, severity: Severity, line: &str) -> bool {
        if let Self::Lost(since) = self {
            if clock::now() < *since {
                return false;
            }
            *self = syslog::unix(Line).and_then(unblocked).map_or_else(|_| Self::retry(), Self::Connected);
        }
        let Self::Connected(logger) = self else { return false };
        // The crate has a method for each level, and each would be a copy of this code.
        let written = logger.formatter.format(&mut logger.backend, severity, line).is_ok();
        if !written {
            *self = Self::retry();
        }
        written
    }

    fn retry() -> Self {
        Self::Lost(Instant::from_millis(clock::now().as_millis() + SYSLOG_RETRY_MS))
    }
}

/// A line as local log daemons take it, without a time, since they add their own. The crate's own format needs 50 kB of code
/// for time zones.
#[derive(Clone, Copy, Debug)]
struct Line;

impl LogFormat<&str> for Line {
    fn format<W: Write>(&self, w: &mut W, severity: Severity, line: &str) -> syslog::Result<()> {
        // RFC 3164, section 4.1.1: the facility, which comes shifted, and the severity.
        let priority = Facility::LOG_DAEMON as u8 | severity as u8;
        write!(w, "<{priority}>ketukd[{}]: {line}", std::process::id()).map_err(syslog::Error::Write)
    }
}

/// If a log daemon does not take a line at once, the line is lost, so that this daemon does not hang.
fn unblocked(
    logger: syslog::Logger<LoggerBackend, Line>,
) -> syslog::Result<syslog::Logger<LoggerBackend, Line>> {
    match &logger.backend {
        LoggerBackend::Unix(socket) => socket.set_nonblocking(true)?,
        LoggerBackend::UnixStream(stream) => stream.get_ref().set_nonblocking(true)?,
        _ => {}
    }
    Ok(logger)
}

impl LogFile {
    fn write(&mut self, line: &str) {
        let Some(file) = &mut self.file else { return };
        // One write for the whole line, so that lines of two processes do not mix.
        let written = file.write_all(format!("[{}] {line}\n", clock::local_minute()).as_bytes());
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
