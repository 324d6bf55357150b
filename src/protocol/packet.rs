//! ketuk's packet: one UDP datagram that opens a door.
//!
//! ```text
//!   0        8          20                                            84           100
//!   +--------+----------+---------------------------------------------+------------+
//!   |  tag   |  nonce   |  sealed                                     |  Poly1305  |
//!   +--------+----------+---------------------------------------------+------------+
//!
//!   sealed:
//!   0        8          12      13      14          30                62           64
//!   +--------+----------+-------+-------+-----------+-----------------+------------+
//!   |  time  |  seconds |  kind |  len  |  address  |  door           |  zero      |
//!   +--------+----------+-------+-------+-----------+-----------------+------------+
//! ```
//! ChaCha20-Poly1305 (RFC 8439) with the tag as additional data. The high byte of a number comes first.
//! All packets have the same length. Without the key they look like random bytes.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use chacha20poly1305::ChaCha20Poly1305;
use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::aead::{AeadInOut as _, KeyInit as _};
use zeroize::{Zeroize as _, Zeroizing};

use super::mac::hmac_sha256;
use super::secret::Secret;
use super::{Identity, MAX_NAME, is_door};

/// Length of a user's key, in bytes.
pub const KEY: usize = 32;
/// Length of a packet, in bytes. fwknop's packets have at least 140.
pub const PACKET: usize = TAG + NONCE + SEALED + MAC;
/// Length of the tag, in bytes.
pub const TAG: usize = 8;
/// Length of the nonce, in bytes.
pub const NONCE: usize = 12;
const SEALED: usize = 64;
const MAC: usize = 16;

/// How long a tag stays the same, in seconds.
pub const TAG_WINDOW_S: u64 = 120;

/// The window of tags that a moment lies in, given in seconds since 1970.
pub const fn tag_window(unix_s: u64) -> u64 {
    unix_s / TAG_WINDOW_S
}

/// The keys that are derived from a user's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    tag: Secret<32>,
    seal: Secret<32>,
}

/// The request in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it was made, in seconds since 1970.
    pub time: u64,
    /// Seconds to open for; 0 means the door's own time.
    pub seconds: u32,
    /// The address to open for; `None` means the source of the packet.
    pub address: Option<IpAddr>,
    /// The door.
    pub door: DoorName,
}

/// A door's name, of fixed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoorName {
    bytes: [u8; MAX_NAME],
    len: u8,
}

impl DoorName {
    /// `None` if no door can have this name.
    pub fn new(name: &str) -> Option<Self> {
        if !is_door(name.as_bytes()) {
            return None;
        }
        let mut bytes = [0; MAX_NAME];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Some(Self { bytes, len: u8::try_from(name.len()).ok()? })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.len)]).expect("checked to be ASCII")
    }
}

/// Why a packet was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketError {
    /// It was not sealed with this key, or was changed afterwards.
    Forged,
    /// It was sealed with this key, but its content breaks the rules.
    Rules,
}

impl Keys {
    /// Derives the keys from a user's key.
    pub fn derive(key: &[u8; KEY]) -> Self {
        let derived = |purpose: &[u8]| {
            let mut derived = hmac_sha256(key, &[purpose]);
            let secret = Secret::new(&derived).expect("32 bytes");
            derived.zeroize();
            secret
        };
        Self { tag: derived(b"ketuk 1 tag"), seal: derived(b"ketuk 1 seal") }
    }

    /// The tag of this key in a window. The daemon finds the user by it.
    pub fn tag(&self, window: u64) -> u64 {
        let mac = hmac_sha256(self.tag.bytes(), &[&window.to_be_bytes()]);
        u64::from_be_bytes(mac[..TAG].try_into().expect("eight bytes"))
    }

    /// Makes a packet. `nonce` must be random and new for each packet.
    pub fn seal(&self, nonce: [u8; NONCE], request: &Request) -> [u8; PACKET] {
        let mut packet = [0; PACKET];
        packet[..TAG].copy_from_slice(&self.tag(tag_window(request.time)).to_be_bytes());
        packet[TAG..TAG + NONCE].copy_from_slice(&nonce);
        let (head, rest) = packet.split_at_mut(TAG + NONCE);
        let (sealed, mac) = rest.split_at_mut(SEALED);
        request.write(sealed);
        let tag = self
            .cipher()
            .encrypt_inout_detached(&nonce.into(), &head[..TAG], InOutBuf::from(&mut *sealed))
            .expect("64 bytes are not too many");
        mac.copy_from_slice(&tag);
        packet
    }

    /// Opens a packet that carries this key's tag.
    ///
    /// # Errors
    /// It was not sealed with this key, or breaks the rules.
    pub fn open(&self, packet: &[u8; PACKET]) -> Result<Request, PacketError> {
        let (head, rest) = packet.split_at(TAG + NONCE);
        let (sealed, mac) = rest.split_at(SEALED);
        let (tag, nonce) = head.split_at(TAG);
        let nonce: [u8; NONCE] = nonce.try_into().expect("so split");
        let mac: [u8; MAC] = mac.try_into().expect("so split");
        let mut plain = Zeroizing::new([0; SEALED]);
        plain.copy_from_slice(sealed);
        self.cipher()
            .decrypt_inout_detached(&nonce.into(), tag, InOutBuf::from(&mut plain[..]), &mac.into())
            .map_err(|_| PacketError::Forged)?;
        Request::read(&plain).ok_or(PacketError::Rules)
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new_from_slice(self.seal.bytes()).expect("32 bytes")
    }
}

/// The tag in a packet.
pub fn tag_of(packet: &[u8; PACKET]) -> u64 {
    u64::from_be_bytes(packet[..TAG].try_into().expect("eight bytes"))
}

/// Bytes that differ between any two packets of a user: the nonce and a part of the MAC.
pub fn identity(packet: &[u8; PACKET]) -> Identity {
    let mut identity = [0; 16];
    identity[..NONCE].copy_from_slice(&packet[TAG..TAG + NONCE]);
    identity[NONCE..].copy_from_slice(&packet[PACKET - 4..]);
    identity
}

impl Request {
    fn write(&self, sealed: &mut [u8]) {
        sealed.fill(0);
        sealed[..8].copy_from_slice(&self.time.to_be_bytes());
        sealed[8..12].copy_from_slice(&self.seconds.to_be_bytes());
        match self.address {
            None => {}
            Some(IpAddr::V4(v4)) => {
                sealed[12] = 4;
                sealed[14..18].copy_from_slice(&v4.octets());
            }
            Some(IpAddr::V6(v6)) => {
                sealed[12] = 6;
                sealed[14..30].copy_from_slice(&v6.octets());
            }
        }
        sealed[13] = self.door.len;
        sealed[30..62].copy_from_slice(&self.door.bytes);
    }

    /// `None` for anything that [`Self::write`] does not write.
    fn read(sealed: &[u8; SEALED]) -> Option<Self> {
        let address: [u8; 16] = sealed[14..30].try_into().ok()?;
        let (v4, behind) = address.split_first_chunk::<4>()?;
        let zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        let address = match sealed[12] {
            0 if zero(&address) => None,
            4 if zero(behind) => Some(IpAddr::V4(Ipv4Addr::from(*v4))),
            6 => Some(IpAddr::V6(Ipv6Addr::from(address))),
            _ => return None,
        };
        let (door, behind) = sealed[30..].split_at_checked(usize::from(sealed[13]))?;
        if !is_door(door) || !zero(behind) {
            return None;
        }
        Some(Self {
            time: u64::from_be_bytes(sealed[..8].try_into().ok()?),
            seconds: u32::from_be_bytes(sealed[8..12].try_into().ok()?),
            address,
            door: DoorName::new(core::str::from_utf8(door).ok()?)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> Keys {
        Keys::derive(&[7; KEY])
    }

    fn request(door: &str, address: Option<IpAddr>) -> Request {
        Request { time: 1_795_340_357, seconds: 600, address, door: DoorName::new(door).unwrap() }
    }

    proptest! {
        #[test]
        fn what_was_sealed_is_opened(
            time: u64, seconds: u32, address: Option<IpAddr>, door in "[A-Za-z0-9_]{1,32}", nonce: [u8; NONCE]
        ) {
            let request = Request { time, seconds, address, door: DoorName::new(&door).unwrap() };
            let packet = keys().seal(nonce, &request);
            prop_assert_eq!(tag_of(&packet), keys().tag(tag_window(time)));
            prop_assert_eq!(keys().open(&packet), Ok(request));
        }
    }

    #[test]
    fn no_bit_can_be_changed() {
        let packet = keys().seal([3; NONCE], &request("ssh", None));
        for bit in 0..PACKET * 8 {
            let mut changed = packet;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(keys().open(&changed), Err(PacketError::Forged), "bit {bit}");
        }
        assert_eq!(Keys::derive(&[8; KEY]).open(&packet), Err(PacketError::Forged));
    }

    #[test]
    fn who_has_the_key_must_follow_the_rules_too() {
        let mut sealed = [0; SEALED];
        request("ssh", Some("192.0.2.1".parse().unwrap())).write(&mut sealed);
        assert!(Request::read(&sealed).is_some());
        for (place, value) in
            [(12, 5), (12, 0), (13, 0), (13, 2), (13, 4), (13, 33), (29, 1), (30, b'-'), (62, 1), (63, 1)]
        {
            let mut wrong = sealed;
            wrong[place] = value;
            assert_eq!(Request::read(&wrong), None, "byte {place}");
        }
    }

    #[test]
    fn names_of_doors() {
        for name in ["a", "ssh_2", "a234567890123456789012345678901x"] {
            assert_eq!(DoorName::new(name).as_ref().map(DoorName::as_str), Some(name));
        }
        for wrong in ["", "a-b", "ä", "a\0", "a2345678901234567890123456789012x"] {
            assert_eq!(DoorName::new(wrong), None, "{wrong}");
        }
    }
}
