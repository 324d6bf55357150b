//! Log lines: to standard error, syslog and a file.
//!
//! The `log` crate has no notice level, so each of its levels stands for the next of syslog's:
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
use crate::core::limit::Limit;
use crate::core::time::Instant;
use crate::linux::clock;

/// Milliseconds between two attempts to reach a missing syslog.
const SYSLOG_RETRY_MS: u64 = 5000;

/// The lines that the monitor writes into the log file: the rate a second, and the burst. An attacker in the process that
/// reads packets must not fill the disk within minutes. Lines about knocks have limits of their own, which are far lower.
const FILE_LINES: (u32, u32) = (100, 1000);

static LOGGER: Logger = Logger(Mutex::new(Sinks {
    stderr: Stderr::Shown,
    syslog: Syslog::Lost(Instant::from_millis(0)),
    file: None,
    limit: None,
}));

struct Logger(Mutex<Sinks>);

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

enum Syslog {
    Connected(syslog::Logger<LoggerBackend, LocalFormat>),
    /// syslog is missing, and is not tried again before this moment.
    Lost(Instant),
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
    LOGGER.sinks().stderr = Stderr::find();
    // Only the first call can succeed. Later calls set the same logger.
    let _ = log::set_logger(&LOGGER);
    set_level(level);
}

/// Sets the least severe level that is logged.
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
    LOGGER.sinks().file = file;
    opened
}

/// From now on the courier carries lines for the log file to the process that writes it; `None` for no log file.
pub fn set_courier(path: Option<&Path>, courier: Box<dyn Courier>) {
    let path = path.map(Path::to_owned);
    LOGGER.sinks().file =
        path.map(|path| LogFile { path, way: LogSink::Courier(courier), complained: false });
}

/// From now on this process writes at most `FILE_LINES` into the log file.
pub fn bound_file() {
    LOGGER.sinks().limit = Some(Limit::new(FILE_LINES.0, FILE_LINES.1));
}

/// Writes a line of another process into the log file, and nowhere else.
pub fn append(line: &str) {
    LOGGER.sinks().write_file(line);
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
            sinks.write_file(line);
        }
    }

    fn flush(&self) {}
}

impl Sinks {
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
            *self =
                syslog::unix(LocalFormat).and_then(unblocked).map_or_else(|_| Self::retry(), Self::Connected);
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

/// The format of a line for local log daemons, without a time, because they add their own. The crate's own format
/// needs 50 kB of code for time zones.
#[derive(Clone, Copy, Debug)]
struct LocalFormat;

impl LogFormat<&str> for LocalFormat {
    fn format<W: Write>(&self, w: &mut W, severity: Severity, line: &str) -> syslog::Result<()> {
        // RFC 3164, section 4.1.1: the facility, which comes shifted, and the severity.
        let priority = Facility::LOG_DAEMON as u8 | severity as u8;
        write!(w, "<{priority}>ketukd[{}]: {line}", std::process::id()).map_err(syslog::Error::Write)
    }
}

/// If a log daemon does not take a line at once, the line is lost, so that this daemon does not hang.
fn unblocked(
    logger: syslog::Logger<LoggerBackend, LocalFormat>,
) -> syslog::Result<syslog::Logger<LoggerBackend, LocalFormat>> {
    match &logger.backend {
        LoggerBackend::Unix(socket) => socket.set_nonblocking(true)?,
        LoggerBackend::UnixStream(stream) => stream.get_ref().set_nonblocking(true)?,
        _ => {}
    }
    Ok(logger)
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
