//! What is said to `nf_tables`, and what it answers.
//!
//! A change is a batch (begin, the changes, end) that the kernel takes as one transaction: all of it or
//! nothing. Numbers are from linux/netfilter/nfnetlink.h and `nf_tables.h`. The netlink headers are in the
//! host's byte order, `nf_tables`' own numbers are big-endian.

pub mod batch;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use super::set_name::SetName;
use crate::config::{MAX_NAME, Table, TableFamily};
use crate::linux::netlink::message::{Attributes, Message, Request};
use batch::Batch;

/// `NFNL_SUBSYS_NFTABLES`: the upper byte of every `nf_tables` message type.
pub const SUBSYSTEM: u16 = 10;

/// `NFT_MSG_*`: the lower byte of a message type.
pub mod kind {
    /// A table was made, or is the answer.
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
    /// A set was made, or is the answer.
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
    /// A transaction is over.
    pub const NEW_GENERATION: u8 = 15;
}

/// The whole type of an `nf_tables` message.
pub const fn message_type(kind: u8) -> u16 {
    SUBSYSTEM << 8 | kind as u16
}

// Flags of a request.
const REQUEST: u16 = 0x001;
const ACK: u16 = 0x004;
const DUMP: u16 = 0x300;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;

// Attributes.
const TABLE_NAME: u16 = 1;
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
pub(super) const LIST_TABLE: u16 = 1;
pub(super) const LIST_SET: u16 = 2;
pub(super) const LIST_ELEMENTS: u16 = 3;
pub(super) const LIST_ELEMENT: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_FLAGS: u16 = 3;
const ELEMENT_TIMEOUT: u16 = 4;
const ELEMENT_EXPIRATION: u16 = 5;
const ELEMENT_USER_DATA: u16 = 6;
const DATA_VALUE: u16 = 1;

/// `NFT_SET_ELEM_INTERVAL_END`.
const INTERVAL_END: u32 = 1;

/// `NFTNL_UDATA_SET_ELEM_COMMENT`: where nft keeps an element's comment in its user data.
const ELEMENT_COMMENT: u8 = 0;
/// Ours, beside nft's: nft and libnftnl pass over types that they do not know.
const ELEMENT_SECRETS: u8 = b'k';

/// What the comments say.
const USER: &str = "user ";
const HAND: &str = "hand";

/// Length of `struct nfgenmsg` (family, version, resource), in bytes.
const FAMILY_HEADER: usize = 4;

/// Shortest timeout of an element. Kernels before 6.12 round down to a tick, of 10 ms at most, and take
/// no ticks for no timeout: the door would stay open for ever.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(20);
/// Longest timeout of an element, a hundred years: the kernel refuses some 584 years and more.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Which secrets a user has, as a number that tells nothing of them; 0 where it is not known. A later start compares it: what
/// was opened with a secret that is gone is shut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecretsId(pub u32);

/// Who opened a door, as the comment of an element says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenedBy<'a> {
    /// Somebody who knocked the sequence: there is no comment.
    Knock,
    /// A user, by name: the comment is `user NAME`. Beside it stands which secrets he had.
    User(&'a str, SecretsId),
    /// The operator: the comment is `hand`.
    Hand,
}

impl<'a> OpenedBy<'a> {
    /// From an element's user data. A comment that is none of ours counts as none.
    fn read(user_data: &'a [u8]) -> Self {
        let find = |wanted| UserData(user_data).find(|(kind, _)| *kind == wanted).map(|(_, payload)| payload);
        let Some(text) = find(ELEMENT_COMMENT) else { return Self::Knock };
        let secrets = find(ELEMENT_SECRETS).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        match core::str::from_utf8(text.strip_suffix(b"\0").unwrap_or(text)) {
            Ok(HAND) => Self::Hand,
            Ok(text) => match text.strip_prefix(USER) {
                Some(name) if !name.is_empty() => Self::User(name, SecretsId(secrets.unwrap_or(0))),
                _ => Self::Knock,
            },
            Err(_) => Self::Knock,
        }
    }

    /// As the attribute of an element, in the form that nft prints as its comment.
    fn write(self, request: &mut Request) {
        let (parts, secrets) = match self {
            Self::Knock => return,
            Self::User(name, secrets) => ([USER, name], Some(secrets)),
            Self::Hand => ([HAND, ""], None),
        };
        let mut data = heapless::Vec::<u8, { 2 + USER.len() + MAX_NAME + 1 + 2 + 4 }>::new();
        let len = parts[0].len() + parts[1].len() + 1;
        let header = [ELEMENT_COMMENT, u8::try_from(len).unwrap_or(u8::MAX)];
        let comment = [&header, parts[0].as_bytes(), parts[1].as_bytes(), b"\0"];
        let id = secrets.map(|SecretsId(id)| {
            let [a, b, c, d] = id.to_be_bytes();
            [ELEMENT_SECRETS, 4, a, b, c, d]
        });
        // A longer name than any user has is not written.
        if comment
            .into_iter()
            .chain(id.iter().map(|id| &id[..]))
            .all(|part| data.extend_from_slice(part).is_ok())
        {
            request.attribute(ELEMENT_USER_DATA, &data);
        }
    }
}

/// nft's own attributes in user data (libnftnl's `udata`): type, length, payload.
struct UserData<'a>(&'a [u8]);

impl<'a> Iterator for UserData<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[kind, len], rest) = self.0.split_first_chunk()?;
        let (payload, rest) = rest.split_at_checked(len.into())?;
        self.0 = rest;
        Some((kind, payload))
    }
}

/// Adds an element to a set. One that is there already is refused with `EEXIST`, a set that is not there with
/// `ENOENT`. `time` is until the kernel deletes it, held to [`MIN_TIMEOUT`] and [`MAX_TIMEOUT`]; `None`: it stays.
pub fn add_element(
    batch: &mut Batch<'_>,
    table: &Table,
    set: &SetName,
    address: IpAddr,
    time: Option<Duration>,
    by: OpenedBy<'_>,
) {
    batch.change(kind::NEW_ELEMENT, CREATE | EXCLUSIVE, table.family, |r| {
        element_list(r, table, set, address, time, by);
    });
}

/// Deletes an element. One that is not there is refused with `ENOENT`, as is a set that is not there.
pub fn delete_element(batch: &mut Batch<'_>, table: &Table, set: &SetName, address: IpAddr) {
    batch.change(kind::DEL_ELEMENT, 0, table.family, |r| {
        element_list(r, table, set, address, None, OpenedBy::Knock);
    });
}

fn element_list(
    request: &mut Request,
    table: &Table,
    set: &SetName,
    address: IpAddr,
    time: Option<Duration>,
    by: OpenedBy<'_>,
) {
    request.string(LIST_TABLE, &table.name);
    request.string(LIST_SET, set.as_str());
    request.nested(LIST_ELEMENTS, |r| {
        r.nested(LIST_ELEMENT, |r| {
            element(r, address, time);
            by.write(r);
        });
        // A network is from this address to before that one; one that ends with the last needs no end.
        if let Some(end) = set.prefix().and_then(|prefix| end(address, prefix)) {
            r.nested(LIST_ELEMENT, |r| {
                r.attribute(ELEMENT_FLAGS, &INTERVAL_END.to_be_bytes());
                element(r, end, None);
            });
        }
    });
}

/// Asks whether a table is there: the answer is the table, or `ENOENT`.
pub fn get_table(request: &mut Request, table: &Table, sequence: u32) {
    request.message(message_type(kind::GET_TABLE), REQUEST, sequence, |r| {
        family_header(r, table.family);
        r.string(TABLE_NAME, &table.name);
    });
}

/// Asks whether a set is there: the answer is the set, or `ENOENT` (the table may be what is missing).
pub fn get_set(request: &mut Request, table: &Table, set: &SetName, sequence: u32) {
    request.message(message_type(kind::GET_SET), REQUEST, sequence, |r| {
        family_header(r, table.family);
        r.string(SET_TABLE, &table.name);
        r.string(SET_NAME, set.as_str());
    });
}

/// Asks for all elements of a set.
pub fn dump_elements(request: &mut Request, table: &Table, set: &str, sequence: u32) {
    request.message(message_type(kind::GET_ELEMENT), REQUEST | DUMP, sequence, |r| {
        family_header(r, table.family);
        r.string(LIST_TABLE, &table.name);
        r.string(LIST_SET, set);
    });
}

/// Asks for all objects of a kind in a table. Of tables all are told, and kernels may tell of others too.
pub fn get(request: &mut Request, kind: u8, table: &Table, sequence: u32) {
    request.message(message_type(kind), REQUEST | DUMP, sequence, |r| {
        family_header(r, table.family);
        r.string(TABLE_NAME, &table.name);
    });
}

/// What a received message says.
#[derive(Clone, Debug)]
pub enum Answer<'a> {
    /// The message with this sequence number was taken (0) or refused (`errno`, above 0); or a dump has ended.
    Outcome(i32),
    /// Something that was asked for.
    Object {
        /// Which, of [`kind`].
        kind: u8,
        /// Its attributes.
        attributes: Attributes<'a>,
        /// The low half of the firewall's generation, which every transaction advances. A dump whose messages
        /// differ in it may lack something: `NLM_F_DUMP_INTR` is never set when elements are dumped.
        generation: u16,
    },
    /// Neither.
    Other,
}

impl<'a> Answer<'a> {
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

/// An element of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Its key.
    pub address: IpAddr,
    /// The time it was given, in whole milliseconds; `None`: it stays, or the set has the same default.
    pub timeout: Option<Duration>,
    /// The time it has left, in whole milliseconds; `None`: it stays until it is deleted.
    pub left: Option<Duration>,
    /// Who opened the door.
    pub by: OpenedBy<'a>,
}

/// The elements in the attributes of a [`kind::NEW_ELEMENT`]. The ends of intervals, catch-all elements and
/// keys that are no address are left out.
pub fn elements(list: Attributes<'_>) -> impl Iterator<Item = Element<'_>> {
    Attributes::new(list.find(LIST_ELEMENTS).unwrap_or(&[]))
        .filter(|(kind, _)| *kind == LIST_ELEMENT)
        .filter_map(|(_, payload)| read_element(&Attributes::new(payload)))
}

/// The keys in the attributes of a [`kind::NEW_ELEMENT`].
pub fn keys(list: Attributes<'_>) -> impl Iterator<Item = &[u8]> {
    Attributes::new(list.find(LIST_ELEMENTS).unwrap_or(&[]))
        .filter(|(kind, _)| *kind == LIST_ELEMENT)
        .filter_map(|(_, payload)| {
            Attributes::new(Attributes::new(payload).find(ELEMENT_KEY)?).find(DATA_VALUE)
        })
}

fn read_element<'a>(attributes: &Attributes<'a>) -> Option<Element<'a>> {
    let find = |kind| attributes.clone().find(kind);
    // NFT_SET_ELEM_INTERVAL_END, NFT_SET_ELEM_CATCHALL
    if find(ELEMENT_FLAGS).is_some_and(|flags| flags.last().is_some_and(|low| low & 3 != 0)) {
        return None;
    }
    let key = Attributes::new(find(ELEMENT_KEY)?).find(DATA_VALUE)?;
    let address = match key.len() {
        4 => IpAddr::V4(Ipv4Addr::from(*key.first_chunk()?)),
        16 => IpAddr::V6(Ipv6Addr::from(*key.first_chunk()?)),
        _ => return None,
    };
    let time = |kind| Some(Duration::from_millis(u64::from_be_bytes(*find(kind)?.first_chunk()?)));
    let by = find(ELEMENT_USER_DATA).map_or(OpenedBy::Knock, OpenedBy::read);
    Some(Element { address, timeout: time(ELEMENT_TIMEOUT), left: time(ELEMENT_EXPIRATION), by })
}

fn element(request: &mut Request, address: IpAddr, time: Option<Duration>) {
    match address {
        IpAddr::V4(address) => keyed_element(request, &address.octets(), time),
        IpAddr::V6(address) => keyed_element(request, &address.octets(), time),
    }
}

/// An element with this key, as attributes.
pub(super) fn keyed_element(request: &mut Request, key: &[u8], time: Option<Duration>) {
    request.nested(ELEMENT_KEY, |r| r.attribute(DATA_VALUE, key));
    if let Some(time) = time {
        let ms = u64::try_from(time.clamp(MIN_TIMEOUT, MAX_TIMEOUT).as_millis());
        request.attribute(ELEMENT_TIMEOUT, &ms.expect("a hundred years fit").to_be_bytes());
    }
}

/// The first address behind the network of this prefix that begins with `first`.
fn end(first: IpAddr, prefix: u8) -> Option<IpAddr> {
    match first {
        IpAddr::V4(first) => {
            let len = 1_u32.checked_shl(32 - u32::from(prefix))?;
            first.to_bits().checked_add(len).map(|end| IpAddr::V4(Ipv4Addr::from_bits(end)))
        }
        IpAddr::V6(first) => {
            let len = 1_u128.checked_shl(128 - u32::from(prefix))?;
            first.to_bits().checked_add(len).map(|end| IpAddr::V6(Ipv6Addr::from_bits(end)))
        }
    }
}

/// `struct nfgenmsg` of an `nf_tables` message. Families are `NFPROTO_*`.
fn family_header(request: &mut Request, family: TableFamily) {
    let family = match family {
        TableFamily::Inet => 1,
        TableFamily::Ip => 2,
        TableFamily::Ip6 => 10,
    };
    request.raw(&[family, 0, 0, 0]);
}

#[cfg(test)]
mod tests;
