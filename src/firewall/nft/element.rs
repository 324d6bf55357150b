//! The elements of sets: messages that add, delete and list them, and their keys.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use super::batch::Batch;
use super::opened_by::{ElementNote, OpenedBy};
use super::{CREATE, DUMP, REQUEST, family_header, kind, message_type};
use crate::config::NftTable;
use crate::core::passage::Passage;
use crate::core::sequence::{Protocol, Step};
use crate::firewall::set_name::{SetKey, SetName};
use crate::linux::netlink::message::{Attributes, Datagram};

/// `NLM_F_EXCL`: the element must not exist.
const EXCLUSIVE: u16 = 0x200;

// Attributes.

pub(in crate::firewall) const LIST_TABLE: u16 = 1;
pub(in crate::firewall) const LIST_SET: u16 = 2;
pub(in crate::firewall) const LIST_ELEMENTS: u16 = 3;
pub(in crate::firewall) const LIST_ELEMENT: u16 = 1;
pub(super) const ELEMENT_KEY: u16 = 1;
pub(super) const ELEMENT_FLAGS: u16 = 3;
pub(super) const ELEMENT_TIMEOUT: u16 = 4;
pub(super) const ELEMENT_EXPIRATION: u16 = 5;
const ELEMENT_USER_DATA: u16 = 6;
pub(super) const DATA_VALUE: u16 = 1;

/// `NFT_SET_ELEM_INTERVAL_END`.
const INTERVAL_END: u32 = 1;

/// Longest key of an element, in bytes: an IPv6 address, a protocol and a port.
const MAX_KEY: usize = 24;

/// Shortest timeout of an element. Kernels before 6.12 round down to a tick, which has at most 10 ms. They read zero ticks as
/// no timeout, and the door would stay open for ever.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(20);
/// Longest timeout of an element: a hundred years. The kernel refuses some 584 years and more.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Asks for all elements of a set.
pub fn dump(request: &mut Datagram, table: &NftTable, set: &str, sequence: u32) {
    request.message(message_type(kind::GET_ELEMENT), REQUEST | DUMP, sequence, |r| {
        family_header(r, table.family);
        r.string(LIST_TABLE, &table.name);
        r.string(LIST_SET, set);
    });
}

/// Adds an element to a set. The kernel answers `EEXIST` if the element exists, and `ENOENT` if the set does not.
/// `time` is the time until the kernel deletes the element, held between [`MIN_TIMEOUT`] and [`MAX_TIMEOUT`]; `None`
/// means no end.
pub fn add(
    batch: &mut Batch<'_>,
    table: &NftTable,
    set: &SetName,
    passage: Passage,
    time: Option<Duration>,
    note: ElementNote<'_>,
) {
    batch.change(kind::NEW_ELEMENT, CREATE | EXCLUSIVE, table.family, |r| {
        write_list(r, table, set, passage, time, note);
    });
}

/// Deletes an element. The kernel answers `ENOENT` if the element or the set does not exist.
pub fn delete(batch: &mut Batch<'_>, table: &NftTable, set: &SetName, passage: Passage) {
    batch.change(kind::DEL_ELEMENT, 0, table.family, |r| {
        write_list(r, table, set, passage, None, OpenedBy::Knock.into());
    });
}

fn write_list(
    request: &mut Datagram,
    table: &NftTable,
    set: &SetName,
    passage: Passage,
    time: Option<Duration>,
    note: ElementNote<'_>,
) {
    request.string(LIST_TABLE, &table.name);
    request.string(LIST_SET, set.as_str());
    request.nested(LIST_ELEMENTS, |r| {
        r.nested(LIST_ELEMENT, |r| {
            write_keyed(r, &key(set, passage), time);
            let user_data = note.user_data();
            if !user_data.is_empty() {
                r.attribute(ELEMENT_USER_DATA, &user_data);
            }
        });
        // A network is an interval that ends before its end element. A network that ends with the last address has no
        // end element.
        if let Some(end) = set.prefix().and_then(|prefix| end(passage.address, prefix)) {
            r.nested(LIST_ELEMENT, |r| {
                r.attribute(ELEMENT_FLAGS, &INTERVAL_END.to_be_bytes());
                write_keyed(r, &key(set, end.into()), None);
            });
        }
    });
}

/// An element of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// The element's key.
    pub passage: Passage,
    /// The timeout that the element was given, in whole milliseconds; `None` if it has no end, or if it is the set's default.
    pub timeout: Option<Duration>,
    /// The remaining time, in whole milliseconds; `None` if it has no end.
    pub left: Option<Duration>,
    /// The opener of the grant, and whether only connections hold it open.
    pub note: ElementNote<'a>,
}

/// The elements in the attributes of a [`kind::NEW_ELEMENT`], of a set whose ports are of this protocol if the elements
/// name none. The ends of intervals, catch-all elements and keys of other kinds are left out.
pub fn elements(list: Attributes<'_>, protocol: Option<Protocol>) -> impl Iterator<Item = Element<'_>> {
    Attributes::new(list.find(LIST_ELEMENTS).unwrap_or(&[]))
        .filter(|(kind, _)| *kind == LIST_ELEMENT)
        .filter_map(move |(_, payload)| read_element(&Attributes::new(payload), protocol))
}

/// The keys in the attributes of a [`kind::NEW_ELEMENT`].
pub fn keys(list: Attributes<'_>) -> impl Iterator<Item = &[u8]> {
    Attributes::new(list.find(LIST_ELEMENTS).unwrap_or(&[]))
        .filter(|(kind, _)| *kind == LIST_ELEMENT)
        .filter_map(|(_, payload)| {
            Attributes::new(Attributes::new(payload).find(ELEMENT_KEY)?).find(DATA_VALUE)
        })
}

fn read_element<'a>(attributes: &Attributes<'a>, protocol: Option<Protocol>) -> Option<Element<'a>> {
    let find = |kind| attributes.clone().find(kind);
    // NFT_SET_ELEM_INTERVAL_END, NFT_SET_ELEM_CATCHALL
    if find(ELEMENT_FLAGS).is_some_and(|flags| flags.last().is_some_and(|low| low & 3 != 0)) {
        return None;
    }
    let passage = read_key(Attributes::new(find(ELEMENT_KEY)?).find(DATA_VALUE)?, protocol)?;
    let time = |kind| Some(Duration::from_millis(u64::from_be_bytes(*find(kind)?.first_chunk()?)));
    let note = ElementNote::read(find(ELEMENT_USER_DATA).unwrap_or(&[]));
    Some(Element { passage, timeout: time(ELEMENT_TIMEOUT), left: time(ELEMENT_EXPIRATION), note })
}

/// The key of an element. Each part takes four bytes or a multiple.
pub(super) fn key(set: &SetName, passage: Passage) -> heapless::Vec<u8, MAX_KEY> {
    let mut key = heapless::Vec::new();
    let mut add = |part: &[u8]| key.extend_from_slice(part).expect("MAX_KEY is the longest");
    match passage.address {
        IpAddr::V4(address) => add(&address.octets()),
        IpAddr::V6(address) => add(&address.octets()),
    }
    if let Some(Step { protocol, port }) = passage.port {
        if set.key() == SetKey::AddressProtocolPort {
            add(&[protocol.number(), 0, 0, 0]);
        }
        let [high, low] = port.get().to_be_bytes();
        add(&[high, low, 0, 0]);
    }
    key
}

/// The inverse of [`key`].
pub(super) fn read_key(key: &[u8], protocol: Option<Protocol>) -> Option<Passage> {
    let (address, port) = match key.len() {
        4 | 8 | 12 => key.split_first_chunk::<4>().map(|(v4, rest)| (IpAddr::from(*v4), rest))?,
        16 | 20 | 24 => key.split_first_chunk::<16>().map(|(v6, rest)| (IpAddr::from(*v6), rest))?,
        _ => return None,
    };
    let step = |protocol, high, low| {
        let port = core::num::NonZeroU16::new(u16::from_be_bytes([high, low]))?;
        Some(Step { protocol, port })
    };
    let port = match *port {
        [] => None,
        [high, low, ..] if port.len() == 4 => Some(step(protocol?, high, low)?),
        [number, _, _, _, high, low, ..] => {
            let known = |protocol: &Protocol| protocol.number() == number;
            let protocol = [Protocol::Tcp, Protocol::Udp].into_iter().find(known)?;
            Some(step(protocol, high, low)?)
        }
        _ => return None,
    };
    Some(Passage { address, port })
}

/// Writes an element with this key as attributes.
pub(in crate::firewall) fn write_keyed(request: &mut Datagram, key: &[u8], time: Option<Duration>) {
    request.nested(ELEMENT_KEY, |r| r.attribute(DATA_VALUE, key));
    if let Some(time) = time {
        let ms = u64::try_from(time.clamp(MIN_TIMEOUT, MAX_TIMEOUT).as_millis());
        request.attribute(ELEMENT_TIMEOUT, &ms.expect("a hundred years fit").to_be_bytes());
    }
}

/// The first address after the network of this prefix that begins with `first`; `None` if there is none.
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
