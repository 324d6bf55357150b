//! The daemon's own table, `inet ketuk`. The daemon loads it, and loads it again when another program deletes it.

use std::net::IpAddr;
use std::time::Duration;

use log::{error, info, warn};

use crate::config::Door;
use crate::core::passage::Passage;
use crate::core::time::Instant;
use crate::daemon::slots::Slots;
use crate::firewall::error::NftError;
use crate::firewall::own::{Own, Plan};
use crate::firewall::through;
use crate::linux::links::own_addresses;

/// Time until a failed load is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// The table, and the devices that it covers.
#[derive(Debug, Default)]
pub(in crate::daemon) struct OwnTable {
    /// `None` while no door needs the table.
    own: Option<Box<Own>>,
    /// The devices on which the table shuts the doors' ports; `None` means that it shuts nothing.
    shut: Option<Vec<String>>,
    retry: Option<Instant>,
    /// The last error that was logged. The same error is logged once.
    said: Option<NftError>,
}

impl OwnTable {
    /// Loads the table for these doors. `shut` are the devices on which it shuts their ports; `None` means that it
    /// shuts nothing.
    pub(in crate::daemon) fn load(&mut self, now: Instant, slots: &Slots, shut: Option<&[String]>) {
        self.shut = shut.map(<[String]>::to_vec);
        if self.own.is_none() {
            match Own::connect() {
                Ok(own) => self.own = Some(Box::new(own)),
                // Without nfnetlink there is no old table to delete.
                Err(_) if shut.is_none() && !slots.iter().any(|(_, door)| door.kill) => return,
                Err(error) => return error!("cannot reach the kernel's firewall: {error}"),
            }
        }
        self.make(now, slots);
    }

    /// Loads the table again if it differs from the loaded one.
    pub(in crate::daemon) fn mend(&mut self, now: Instant, slots: &Slots) {
        let Some(own) = &mut self.own else { return };
        if !matches!(own.is_intact(), Ok(true)) {
            warn!("table inet ketuk was changed or deleted by another program: it is made again");
            self.make(now, slots);
        }
    }

    /// Loads the table if the last try failed some time ago.
    pub(in crate::daemon) fn tend(&mut self, now: Instant, slots: &Slots) {
        if self.retry.is_some_and(|retry| retry <= now) {
            self.make(now, slots);
        }
    }

    /// When [`Self::tend`] must be called next.
    pub(in crate::daemon) const fn next_deadline(&self) -> Option<Instant> {
        self.retry
    }

    /// Whether the table should shut the doors' ports but could not be loaded.
    pub(in crate::daemon) const fn is_missing(&self) -> bool {
        self.shut.is_some() && (self.own.is_none() || self.said.is_some())
    }

    fn make(&mut self, now: Instant, slots: &Slots) {
        let Some(own) = &mut self.own else { return };
        let doors: Vec<&Door> = slots.iter().map(|(_, door)| &**door).collect();
        let plan = Plan { doors: &doors, shut: self.shut.as_deref() };
        self.retry = None;
        match own.load(&plan) {
            Ok(is_whole) => {
                if self.said.take().is_some() {
                    info!("table inet ketuk is made");
                }
                if !is_whole {
                    self.retry = Some(now.after(RETRY));
                }
            }
            // Without nf_tables there is no old table to delete.
            Err(NftError::Unsupported) if !plan.is_needed() => {}
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
        if !plan.is_needed() && self.retry.is_none() {
            self.own = None;
        }
    }

    /// Cuts the connections of a passage through a door that has just shut.
    pub(in crate::daemon) fn cut(&mut self, door: &Door, passage: Passage) {
        let (Some(own), true) = (&mut self.own, door.kill) else { return };
        let addresses = own_addresses().unwrap_or_default();
        match through::cut(own, door, passage, &addresses) {
            Ok(0) => {}
            Ok(1) => info!("{passage}: {}: 1 connection cut", door.name),
            Ok(cut) => info!("{passage}: {}: {cut} connections cut", door.name),
            Err(error) => error!("{passage}: {}: connections live on: {error}", door.name),
        }
    }

    /// Undoes [`Self::cut`].
    pub(in crate::daemon) fn uncut(&mut self, door: &Door, address: IpAddr) {
        let (Some(own), true) = (&mut self.own, door.kill) else { return };
        if let Err(error) = through::uncut(own, door, address) {
            error!("{address}: {}: still refused: {error}", door.name);
        }
    }

    /// For a clean stop: undoes all cuts. The ports that the table shuts stay shut.
    pub(in crate::daemon) fn stop(&mut self) {
        let Some(own) = &mut self.own else { return };
        let done = if self.shut.is_some() { own.uncut_all() } else { own.unload() };
        if let Err(error) = done {
            error!("kill: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_missing_only_if_it_should_shut_ports() {
        let mut table = OwnTable::default();
        assert!(!table.is_missing());
        table.shut = Some(vec!["wan0".to_owned()]);
        assert!(table.is_missing(), "it could not be loaded");
        let retry = Instant::from_millis(500);
        table.retry = Some(retry);
        assert_eq!(table.next_deadline(), Some(retry));
    }
}
