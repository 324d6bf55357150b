//! Messages to and from `nf_tables`.
//!
//! A change is a batch (begin, the changes, end). The kernel takes it as one transaction, all or nothing. Numbers are
//! from linux/netfilter/nfnetlink.h and `nf_tables.h`. Netlink headers are in the host's byte order, numbers of
//! `nf_tables` are big-endian.

pub mod batch;
pub mod element;
pub mod opened_by;

use super::set_name::SetName;
use crate::config::{NftTable, TableFamily};
use crate::linux::netlink::message::{Attributes, Datagram, Message};

pub use self::opened_by::{ElementNote, OpenedBy, SecretsId};

/// `NFNL_SUBSYS_NFTABLES`: the upper byte of every `nf_tables` message type.
pub const SUBSYSTEM: u16 = 10;

/// `NFT_MSG_*`: the lower byte of a message type.
pub mod kind {
    /// A table was made; also the answer to [`GET_TABLE`].
    pub const NEW_TABLE: u8 = 0;
    /// Asks for a table.
    pub const GET_TABLE: u8 = 1;
    /// A table was deleted.
    pub const DEL_TABLE: u8 = 2;
    /// A chain was made.
    pub const NEW_CHAIN: u8 = 3;
    /// Asks for a chain.
    pub const GET_CHAIN: u8 = 4;
    /// A chain was deleted.
    pub const DEL_CHAIN: u8 = 5;
    /// A rule was made.
    pub const NEW_RULE: u8 = 6;
    /// Asks for a rule.
    pub const GET_RULE: u8 = 7;
    /// A rule was deleted.
    pub const DEL_RULE: u8 = 8;
    /// A set was made; also the answer to [`GET_SET`].
    pub const NEW_SET: u8 = 9;
    /// Asks for a set.
    pub const GET_SET: u8 = 10;
    /// A set was deleted.
    pub const DEL_SET: u8 = 11;
    /// Adds elements, or lists them.
    pub const NEW_ELEMENT: u8 = 12;
    /// Asks for elements.
    pub const GET_ELEMENT: u8 = 13;
    /// Deletes elements.
    pub const DEL_ELEMENT: u8 = 14;
    /// A transaction is over; also the answer to [`GET_GENERATION`].
    pub const NEW_GENERATION: u8 = 15;
    /// Asks for the firewall's generation.
    pub const GET_GENERATION: u8 = 16;
}

/// The whole type of an `nf_tables` message.
pub const fn message_type(kind: u8) -> u16 {
    SUBSYSTEM << 8 | kind as u16
}

// Flags of a request.
const REQUEST: u16 = 0x001;
const ACK: u16 = 0x004;
const DUMP: u16 = 0x300;
/// Makes the object if it does not exist.
pub(super) const CREATE: u16 = 0x400;

// Attributes.
const TABLE_NAME: u16 = 1;
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;

/// Length of `struct nfgenmsg` (family, version, resource), in bytes.
const FAMILY_HEADER: usize = 4;

/// Asks whether a table exists. The answer is the table, or `ENOENT`.
pub fn get_table(request: &mut Datagram, table: &NftTable, sequence: u32) {
    request.message(message_type(kind::GET_TABLE), REQUEST, sequence, |r| {
        family_header(r, table.family);
        r.string(TABLE_NAME, &table.name);
    });
}

/// Asks whether a set exists. The answer is the set, or `ENOENT`, also if the table is missing.
pub fn get_set(request: &mut Datagram, table: &NftTable, set: &SetName, sequence: u32) {
    request.message(message_type(kind::GET_SET), REQUEST, sequence, |r| {
        family_header(r, table.family);
        r.string(SET_TABLE, &table.name);
        r.string(SET_NAME, set.as_str());
    });
}

/// Asks for all objects of a kind in a table. The kernel lists tables of all names, and some kernels list objects of
/// other tables too.
pub fn get(request: &mut Datagram, kind: u8, table: &NftTable, sequence: u32) {
    request.message(message_type(kind), REQUEST | DUMP, sequence, |r| {
        family_header(r, table.family);
        r.string(TABLE_NAME, &table.name);
    });
}

/// Asks for the firewall's generation. See [`KernelAnswer::Object`].
pub fn get_generation(request: &mut Datagram, sequence: u32) {
    request.message(message_type(kind::GET_GENERATION), REQUEST | ACK, sequence, |r| {
        family_header(r, TableFamily::Inet);
    });
}

/// The meaning of a received message.
#[derive(Clone, Debug)]
pub enum KernelAnswer<'a> {
    /// A request was accepted (0) or refused (`errno`, above 0), or a dump has ended.
    Outcome(i32),
    /// An object that was asked for.
    Object {
        /// The message type, one of [`kind`].
        kind: u8,
        /// The object's attributes.
        attributes: Attributes<'a>,
        /// The low half of the firewall's generation, which every transaction increments. If it changes during a dump,
        /// the dump may be incomplete. `NLM_F_DUMP_INTR` is never set for elements.
        generation: u16,
    },
    /// Another message.
    Other,
}

impl<'a> KernelAnswer<'a> {
    /// Reads a message.
    pub fn of(message: &Message<'a>) -> Self {
        match (message.outcome(), message.kind.to_be_bytes()) {
            (Some(errno), _) => Self::Outcome(errno),
            (None, [10, kind]) => match message.body.split_first_chunk::<FAMILY_HEADER>() {
                Some((&[_, _, high, low], attributes)) => Self::Object {
                    kind,
                    attributes: Attributes::new(attributes),
                    generation: u16::from_be_bytes([high, low]),
                },
                None => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

/// `struct nfgenmsg` of an `nf_tables` message. Families are `NFPROTO_*`.
fn family_header(request: &mut Datagram, family: TableFamily) {
    let family = match family {
        TableFamily::Inet => 1,
        TableFamily::Ip => 2,
        TableFamily::Ip6 => 10,
    };
    request.raw(&[family, 0, 0, 0]);
}

#[cfg(test)]
mod tests;
