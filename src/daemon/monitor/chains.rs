//! The daemon's own chains of iptables, which the monitor loads for the packet side.

use std::io;

use log::error;
use nix::errno::Errno;

use crate::config::Door;
use crate::firewall::iptables::{Iptables, Shutting};
use crate::firewall::own::Plan;
use crate::firewall::own_chain::OwnChains;

/// The chains, and the devices that they cover.
#[derive(Debug)]
pub(super) struct Chains {
    own: OwnChains,
    /// The devices on which the chains shut the doors' ports.
    pub(super) devices: Vec<String>,
    /// The last error that was logged. The same error is logged once.
    said: Option<String>,
}

impl Chains {
    /// The chains, if the daemon has any on this host. Nothing is loaded yet.
    pub(super) fn of(iptables: &Iptables, devices: &[String]) -> Option<Self> {
        let is_own = iptables.shutting == Shutting::OwnChain;
        is_own.then(|| Self { own: OwnChains::new(iptables), devices: devices.to_vec(), said: None })
    }

    /// Loads the chains for these doors, and logs an error.
    pub(super) fn load(&mut self, doors: &[&Door]) -> io::Result<()> {
        let Err(fault) = self.own.load(&Plan { doors, shut: Some(&self.devices) }) else {
            self.said = None;
            return Ok(());
        };
        let text = fault.to_string();
        if self.said.as_ref() != Some(&text) {
            error!("the doors' ports are NOT shut: {text}");
            self.said = Some(text);
        }
        Err(Errno::EIO.into())
    }

    /// Checks that the chains are as they were loaded.
    ///
    /// # Errors
    /// `ESTALE`: they are not.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.own.is_intact() { Ok(()) } else { Err(Errno::ESTALE.into()) }
    }
}
