//! fwknop's packet, protocol 3, as its client sends it with Rijndael and an HMAC.
//!
//! What is read is authenticated first; nothing of a packet is decoded before its HMAC holds.

mod sealed;

use core::fmt;
use core::net::Ipv4Addr;

use zeroize::Zeroizing;

pub use self::sealed::{HmacType, Identity, authenticate};
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
pub struct Keys {
    /// For decryption.
    pub key: Secret<MAX_KEY>,
    /// For authentication.
    pub hmac_key: Secret<MAX_HMAC_KEY>,
    /// By which HMAC.
    pub hmac: HmacType,
}

/// What a packet asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FwknopRequest {
    /// When it was made, in seconds since 1970.
    pub time: u64,
    /// For how many seconds to open; 0: as long as the door does.
    pub seconds: u32,
    /// For whom; `None` (`0.0.0.0`): for the address that the packet comes from.
    pub address: Option<Ipv4Addr>,
    /// The ports, as protocol and number. The first `count` are meant.
    ports: [Port; MAX_PORTS],
    count: usize,
    /// Where the ports are to lead, if not to the router.
    pub nat: Option<Nat>,
}

/// A port that is asked for.
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
    /// The host; `None` for a name, which only the client's own resolver could tell.
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
    /// The encryption key is another than the client's.
    Key,
    /// It is encrypted in another mode than CBC.
    Mode,
    /// It is of another version of the protocol.
    Version,
    /// It does not carry the user name that is asked for.
    User,
    /// It is not written as fwknop's client writes.
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

/// Whether `packet` could be fwknop's: its length and characters. Cheap, and before any MAC.
pub fn is_plausible(packet: &[u8]) -> bool {
    // The eight known bytes before the salt leave the first character a choice of four. What still has
    // the prefix that is left out, or `=`, is fwknop's packet in another dress: a replay.
    (MIN_PACKET..=MAX_PACKET).contains(&packet.len())
        && matches!(packet[0], b'8' | b'9' | b'+' | b'/')
        && packet.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// Whether `packet` looks like one that was encrypted with GnuPG: base 64 of a key's packet for one recipient (tag 1,
/// version 3), of which the client leaves the first two characters out.
pub fn is_gnupg(packet: &[u8]) -> bool {
    let text = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    (MIN_PACKET..=MAX_PACKET).contains(&packet.len())
        && matches!(packet, [b'A'..=b'P', b'M' | b'O', b'A' | b'D', ..])
        && packet.iter().all(text)
}

/// Reads a packet that [`authenticate`] has accepted. `user` is the name that it must carry, if it must be one.
///
/// # Errors
/// Why it is no request.
pub fn open(keys: &Keys, user: Option<&str>, packet: &[u8]) -> Result<FwknopRequest, FwknopError> {
    let mut plain = Zeroizing::new([0; MAX_PACKET]);
    read(user, sealed::open(keys, packet, &mut plain)?)
}

/// `random:user:time:version:type:message[:nat][:server_auth][:timeout]:digest`
fn read(name: Option<&str>, message: &str) -> Result<FwknopRequest, FwknopError> {
    let (fields, digest) = message.rsplit_once(':').ok_or(FwknopError::Rules)?;
    // Whatever digest it is: the HMAC has said already that nothing was changed.
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
    // A server_auth field stands before the time, if the client sends one. It means nothing here.
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
        .filter(|(host, _)| !host.is_empty())
        .ok_or(FwknopError::Rules)?;
    let host = host.parse().ok();
    Ok(Nat { host, port: read_port(port)?, local })
}

fn read_port(text: &str) -> Result<u16, FwknopError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0).ok_or(FwknopError::Rules)
}

/// A field that is base 64 itself.
fn text_of<'o>(field: &str, out: &'o mut [u8]) -> Result<&'o str, FwknopError> {
    let bytes = base64::decode(field, out).filter(|_| !field.ends_with('=')).ok_or(FwknopError::Rules)?;
    core::str::from_utf8(bytes).map_err(|_| FwknopError::Rules)
}

#[cfg(test)]
#[path = "fwknop/tests.rs"]
mod tests;
