//! Everything that the daemon holds.

use nix::sys::signalfd::SignalFd;

use super::clocks::Clocks;
use super::devices::Devices;
use super::porter::Porter;
use super::start::Options;
use crate::config::Config;
use crate::core::time::Instant;
use crate::linux::capture::Batch;
use crate::linux::links::Links;

/// Everything that the daemon holds.
#[derive(Debug)]
pub(super) struct Daemon<'t> {
    pub(super) started: Instant,
    pub(super) clocks: Clocks,
    pub(super) options: Options,
    pub(super) config: Config,
    pub(super) porter: Porter<'t>,
    pub(super) devices: Devices,
    pub(super) batch: &'t mut Batch,
    pub(super) device_names: Vec<String>,
    pub(super) links: Links,
    pub(super) signals: SignalFd,
}
