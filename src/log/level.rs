//! The levels of log lines.

/// The levels, by their numbers in syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    /// `error!`
    Error = 3,
    /// `warn!`
    Warn = 4,
    /// `info!`
    Info = 5,
    /// `debug!`
    Debug = 6,
    /// `trace!`
    Trace = 7,
}
