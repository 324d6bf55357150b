//! What is said to `nf_tables`, and what it answers.
//!
//! A change is a batch (begin, the changes, end) that the kernel takes as one transaction: all of it or
//! nothing. Numbers are from linux/netfilter/nfnetlink.h and `nf_tables.h`. The netlink headers are in the
//! host's byte order, `nf_tables`' own numbers are big-endian.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use crate::config::{Door, Family, GrantPrefix, MAX_NAME, Table};

use super::message::{Attributes, Message, Request};

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
    /// A chain was deleted.
    pub const DEL_CHAIN: u8 = 5;
    /// A rule was made.
    pub const NEW_RULE: u8 = 6;
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

// Types of the netlink and nfnetlink layers.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

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
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const LIST_ELEMENT: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_FLAGS: u16 = 3;
const ELEMENT_TIMEOUT: u16 = 4;
const ELEMENT_EXPIRATION: u16 = 5;
const DATA_VALUE: u16 = 1;

/// `NFT_SET_ELEM_INTERVAL_END`.
const INTERVAL_END: u32 = 1;

/// Length of `struct nfgenmsg` (family, version, resource), in bytes.
const FAMILY_HEADER: usize = 4;

/// Shortest timeout of an element. Kernels before 6.12 round down to a tick, of 10 ms at most, and take
/// no ticks for no timeout: the door would stay open for ever.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(20);
/// Longest timeout of an element, a hundred years: the kernel refuses some 584 years and more.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Longest set name, in bytes.
const MAX_SET_NAME: usize = "ketuk_".len() + MAX_NAME + "_net4".len();

/// Which addresses a set holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl AddressFamily {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// That of `address`.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Whether a table of this family can hold such addresses.
    pub const fn fits(self, table: Family) -> bool {
        matches!((self, table), (_, Family::Inet) | (Self::V4, Family::Ip) | (Self::V6, Family::Ip6))
    }
}

/// A table's family in nft's words.
pub const fn family_name(family: Family) -> &'static str {
    match family {
        Family::Inet => "inet",
        Family::Ip => "ip",
        Family::Ip6 => "ip6",
    }
}

/// A door's sets.
#[derive(Clone, Copy, Debug)]
pub struct DoorSets<'a> {
    /// The door's name.
    pub door: &'a str,
    /// Whether it lets in networks, and which.
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
    /// Of a set of networks, how long their prefix is.
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

    /// Whether it holds networks.
    pub const fn is_of_networks(&self) -> bool {
        self.prefix.is_some()
    }

    /// The flags that it is declared with.
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

/// One change of a batch, to the element of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds it. An element that is there already is refused with `EEXIST`.
    Add {
        /// Time until the kernel deletes it, held to [`MIN_TIMEOUT`] and [`MAX_TIMEOUT`]; `None`: it stays.
        time: Option<Duration>,
    },
    /// Deletes it. An element that is not there is refused with `ENOENT`, as is a set that is not there.
    Delete,
}

/// Writes a batch of `changes` to `address` in a set. Its sequence numbers are `first` for the begin, then one for
/// each change, then one for the end. The last change asks for an answer; others only answer
/// when they are refused.
pub fn batch(
    request: &mut Request,
    table: &Table,
    set: &SetName,
    address: IpAddr,
    changes: &[Change],
    first: u32,
) {
    request.message(BATCH_BEGIN, REQUEST, first, batch_header);
    let mut sequence = first;
    for (index, change) in changes.iter().enumerate() {
        sequence = sequence.wrapping_add(1);
        let ack = if index + 1 == changes.len() { ACK } else { 0 };
        let (kind, flags, time) = match *change {
            Change::Add { time } => (kind::NEW_ELEMENT, CREATE | EXCLUSIVE, time),
            Change::Delete => (kind::DEL_ELEMENT, 0, None),
        };
        request.message(message_type(kind), REQUEST | flags | ack, sequence, |r| {
            family_header(r, table);
            r.string(LIST_TABLE, &table.name);
            r.string(LIST_SET, set.as_str());
            r.nested(LIST_ELEMENTS, |r| {
                r.nested(LIST_ELEMENT, |r| element(r, address, time));
                // A network is from this address to before that one; one that ends with the last needs no end.
                if let Some(end) = set.prefix.and_then(|prefix| end(address, prefix)) {
                    r.nested(LIST_ELEMENT, |r| {
                        r.attribute(ELEMENT_FLAGS, &INTERVAL_END.to_be_bytes());
                        element(r, end, None);
                    });
                }
            });
        });
    }
    request.message(BATCH_END, REQUEST, sequence.wrapping_add(1), batch_header);
}

/// Asks whether a table is there: the answer is the table, or `ENOENT`.
pub fn get_table(request: &mut Request, table: &Table, sequence: u32) {
    request.message(message_type(kind::GET_TABLE), REQUEST, sequence, |r| {
        family_header(r, table);
        r.string(TABLE_NAME, &table.name);
    });
}

/// Asks whether a set is there: the answer is the set, or `ENOENT` (the table may be what is missing).
pub fn get_set(request: &mut Request, table: &Table, set: &SetName, sequence: u32) {
    request.message(message_type(kind::GET_SET), REQUEST, sequence, |r| {
        family_header(r, table);
        r.string(SET_TABLE, &table.name);
        r.string(SET_NAME, set.as_str());
    });
}

/// Asks for all elements of a set.
pub fn dump_elements(request: &mut Request, table: &Table, set: &SetName, sequence: u32) {
    request.message(message_type(kind::GET_ELEMENT), REQUEST | DUMP, sequence, |r| {
        family_header(r, table);
        r.string(LIST_TABLE, &table.name);
        r.string(LIST_SET, set.as_str());
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
        match (message.kind, message.kind.to_be_bytes()) {
            (NLMSG_ERROR | NLMSG_DONE, _) => match message.body.first_chunk() {
                Some(&negated) => Self::Outcome(i32::from_ne_bytes(negated).saturating_neg()),
                None => Self::Outcome(0),
            },
            (_, [10, kind]) => match message.body.split_first_chunk::<FAMILY_HEADER>() {
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
pub struct Element {
    /// Its key.
    pub address: IpAddr,
    /// The time it was given, in whole milliseconds; `None`: it stays, or the set has the same default.
    pub timeout: Option<Duration>,
    /// The time it has left, in whole milliseconds; `None`: it stays until it is deleted.
    pub left: Option<Duration>,
}

/// The elements in the attributes of a [`kind::NEW_ELEMENT`]. The ends of intervals, catch-all elements and
/// keys that are no address are left out.
pub fn elements(list: Attributes<'_>) -> impl Iterator<Item = Element> {
    Attributes::new(list.find(LIST_ELEMENTS).unwrap_or(&[]))
        .filter(|(kind, _)| *kind == LIST_ELEMENT)
        .filter_map(|(_, payload)| read_element(&Attributes::new(payload)))
}

fn read_element(attributes: &Attributes<'_>) -> Option<Element> {
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
    Some(Element { address, timeout: time(ELEMENT_TIMEOUT), left: time(ELEMENT_EXPIRATION) })
}

fn element(request: &mut Request, address: IpAddr, time: Option<Duration>) {
    request.nested(ELEMENT_KEY, |r| match address {
        IpAddr::V4(address) => r.attribute(DATA_VALUE, &address.octets()),
        IpAddr::V6(address) => r.attribute(DATA_VALUE, &address.octets()),
    });
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
fn family_header(request: &mut Request, table: &Table) {
    let family = match table.family {
        Family::Inet => 1,
        Family::Ip => 2,
        Family::Ip6 => 10,
    };
    request.raw(&[family, 0, 0, 0]);
}

/// `struct nfgenmsg` of a batch's begin and end: no family, and the subsystem as the resource, big-endian.
fn batch_header(request: &mut Request) {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    request.raw(&[0, 0, high, low]);
}

#[cfg(test)]
mod tests {
    use super::super::message::Messages;
    use super::*;

    fn fw4() -> Table {
        Table { family: Family::Inet, name: "fw4".into() }
    }

    fn ssh_4() -> SetName {
        SetName::new("ssh", AddressFamily::V4).expect("short")
    }

    /// Bytes from text: hexadecimal, `#` and the rest of the line is a comment.
    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text
            .lines()
            .flat_map(|line| line.split('#').next().expect("first").bytes())
            .filter(u8::is_ascii_hexdigit)
            .collect();
        let text = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16);
        digits.chunks(2).map(|pair| text(pair).expect("two digits")).collect()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_renewal_is_delete_and_add_in_one_batch() {
        let mut request = Request::new();
        let address = "203.0.113.9".parse().expect("address");
        let changes = [Change::Delete, Change::Add { time: Some(Duration::from_secs(30)) }];
        batch(&mut request, &fw4(), &ssh_4(), address, &changes, 0x0102_0304);
        let expected = hex("14000000 1000 0100 04030201 00000000 0000000a       # begin
             40000000 0e0a 0100 05030201 00000000 01000000       # delete element, inet
               0800 0100 66773400                                # table fw4
               1000 0200 6b6574756b5f7373685f3400                # set ketuk_ssh_4
               1400 0380 1000 0180 0c00 0180 0800 0100 cb007109  # elements, element, key, value
             4c000000 0c0a 0506 06030201 00000000 01000000       # new element: request ack excl create
               0800 0100 66773400
               1000 0200 6b6574756b5f7373685f3400
               2000 0380 1c00 0180 0c00 0180 0800 0100 cb007109
               0c00 0400 0000000000007530                        # timeout 30000 ms, big-endian
             14000000 1100 0100 07030201 00000000 0000000a       # end");
        assert_eq!(request.bytes(), expected);
    }

    #[test]
    fn a_network_has_two_ends() {
        let prefix = GrantPrefix { v4: Some(24), v6: Some(64) };
        let ends = |first: &str, family| {
            let set = SetName::new(DoorSets { door: "ssh", prefix }, family).expect("short");
            assert!(set.is_of_networks() && set.as_str().starts_with("ketuk_ssh_net"), "{set}");
            let mut request = Request::new();
            let first: IpAddr = first.parse().expect("address");
            let time = Some(Duration::from_secs(30));
            batch(&mut request, &fw4(), &set, first, &[Change::Add { time }], 1);
            let message = Messages::new(request.bytes()).nth(1).expect("the change");
            let list = Attributes::new(&message.body[FAMILY_HEADER..]);
            let all = Attributes::new(list.clone().find(LIST_ELEMENTS).expect("elements"));
            let read: Vec<_> = elements(list).collect();
            // Only the first has a timer, and is an element when it is read.
            assert_eq!(read, [Element { address: first, timeout: time, left: None }]);
            let key = |(_, payload)| {
                let attributes = Attributes::new(payload);
                let key = attributes.find(ELEMENT_KEY).expect("a key");
                Attributes::new(key).find(DATA_VALUE).expect("a value").to_vec()
            };
            all.map(key).collect::<Vec<_>>()
        };
        assert_eq!(ends("198.51.100.0", AddressFamily::V4), [vec![198, 51, 100, 0], vec![198, 51, 101, 0]]);
        assert_eq!(ends("255.255.255.0", AddressFamily::V4), [vec![255, 255, 255, 0]], "the last has no end");
        let v6 = ends("2001:db8:c::", AddressFamily::V6);
        assert_eq!(v6[1][..8], [0x20, 1, 0x0d, 0xb8, 0, 0x0c, 0, 1]);
    }

    #[test]
    #[cfg(target_endian = "big")]
    fn on_a_big_endian_host_only_the_headers_turn() {
        let mut request = Request::new();
        let address = "203.0.113.9".parse().expect("address");
        let changes = [Change::Add { time: Some(Duration::from_secs(30)) }];
        batch(&mut request, &fw4(), &ssh_4(), address, &changes, 0x0102_0304);
        let expected = hex("00000014 0010 0001 01020304 00000000 0000000a       # begin
             0000004c 0a0c 0605 01020305 00000000 01000000       # new element: request ack excl create
               0008 0001 66773400
               0010 0002 6b6574756b5f7373685f3400
               0020 8003 001c 8001 000c 8001 0008 0001 cb007109
               000c 0004 0000000000007530                        # timeout 30000 ms
             00000014 0011 0001 01020306 00000000 0000000a       # end");
        assert_eq!(request.bytes(), expected);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn questions() {
        let mut request = Request::new();
        let nft = Table { family: Family::Ip6, name: "filter".into() };
        get_table(&mut request, &nft, 1);
        let table = "0b00 0100 66696c74657200 00";
        assert_eq!(request.bytes(), hex(&format!("20000000 010a 0100 01000000 00000000 0a000000 {table}")));
        request.clear();
        let set = SetName::new("a", AddressFamily::V6).expect("short");
        get_set(&mut request, &nft, &set, 2);
        let set_name = "0e00 0200 6b6574756b5f615f3600 0000";
        assert_eq!(
            request.bytes(),
            hex(&format!("30000000 0a0a 0100 02000000 00000000 0a000000 {table} {set_name}"))
        );
        request.clear();
        dump_elements(&mut request, &nft, &set, 3);
        assert_eq!(
            request.bytes(),
            hex(&format!("30000000 0d0a 0103 03000000 00000000 0a000000 {table} {set_name}"))
        );
    }

    #[test]
    fn the_longest_request_fits() {
        let mut request = Request::new();
        let table = Table { family: Family::Inet, name: "t".repeat(255) };
        let set = SetName::new("d".repeat(MAX_NAME).as_str(), AddressFamily::V6).expect("longest");
        let changes = [Change::Delete, Change::Add { time: Some(Duration::MAX) }];
        batch(&mut request, &table, &set, "2001:db8::1".parse().expect("address"), &changes, u32::MAX);
        let sequences: Vec<u32> = Messages::new(request.bytes()).map(|m| m.sequence).collect();
        assert_eq!(sequences, [u32::MAX, 0, 1, 2]);
        assert_eq!(SetName::new("d".repeat(MAX_NAME + 1).as_str(), AddressFamily::V6), None);
    }

    #[test]
    fn a_short_time_is_never_no_time() {
        for (time, ms) in
            [(Duration::ZERO, 20), (Duration::from_micros(1), 20), (Duration::from_millis(1500), 1500)]
        {
            let mut request = Request::new();
            element(&mut request, "192.0.2.1".parse().expect("address"), Some(time));
            let timeout = Attributes::new(request.bytes()).find(ELEMENT_TIMEOUT).expect("timeout");
            assert_eq!(timeout, u64::to_be_bytes(ms));
        }
    }

    #[test]
    fn elements_are_read_and_the_strange_ones_left_out() {
        let mut request = Request::new();
        let v6: IpAddr = "2001:db8::1".parse().expect("address");
        let v4: IpAddr = "192.0.2.1".parse().expect("address");
        request.message(message_type(kind::NEW_ELEMENT), 2, 5, |r| {
            r.raw(&[1, 0, 0x12, 0x34]);
            r.nested(LIST_ELEMENTS, |r| {
                r.nested(LIST_ELEMENT, |r| {
                    element(r, v6, Some(Duration::from_secs(30)));
                    r.attribute(ELEMENT_EXPIRATION, &1234_u64.to_be_bytes());
                });
                for flag in [1_u32, 2] {
                    r.nested(LIST_ELEMENT, |r| {
                        element(r, v4, None);
                        r.attribute(ELEMENT_FLAGS, &flag.to_be_bytes());
                    });
                }
                r.nested(LIST_ELEMENT, |r| r.nested(ELEMENT_KEY, |r| r.attribute(DATA_VALUE, &[1, 2])));
                r.nested(LIST_ELEMENT, |r| element(r, v4, None));
            });
        });
        let message = Messages::new(request.bytes()).next().expect("message");
        let Answer::Object { kind: kind::NEW_ELEMENT, attributes, generation: 0x1234 } = Answer::of(&message)
        else {
            panic!("{message:?}")
        };
        let (timeout, left) = (Some(Duration::from_secs(30)), Some(Duration::from_millis(1234)));
        assert_eq!(
            elements(attributes).collect::<Vec<_>>(),
            [Element { address: v6, timeout, left }, Element { address: v4, timeout: None, left: None }]
        );
    }

    #[test]
    fn outcomes() {
        let outcome = |kind, body: &[u8]| match Answer::of(&Message { kind, flags: 0, sequence: 9, body }) {
            Answer::Outcome(errno) => errno,
            other => panic!("{other:?}"),
        };
        assert_eq!(outcome(NLMSG_ERROR, &0_i32.to_ne_bytes()), 0);
        assert_eq!(outcome(NLMSG_ERROR, &(-libc::ENOENT).to_ne_bytes()), libc::ENOENT);
        assert_eq!(outcome(NLMSG_DONE, &(-libc::EINTR).to_ne_bytes()), libc::EINTR);
        assert_eq!(outcome(NLMSG_DONE, &[]), 0);
    }
}
