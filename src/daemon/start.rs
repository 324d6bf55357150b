//! What `ketukd run` is asked for, and why it may not start.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::systemd;
use crate::config::{self, MAX_DEVICES};
use crate::control::server::ServerError;
use crate::firewall::backend::BackendError;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--config`
    pub config: PathBuf,
    /// `--device`, instead of the configuration's.
    pub devices: Vec<String>,
    /// `--device-file`: more of them, one a line, read again at each reload.
    pub device_file: Option<PathBuf>,
    /// `--socket`
    pub socket: PathBuf,
}

/// Why the daemon did not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration is wrong.
    Config(config::Error),
    /// The doors cannot be opened on this host.
    Backend(BackendError),
    /// There is no control socket.
    Control(ServerError),
    /// More devices than [`MAX_DEVICES`].
    Devices(usize),
    /// A socket could not be opened.
    Socket(&'static str, io::Error),
}

impl StartError {
    /// The exit code: 2 for what the user has to change, 1 for what failed.
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
            Self::Devices(count) => {
                write!(f, "{count} devices, and at most {MAX_DEVICES} can be listened on")
            }
            Self::Socket(what, error) => write!(f, "cannot open {what}: {error}"),
        }
    }
}
