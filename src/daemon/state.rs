//! The daemon's whole state.

use std::path::PathBuf;

use nix::sys::signalfd::SignalFd;

use super::claim::Claim;
use super::clocks::Clocks;
use super::confinement::Confinement;
use super::devices::Devices;
use super::options::RunOptions;
use super::porter::Porter;
use crate::config::Config;
use crate::core::time::Instant;
use crate::linux::capture::PacketBuffers;
use crate::linux::links::Links;

/// The running daemon.
#[derive(Debug)]
pub(super) struct Daemon<'t> {
    pub(super) started: Instant,
    pub(super) clocks: Clocks,
    pub(super) options: RunOptions,
    /// The absolute path of the configuration, for others. A confined process cannot find it out.
    pub(super) config_path: PathBuf,
    pub(super) config: Config,
    pub(super) porter: Porter<'t>,
    pub(super) devices: Devices,
    pub(super) batch: &'t mut PacketBuffers,
    pub(super) device_names: Vec<String>,
    pub(super) links: Links,
    pub(super) signals: SignalFd,
    pub(super) confinement: Confinement,
    /// `None` while the configuration changes nothing in the firewall.
    pub(super) claim: Option<Claim>,
}
