//! How a door of a profile is knocked at: by a packet, a changing sequence or a plain one, at every address of its host.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::SystemTime;

use super::command::Opening;
use super::failure::Failure;
use super::knock::{Knock, Protocol, at_all};
use super::socket::{self, Source};
use super::target;
use crate::profile::{Profile, ProfileDoor};
use crate::protocol::packet::{self, DoorName, Keys, NONCE};
use crate::protocol::totp;

/// How a door is knocked at.
#[derive(Debug)]
pub struct Way<'p> {
    /// What it is done with.
    pub profile: &'p Profile,
    /// Which door.
    pub door: &'p ProfileDoor,
    /// Where, with port 0; those that are to be preferred first.
    pub targets: Vec<SocketAddr>,
    /// What the command line says.
    pub opening: &'p Opening,
}

impl<'p> Way<'p> {
    /// The way to a door, with the addresses of its host.
    ///
    /// # Errors
    /// There is none, or what is asked for needs a key.
    pub fn to(profile: &'p Profile, door: &'p ProfileDoor, opening: &'p Opening) -> Result<Self, Failure> {
        let options = &opening.options;
        if profile.key.is_none() && (options.seconds > 0 || options.address.is_some()) {
            return Err(Failure::usage("a time or an address can be asked for with a key only"));
        }
        let targets = target::resolve(&profile.host, options.family, options.source.as_ref())
            .map_err(|error| Failure::failed(format!("'{}': {error}", profile.host)))?;
        Ok(Self { profile, door, targets, opening })
    }

    /// Where knocks leave from.
    pub fn source(&self) -> Option<&'p Source> {
        self.opening.options.source.as_ref()
    }

    /// Knocks with the best that the profile has.
    ///
    /// # Errors
    /// It could not be sent to any address.
    pub fn knock(&self) -> Result<(), Failure> {
        let unix_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let unix_s =
            unix_s.map_err(|_| Failure::failed("this machine's clock is before 1970: set it"))?.as_secs();
        if let Some(key) = &self.profile.key {
            let key = key.bytes().try_into().map_err(|_| Failure::usage("the profile's key is none"))?;
            return self.send_packets(&Keys::derive(key), unix_s);
        }
        if let Some(secret) = &self.profile.totp {
            let ports = |window| totp::sequence(secret.bytes(), &self.door.name, window, self.profile.range);
            return self.knock_by_time(totp::window(unix_s), ports);
        }
        let knocks: Result<Vec<_>, _> =
            self.profile.sequence.iter().map(|text| Knock::parse(text, false)).collect();
        self.knock_at(&self.targets, &knocks.map_err(|error| Failure::usage(error.to_string()))?)
    }

    /// A packet to each address, each a new one: the router takes none twice.
    fn send_packets(&self, keys: &Keys, time: u64) -> Result<(), Failure> {
        let request = packet::Request {
            time,
            seconds: self.opening.options.seconds,
            address: self.opening.options.address,
            door: DoorName::new(&self.door.name).ok_or_else(|| Failure::usage("no door is called so"))?,
        };
        let mut outcome = None;
        for target in &self.targets {
            let mut nonce = [0; NONCE];
            getrandom::fill(&mut nonce).map_err(|error| Failure::failed(error.to_string()))?;
            let address = SocketAddr::new(target.ip(), self.profile.port);
            if self.opening.options.verbose {
                eprintln!("ketuk: a packet to {address}");
            }
            let sent = socket::datagrams(address, self.source())
                .and_then(|socket| socket.send(&keys.seal(nonce, &request)));
            match sent {
                Ok(_) => outcome = Some(Ok(())),
                Err(error) => {
                    let failure = Failure::failed(format!("cannot send a packet to {address}: {error}"));
                    outcome.get_or_insert(Err(failure));
                }
            }
        }
        outcome.unwrap_or(Ok(()))
    }

    /// A window opens a door once, for one address. So the other family gets the window before, and the preferred one,
    /// which is what the door's service is then reached by, the present one.
    fn knock_by_time(&self, window: u64, ports: impl Fn(u64) -> [u16; totp::STEPS]) -> Result<(), Failure> {
        let preferred = self.targets.first().is_some_and(SocketAddr::is_ipv4);
        let (first, other): (Vec<_>, Vec<_>) =
            self.targets.iter().copied().partition(|target| target.is_ipv4() == preferred);
        let knocks = |window| {
            let ports = ports(window).into_iter().filter_map(NonZeroU16::new);
            ports.map(|port| Knock { protocol: Protocol::Tcp, port }).collect::<Vec<_>>()
        };
        let others = if other.is_empty() {
            None
        } else {
            let outcome = self.knock_at(&other, &knocks(window.saturating_sub(1)));
            std::thread::sleep(self.opening.options.delay);
            Some(outcome)
        };
        let firsts = self.knock_at(&first, &knocks(window));
        if others.is_some_and(|outcome| outcome.is_ok()) { Ok(()) } else { firsts }
    }

    fn knock_at(&self, targets: &[SocketAddr], knocks: &[Knock]) -> Result<(), Failure> {
        let options = &self.opening.options;
        let say = |line: &str| {
            if options.verbose {
                eprintln!("ketuk: {line}");
            }
            Ok(())
        };
        at_all(targets, knocks, options.delay, self.source(), say).map_err(Failure::failed)
    }
}
