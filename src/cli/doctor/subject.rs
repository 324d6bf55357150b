//! The state that the doctor examines: the configuration, the daemon's status, and the devices that it listens on.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::finding::Finding;
use crate::cli::arguments::Arguments;
use crate::cli::control::{self, Unreached};
use crate::config::{self, Config};
use crate::control::show::Status;
use crate::firewall::own::ANY;
use crate::linux::links;

/// The copy of the configuration that OpenWrt's service gives a daemon in a jail. The service makes it once the file is right.
pub(super) const JAILS_COPY: &str = "/var/run/ketuk/config";

/// The state of this host that more than one point needs.
pub(super) struct Subject<'a> {
    pub(super) arguments: &'a Arguments,
    /// The configuration's file: the one of `--config`, else the daemon's, else the default.
    pub(super) path: PathBuf,
    /// The configuration, or its error.
    pub(super) config: Result<Config, config::Error>,
    /// The daemon's state.
    pub(super) status: Result<Status, Unreached>,
    /// The devices that are listened on, [`ANY`] among them; `None` if that is not known.
    pub(super) devices: Option<Vec<String>>,
}

impl<'a> Subject<'a> {
    pub(super) fn new(arguments: &'a Arguments) -> Self {
        let status = control::ask_status(arguments);
        let daemons = status.as_ref().map_or("", |status| status.daemon().config);
        let path = match &arguments.config {
            // The daemon may run in another folder. Nobody edits the copy.
            None if Path::new(daemons).is_absolute() && daemons != JAILS_COPY => PathBuf::from(daemons),
            _ => arguments.config_path().to_owned(),
        };
        let config = config::load(&path);
        let devices = match (&status, &config) {
            (Ok(status), _) => Some(status.devices().map(|device| device.name.to_owned()).collect()),
            (Err(_), Ok(config)) if !config.globals.devices.is_empty() => {
                Some(config.globals.devices.clone())
            }
            (Err(_), Ok(config)) if config.globals.networks.is_empty() => Some(vec![ANY.to_owned()]),
            _ => None,
        };
        Self { arguments, path, config, status, devices }
    }

    /// The configuration; else the finding for a point that needs it.
    pub(super) fn config(&self) -> Result<&Config, Vec<Finding>> {
        self.config
            .as_ref()
            .map_err(|_| vec![Finding::not_known("the configuration is wrong, or cannot be read")])
    }

    /// The daemon's state; else the finding for a point that needs it.
    pub(super) fn status(&self) -> Result<&Status, Vec<Finding>> {
        self.status.as_ref().map_err(|_| vec![Finding::not_known("the daemon cannot be asked")])
    }

    /// The devices; else the finding for a point that needs them.
    pub(super) fn devices(&self) -> Result<&[String], Vec<Finding>> {
        let unknown = "only the running daemon knows which devices it listens on";
        self.devices.as_deref().ok_or_else(|| vec![Finding::not_known(unknown)])
    }

    /// The addresses at which knocks arrive.
    pub(super) fn addresses(&self) -> Result<Vec<(String, IpAddr)>, Vec<Finding>> {
        let devices = self.devices()?;
        let is_listened = |name: &String| devices.iter().any(|device| device == ANY || device == name);
        let all = links::device_addresses()
            .map_err(|error| vec![Finding::unreadable("the devices' addresses", &error)])?;
        let here = all.into_iter().filter(|known| !known.is_loopback && is_listened(&known.device));
        Ok(here.map(|known| (known.device, known.address)).collect())
    }
}
