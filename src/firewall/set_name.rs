//! The names of the doors' sets, and the addresses that they hold.

use core::fmt;

use crate::config::{Door, GrantPrefix, MAX_NAME};
use crate::core::network::AddressFamily;

/// Longest set name, in bytes.
const MAX_SET_NAME: usize = "ketuk_".len() + MAX_NAME + "_net4".len();

/// A door's sets.
#[derive(Clone, Copy, Debug)]
pub struct DoorSets<'a> {
    /// The door's name.
    pub door: &'a str,
    /// The prefixes of the networks that it lets in, if it does.
    pub prefix: GrantPrefix,
}

impl<'a> From<&'a str> for DoorSets<'a> {
    /// Sets of addresses.
    fn from(door: &'a str) -> Self {
        Self { door, prefix: GrantPrefix::default() }
    }
}

impl<'a> From<&'a Door> for DoorSets<'a> {
    fn from(door: &'a Door) -> Self {
        Self { door: &door.name, prefix: door.grant_prefix }
    }
}

/// One of a door's two sets: `ketuk_<door>_4` or `ketuk_<door>_6`, which hold addresses, or `ketuk_<door>_net4`
/// or `ketuk_<door>_net6`, which hold networks. They differ in their names because the type of a set that a firewall
/// has loaded must not change.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SetName {
    name: heapless::String<MAX_SET_NAME>,
    /// The length of the prefix, for a set of networks.
    prefix: Option<u8>,
}

impl SetName {
    /// The set of this door for these addresses; `None` for a door's name of more than [`MAX_NAME`] bytes,
    /// which no configuration has.
    pub fn new<'a>(door: impl Into<DoorSets<'a>>, family: AddressFamily) -> Option<Self> {
        let DoorSets { door, prefix } = door.into();
        if door.len() > MAX_NAME {
            return None;
        }
        let (prefix, suffixes) = match family {
            AddressFamily::V4 => (prefix.v4, ["_4", "_net4"]),
            AddressFamily::V6 => (prefix.v6, ["_6", "_net6"]),
        };
        let mut name = heapless::String::new();
        for part in ["ketuk_", door, suffixes[usize::from(prefix.is_some())]] {
            name.push_str(part).ok()?;
        }
        Some(Self { name, prefix })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The length of the prefix of its networks; `None` if it holds addresses.
    pub const fn prefix(&self) -> Option<u8> {
        self.prefix
    }

    /// Whether it holds networks.
    pub const fn is_of_networks(&self) -> bool {
        self.prefix.is_some()
    }

    /// The flags in its declaration.
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
