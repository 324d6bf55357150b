//! fwknop's packet, protocol 3.0.0, as its client sends it with Rijndael and HMAC-SHA-256.
//!
//! What is read is authenticated first; nothing of a packet is decoded before its HMAC holds.

use core::fmt;
use core::net::Ipv4Addr;

use aes::Aes256;
use aes::cipher::{BlockModeDecrypt as _, KeyIvInit as _};
use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::base64;
use super::mac::{hmac_sha256, sha256};
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

/// "Salted__" in base 64, as far as it is always the same: the client leaves it out.
const PREFIX: &[u8; 10] = b"U2FsdGVkX1";
/// A SHA-256 in base 64 without padding.
const DIGEST: usize = 43;
const BLOCK: usize = 16;
const SALT: usize = 8;

/// `KEY_BASE64` and `HMAC_KEY_BASE64`, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// For decryption.
    pub key: Secret<MAX_KEY>,
    /// For authentication.
    pub hmac_key: Secret<MAX_HMAC_KEY>,
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
    /// The host. For `--nat-local` it is whatever the client calls the router: `None` for a name.
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
    Decrypt,
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
            Self::Decrypt => "the fwknop_key is not the client's",
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

/// Whether a plausible packet was made with this key; the MAC, which is the packet's identity.
pub fn authenticate(hmac_key: &[u8], packet: &[u8]) -> Option<[u8; 32]> {
    let (text, sent) = packet.split_at_checked(packet.len().checked_sub(DIGEST)?)?;
    let mac = hmac_sha256(hmac_key, &[PREFIX, text]);
    let mut written = [0; DIGEST + 1];
    let written = base64::encode(&mac, &mut written)?.as_bytes();
    // As text: of the last character's bits two mean nothing, and must not give a second way to write it.
    bool::from(written[..DIGEST].ct_eq(sent)).then_some(mac)
}

/// Reads a packet that [`authenticate`] has accepted.
///
/// # Errors
/// Why it is no request.
pub fn open(key: &[u8], packet: &[u8]) -> Result<FwknopRequest, FwknopError> {
    // Base 64 without padding is decoded in one piece, and begins with what the client left out.
    let mut text = [0; PREFIX.len() + MAX_PACKET];
    let body = packet.len().checked_sub(DIGEST).ok_or(FwknopError::Rules)?;
    text[..PREFIX.len()].copy_from_slice(PREFIX);
    text[PREFIX.len()..PREFIX.len() + body].copy_from_slice(&packet[..body]);
    let text = core::str::from_utf8(&text[..PREFIX.len() + body]).map_err(|_| FwknopError::Rules)?;
    let mut plain = Zeroizing::new([0; MAX_PACKET]);
    let len = base64::decode(text, &mut plain[..]).ok_or(FwknopError::Rules)?.len();
    let sealed = plain[..len].strip_prefix(b"Salted__").ok_or(FwknopError::Rules)?;
    let (salt, _) = sealed.split_first_chunk::<SALT>().ok_or(FwknopError::Rules)?;
    let salt = *salt;
    let message = decrypt(key, salt, &mut plain[BLOCK..len])?;
    read(message)
}

/// AES-256-CBC, its key and IV derived as OpenSSL did (`EVP_BytesToKey` with MD5).
fn decrypt<'b>(key: &[u8], salt: [u8; SALT], blocks: &'b mut [u8]) -> Result<&'b str, FwknopError> {
    let mut derived = Zeroizing::new([0; 48]);
    let mut digest = None;
    for part in derived.chunks_exact_mut(16) {
        let mut md5 = Md5::new();
        if let Some(before) = digest {
            md5.update(before);
        }
        md5.update(key);
        md5.update(salt);
        let now: [u8; 16] = md5.finalize().into();
        part.copy_from_slice(&now);
        digest = Some(now);
    }
    let (key, iv) = derived.split_at(32);
    let mut cipher = cbc::Decryptor::<Aes256>::new_from_slices(key, iv).expect("32 and 16 bytes");
    if blocks.is_empty() || !blocks.len().is_multiple_of(BLOCK) {
        return Err(FwknopError::Rules);
    }
    for block in blocks.chunks_exact_mut(BLOCK) {
        cipher.decrypt_block(block.try_into().expect("a whole block"));
    }
    // PKCS#7, to the last byte. The MAC held, so nobody can ask this as an oracle.
    let pad = *blocks.last().expect("not empty");
    let message = blocks.len().checked_sub(usize::from(pad)).ok_or(FwknopError::Decrypt)?;
    let (message, padding) = blocks.split_at(message);
    if !(1..=16).contains(&pad) || padding.iter().any(|byte| *byte != pad) {
        return Err(FwknopError::Decrypt);
    }
    let printable = message.iter().all(u8::is_ascii_graphic);
    core::str::from_utf8(message).ok().filter(|_| printable).ok_or(FwknopError::Decrypt)
}

/// `random:user:time:version:type:message[:nat][:server_auth][:timeout]:digest`
fn read(message: &str) -> Result<FwknopRequest, FwknopError> {
    let (fields, digest) = message.rsplit_once(':').ok_or(FwknopError::Rules)?;
    let mut written = [0; DIGEST + 1];
    let written = base64::encode(&sha256(fields.as_bytes()), &mut written).ok_or(FwknopError::Rules)?;
    if written[..DIGEST] != *digest {
        return Err(FwknopError::Rules);
    }
    let mut fields = fields.split(':');
    let mut next = || fields.next().ok_or(FwknopError::Rules);
    let (random, user, time, version, kind, message) = (next()?, next()?, next()?, next()?, next()?, next()?);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number =
        |text: &str| Some(text).filter(|text| digits(text)).and_then(|text| text.parse::<u64>().ok());
    if random.len() != 16 || !digits(random) || version != "3.0.0" || user.is_empty() {
        return Err(FwknopError::Rules);
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
    let seconds = if timed { number(next()?).filter(|seconds| *seconds <= 65_536) } else { Some(0) };
    // What is left over would be a server_auth field, which the client sends only when asked to.
    if fields.next().is_some() {
        return Err(FwknopError::Rules);
    }
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
    let (host, port) = text_of(field, &mut text)?.split_once(',').ok_or(FwknopError::Rules)?;
    let host = host.parse().ok();
    if host.is_none() && !local {
        return Err(FwknopError::Rules);
    }
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
