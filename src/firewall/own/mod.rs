//! The daemon's own table, `inet ketuk`, made over netlink.
//!
//! ```text
//!   input    priority -10   connections that were cut are refused; jump doors_input    for each device listened on
//!   forward  priority -10   the same;                              jump doors_forward
//!   output   priority -10   connections that were cut are refused
//!   dstnat   priority -101                                         jump doors_dstnat
//!   doors_*                 addresses in the sets are let in, then all others are shut out
//! ```
//! With backend `own` the table shuts the doors' ports and lets knockers in. With any other backend it holds only the
//! rules for `kill`. That works beside any firewall, because a table can deny packets that another one accepts.
//!
//! A packet that is for no door passes only two comparisons.

mod cut;
mod doors;
pub(in crate::firewall) mod expression;
mod fingerprint;
mod set;

use std::io;
use std::sync::Arc;

use nix::errno::Errno;

use self::cut::{CUT_TUPLES, write_cut};
use self::doors::write_doors;
use self::expression::Expressions;
use self::set::{delete_set, set_of, write_cut_set, write_door_set};
use super::error::{NftError, Operation};
use super::nft::batch::Batch;
use super::nft::{CREATE, kind};
use crate::config::{Door, NftTable, TableFamily};
use crate::core::network::AddressFamily;
use crate::linux::netlink::message::Datagram;
use crate::linux::netlink::{Dialogue, DialogueError};

pub use self::cut::Cut;

/// The table's name. Its family is inet.
pub const NAME: &str = "ketuk";

/// The device name that stands for every device.
pub const ANY: &str = "any";

/// Sequence numbers that are reserved for one transaction: far more than 64 doors need.
const MAX_CHANGES: u32 = 1 << 20;

/// The most tries to load the table while no other program changes the firewall.
const MAX_LOADS: u32 = 8;

/// `NLM_F_APPEND`: the rule comes last.
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
/// `NFTNL_UDATA_RULE_COMMENT`.
const RULE_COMMENT: u8 = 0;

/// A base chain.
struct BaseChain {
    name: &'static str,
    kind: &'static str,
    /// `enum nf_inet_hooks`.
    number: u32,
    priority: i32,
}

// The chain runs before priority 0, `filter`, where fw4 and iptables accept established connections.
const INPUT: BaseChain = BaseChain { name: "input", kind: "filter", number: 1, priority: -10 };
const FORWARD: BaseChain = BaseChain { name: "forward", kind: "filter", number: 2, priority: -10 };
const OUTPUT: BaseChain = BaseChain { name: "output", kind: "filter", number: 3, priority: -10 };
// The chain runs before priority -100, `dstnat`, because the first translation counts.
const DSTNAT: BaseChain = BaseChain { name: "dstnat", kind: "nat", number: 0, priority: -101 };

/// The chains that hold doors' rules, in the order of [`DOOR_HOOKS`].
const DOOR_CHAINS: [&str; 3] = ["doors_input", "doors_forward", "doors_dstnat"];
const DOOR_HOOKS: [BaseChain; 3] = [INPUT, FORWARD, DSTNAT];

/// The wanted contents of the table.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The doors. Those that are disabled, or open nothing in the firewall, are ignored.
    pub doors: &'a [&'a Door],
    /// The devices on which the doors' ports are shut; [`ANY`] means all but `lo`. `None` means that the table shuts
    /// nothing, and holds only the rules for `kill`.
    pub shut: Option<&'a [String]>,
}

impl<'a> Plan<'a> {
    /// Whether the table is needed.
    pub fn is_needed(&self) -> bool {
        self.shut.is_some() || self.cuts()
    }

    /// The doors that open ports.
    pub fn openings(&self) -> impl Iterator<Item = &'a Door> + use<'a> {
        self.doors.iter().copied().filter(|door| door.enabled && door.opens_ports())
    }

    /// Whether a door cuts connections.
    fn cuts(&self) -> bool {
        self.openings().any(|door| door.kill)
    }
}

/// The table's family and name.
pub fn table() -> NftTable {
    NftTable { family: TableFamily::Inet, name: NAME.to_owned() }
}

/// The daemon's own table in the kernel.
#[derive(Debug)]
pub struct Own {
    dialogue: Dialogue,
    table_name: Arc<str>,
    /// The fingerprint of the table after the last load; `None` while there should be no table.
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

    /// Loads the table as `plan` wants it, in one transaction. Elements stay in their sets, unless their door is gone.
    /// A table that is not needed is deleted.
    ///
    /// Returns whether the table is as it was loaded. If not, other programs changed the firewall during each try, and the table
    /// must be loaded again.
    ///
    /// # Errors
    /// The table was not changed.
    pub fn load(&mut self, plan: &Plan<'_>) -> Result<bool, NftError> {
        if !plan.is_needed() {
            self.loaded = None;
            return self.unload().map(|()| true);
        }
        for _ in 0..MAX_LOADS {
            let before = self.generation()?;
            let sets = self.sets()?;
            // If the table cannot be changed into the new one, it is replaced, in one transaction too.
            if self.try_load(plan, &sets, false).is_err() {
                self.try_load(plan, &[], true)?;
            }
            self.loaded = Some(self.fingerprint()?);
            // With another generation, another program may have changed the table before the fingerprint was taken.
            if self.generation()? == before.wrapping_add(1) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletes the table, if it exists.
    ///
    /// # Errors
    /// The table still exists.
    pub fn unload(&mut self) -> Result<(), NftError> {
        self.commit(Operation::Unload, &mut |batch| {
            // Adding a table that exists changes nothing, while deleting one that does not would be an error.
            write_table(batch);
            delete_table(batch);
        })
    }

    /// Whether the table is unchanged since the last load.
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
        self.commit(Operation::Load, &mut |batch| {
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
            // Without a chain's name this deletes all rules of all chains.
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
                for door in plan.openings() {
                    for family in AddressFamily::ALL {
                        id += 1;
                        let set = set_of(door, family);
                        write_door_set(batch, family, &set, id);
                        wanted.push(set.as_str().to_owned());
                    }
                }
            }
            for set in sets.iter().filter(|set| !wanted.contains(set)) {
                delete_set(batch, set);
            }
            if plan.cuts() {
                write_cut(batch);
            }
            if let Some(devices) = plan.shut {
                write_doors(batch, plan, devices);
            }
        })
    }

    /// Commits the changes that `write` writes.
    fn commit(
        &mut self,
        operation: Operation,
        write: &mut dyn FnMut(&mut Batch<'_>),
    ) -> Result<(), NftError> {
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

fn write_table(batch: &mut Batch<'_>) {
    batch.change(kind::NEW_TABLE, CREATE, TableFamily::Inet, |r| {
        r.string(TABLE_NAME, NAME);
        // The table is not dormant.
        r.number(TABLE_FLAGS, 0);
    });
}

fn delete_table(batch: &mut Batch<'_>) {
    batch.change(kind::DEL_TABLE, 0, TableFamily::Inet, |r| r.string(TABLE_NAME, NAME));
}

fn write_chain(batch: &mut Batch<'_>, name: &str, hook: Option<&BaseChain>) {
    batch.change(kind::NEW_CHAIN, CREATE, TableFamily::Inet, |r| {
        r.string(CHAIN_TABLE, NAME);
        r.string(CHAIN_NAME, name);
        let Some(BaseChain { kind, number, priority, .. }) = hook else { return };
        r.nested(CHAIN_HOOK, |r| {
            r.number(1, *number);
            r.attribute(2, &priority.to_be_bytes());
        });
        r.number(CHAIN_POLICY, 1); // NF_ACCEPT
        r.string(CHAIN_TYPE, kind);
    });
}

/// Adds a rule to the end of a chain. `about` is its comment; an empty one is left out.
fn write_rule(batch: &mut Batch<'_>, chain: &str, about: &str, write: &mut dyn FnMut(&mut Expressions<'_>)) {
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
fn write_comment(request: &mut Datagram, about: &str) {
    let text = format!("ketuk: {about}\0");
    let Ok(len) = u8::try_from(text.len()) else { return };
    request.attribute(RULE_USER_DATA, &[&[RULE_COMMENT, len], text.as_bytes()].concat());
}
