//! The devices that the daemon listens on. Devices may appear, vanish, be renamed and go down while it runs.

#[cfg(test)]
mod tests;

use std::hash::BuildHasher;
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use log::{debug, error, info, trace, warn};

use crate::core::engine::Engine;
use crate::core::network::AddressFamily;
use crate::core::place::{On, OwnAddress, Via};
use crate::core::time::Instant;
use crate::linux::capture::{Capture, PacketBuffers, QueueState};
use crate::linux::filter::{self, FORMS, Form};
use crate::linux::links::{DeviceAddress, LinkState, state_of};
use crate::linux::upper::{NamedDevice, Upper, upper_of};

/// The name that stands for every device.
pub const ANY: &str = "any";

/// Batches read from one socket in one turn, before the other sockets are read.
const BATCHES: usize = 8;

/// Time until a filter that the kernel refused is tried again.
const FILTER_RETRY: Duration = Duration::from_secs(10);

/// The kernel's error when a filter does not fit into the socket's memory (`net.core.optmem_max`).
const NO_ROOM: Option<i32> = Some(libc::ENOMEM);

/// Whether the daemon receives a device's traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// All packets that the filter is meant to pass.
    Listening,
    /// Nothing: the device does not exist or is down.
    Waiting,
    /// Not everything: the kernel refused the device's filter.
    Refused,
    /// Nothing: the device is a port of another device, which takes its packets.
    Port,
}

impl Hearing {
    /// The word in `ketukd status`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Listening => "listening",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
            Self::Port => "port",
        }
    }
}

/// A device by its name. It need not exist.
#[derive(Debug)]
pub struct Device {
    name: String,
    /// The interface index that the sockets are bound to; `None` while the device does not exist.
    bound: Option<u32>,
    /// Whether the device exists and is up.
    listening: bool,
    /// The device that has this one as a port.
    upper: Option<Upper>,
    /// The same as far as it is wrong and the log has it.
    said: Option<Upper>,
    captures: [Capture; 2],
    /// The form of its sockets' filters; `None` if the kernel refused every form.
    form: Option<Form>,
}

/// All devices that the daemon listens on.
#[derive(Debug, Default)]
pub struct Devices {
    devices: Vec<Device>,
    /// When refused filters are tried again.
    retry_at: Option<Instant>,
}

impl Devices {
    /// Opens sockets for these devices. They receive nothing before [`Self::filter`] and [`Self::follow`] are called.
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
                upper: None,
                said: None,
                captures,
                form: Some(Form::Exact),
            });
        }
        Ok(Self { devices, retry_at: None })
    }

    /// Gives every socket the most exact filter that the kernel accepts. If the kernel accepts none, the socket keeps
    /// its old filter, or receives nothing, until the next try.
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

    /// An address of this host, in the core's terms.
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
        let wrong: Vec<_> = self.iter().map(|(.., upper)| upper.cloned()).collect();
        for (device, wrong) in self.devices.iter_mut().zip(wrong) {
            device.say(wrong);
        }
    }

    /// The descriptors to poll for input.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.devices.iter().flat_map(|device| &device.captures).map(AsFd::as_fd)
    }

    /// Reads packets that have arrived, at most `BATCHES` a socket, so that the rest of the loop gets its turn.
    pub fn receive(&mut self, batch: &mut PacketBuffers, mut each: impl FnMut(Via, &[u8])) {
        for device in &mut self.devices {
            let (mut down, via) = (false, device.via());
            for capture in &device.captures {
                for _ in 0..BATCHES {
                    match capture.receive(batch, |bytes| each(via, bytes)) {
                        Ok(QueueState::Full) => {}
                        Ok(QueueState::Drained) => break,
                        Ok(QueueState::Down) => {
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
                // The device may have vanished and come back under the same index, and that news has been read
                // already. Only binding again makes the sockets receive.
                device.bound = None;
                device.follow();
            }
        }
    }

    /// Packets that the kernel dropped for lack of room in the sockets, since the last call.
    pub fn dropped(&self) -> u64 {
        let captures = self.devices.iter().flat_map(|device| &device.captures);
        captures.map(|capture| u64::from(capture.dropped())).sum()
    }

    /// The names of the devices on which the daemon hears knocks.
    pub fn heard(&self) -> Vec<&str> {
        let heard = self.iter().filter(|(_, hearing, _)| *hearing == Hearing::Listening);
        heard.map(|(name, ..)| name).collect()
    }

    /// Each device's name, how much of its traffic is received, and the device that has it as a port, if that is wrong.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Hearing, Option<&Upper>)> {
        let named: Vec<NamedDevice<'_>> =
            self.devices.iter().map(|device| (&*device.name, device.upper.clone())).collect();
        self.devices.iter().map(move |device| {
            let hearing = match (device.listening, device.form) {
                (false, _) => Hearing::Waiting,
                (true, _) if device.upper.as_ref().is_some_and(Upper::takes_all) => Hearing::Port,
                (true, None) => Hearing::Refused,
                (true, Some(_)) => Hearing::Listening,
            };
            let wrong = device.upper.as_ref().filter(|upper| !upper.is_right_beside(&named));
            (device.name.as_str(), hearing, wrong)
        })
    }
}

impl Device {
    /// The device as the core names it.
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

    /// Gives one socket its filter. Returns the form that the kernel accepted.
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
                // While one filter replaces another the kernel counts the memory of both, so a smaller form would be
                // refused too. The old filter is removed first. Packets that arrive meanwhile are lost.
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
                // The device vanished between the look-up and the bind. A link notification will say when it is back.
                warn!("{}: cannot listen: {error}", self.name);
                return;
            }
            self.bound = Some(index);
        }
        self.look_up(index);
        // Bound sockets receive again without further calls when the device comes up.
        match (mem::replace(&mut self.listening, is_up), is_up) {
            (false, true) if self.upper.as_ref().is_some_and(Upper::takes_all) => {}
            (false, true) => info!("listening on {}", self.name),
            (true, false) => warn!("{}: the device is down, waiting for it to come up", self.name),
            _ => {}
        }
    }

    /// Finds out whether the device is a port of another one.
    fn look_up(&mut self, index: u32) {
        if self.name == ANY {
            return;
        }
        match upper_of(index) {
            Ok(upper) => self.upper = upper,
            Err(error) => debug!("{}: cannot find out whether it is a port: {error}", self.name),
        }
    }

    /// Logs that the device is a port of another one, which is wrong, and that it is no port any more.
    fn say(&mut self, wrong: Option<Upper>) {
        match (&self.said, &wrong) {
            (said, wrong) if said == wrong => {}
            (_, Some(wrong)) => warn!("{} {wrong}", self.name),
            (_, None) if self.upper.is_none() => {
                info!("{} is no port of another device any more, listening on it", self.name);
            }
            (_, None) => {}
        }
        self.said = wrong;
    }

    /// Stops listening. A renamed device still exists, and the kernel cannot unbind a socket. Only new sockets receive
    /// nothing from it.
    fn forget(&mut self) {
        for at in 0..self.captures.len() {
            if let Err(error) = self.reopen(at) {
                warn!("{}: cannot open a packet socket anew: {error}", self.name);
            }
        }
    }

    /// Replaces the old socket by a new one, whose filter passes nothing.
    fn reopen(&mut self, at: usize) -> io::Result<()> {
        let new = Capture::open(self.captures[at].family())?;
        if let Some(index) = self.bound {
            new.bind(index)?;
        }
        self.captures[at] = new;
        Ok(())
    }
}
