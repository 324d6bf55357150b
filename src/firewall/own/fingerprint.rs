//! The table's fingerprint, which shows whether another program has changed the table.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use nix::errno::Errno;

use super::{NAME, Own};
use crate::firewall::error::{NftError, Operation};
use crate::firewall::nft::{KernelAnswer, get, get_generation, kind};
use crate::linux::netlink::message::Attributes;

/// The attributes that are hashed: `NFTA_TABLE_FLAGS`; name, handle (3, 2) and policy (5) of chains; chain and handle
/// of rules (2, 3); names of sets (2). Attributes that change by themselves, such as counters and use counts, are left
/// out.
const LOOKED_AT: [(u8, &[u16]); 4] = [
    (kind::GET_TABLE, &[2]),
    (kind::GET_CHAIN, &[2, 3, 5]),
    (kind::GET_RULE, &[2, 3]),
    (kind::GET_SET, &[2]),
];

const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;

impl Own {
    /// A hash of these attributes. The kernel gives each chain and rule a new handle whenever it is made.
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

    /// The low half of the firewall's generation, which every transaction of any program increments.
    pub(super) fn generation(&mut self) -> Result<u16, NftError> {
        let (request, sequence) = self.dialogue.begin(1);
        get_generation(request, sequence);
        let mut now = 0;
        self.ask(sequence, &mut |answer| {
            if let KernelAnswer::Object { generation, .. } = answer {
                now = generation;
            }
        })?;
        Ok(now)
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

    /// Calls `each` with every object of a kind in the table; not at all if there is no table.
    fn each(&mut self, kind: u8, each: &mut dyn FnMut(Attributes<'_>)) -> Result<(), NftError> {
        let (request, sequence) = self.dialogue.begin(1);
        get(request, kind, &super::table(), sequence);
        self.ask(sequence, &mut |answer| {
            if let KernelAnswer::Object { attributes, .. } = answer {
                // The first attribute of every object is its table's name. Not every kernel filters by it.
                let table = attributes.clone().find(SET_TABLE);
                if table.and_then(|table| table.strip_suffix(b"\0")) == Some(NAME.as_bytes()) {
                    each(attributes);
                }
            }
        })
    }

    /// Sends the request that was begun, and reads its answers.
    fn ask(&mut self, sequence: u32, each: &mut dyn FnMut(KernelAnswer<'_>)) -> Result<(), NftError> {
        let errno = self
            .dialogue
            .ask(sequence, &mut |message| each(KernelAnswer::of(message)))
            .map_err(|error| self.failed(Operation::List, error))?;
        match errno {
            0 | libc::ENOENT => Ok(()),
            errno => Err(NftError::of(Operation::List, &self.table_name, Errno::from_raw(errno))),
        }
    }
}
