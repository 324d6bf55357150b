//! Knocks at a door of a profile, by a packet, a changing sequence or a plain one, at every address of its host.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::SystemTime;

use super::command::OpenCommand;
use super::failure::ClientFailure;
use super::knock::{Knock, Protocol, at_all};
use super::socket::{self, KnockSource};
use super::target;
use crate::profile::fwknop::{FwknopProfile, MAX_SECONDS};
use crate::profile::{Profile, ProfileDoor, ProfileKind};
use crate::protocol::fwknop;
use crate::protocol::packet::{self, DoorName, Keys, NONCE};
use crate::protocol::totp;

/// The profile, door and addresses of a knock.
#[derive(Debug)]
pub struct Way<'p> {
    /// The profile.
    pub(crate) profile: &'p Profile,
    /// The door.
    pub(crate) door: &'p ProfileDoor,
    /// The host's addresses with port 0, preferred ones first.
    pub(crate) targets: Vec<SocketAddr>,
    /// The options of the command line.
    pub(crate) opening: &'p OpenCommand,
}

impl<'p> Way<'p> {
    /// Resolves the addresses of the door's host.
    ///
    /// # Errors
    /// The host has no address, or the options need a key that the profile lacks.
    pub fn to(
        profile: &'p Profile,
        door: &'p ProfileDoor,
        opening: &'p OpenCommand,
    ) -> Result<Self, ClientFailure> {
        let options = &opening.options;
        let asks = matches!(profile.kind(), ProfileKind::Packet | ProfileKind::Fwknop);
        if !asks && (options.seconds > 0 || options.address.is_some()) {
            return Err(ClientFailure::usage("only a profile with a key can ask for a time or an address"));
        }
        let targets = target::resolve(&profile.host, options.family, options.source.as_ref())
            .map_err(|error| ClientFailure::failed(format!("'{}': {error}", profile.host)))?;
        Ok(Self { profile, door, targets, opening })
    }

    /// The source of the knocks.
    pub fn source(&self) -> Option<&'p KnockSource> {
        self.opening.options.source.as_ref()
    }

    /// Knocks with the strongest method that the profile has.
    ///
    /// # Errors
    /// The knock could not be sent to any address.
    pub fn knock(&self) -> Result<(), ClientFailure> {
        let unix_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let unix_s = unix_s
            .map_err(|_| ClientFailure::failed("this machine's clock is before 1970: set it"))?
            .as_secs();
        if let Some(key) = &self.profile.key {
            let key = key
                .bytes()
                .try_into()
                .map_err(|_| ClientFailure::usage("the profile's key is not 32 bytes long"))?;
            return self.send_packets(&Keys::derive(key), unix_s);
        }
        if let Some(fwknop) = &self.profile.fwknop {
            return self.send_fwknop_packets(fwknop, unix_s);
        }
        if let Some(secret) = &self.profile.totp {
            let ports = |window| totp::sequence(secret.bytes(), &self.door.name, window, self.profile.range);
            return self.knock_by_time(totp::window(unix_s), ports);
        }
        let knocks: Result<Vec<_>, _> =
            self.profile.sequence.iter().map(|text| Knock::parse(text, false)).collect();
        self.knock_at(&self.targets, &knocks.map_err(|error| ClientFailure::usage(error.to_string()))?)
    }

    /// Sends a packet to each address. Each packet is a new one, because the router accepts no packet twice.
    fn send_packets(&self, keys: &Keys, time: u64) -> Result<(), ClientFailure> {
        let request = packet::Request {
            time,
            seconds: self.opening.options.seconds,
            address: self.opening.options.address,
            door: DoorName::new(&self.door.name)
                .ok_or_else(|| ClientFailure::usage(format!("'{}' is no name of a door", self.door.name)))?,
        };
        self.send_to_all(|| {
            let mut nonce = [0; NONCE];
            fill(&mut nonce)?;
            Ok(keys.seal(nonce, &request).to_vec())
        })
    }

    /// Sends fwknop's packet to each address. It can name IPv4 addresses only.
    fn send_fwknop_packets(&self, fwknop: &FwknopProfile, time: u64) -> Result<(), ClientFailure> {
        let options = &self.opening.options;
        let address = match options.address {
            None => fwknop.address,
            Some(IpAddr::V4(address)) => Some(address),
            Some(IpAddr::V6(_)) => {
                return Err(ClientFailure::usage("fwknop's packet cannot ask for an IPv6 address"));
            }
        };
        let wish = fwknop::Wish {
            user: self.profile.user.as_deref().unwrap_or("ketuk"),
            time,
            address,
            access: &fwknop.access,
            nat: fwknop.nat.as_deref(),
            seconds: if options.seconds > 0 { options.seconds.min(MAX_SECONDS) } else { fwknop.seconds },
        };
        self.send_to_all(|| {
            let (mut number, mut salt) = ([0; 8], [0; 8]);
            fill(&mut number)?;
            fill(&mut salt)?;
            let randomness = fwknop::Randomness { number: u64::from_be_bytes(number), salt };
            let mut buffer = fwknop::empty_buffer();
            let packet = fwknop::seal(&fwknop.keys, &wish, randomness, &mut buffer);
            packet
                .map(<[u8]>::to_vec)
                .ok_or_else(|| ClientFailure::usage("the profile is too long for a packet"))
        })
    }

    /// Sends a new packet, made by `packet`, to each address.
    fn send_to_all(&self, packet: impl Fn() -> Result<Vec<u8>, ClientFailure>) -> Result<(), ClientFailure> {
        let mut outcome = None;
        for target in &self.targets {
            let packet = packet()?;
            let address = SocketAddr::new(target.ip(), self.profile.port);
            if self.opening.options.verbose {
                eprintln!("ketuk: a packet to {address}");
            }
            match socket::datagrams(address, self.source()).and_then(|socket| socket.send(&packet)) {
                Ok(_) => outcome = Some(Ok(())),
                Err(error) => {
                    let failure =
                        ClientFailure::failed(format!("cannot send a packet to {address}: {error}"));
                    outcome.get_or_insert(Err(failure));
                }
            }
        }
        outcome.unwrap_or(Ok(()))
    }

    /// Knocks a changing sequence. The sequence of a window opens a door once, for one address. So each address family
    /// gets a window of its own: the preferred family, over which the service is then reached, gets the current window,
    /// and the other family the previous one.
    fn knock_by_time(
        &self,
        window: u64,
        ports: impl Fn(u64) -> [u16; totp::STEPS],
    ) -> Result<(), ClientFailure> {
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

    fn knock_at(&self, targets: &[SocketAddr], knocks: &[Knock]) -> Result<(), ClientFailure> {
        let options = &self.opening.options;
        let say = |line: &str| {
            if options.verbose {
                eprintln!("ketuk: {line}");
            }
            Ok(())
        };
        at_all(targets, knocks, options.delay, self.source(), say).map_err(ClientFailure::failed)
    }
}

/// Fills `bytes` with random bytes.
fn fill(bytes: &mut [u8]) -> Result<(), ClientFailure> {
    getrandom::fill(bytes).map_err(|error| ClientFailure::failed(error.to_string()))
}
