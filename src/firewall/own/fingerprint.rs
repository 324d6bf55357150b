//! What the table looks like now: whether somebody has changed it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use nix::errno::Errno;

use super::{NAME, Own};
use crate::firewall::error::{NftError, Operation};
use crate::firewall::nft::{Answer, get, kind};
use crate::linux::netlink::message::Attributes;

/// `NFTA_TABLE_FLAGS`; name and handle of chains (3, 2), their policy (5); chain and handle of rules (2, 3); names of
/// sets (2). What changes by itself, as counters and numbers of uses do, is left out.
const LOOKED_AT: [(u8, &[u16]); 4] = [
    (kind::GET_TABLE, &[2]),
    (kind::GET_CHAIN, &[2, 3, 5]),
    (kind::GET_RULE, &[2, 3]),
    (kind::GET_SET, &[2]),
];

const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;

impl Own {
    /// A hash of the handles that the kernel gives each chain and rule, anew whenever one is made.
    pub(super) fn fingerprint(&mut self) -> Result<u64, NftError> {
        let mut hasher = DefaultHasher::new();
        for (kind, attributes) in LOOKED_AT {
            kind.hash(&mut hasher);
            self.each(kind, &mut |object| {
                for wanted in attributes {
                    object.clone().find(*wanted).hash(&mut hasher);
                }
            })?;
        }
        Ok(hasher.finish())
    }

    /// The names of the sets.
    pub(super) fn sets(&mut self) -> Result<Vec<String>, NftError> {
        let mut names = Vec::new();
        self.each(kind::GET_SET, &mut |set| {
            if let Some(name) = set.find(SET_NAME).and_then(|name| std::str::from_utf8(name).ok()) {
                names.push(name.trim_end_matches('\0').to_owned());
            }
        })?;
        Ok(names)
    }

    /// Hands `each` everything of a kind in the table; nothing if there is no table.
    fn each(&mut self, kind: u8, each: &mut dyn FnMut(Attributes<'_>)) -> Result<(), NftError> {
        let (request, sequence) = self.dialogue.begin(1);
        get(request, kind, &super::table(), sequence);
        let errno = self
            .dialogue
            .ask(sequence, &mut |message| {
                if let Answer::Object { attributes, .. } = Answer::of(message) {
                    // The first attribute of everything is its table's name. Not every kernel filters by it.
                    let table = attributes.clone().find(SET_TABLE);
                    if table.and_then(|table| table.strip_suffix(b"\0")) == Some(NAME.as_bytes()) {
                        each(attributes);
                    }
                }
            })
            .map_err(|error| self.failed(Operation::List, error))?;
        match errno {
            0 | libc::ENOENT => Ok(()),
            errno => Err(NftError::of(Operation::List, &self.table_name, Errno::from_raw(errno))),
        }
    }
}
