//! Registers, and lookups in sets.

use super::packet::Packet;
use super::{Family, LoadedRules, number};
use crate::linux::netlink::message::Attributes;

/// The prefix of the names of doors' sets.
const DOOR_SETS: &str = "ketuk_";

/// The registers, as slots of four bytes, each known or unknown. A large register covers four slots.
pub(super) struct Registers(pub(super) [Option<[u8; 4]>; 20]);

impl Registers {
    /// The first slot of a register, as in the kernel's `nft_parse_register`.
    fn slot(register: u32) -> Option<usize> {
        let slot = if register <= 4 { register * 4 } else { register.checked_sub(4)? };
        usize::try_from(slot).ok().filter(|slot| (4..20).contains(slot))
    }

    pub(super) fn set(&mut self, register: u32, value: Option<&[u8]>, len: usize) {
        let Some(first) = Self::slot(register) else { return };
        for (index, slot) in (first..20).take(len.div_ceil(4)).enumerate() {
            self.0[slot] = value.map(|value| {
                let mut bytes = [0; 4];
                for (byte, from) in bytes.iter_mut().zip(value.iter().skip(4 * index)) {
                    *byte = *from;
                }
                bytes
            });
        }
    }

    /// The first `len` bytes of a register, if all are known.
    pub(super) fn get(&self, register: u32, len: usize) -> Option<Vec<u8>> {
        let first = Self::slot(register)?;
        let slots = self.0.get(first..first + len.div_ceil(4))?;
        let mut bytes: Vec<u8> = slots.iter().copied().collect::<Option<Vec<_>>>()?.concat();
        bytes.truncate(len);
        Some(bytes)
    }
}

/// The family, table and name of a set.
#[derive(Clone, Copy, Debug)]
pub(super) struct SetPath<'a> {
    pub(super) family: Family,
    pub(super) table: &'a str,
    pub(super) set: &'a str,
}

impl LoadedRules {
    /// Looks up the registers in a set.
    pub(super) fn find(
        &mut self,
        path: SetPath<'_>,
        register: u32,
        registers: &Registers,
        packet: &Packet<'_>,
    ) -> LookupResult {
        let SetPath { family, table, set } = path;
        if set.starts_with(DOOR_SETS) {
            return if packet.arrival.sets.contains(&set) {
                LookupResult::Yes(None)
            } else {
                LookupResult::No
            };
        }
        let Some(elements) = self.elements(family, table, set) else { return LookupResult::Unknown };
        // In a set with intervals, the last interval start that is not above the key.
        let mut below: Option<(Vec<u8>, bool, Box<[u8]>)> = None;
        let (mut has_ends, mut unknown, mut catch_all) = (false, false, None);
        for element in elements {
            let attributes = Attributes::new(&element);
            let flags = attributes.clone().find(3).and_then(number).unwrap_or(0);
            if flags & 2 != 0 {
                catch_all = Some(element);
                continue;
            }
            let bytes = |kind| Attributes::new(attributes.clone().find(kind)?).find(1);
            let Some(key) = bytes(1) else { continue };
            let Some(found) = registers.get(register, key.len()) else {
                unknown = true;
                continue;
            };
            // In a concatenation of intervals one element holds both ends.
            if let Some(end) = bytes(10) {
                let parts = key.chunks(4).zip(end.chunks(4)).zip(found.chunks(4));
                if within(parts) {
                    return LookupResult::Yes(Some(element));
                }
                continue;
            }
            let is_end = flags & 1 != 0;
            has_ends |= is_end;
            if key == found && !is_end {
                return LookupResult::Yes(Some(element));
            }
            if key <= &found[..] && below.as_ref().is_none_or(|(last, ..)| &last[..] <= key) {
                below = Some((key.to_vec(), is_end, element));
            }
        }
        match (below, catch_all) {
            _ if unknown => LookupResult::Unknown,
            (Some((_, false, element)), _) if has_ends => LookupResult::Yes(Some(element)),
            (_, Some(element)) => LookupResult::Yes(Some(element)),
            _ => LookupResult::No,
        }
    }
}

/// Whether each part of the key is within its interval. Parts are compared four bytes at a time. That is right for
/// ports, IPv4 addresses and IPv6 networks.
fn within<'a>(parts: impl Iterator<Item = ((&'a [u8], &'a [u8]), &'a [u8])>) -> bool {
    let mut parts = parts;
    parts.all(|((from, to), found)| from <= found && found <= to)
}

/// The result of a lookup.
pub(super) enum LookupResult {
    No,
    /// The set holds the key, in this element if it is known.
    Yes(Option<Box<[u8]>>),
    Unknown,
}
