//! Finds the addresses to knock at, from a name or an address.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use super::socket::KnockSource;
use crate::protocol::AddressFamily;

/// Why a host has no address to knock at.
#[derive(Debug)]
pub enum TargetError {
    /// The system's resolver failed.
    Resolve(io::Error),
    /// The host has addresses, but none of the family that was asked for.
    NoAddress(Option<AddressFamily>),
    /// The host has addresses, but none of the source's family.
    Source(KnockSource),
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(error) => write!(f, "{error}"),
            Self::NoAddress(Some(AddressFamily::V4)) => f.write_str("no IPv4 address, but -4 asks for one"),
            Self::NoAddress(Some(AddressFamily::V6)) => f.write_str("no IPv6 address, but -6 asks for one"),
            Self::NoAddress(None) => f.write_str("no address"),
            Self::Source(source) => write!(f, "no address of the family of {source}"),
        }
    }
}

impl std::error::Error for TargetError {}

/// The most addresses of a name that are knocked at: more than a router has, and few enough to knock at each.
pub const MAX_ADDRESSES: usize = 8;

/// The addresses of `host` that are of the family and can be reached from the source, each with port 0. There are 1 to
/// [`MAX_ADDRESSES`]. `host` is a name, an IPv4 address, or an IPv6 address with or without brackets and zone. The
/// resolver puts preferred addresses first (RFC 6724).
///
/// A name is looked up once, because the next answer may have other addresses, and a daemon tracks each source and
/// destination separately.
///
/// # Errors
/// [`TargetError`].
pub fn resolve(
    host: &str,
    family: Option<AddressFamily>,
    source: Option<&KnockSource>,
) -> Result<Vec<SocketAddr>, TargetError> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let mut found: Vec<SocketAddr> = Vec::new();
    let mut other_family = false;
    for address in (bare, 0).to_socket_addrs().map_err(TargetError::Resolve)? {
        if family.is_some_and(|family| family != AddressFamily::of(address.ip())) {
            continue;
        }
        if source.is_some_and(|source| !source.reaches(&address)) {
            other_family = true;
        } else if !found.contains(&address) && found.len() < MAX_ADDRESSES {
            found.push(address);
        }
    }
    match source {
        _ if !found.is_empty() => Ok(found),
        Some(source) if other_family => Err(TargetError::Source(source.clone())),
        _ => Err(TargetError::NoAddress(family)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(host: &str, family: Option<AddressFamily>) -> String {
        match resolve(host, family, None) {
            Ok(addresses) => addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" "),
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
    fn a_source_reaches_its_own_family() {
        let from = KnockSource::named("192.0.2.2");
        assert_eq!(resolve("192.0.2.1", None, Some(&from)).unwrap().len(), 1);
        let error = resolve("2001:db8::1", None, Some(&from)).unwrap_err();
        assert_eq!(error.to_string(), "no address of the family of 192.0.2.2");
        assert_eq!(resolve("2001:db8::1", None, Some(&KnockSource::named("eth0"))).unwrap().len(), 1);
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
