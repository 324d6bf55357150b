//! The daemon's own table: made as the configuration wants it, and made again when somebody takes it away.

use std::net::IpAddr;
use std::time::Duration;

use log::{error, info, warn};

use crate::config::Door;
use crate::core::time::Instant;
use crate::daemon::slots::Slots;
use crate::firewall::error::NftError;
use crate::firewall::own::{Own, Plan};
use crate::firewall::through;
use crate::linux::links::own_addresses;

/// How soon a table that could not be made is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// The table, and what it is to hold.
#[derive(Debug, Default)]
pub(in crate::daemon) struct OwnTable {
    /// None while no door needs the table.
    own: Option<Box<Own>>,
    /// The devices on which it shuts the doors; none: it shuts nothing.
    shut: Option<Vec<String>>,
    retry: Option<Instant>,
    /// The last error, which is said once.
    said: Option<NftError>,
}

impl OwnTable {
    /// Makes the table for these doors. `shut` are the devices on which it shuts their ports; none: it shuts nothing.
    pub(in crate::daemon) fn load(&mut self, now: Instant, slots: &Slots, shut: Option<&[String]>) {
        self.shut = shut.map(<[String]>::to_vec);
        if self.own.is_none() {
            match Own::connect() {
                Ok(own) => self.own = Some(Box::new(own)),
                // Without nfnetlink there is no table to be taken away either.
                Err(_) if shut.is_none() && !slots.iter().any(|(_, door)| door.kill) => return,
                Err(error) => return error!("cannot reach the kernel's firewall: {error}"),
            }
        }
        self.make(now, slots);
    }

    /// Makes it again if it is not as it was made. Whether it was not.
    pub(in crate::daemon) fn mend(&mut self, now: Instant, slots: &Slots) -> bool {
        let Some(own) = &mut self.own else { return false };
        if matches!(own.is_intact(), Ok(true)) {
            return false;
        }
        warn!("table inet ketuk was changed or deleted by another program: it is made again");
        self.make(now, slots);
        true
    }

    /// Makes it, if the last try failed some time ago.
    pub(in crate::daemon) fn tend(&mut self, now: Instant, slots: &Slots) {
        if self.retry.is_some_and(|retry| retry <= now) {
            self.make(now, slots);
        }
    }

    /// When [`Self::tend`] must be called next.
    pub(in crate::daemon) const fn next_deadline(&self) -> Option<Instant> {
        self.retry
    }

    fn make(&mut self, now: Instant, slots: &Slots) {
        let Some(own) = &mut self.own else { return };
        let doors: Vec<&Door> = slots.iter().map(|(_, door)| &**door).collect();
        let plan = Plan { doors: &doors, shut: self.shut.as_deref() };
        self.retry = None;
        match own.load(&plan) {
            Ok(()) => {
                if self.said.take().is_some() {
                    info!("table inet ketuk is made");
                }
            }
            Err(error) => {
                self.retry = Some(now.after(RETRY));
                if self.said.as_ref() != Some(&error) {
                    error!(
                        "{}: {error}",
                        if self.shut.is_some() { "the doors' ports are NOT shut" } else { "kill" }
                    );
                    self.said = Some(error);
                }
            }
        }
        if !plan.is_needed() {
            self.own = None;
        }
    }

    /// Cuts the connections of `address` through a door that has just shut.
    pub(in crate::daemon) fn cut(&mut self, door: &Door, address: IpAddr) {
        let (Some(own), true) = (&mut self.own, door.kill) else { return };
        let addresses: Vec<IpAddr> = own_addresses().map(Iterator::collect).unwrap_or_default();
        match through::cut(own, door, address, &addresses) {
            Ok(0) => {}
            Ok(cut) => info!("{address}: {}: {cut} connections cut", door.name),
            Err(error) => error!("{address}: {}: connections live on: {error}", door.name),
        }
    }

    /// Takes back what [`Self::cut`] did.
    pub(in crate::daemon) fn uncut(&mut self, door: &Door, address: IpAddr) {
        let (Some(own), true) = (&mut self.own, door.kill) else { return };
        if let Err(error) = through::uncut(own, door, address) {
            error!("{address}: {}: still refused: {error}", door.name);
        }
    }

    /// For a clean stop: nothing is refused any more that was cut. What the table shuts stays shut.
    pub(in crate::daemon) fn stop(&mut self) {
        let Some(own) = &mut self.own else { return };
        let done = if self.shut.is_some() { own.uncut_all() } else { own.unload() };
        if let Err(error) = done {
            error!("kill: {error}");
        }
    }
}
