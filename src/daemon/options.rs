//! The options of `ketukd run`.

use std::path::PathBuf;

/// The command line of `ketukd run`.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// `--config`
    pub(crate) config: PathBuf,
    /// `--device`: replaces the devices of the configuration.
    pub(crate) devices: Vec<String>,
    /// `--device-file`: a file of more devices, one a line, read again at each reload.
    pub(crate) device_file: Option<PathBuf>,
    /// `--socket`
    pub(crate) socket: PathBuf,
}
