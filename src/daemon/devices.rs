//! The devices that are listened on, through everything that happens to them.

use std::hash::BuildHasher;
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use log::{error, info, trace, warn};

use crate::core::engine::Engine;
use crate::core::network::AddressFamily;
use crate::core::place::{On, OwnAddress, Via};
use crate::core::time::Instant;
use crate::linux::capture::{Batch, Capture, Received};
use crate::linux::filter::{self, FORMS, Form};
use crate::linux::links::{DeviceAddress, LinkState, state_of};

/// The name that stands for every device.
pub const ANY: &str = "any";

/// Batches read from one socket before the others get their turn.
const BATCHES: usize = 8;

/// Time between two tries to give a socket the filter that the kernel has refused.
const FILTER_RETRY: Duration = Duration::from_secs(10);

/// What the kernel refuses a filter for that it has no room for (`net.core.optmem_max`).
const NO_ROOM: Option<i32> = Some(libc::ENOMEM);

/// What is heard of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// All that matters.
    Listening,
    /// Nothing: it is not there, or not up.
    Waiting,
    /// Not all that matters: the kernel refuses the filter for it.
    Refused,
}

impl Hearing {
    /// Its name in `ketukd status`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Listening => "listening",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
        }
    }
}

/// A device by its name, whether it is there or not.
#[derive(Debug)]
pub struct Device {
    name: String,
    /// The index that the sockets are bound to; none while the device is not there.
    bound: Option<u32>,
    /// Whether it is there and up.
    listening: bool,
    captures: [Capture; 2],
    /// What the filters of its sockets are; none if the kernel refused each.
    form: Option<Form>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Devices {
    devices: Vec<Device>,
    /// When the filters that were refused are tried again.
    retry_at: Option<Instant>,
}

impl Devices {
    /// Opens sockets for these devices, which listen to nothing before [`Self::filter`] and [`Self::follow`].
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_RAW`.
    pub fn open(names: &[String]) -> io::Result<Self> {
        let mut devices = Vec::new();
        for name in names {
            let captures = [Capture::open(AddressFamily::V4)?, Capture::open(AddressFamily::V6)?];
            if name != ANY && state_of(name).is_none() {
                warn!("{name}: there is no such device, waiting for it to appear");
            }
            devices.push(Device {
                name: name.clone(),
                bound: None,
                listening: false,
                captures,
                form: Some(Form::Exact),
            });
        }
        Ok(Self { devices, retry_at: None })
    }

    /// Gives every socket the most exact filter that the kernel takes. One that takes none keeps the filter that it had,
    /// or hears nothing, until the next try.
    pub fn filter<S: BuildHasher>(&mut self, now: Instant, engine: &Engine<'_, S>) {
        for device in &mut self.devices {
            device.filter(engine);
        }
        let is_refused = self.devices.iter().any(|device| device.form.is_none());
        self.retry_at = is_refused.then(|| now.after(FILTER_RETRY));
    }

    /// When [`Self::filter`] must be called again.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    /// An address of this host as the core wants it.
    pub fn own(&self, known: &DeviceAddress) -> OwnAddress {
        let is_listened = self.devices.iter().any(|device| device.name == ANY || device.name == known.device);
        let on = match (known.is_loopback, is_listened) {
            (true, _) => On::Loopback,
            (false, true) => On::Listened,
            (false, false) => On::Other,
        };
        OwnAddress { address: known.address, prefix: known.prefix, on }
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
    pub fn receive(&mut self, batch: &mut Batch, mut each: impl FnMut(Via, &[u8])) {
        for device in &mut self.devices {
            let (mut down, via) = (false, device.via());
            for capture in &device.captures {
                for _ in 0..BATCHES {
                    match capture.receive(batch, |bytes| each(via, bytes)) {
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

    /// Each device's name, and what is heard of it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Hearing)> {
        self.devices.iter().map(|device| {
            let hearing = match (device.listening, device.form) {
                (false, _) => Hearing::Waiting,
                (true, None) => Hearing::Refused,
                (true, Some(_)) => Hearing::Listening,
            };
            (device.name.as_str(), hearing)
        })
    }
}

impl Device {
    /// What its packets come in over.
    fn via(&self) -> Via {
        match &self.name[..] {
            ANY => Via::Any,
            "lo" => Via::Loopback,
            _ => Via::Network,
        }
    }

    fn filter<S: BuildHasher>(&mut self, engine: &Engine<'_, S>) {
        let set: Result<Vec<Form>, io::Error> =
            (0..self.captures.len()).map(|at| self.filter_socket(at, engine)).collect();
        let form = match set {
            Ok(forms) => FORMS.into_iter().rfind(|form| forms.contains(form)),
            Err(error) => {
                error!(
                    "{}: new knocks may not be heard: the kernel refused the packet filter: {error}; trying again every {} s",
                    self.name,
                    FILTER_RETRY.as_secs()
                );
                None
            }
        };
        match (self.form, form) {
            (before, Some(now)) if before == Some(now) => {}
            (_, Some(Form::Exact)) => info!("{}: the packet filter is exact again", self.name),
            (_, Some(_)) => warn!(
                "{}: the exact packet filter is too long for this kernel (net.core.optmem_max): a coarser one wakes the daemon for packets that matter to no door",
                self.name
            ),
            (_, None) => {}
        }
        self.form = form;
    }

    /// Gives one socket its filter; which form the kernel took.
    fn filter_socket<S: BuildHasher>(&mut self, at: usize, engine: &Engine<'_, S>) -> io::Result<Form> {
        let (family, via) = (self.captures[at].family(), self.via());
        let mut refused = None;
        for form in FORMS {
            let Some(program) = filter::compile(engine, family, via, form) else { continue };
            match self.captures[at].filter(&program) {
                Ok(()) => {
                    trace!("{}: {family:?}: {form:?} filter of {} instructions", self.name, program.len());
                    return Ok(form);
                }
                // While a filter takes another's place the kernel counts both, so the next form finds no more room: the
                // old one goes first. What comes in this moment is lost.
                Err(error) if error.raw_os_error() == NO_ROOM && refused.is_none() => {
                    if self.captures[at].filter(&filter::nothing()).is_err() {
                        self.reopen(at)?;
                    }
                    match self.captures[at].filter(&program) {
                        Ok(()) => return Ok(form),
                        Err(error) => refused = Some(error),
                    }
                }
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(|| io::ErrorKind::InvalidInput.into()))
    }

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
        for at in 0..self.captures.len() {
            if let Err(error) = self.reopen(at) {
                warn!("{}: cannot open a packet socket anew: {error}", self.name);
            }
        }
    }

    /// Takes a new socket, with a filter that passes nothing, in the place of the old one.
    fn reopen(&mut self, at: usize) -> io::Result<()> {
        let new = Capture::open(self.captures[at].family())?;
        if let Some(index) = self.bound {
            new.bind(index)?;
        }
        self.captures[at] = new;
        Ok(())
    }
}
