//! fwknop's packet, protocol 3, as its client sends it with Rijndael and an HMAC: [`open`] reads it, [`seal`] writes it.
//!
//! A packet is authenticated first: nothing of it is decoded before its HMAC is found to be right.

mod sealed;
mod write;

use core::fmt;
use core::net::Ipv4Addr;

use zeroize::Zeroizing;

pub use self::sealed::{HmacType, authenticate};
use self::write::is_host;
pub use self::write::{PacketBuffer, Randomness, Wish, empty_buffer, is_access, is_nat, seal};
use super::base64;
use super::secret::Secret;

/// Shortest packet, in bytes (fwknop: `MIN_SPA_DATA_SIZE`).
pub const MIN_PACKET: usize = 140;
/// Longest packet, in bytes (fwknop: `MAX_SPA_PACKET_LEN`).
pub const MAX_PACKET: usize = 1500;
/// Longest encryption key, in bytes (fwknop: `RIJNDAEL_MAX_KEYSIZE`).
pub const MAX_KEY: usize = 32;
/// Longest HMAC key, in bytes (fwknop: `SHA512_BLOCK_LEN`).
pub const MAX_HMAC_KEY: usize = 128;
/// Most ports in one request.
pub const MAX_PORTS: usize = 8;

/// Lengths that a digest can have, in base 64 without padding: MD5, SHA-1, 256, 384 and 512 bits.
const DIGESTS: [usize; 5] = [22, 27, 43, 64, 86];

/// `KEY_BASE64` and `HMAC_KEY_BASE64`, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FwknopKeys {
    /// For decryption.
    pub key: Secret<MAX_KEY>,
    /// For authentication.
    pub hmac_key: Secret<MAX_HMAC_KEY>,
    /// The kind of HMAC.
    pub hmac: HmacType,
}

/// The request in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FwknopRequest {
    /// When it was made, in seconds since 1970.
    pub time: u64,
    /// Seconds to open for; 0 means the door's own time.
    pub seconds: u32,
    /// The address to open for; `None` (`0.0.0.0`) means the source of the packet.
    pub address: Option<Ipv4Addr>,
    /// The ports. Only the first `count` are used.
    ports: [Port; MAX_PORTS],
    count: usize,
    /// The target of the ports, if it is not the router.
    pub nat: Option<Nat>,
}

/// A requested port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// UDP rather than TCP.
    pub udp: bool,
    /// The port's number.
    pub port: u16,
}

/// `-N`: the host behind the router and its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nat {
    /// The host; `None` if the packet has a name, which only the client's resolver knows.
    pub host: Option<Ipv4Addr>,
    /// Its port.
    pub port: u16,
    /// `--nat-local`.
    pub local: bool,
}

impl FwknopRequest {
    /// The ports, at least one.
    pub fn ports(&self) -> &[Port] {
        &self.ports[..self.count]
    }
}

/// Why an authentic packet is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FwknopError {
    /// The encryption key differs from the client's.
    Key,
    /// It is encrypted in another mode than CBC.
    Mode,
    /// It is of another version of the protocol.
    Version,
    /// It does not have the required user name.
    User,
    /// Its format is not that of fwknop's client.
    Rules,
    /// It asks for a command to be run.
    Command,
    /// It asks for more than [`MAX_PORTS`] ports, or for something that is neither TCP nor UDP.
    Ports,
}

impl fmt::Display for FwknopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "the fwknop_key is not the client's",
            Self::Mode => "it is encrypted in another mode than CBC",
            Self::Version => "it is of another version of fwknop's protocol",
            Self::User => "it does not carry the user's name",
            Self::Rules => "it is not written as fwknop writes",
            Self::Command => "it asks for a command, and commands are never run",
            Self::Ports => "it asks for too many ports, or for others than TCP and UDP",
        })
    }
}

/// Whether `packet` could be fwknop's by its length and characters. This is cheap and comes before any MAC.
pub fn is_plausible(packet: &[u8]) -> bool {
    // The client leaves out the ten characters that are always the same. The next one holds the last bits of "Salted__",
    // so it is one of four. A packet that has these ten characters, or `=`, is a changed copy of a packet: a replay.
    (MIN_PACKET..=MAX_PACKET).contains(&packet.len())
        && matches!(packet[0], b'8' | b'9' | b'+' | b'/')
        && packet.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// Whether `packet` looks like one that was encrypted with GnuPG: base 64 of a key's packet for one recipient (tag 1,
/// version 3), of which the client leaves the first two characters out. A key of RSA or `ElGamal` has a packet with a length of two
/// bytes. A key of Curve25519, which GnuPG 2.4 makes by default, has a packet of 94 bytes.
pub fn is_gnupg(packet: &[u8]) -> bool {
    let text = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    (MIN_PACKET..=MAX_PACKET).contains(&packet.len())
        && matches!(packet, [b'A'..=b'P', b'M' | b'O', b'A' | b'D', ..] | [b'4', b'D', ..])
        && packet.iter().all(text)
}

/// Reads a packet that [`authenticate`] has accepted. `user` is the name that it must carry, if it must be one.
///
/// # Errors
/// Why it is refused.
pub fn open(keys: &FwknopKeys, user: Option<&str>, packet: &[u8]) -> Result<FwknopRequest, FwknopError> {
    let mut plain = Zeroizing::new([0; MAX_PACKET]);
    read(user, sealed::open(keys, packet, &mut plain)?)
}

/// `random:user:time:version:type:message[:nat][:server_auth][:timeout]:digest`
fn read(name: Option<&str>, message: &str) -> Result<FwknopRequest, FwknopError> {
    let (fields, digest) = message.rsplit_once(':').ok_or(FwknopError::Rules)?;
    // The digest is not checked: the HMAC has shown that nothing was changed.
    if !DIGESTS.contains(&digest.len()) {
        return Err(FwknopError::Rules);
    }
    let mut fields = fields.split(':');
    let mut next = || fields.next().ok_or(FwknopError::Rules);
    let (random, user, time, version, kind, message) = (next()?, next()?, next()?, next()?, next()?, next()?);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number =
        |text: &str| Some(text).filter(|text| digits(text)).and_then(|text| text.parse::<u64>().ok());
    if random.len() != 16 || !digits(random) || user.is_empty() {
        return Err(FwknopError::Rules);
    }
    if version.split('.').next() != Some("3") {
        return Err(FwknopError::Version);
    }
    if let Some(name) = name
        && text_of(user, &mut [0; 256])? != name
    {
        return Err(FwknopError::User);
    }
    let (nat, timed) = match kind {
        "0" => return Err(FwknopError::Command),
        "1" => (false, false),
        "2" | "5" => (true, false),
        "3" => (false, true),
        "4" | "6" => (true, true),
        _ => return Err(FwknopError::Rules),
    };
    let nat = if nat { Some(read_nat(next()?, matches!(kind, "5" | "6"))?) } else { None };
    // If the client sends a server_auth field, it stands before the timeout. It is ignored.
    let seconds = match (timed, fields.next(), fields.next(), fields.next()) {
        (false, _, None, None) => Some(0),
        (true, Some(time), None, None) | (true, Some(_), Some(time), None) => {
            number(time).filter(|seconds| *seconds <= 65_536)
        }
        _ => None,
    };
    let mut text = [0; 256];
    let message = text_of(message, &mut text)?;
    let (address, list) = message.split_once(',').ok_or(FwknopError::Rules)?;
    let address: Ipv4Addr = address.parse().map_err(|_| FwknopError::Rules)?;
    let mut request = FwknopRequest {
        time: number(time).ok_or(FwknopError::Rules)?,
        seconds: seconds.and_then(|seconds| u32::try_from(seconds).ok()).ok_or(FwknopError::Rules)?,
        address: Some(address).filter(|address| !address.is_unspecified()),
        ports: [Port { udp: false, port: 0 }; MAX_PORTS],
        count: 0,
        nat,
    };
    for item in list.split(',') {
        let (protocol, port) = item.split_once('/').ok_or(FwknopError::Rules)?;
        let udp = match protocol {
            "tcp" => false,
            "udp" => true,
            _ => return Err(FwknopError::Ports),
        };
        *request.ports.get_mut(request.count).ok_or(FwknopError::Ports)? =
            Port { udp, port: read_port(port)? };
        request.count += 1;
    }
    Ok(request)
}

/// `192.168.1.10,22`
fn read_nat(field: &str, local: bool) -> Result<Nat, FwknopError> {
    let mut text = [0; 256];
    let (host, port) = text_of(field, &mut text)?
        .split_once(',')
        .filter(|(host, _)| is_host(host))
        .ok_or(FwknopError::Rules)?;
    let host = host.parse().ok();
    Ok(Nat { host, port: read_port(port)?, local })
}

fn read_port(text: &str) -> Result<u16, FwknopError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0).ok_or(FwknopError::Rules)
}

/// A field in base 64.
fn text_of<'o>(field: &str, out: &'o mut [u8]) -> Result<&'o str, FwknopError> {
    let bytes = base64::decode(field, out).filter(|_| !field.ends_with('=')).ok_or(FwknopError::Rules)?;
    core::str::from_utf8(bytes).map_err(|_| FwknopError::Rules)
}

#[cfg(test)]
#[path = "fwknop/tests.rs"]
mod tests;
