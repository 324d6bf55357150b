//! The daemon's own table, `inet ketuk`, made over netlink.
//!
//! ```text
//!   input    priority -10   connections that were cut are refused; jump doors_input    for each device listened on
//!   forward  priority -10   the same;                              jump doors_forward
//!   output   priority -10   connections that were cut are refused
//!   dstnat   priority -101                                         jump doors_dstnat
//!   doors_*                 first whoever is in one of the sets is let in, then everybody else is shut out
//! ```
//! With backend `own` the table shuts the doors' ports and lets knockers in. With any other backend it holds only what
//! `kill` needs: a table can deny what another one accepts, never the reverse, so that works beside any firewall.
//!
//! The rules match no more than they must: the way of a packet that has nothing to do with a door is two
//! comparisons long.

mod cut;
mod doors;
pub(super) mod expression;
mod fingerprint;

use std::io;
use std::sync::Arc;

use nix::errno::Errno;

use self::cut::{CUT_TUPLES, write_cut};
use self::doors::write_doors;
use self::expression::Expressions;
use super::error::{NftError, Operation};
use super::nft::batch::Batch;
use super::nft::kind;
use super::set_name::SetName;
use crate::config::{Door, Opening, Table, TableFamily};
use crate::core::network::AddressFamily;
use crate::linux::netlink::message::Request;
use crate::linux::netlink::{Dialogue, DialogueError};

pub use self::cut::Cut;

/// The table's name. Its family is inet.
pub const NAME: &str = "ketuk";

/// The device name that stands for every device.
pub const ANY: &str = "any";

/// Most messages of one transaction: reserved as sequence numbers, and far more than 64 doors make.
const MAX_CHANGES: u32 = 1 << 20;

const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

// Attributes.
const TABLE_NAME: u16 = 1;
const TABLE_FLAGS: u16 = 2;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_USER_DATA: u16 = 7;
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LEN: u16 = 5;
const SET_DESCRIPTION: u16 = 9;
const SET_ID: u16 = 10;

/// `NFTNL_UDATA_RULE_COMMENT`.
const RULE_COMMENT: u8 = 0;

/// `NFT_SET_INTERVAL`, `NFT_SET_TIMEOUT`.
const SET_INTERVAL: u32 = 0x04;
const SET_TIMEOUT: u32 = 0x10;

/// nft's numbers for types of keys (libnftables' `enum datatypes`), six bits for each part of a concatenation.
mod key_type {
    pub(super) const IPV4: u32 = 7;
    pub(super) const IPV6: u32 = 8;
    pub(super) const PROTOCOL: u32 = 12;
    pub(super) const PORT: u32 = 13;
    pub(super) const BITS: u32 = 6;
}

/// A base chain.
struct Hook {
    name: &'static str,
    kind: &'static str,
    /// `enum nf_inet_hooks`.
    number: u32,
    priority: i32,
}

// Ahead of priority 0, `filter`, where fw4 and iptables accept established connections.
const INPUT: Hook = Hook { name: "input", kind: "filter", number: 1, priority: -10 };
const FORWARD: Hook = Hook { name: "forward", kind: "filter", number: 2, priority: -10 };
const OUTPUT: Hook = Hook { name: "output", kind: "filter", number: 3, priority: -10 };
// Ahead of priority -100, `dstnat`: the first translation counts.
const DSTNAT: Hook = Hook { name: "dstnat", kind: "nat", number: 0, priority: -101 };

/// The chains that devices lead to, in the order of [`DOOR_HOOKS`].
const DOOR_CHAINS: [&str; 3] = ["doors_input", "doors_forward", "doors_dstnat"];
const DOOR_HOOKS: [Hook; 3] = [INPUT, FORWARD, DSTNAT];

/// What the table is to hold.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The doors: only what those do counts that are enabled and open something in the firewall.
    pub doors: &'a [&'a Door],
    /// The devices on which the doors' ports are shut; [`ANY`] is all but `lo`. `None`: the table shuts nothing, and
    /// holds only what doors with `kill` need.
    pub shut: Option<&'a [String]>,
}

impl<'a> Plan<'a> {
    /// Whether the table is needed at all.
    pub fn is_needed(&self) -> bool {
        self.shut.is_some() || self.cuts()
    }

    /// The doors that open something, and what they open.
    pub fn openings(&self) -> impl Iterator<Item = (&'a Door, &'a Opening)> + use<'a> {
        let enabled = self.doors.iter().copied().filter(|door| door.enabled);
        enabled.filter_map(|door| Some((door, door.opening.as_ref()?)))
    }

    /// Whether some door cuts connections.
    fn cuts(&self) -> bool {
        self.openings().any(|(door, _)| door.kill)
    }
}

/// The table.
pub fn table() -> Table {
    Table { family: TableFamily::Inet, name: NAME.to_owned() }
}

/// The daemon's hand on its table.
#[derive(Debug)]
pub struct Own {
    dialogue: Dialogue,
    table_name: Arc<str>,
    /// Of the table as it was loaded last; none: there is to be none.
    loaded: Option<u64>,
}

impl Own {
    /// Connects to the kernel's firewall.
    ///
    /// # Errors
    /// `EPROTONOSUPPORT` when the kernel has no nfnetlink.
    pub fn connect() -> io::Result<Self> {
        Ok(Self {
            dialogue: Dialogue::open(libc::NETLINK_NETFILTER)?,
            table_name: format!("inet {NAME}").into(),
            loaded: None,
        })
    }

    /// Makes the table what `plan` says, in one transaction. Who is in a set stays in it, unless his door is gone. A
    /// table that is not needed is deleted.
    ///
    /// # Errors
    /// The table is as it was.
    pub fn load(&mut self, plan: &Plan<'_>) -> Result<(), NftError> {
        if !plan.is_needed() {
            self.loaded = None;
            return self.unload();
        }
        let sets = self.sets()?;
        // A table that is so different that it cannot be changed is made anew, in one transaction as well.
        if self.try_load(plan, &sets, false).is_err() {
            self.try_load(plan, &[], true)?;
        }
        self.loaded = Some(self.fingerprint()?);
        Ok(())
    }

    /// Deletes the table, if it is there.
    ///
    /// # Errors
    /// It is still there.
    pub fn unload(&mut self) -> Result<(), NftError> {
        self.commit(Operation::Unload, |batch| {
            // Adding one that is there changes nothing, and deleting one that is not would be refused.
            write_table(batch);
            delete_table(batch);
        })
    }

    /// Whether the table is as it was loaded last.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub fn is_intact(&mut self) -> Result<bool, NftError> {
        match self.loaded {
            Some(loaded) => Ok(self.fingerprint()? == loaded),
            None => Ok(true),
        }
    }

    fn try_load(&mut self, plan: &Plan<'_>, sets: &[String], anew: bool) -> Result<(), NftError> {
        self.commit(Operation::Load, |batch| {
            write_table(batch);
            if anew {
                delete_table(batch);
                write_table(batch);
            }
            for hook in [INPUT, FORWARD, OUTPUT] {
                write_chain(batch, hook.name, Some(&hook));
            }
            if plan.shut.is_some() {
                write_chain(batch, DSTNAT.name, Some(&DSTNAT));
                for chain in DOOR_CHAINS {
                    write_chain(batch, chain, None);
                }
            }
            // All rules of all chains.
            batch.change(kind::DEL_RULE, 0, TableFamily::Inet, |r| r.string(RULE_TABLE, NAME));
            let mut id = 0;
            let mut wanted = Vec::new();
            if plan.cuts() {
                for (family, set) in CUT_TUPLES {
                    id += 1;
                    write_cut_set(batch, family, set, id);
                    wanted.push(set.to_owned());
                }
            }
            if plan.shut.is_some() {
                for (door, _) in plan.openings() {
                    for family in AddressFamily::ALL {
                        id += 1;
                        let set = set_of(door, family);
                        write_door_set(batch, family, &set, id);
                        wanted.push(set.as_str().to_owned());
                    }
                }
            }
            for set in sets.iter().filter(|set| !wanted.contains(set)) {
                batch.change(kind::DEL_SET, 0, TableFamily::Inet, |r| {
                    r.string(SET_TABLE, NAME);
                    r.string(SET_NAME, set);
                });
            }
            if plan.cuts() {
                write_cut(batch);
            }
            if let Some(devices) = plan.shut {
                write_doors(batch, plan, devices);
            }
        })
    }

    /// Has the kernel make the changes that `write` writes.
    fn commit(&mut self, operation: Operation, write: impl FnOnce(&mut Batch<'_>)) -> Result<(), NftError> {
        let mut batch = Batch::begin(&mut self.dialogue, MAX_CHANGES);
        write(&mut batch);
        let mut first = None;
        let outcome = batch.commit(&mut |refusal| first = first.or(Some(Errno::from_raw(refusal.errno))));
        match (outcome, first) {
            (Ok(()), None) => Ok(()),
            (Ok(()), Some(errno)) => Err(NftError::of(operation, &self.table_name, errno)),
            (Err(error), _) => Err(self.failed(operation, error)),
        }
    }

    fn failed(&self, operation: Operation, error: DialogueError) -> NftError {
        NftError::of_dialogue(operation, &self.table_name, error)
    }
}

/// A door's set.
fn set_of(door: &Door, family: AddressFamily) -> SetName {
    SetName::new(door, family).expect("a door's name has at most MAX_NAME bytes")
}

fn write_table(batch: &mut Batch<'_>) {
    batch.change(kind::NEW_TABLE, CREATE, TableFamily::Inet, |r| {
        r.string(TABLE_NAME, NAME);
        // Not dormant.
        r.number(TABLE_FLAGS, 0);
    });
}

fn delete_table(batch: &mut Batch<'_>) {
    batch.change(kind::DEL_TABLE, 0, TableFamily::Inet, |r| r.string(TABLE_NAME, NAME));
}

fn write_chain(batch: &mut Batch<'_>, name: &str, hook: Option<&Hook>) {
    batch.change(kind::NEW_CHAIN, CREATE, TableFamily::Inet, |r| {
        r.string(CHAIN_TABLE, NAME);
        r.string(CHAIN_NAME, name);
        let Some(Hook { kind, number, priority, .. }) = hook else { return };
        r.nested(CHAIN_HOOK, |r| {
            r.number(1, *number);
            r.attribute(2, &priority.to_be_bytes());
        });
        r.number(CHAIN_POLICY, 1); // NF_ACCEPT
        r.string(CHAIN_TYPE, kind);
    });
}

fn write_door_set(batch: &mut Batch<'_>, family: AddressFamily, set: &SetName, id: u32) {
    let interval = if set.is_of_networks() { SET_INTERVAL } else { 0 };
    let (kind, len) = match family {
        AddressFamily::V4 => (key_type::IPV4, 4),
        AddressFamily::V6 => (key_type::IPV6, 16),
    };
    write_set(batch, set.as_str(), id, interval | SET_TIMEOUT, (kind, len), None);
}

/// A set of connections: protocol, source address and port, destination address and port.
fn write_cut_set(batch: &mut Batch<'_>, family: AddressFamily, set: &str, id: u32) {
    let (kind, len) = match family {
        AddressFamily::V4 => (key_type::IPV4, 4),
        AddressFamily::V6 => (key_type::IPV6, 16),
    };
    let parts = [key_type::PROTOCOL, kind, key_type::PORT, kind, key_type::PORT];
    let kind = parts.into_iter().fold(0, |all, part| all << key_type::BITS | part);
    write_set(batch, set, id, SET_TIMEOUT, (kind, 4 + 2 * (len + 4)), Some(cut::MAX_CUT));
}

fn write_set(
    batch: &mut Batch<'_>,
    set: &str,
    id: u32,
    flags: u32,
    (kind, len): (u32, u32),
    size: Option<u32>,
) {
    batch.change(kind::NEW_SET, CREATE, TableFamily::Inet, |r| {
        r.string(SET_TABLE, NAME);
        r.string(SET_NAME, set);
        r.number(SET_FLAGS, flags);
        r.number(SET_KEY_TYPE, kind);
        r.number(SET_KEY_LEN, len);
        r.number(SET_ID, id);
        if let Some(size) = size {
            r.nested(SET_DESCRIPTION, |r| r.number(1, size));
        }
    });
}

/// Adds a rule to the end of a chain. `about` is its comment, without one if it is empty.
fn write_rule(batch: &mut Batch<'_>, chain: &str, about: &str, write: impl FnOnce(&mut Expressions<'_>)) {
    batch.change(kind::NEW_RULE, CREATE | APPEND, TableFamily::Inet, |r| {
        r.string(RULE_TABLE, NAME);
        r.string(RULE_CHAIN, chain);
        r.nested(RULE_EXPRESSIONS, |r| write(&mut Expressions(r)));
        if !about.is_empty() {
            write_comment(r, about);
        }
    });
}

/// A rule's comment, `ketuk: ABOUT`, as nft keeps it.
fn write_comment(request: &mut Request, about: &str) {
    let text = format!("ketuk: {about}\0");
    let Ok(len) = u8::try_from(text.len()) else { return };
    request.attribute(RULE_USER_DATA, &[&[RULE_COMMENT, len], text.as_bytes()].concat());
}
