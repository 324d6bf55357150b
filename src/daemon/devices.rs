//! The devices that are listened on, through everything that happens to them.

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};

use libc::sock_filter;
use log::{error, info, warn};

use crate::linux::capture::{Batch, Capture, Received};
use crate::linux::filter::Family;
use crate::linux::links::{LinkState, state_of};

/// The name that stands for every device.
pub const ANY: &str = "any";

/// Batches read from one socket before the others get their turn.
const BATCHES: usize = 8;

/// A device by its name, whether it is there or not.
#[derive(Debug)]
pub struct Device {
    name: String,
    /// The index that the sockets are bound to; none while the device is not there.
    bound: Option<u32>,
    /// Whether it is there and up.
    listening: bool,
    captures: [Capture; 2],
}

/// All of them.
#[derive(Debug, Default)]
pub struct Devices {
    devices: Vec<Device>,
}

/// The filter for each family.
#[derive(Debug)]
pub struct Filters {
    /// For IPv4 sockets.
    pub v4: Vec<sock_filter>,
    /// For IPv6 sockets.
    pub v6: Vec<sock_filter>,
}

impl Devices {
    /// Opens sockets for these devices, which listen to nothing before [`Self::filter`] and [`Self::follow`].
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_RAW`.
    pub fn open(names: &[String]) -> io::Result<Self> {
        let mut devices = Vec::new();
        for name in names {
            let captures = [Capture::open(Family::V4)?, Capture::open(Family::V6)?];
            if name != ANY && state_of(name).is_none() {
                warn!("{name}: there is no such device, waiting for it to appear");
            }
            devices.push(Device { name: name.clone(), bound: None, listening: false, captures });
        }
        Ok(Self { devices })
    }

    /// Gives every socket its filter.
    pub fn filter(&self, filters: &Filters) {
        for capture in self.devices.iter().flat_map(|device| &device.captures) {
            let program = match capture.family() {
                Family::V4 => &filters.v4,
                Family::V6 => &filters.v6,
            };
            if let Err(error) = capture.filter(program) {
                // The filter before stays, and the engine refuses what it lets through too much.
                error!("the kernel refused the packet filter: {error}");
            }
        }
    }

    /// Binds the sockets of devices that appeared or came back under another index. To be called at start
    /// and whenever links change.
    pub fn follow(&mut self) {
        self.devices.iter_mut().for_each(Device::follow);
    }

    /// What to poll for input.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.devices.iter().flat_map(|device| &device.captures).map(AsFd::as_fd)
    }

    /// Reads what has come, up to a bound that lets everything else have its turn.
    pub fn receive(&mut self, batch: &mut Batch, mut each: impl FnMut(&[u8])) {
        for device in &mut self.devices {
            let mut down = false;
            for capture in &device.captures {
                for _ in 0..BATCHES {
                    match capture.receive(batch, &mut each) {
                        Ok(Received::Full) => {}
                        Ok(Received::Drained) => break,
                        Ok(Received::Down) => {
                            down = true;
                            break;
                        }
                        Err(error) => {
                            warn!("{}: cannot read packets: {error}", device.name);
                            break;
                        }
                    }
                }
            }
            if down {
                // It may have been away and be back under the same index, its news long read: only binding
                // again makes the sockets hear again.
                device.bound = None;
                device.follow();
            }
        }
    }

    /// Packets lost since this was last asked, for want of room in the sockets.
    pub fn dropped(&self) -> u64 {
        let captures = self.devices.iter().flat_map(|device| &device.captures);
        captures.map(|capture| u64::from(capture.dropped())).sum()
    }

    /// Each device's name, and whether it is there and up.
    pub fn iter(&self) -> impl Iterator<Item = (&str, bool)> {
        self.devices.iter().map(|device| (device.name.as_str(), device.listening))
    }
}

impl Device {
    fn follow(&mut self) {
        let state =
            if self.name == ANY { Some(LinkState { index: 0, is_up: true }) } else { state_of(&self.name) };
        let Some(LinkState { index, is_up }) = state else {
            if self.bound.take().is_some() {
                self.forget();
            }
            if mem::take(&mut self.listening) {
                warn!("{}: the device is gone, waiting for it to come back", self.name);
            }
            return;
        };
        if self.bound != Some(index) {
            if let Err(error) = self.captures.iter().try_for_each(|capture| capture.bind(index)) {
                // It went away between looking and binding; the link's news will say when it is back.
                warn!("{}: cannot listen: {error}", self.name);
                return;
            }
            self.bound = Some(index);
        }
        // Bound sockets hear by themselves when the device comes up.
        match (mem::replace(&mut self.listening, is_up), is_up) {
            (false, true) => info!("listening on {}", self.name),
            (true, false) => warn!("{}: the device is down, waiting for it to come up", self.name),
            _ => {}
        }
    }

    /// Stops listening. A device that was renamed is still there, and the kernel knows no way to unbind: only
    /// new sockets hear nothing of it.
    fn forget(&mut self) {
        for capture in &mut self.captures {
            match Capture::open(capture.family()) {
                Ok(new) => *capture = new,
                Err(error) => warn!("{}: cannot open a packet socket anew: {error}", self.name),
            }
        }
    }
}
