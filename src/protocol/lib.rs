//! The protocols between client and daemon: docs/protocol.md in code.
//!
//! Pure functions over bytes for both sides: no clock, no socket, no allocation, no `std`. [`totp`] makes changing
//! sequences of ports, [`packet`] writes and reads ketuk's single packet, and [`fwknop`] that of fwknop.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod address_family;
pub mod base32;
pub mod base64;
pub mod fwknop;
pub mod mac;
pub mod packet;
mod port_range;
pub mod secret;
#[cfg(test)]
pub(crate) mod testing;
pub mod totp;

pub use address_family::AddressFamily;
pub use port_range::PortRange;

use core::fmt;

/// The transport protocol of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP, IP protocol 6.
    Tcp,
    /// UDP, IP protocol 17.
    Udp,
}

impl Protocol {
    /// The protocol with this name, in upper or lower case, as in knockd.
    pub fn named(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("tcp") {
            Some(Self::Tcp)
        } else if name.eq_ignore_ascii_case("udp") {
            Some(Self::Udp)
        } else {
            None
        }
    }

    /// The protocol's number in an IP header.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Default port for authenticated packets (the same as fwknop's).
pub const SPA_PORT: u16 = 62_201;

/// Longest name of a door or a user, in bytes. An nftables set is named `ketuk_<door>_net4`, and log lines carry the
/// name.
pub const MAX_NAME: usize = 32;

/// Bytes that differ between any two packets of a user.
pub type Identity = [u8; 16];

/// Whether `name` can be a door's: 1 to [`MAX_NAME`] of `[A-Za-z0-9_]`, as UCI names are.
pub fn is_door(name: &[u8]) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_have_names_and_numbers() {
        for (name, protocol) in [("tcp", Some(Protocol::Tcp)), ("UDP", Some(Protocol::Udp)), ("icmp", None)] {
            assert_eq!(Protocol::named(name), protocol);
        }
        assert_eq!([Protocol::Tcp, Protocol::Udp].map(Protocol::number), [6, 17]);
    }
}
