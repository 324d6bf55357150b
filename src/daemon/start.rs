//! The reasons why the daemon does not start or go on.

use std::fmt;
use std::io;
use std::path::Path;

use super::claim::Claimed;
use super::confinement::Unfit;
use super::monitor::Disagreement;
use super::systemd;
use crate::config::{self, MAX_DEVICES};
use crate::control::server::ServerError;
use crate::firewall::backend::BackendError;

/// Why the daemon did not start, ends, or does not take a new configuration.
#[derive(Debug)]
pub enum StartError {
    /// The configuration is wrong.
    Config(config::Error),
    /// The doors cannot be opened on this host.
    Backend(BackendError),
    /// The control socket could not be opened.
    Control(ServerError),
    /// Another daemon changes the firewall.
    Claimed(Claimed),
    /// The number of devices, which is more than [`MAX_DEVICES`].
    Devices(usize),
    /// The new configuration needs a right that the daemon has given up.
    Unfit(Unfit),
    /// The monitor does not take the new configuration.
    Disagreement(Disagreement),
    /// A socket could not be opened.
    Socket(&'static str, io::Error),
    /// The monitor could not be made.
    NoMonitor(io::Error),
    /// The monitor has ended while the daemon ran.
    LostMonitor,
}

impl StartError {
    /// The exit code: 2 for mistakes in usage or configuration, 1 for failures.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Devices(_) => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error @ config::Error::Read { file, cause }) => {
                write!(f, "{error}{}", systemd::advice(cause, Path::new(file)))
            }
            Self::Config(error) => error.fmt(f),
            Self::Backend(error) => error.fmt(f),
            Self::Control(error) => error.fmt(f),
            Self::Claimed(why) => why.fmt(f),
            Self::Unfit(why) => why.fmt(f),
            Self::Disagreement(why) => why.fmt(f),
            Self::NoMonitor(error) => write!(f, "cannot make the process that runs commands: {error}"),
            Self::LostMonitor => f.write_str("the process that runs commands has ended, so ketukd ends"),
            Self::Devices(count) => {
                write!(f, "{count} devices are named, but at most {MAX_DEVICES} can be listened on")
            }
            Self::Socket(what, error) => {
                let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
                let advice = if is_denied { ": run ketukd as root, or with CAP_NET_RAW" } else { "" };
                write!(f, "cannot open {what}: {error}{advice}")
            }
        }
    }
}
