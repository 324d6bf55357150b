//! Whom to knock at: a name or an address becomes one address.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use crate::protocol::AddressFamily;

/// Why a host has no address to knock at.
#[derive(Debug)]
pub enum TargetError {
    /// The system's resolver says no.
    Resolve(io::Error),
    /// There are addresses, but none of the family that was asked for.
    NoAddress(Option<AddressFamily>),
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(error) => write!(f, "{error}"),
            Self::NoAddress(Some(AddressFamily::V4)) => f.write_str("no IPv4 address, but -4 asks for one"),
            Self::NoAddress(Some(AddressFamily::V6)) => f.write_str("no IPv6 address, but -6 asks for one"),
            Self::NoAddress(None) => f.write_str("no address"),
        }
    }
}

impl std::error::Error for TargetError {}

/// The first address of `host` (a name; an IPv4 or IPv6 address, the latter in brackets or not, with a zone
/// or not) that is of the family, with port 0. The resolver puts those first that the host can reach
/// (RFC 6724).
///
/// All knocks go to it: names are looked up once, since the next answer may name another address, and a daemon
/// follows each source and destination by itself.
///
/// # Errors
/// [`TargetError`].
pub fn resolve(host: &str, family: Option<AddressFamily>) -> Result<SocketAddr, TargetError> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let fits = |address: &SocketAddr| match family {
        Some(AddressFamily::V4) => address.is_ipv4(),
        Some(AddressFamily::V6) => address.is_ipv6(),
        None => true,
    };
    let mut addresses = (bare, 0).to_socket_addrs().map_err(TargetError::Resolve)?;
    addresses.find(fits).ok_or(TargetError::NoAddress(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(host: &str, family: Option<AddressFamily>) -> String {
        match resolve(host, family) {
            Ok(address) => address.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn addresses_are_themselves() {
        assert_eq!(resolved("192.0.2.1", None), "192.0.2.1:0");
        assert_eq!(resolved("192.0.2.1", Some(AddressFamily::V4)), "192.0.2.1:0");
        for host in ["2001:db8::1", "[2001:db8::1]"] {
            assert_eq!(resolved(host, None), "[2001:db8::1]:0");
            assert_eq!(resolved(host, Some(AddressFamily::V6)), "[2001:db8::1]:0");
        }
    }

    #[test]
    fn the_other_family_is_no_address() {
        assert_eq!(resolved("192.0.2.1", Some(AddressFamily::V6)), "no IPv6 address, but -6 asks for one");
        assert_eq!(
            resolved("[2001:db8::1]", Some(AddressFamily::V4)),
            "no IPv4 address, but -4 asks for one"
        );
    }
}
