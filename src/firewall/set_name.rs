//! The names of the doors' sets, and the addresses that they hold.

use core::fmt;

use crate::config::{Door, GrantPrefix, MAX_NAME};
use crate::core::network::AddressFamily;
use crate::core::sequence::Protocol;

/// Longest set name, in bytes.
const MAX_SET_NAME: usize = "ketuk_".len() + MAX_NAME + "_net4".len();

/// The two sets of a door.
#[derive(Clone, Copy, Debug)]
pub struct DoorSets<'a> {
    /// The door's name.
    pub(crate) door: &'a str,
    /// The lengths of the prefixes, if the door lets networks in instead of addresses.
    pub(crate) prefix: GrantPrefix,
    /// Whether the door opens the port that a user asks for.
    pub(crate) any_port: bool,
}

impl<'a> From<&'a str> for DoorSets<'a> {
    /// Sets of addresses.
    fn from(door: &'a str) -> Self {
        Self { door, prefix: GrantPrefix::default(), any_port: false }
    }
}

impl<'a> From<&'a Door> for DoorSets<'a> {
    fn from(door: &'a Door) -> Self {
        Self { door: &door.name, prefix: door.grant_prefix, any_port: !door.any_port.is_empty() }
    }
}

/// The kind of a set's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetKey {
    /// Source addresses.
    Address,
    /// Networks of source addresses, with a prefix of so many bits.
    Network(u8),
    /// Source address, protocol and destination port.
    AddressProtocolPort,
    /// Source address and destination port of one protocol. fw4 can declare no set with a protocol in it.
    AddressPort(Protocol),
}

/// One of a door's sets. `ketuk_<door>_4` and `ketuk_<door>_6` hold addresses, or for a door with `any_port` addresses
/// with a protocol and a port. `ketuk_<door>_net4` and `_net6` hold networks. `ketuk_<door>_tcp4`, `_udp4`, `_tcp6` and
/// `_udp6` take the place of the first two for a door with `any_port` where fw4 has declared the sets. They differ in
/// their names because the type of a set that a firewall has loaded must not change.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SetName {
    name: heapless::String<MAX_SET_NAME>,
    key: SetKey,
}

impl SetName {
    /// The set of this door for this family; `None` if the door's name is longer than [`MAX_NAME`] bytes, which no
    /// configuration allows.
    pub fn new<'a>(door: impl Into<DoorSets<'a>>, family: AddressFamily) -> Option<Self> {
        let DoorSets { door, prefix, any_port } = door.into();
        let (prefix, suffixes) = match family {
            AddressFamily::V4 => (prefix.v4, ["_4", "_net4"]),
            AddressFamily::V6 => (prefix.v6, ["_6", "_net6"]),
        };
        let key = match prefix {
            Some(prefix) => SetKey::Network(prefix),
            None if any_port => SetKey::AddressProtocolPort,
            None => SetKey::Address,
        };
        Self::named(door, suffixes[usize::from(prefix.is_some())], key)
    }

    /// The set of a door with `any_port` for the ports of one protocol, where fw4 has declared it.
    pub fn of_protocol<'a>(
        door: impl Into<DoorSets<'a>>,
        family: AddressFamily,
        protocol: Protocol,
    ) -> Option<Self> {
        let suffix = match (protocol, family) {
            (Protocol::Tcp, AddressFamily::V4) => "_tcp4",
            (Protocol::Tcp, AddressFamily::V6) => "_tcp6",
            (Protocol::Udp, AddressFamily::V4) => "_udp4",
            (Protocol::Udp, AddressFamily::V6) => "_udp6",
        };
        Self::named(door.into().door, suffix, SetKey::AddressPort(protocol))
    }

    fn named(door: &str, suffix: &str, key: SetKey) -> Option<Self> {
        if door.len() > MAX_NAME {
            return None;
        }
        let mut name = heapless::String::new();
        for part in ["ketuk_", door, suffix] {
            name.push_str(part).ok()?;
        }
        Some(Self { name, key })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The kind of its elements.
    pub const fn key(&self) -> SetKey {
        self.key
    }

    /// The length of the prefix of the set's networks; `None` if it holds addresses.
    pub const fn prefix(&self) -> Option<u8> {
        match self.key {
            SetKey::Network(prefix) => Some(prefix),
            _ => None,
        }
    }

    /// Whether the set holds networks.
    pub const fn is_of_networks(&self) -> bool {
        self.prefix().is_some()
    }

    /// The flags in the set's declaration.
    pub const fn flags(&self) -> &'static str {
        if self.is_of_networks() { "interval, timeout" } else { "timeout" }
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
