//! The sets of the table: those of doors, and those of connections that were cut.

use super::NAME;
use super::cut::MAX_CUT;
use crate::config::{Door, TableFamily};
use crate::core::network::AddressFamily;
use crate::firewall::nft::batch::Batch;
use crate::firewall::nft::{CREATE, kind};
use crate::firewall::set_name::{SetKey, SetName};

// Attributes.
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LEN: u16 = 5;
const SET_DESCRIPTION: u16 = 9;
const SET_ID: u16 = 10;

/// `NFT_SET_INTERVAL`, `NFT_SET_TIMEOUT`.
const SET_INTERVAL: u32 = 0x04;
const SET_TIMEOUT: u32 = 0x10;

/// The type of a set's keys.
#[derive(Clone, Copy, Debug)]
struct KeyType {
    /// nft's number (libnftables' `enum datatypes`). A concatenation has [`Self::BITS`] for each part.
    number: u32,
    /// The length of a key, in bytes. Each part of a concatenation takes four bytes or a multiple.
    len: u32,
}

impl KeyType {
    const IPV4: Self = Self { number: 7, len: 4 };
    const IPV6: Self = Self { number: 8, len: 16 };
    const PROTOCOL: Self = Self { number: 12, len: 4 };
    const PORT: Self = Self { number: 13, len: 4 };
    const BITS: u32 = 6;

    const fn address(family: AddressFamily) -> Self {
        match family {
            AddressFamily::V4 => Self::IPV4,
            AddressFamily::V6 => Self::IPV6,
        }
    }

    /// A concatenation.
    fn of_parts(parts: &[Self]) -> Self {
        let number = parts.iter().fold(0, |all, part| all << Self::BITS | part.number);
        Self { number, len: parts.iter().map(|part| part.len).sum() }
    }
}

/// The name of a door's set.
pub(super) fn set_of(door: &Door, family: AddressFamily) -> SetName {
    SetName::new(door, family).expect("a door's name has at most MAX_NAME bytes")
}

/// Writes a door's set.
pub(super) fn write_door_set(batch: &mut Batch<'_>, family: AddressFamily, set: &SetName, id: u32) {
    let interval = if set.is_of_networks() { SET_INTERVAL } else { 0 };
    let address = KeyType::address(family);
    let key = match set.key() {
        SetKey::AddressProtocolPort => KeyType::of_parts(&[address, KeyType::PROTOCOL, KeyType::PORT]),
        _ => address,
    };
    write_set(batch, set.as_str(), id, interval | SET_TIMEOUT, key, None);
}

/// Writes a set of connections: protocol, source address and port, destination address and port.
pub(super) fn write_cut_set(batch: &mut Batch<'_>, family: AddressFamily, set: &str, id: u32) {
    let address = KeyType::address(family);
    let parts = [KeyType::PROTOCOL, address, KeyType::PORT, address, KeyType::PORT];
    write_set(batch, set, id, SET_TIMEOUT, KeyType::of_parts(&parts), Some(MAX_CUT));
}

fn write_set(batch: &mut Batch<'_>, set: &str, id: u32, flags: u32, key: KeyType, size: Option<u32>) {
    batch.change(kind::NEW_SET, CREATE, TableFamily::Inet, |r| {
        r.string(SET_TABLE, NAME);
        r.string(SET_NAME, set);
        r.number(SET_FLAGS, flags);
        r.number(SET_KEY_TYPE, key.number);
        r.number(SET_KEY_LEN, key.len);
        r.number(SET_ID, id);
        if let Some(size) = size {
            r.nested(SET_DESCRIPTION, |r| r.number(1, size));
        }
    });
}

/// Deletes a set.
pub(super) fn delete_set(batch: &mut Batch<'_>, set: &str) {
    batch.change(kind::DEL_SET, 0, TableFamily::Inet, |r| {
        r.string(SET_TABLE, NAME);
        r.string(SET_NAME, set);
    });
}
