//! Devices that the configuration names and this host lacks. The doors' ports are shut only on named devices.

use std::fmt;

use super::own::ANY;
use crate::linux::links::{device_addresses, index_of};

/// The most devices that the sentence names.
const MAX_SHOWN: usize = 8;

/// The devices on which doors' ports are not shut, although a named device does not exist.
#[derive(Debug)]
pub struct NotShut {
    absent: Vec<String>,
    there: Vec<String>,
}

/// The devices of a list that this host lacks.
pub fn absent(devices: &[String]) -> impl Iterator<Item = &String> {
    devices.iter().filter(|device| *device != ANY && index_of(device).is_none())
}

impl NotShut {
    /// Checks these named devices. `None` if all of them exist, or if no other device has an address.
    pub fn with(devices: &[String]) -> Option<Self> {
        let absent: Vec<_> = absent(devices).cloned().collect();
        if absent.is_empty() || devices.iter().any(|device| device == ANY) {
            return None;
        }
        let mut there: Vec<String> = Vec::new();
        for known in device_addresses().ok()?.into_iter().filter(|known| !known.is_loopback) {
            if there.len() < MAX_SHOWN && !devices.contains(&known.device) && !there.contains(&known.device) {
                there.push(known.device);
            }
        }
        (!there.is_empty()).then_some(Self { absent, there })
    }
}

impl fmt::Display for NotShut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [absent, there] = [&self.absent, &self.there].map(|names| names.join(", "));
        write!(
            f,
            "the doors' ports are NOT shut on {there}: ketukd shuts them only on the named devices, and {absent} is not \
             on this host: name the device that strangers come in by"
        )
    }
}
