//! Writes the packets of a client: the text that [`super::read`] takes apart, sealed.

use core::fmt::{self, Write};
use core::net::Ipv4Addr;

use super::sealed::{self, PREFIX, SALT};
use super::{FwknopKeys, MAX_PACKET, MAX_PORTS, read_port};
use crate::base64;

/// Longest `NAT_ACCESS` that a client writes, in bytes. A reader takes fields of up to 256 bytes when they are decoded.
const MAX_FIELD: usize = 128;

/// Room for a packet while it is made.
pub type PacketBuffer = [u8; PREFIX.len() + MAX_PACKET];

/// An empty [`PacketBuffer`].
pub fn empty_buffer() -> PacketBuffer {
    [0; PREFIX.len() + MAX_PACKET]
}

/// The request that a client makes.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'w> {
    /// The name in the packet.
    pub user: &'w str,
    /// When the packet is made, in seconds since 1970.
    pub time: u64,
    /// The address to open for; `None`: the source of the packet.
    pub address: Option<Ipv4Addr>,
    /// The ports, see [`is_access`].
    pub access: &'w str,
    /// The host and port behind the router, see [`is_nat`].
    pub nat: Option<&'w str>,
    /// Seconds to open for; 0: the door's own time.
    pub seconds: u32,
}

/// Random bytes that make each packet a new one.
#[derive(Clone, Copy, Debug)]
pub struct Randomness {
    /// Becomes 16 digits at the beginning of the text.
    pub number: u64,
    /// The salt of the encryption key.
    pub salt: [u8; SALT],
}

/// Whether `text` lists 1 to [`MAX_PORTS`] ports as fwknop's `ACCESS` does: `tcp/22,udp/51820`.
pub fn is_access(text: &str) -> bool {
    text.split(',').count() <= MAX_PORTS
        && text.split(',').all(|item| {
            item.split_once('/')
                .is_some_and(|(protocol, port)| matches!(protocol, "tcp" | "udp") && read_port(port).is_ok())
        })
}

/// Whether `text` names a host and a port as fwknop's `NAT_ACCESS` does: `192.168.1.10,22`.
pub fn is_nat(text: &str) -> bool {
    text.len() <= MAX_FIELD
        && text.split_once(',').is_some_and(|(host, port)| is_host(host) && read_port(port).is_ok())
}

/// Whether `text` could be a host's name or address.
pub(super) fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
}

/// Makes a packet in `buffer`. `None` if a field is too long.
pub fn seal<'b>(
    keys: &FwknopKeys,
    wish: &Wish<'_>,
    randomness: Randomness,
    buffer: &'b mut PacketBuffer,
) -> Option<&'b [u8]> {
    let mut text = TextBuffer { bytes: [0; MAX_PACKET], len: 0 };
    write(wish, randomness.number, &mut text).ok()?;
    sealed::seal(keys, randomness.salt, &text.bytes[..text.len], buffer)
}

/// The fields in their order, and the digest of them.
fn write(wish: &Wish<'_>, number: u64, text: &mut TextBuffer) -> fmt::Result {
    let kind = match (wish.nat, wish.seconds) {
        (None, 0) => 1,
        (Some(_), 0) => 2,
        (None, _) => 3,
        (Some(_), _) => 4,
    };
    write!(text, "{:016}:", number % 10_u64.pow(16))?;
    text.base64(wish.user.as_bytes())?;
    write!(text, ":{}:3.0.0:{kind}:", wish.time)?;
    let mut message = TextBuffer { bytes: [0; MAX_PACKET], len: 0 };
    write!(message, "{},{}", wish.address.unwrap_or(Ipv4Addr::UNSPECIFIED), wish.access)?;
    text.base64(&message.bytes[..message.len])?;
    if let Some(nat) = wish.nat {
        text.write_str(":")?;
        text.base64(nat.as_bytes())?;
    }
    if wish.seconds > 0 {
        write!(text, ":{}", wish.seconds)?;
    }
    let digest = crate::mac::sha256(&text.bytes[..text.len]);
    text.write_str(":")?;
    text.base64(&digest)
}

/// A text of limited length.
struct TextBuffer {
    bytes: [u8; MAX_PACKET],
    len: usize,
}

impl TextBuffer {
    fn base64(&mut self, bytes: &[u8]) -> fmt::Result {
        let mut encoded = [0; 2 * MAX_FIELD];
        let encoded = base64::encode(bytes, &mut encoded).ok_or(fmt::Error)?;
        self.write_str(encoded.trim_end_matches('='))
    }
}

impl Write for TextBuffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}
