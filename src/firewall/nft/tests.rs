use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use super::batch::Batch;
use super::element::*;
use super::*;
use crate::config::{GrantPrefix, MAX_NAME};
use crate::core::network::AddressFamily;
use crate::core::passage::Passage;
use crate::core::sequence::{Protocol, Step};
use crate::firewall::set_name::DoorSets;
use crate::linux::netlink::Dialogue;
use crate::linux::netlink::message::{Messages, NLMSG_DONE, NLMSG_ERROR, USUAL_REQUEST};

fn fw4() -> NftTable {
    NftTable { family: TableFamily::Inet, name: "fw4".into() }
}

fn ssh_4() -> SetName {
    SetName::new("ssh", AddressFamily::V4).expect("short")
}

/// The bytes of a transaction that begins with sequence number `first`.
fn transaction(first: u32, changes: impl FnOnce(&mut Batch<'_>)) -> Vec<u8> {
    let mut dialogue = Dialogue::open(libc::NETLINK_NETFILTER).expect("a socket");
    dialogue.begin(first.wrapping_sub(1));
    let mut batch = Batch::begin(&mut dialogue, 2);
    changes(&mut batch);
    batch.bytes()
}

/// Bytes from hexadecimal text. `#` begins a comment.
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
    let address = "203.0.113.9".parse::<IpAddr>().expect("address").into();
    let request = transaction(0x0102_0304, |batch| {
        delete(batch, &fw4(), &ssh_4(), address);
        let time = Some(Duration::from_secs(30));
        add(batch, &fw4(), &ssh_4(), address, time, OpenedBy::Knock.into());
    });
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
    assert_eq!(request, expected);
}

#[test]
fn a_network_has_two_ends() {
    let prefix = GrantPrefix { v4: Some(24), v6: Some(64) };
    let ends = |first: &str, family| {
        let set = SetName::new(DoorSets { door: "ssh", prefix, any_port: false }, family).expect("short");
        assert!(set.is_of_networks() && set.as_str().starts_with("ketuk_ssh_net"), "{set}");
        let first: IpAddr = first.parse().expect("address");
        let time = Some(Duration::from_secs(30));
        let request = transaction(1, |batch| {
            add(batch, &fw4(), &set, first.into(), time, OpenedBy::User("alice", SecretsId(7)).into());
        });
        let message = Messages::new(&request).nth(1).expect("the change");
        let list = Attributes::new(&message.body[FAMILY_HEADER..]);
        let all = Attributes::new(list.clone().find(LIST_ELEMENTS).expect("elements"));
        let read: Vec<_> = elements(list, None).collect();
        // Only the first has a timer and reads back as an element.
        assert_eq!(
            read,
            [Element {
                passage: first.into(),
                timeout: time,
                left: None,
                note: OpenedBy::User("alice", SecretsId(7)).into()
            }]
        );
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
    let address = "203.0.113.9".parse::<IpAddr>().expect("address").into();
    let request = transaction(0x0102_0304, |batch| {
        let time = Some(Duration::from_secs(30));
        add(batch, &fw4(), &ssh_4(), address, time, OpenedBy::Knock.into());
    });
    let expected = hex("00000014 0010 0001 01020304 00000000 0000000a       # begin
         0000004c 0a0c 0605 01020305 00000000 01000000       # new element: request ack excl create
           0008 0001 66773400
           0010 0002 6b6574756b5f7373685f3400
           0020 8003 001c 8001 000c 8001 0008 0001 cb007109
           000c 0004 0000000000007530                        # timeout 30000 ms
         00000014 0011 0001 01020306 00000000 0000000a       # end");
    assert_eq!(request, expected);
}

#[test]
#[cfg(target_endian = "little")]
fn questions() {
    let mut request = Datagram::new();
    let nft = NftTable { family: TableFamily::Ip6, name: "filter".into() };
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
    dump(&mut request, &nft, set.as_str(), 3);
    assert_eq!(
        request.bytes(),
        hex(&format!("30000000 0d0a 0103 03000000 00000000 0a000000 {table} {set_name}"))
    );
}

/// A knock must not cause an allocation.
#[test]
fn the_longest_renewal_fits_into_the_room_that_is_there_from_the_start() {
    let table = NftTable { family: TableFamily::Inet, name: "t".repeat(255) };
    let prefix = GrantPrefix { v4: None, v6: Some(64) };
    let set =
        SetName::new(DoorSets { door: &"d".repeat(MAX_NAME), prefix, any_port: false }, AddressFamily::V6);
    let (set, address) = (set.expect("longest"), "2001:db8::".parse::<IpAddr>().expect("address").into());
    let request = transaction(u32::MAX, |batch| {
        delete(batch, &table, &set, address);
        let user = "u".repeat(MAX_NAME);
        add(
            batch,
            &table,
            &set,
            address,
            Some(Duration::MAX),
            ElementNote { by: OpenedBy::User(&user, SecretsId(7)), is_held: true },
        );
    });
    assert!(request.len() <= USUAL_REQUEST, "{}", request.len());
    let sequences: Vec<u32> = Messages::new(&request).map(|m| m.sequence).collect();
    assert_eq!(sequences, [u32::MAX, 0, 1, 2]);
    assert_eq!(SetName::new("d".repeat(MAX_NAME + 1).as_str(), AddressFamily::V6), None);
}

#[test]
fn comments_of_others_are_none() {
    for (data, by) in [
        (&b"\x00\x05hand\0"[..], OpenedBy::Hand),
        (b"\x01\x02??\x00\x0buser alice\0", OpenedBy::User("alice", SecretsId(0))),
        (b"\x00\x06user \0", OpenedBy::Knock),
        (b"\x00\x06guest\0", OpenedBy::Knock),
        (b"\x00\x05\xff\xfe\xfd\xfc\0", OpenedBy::Knock),
        (b"\x00\x09hand\0", OpenedBy::Knock),
        (b"\x00", OpenedBy::Knock),
        (b"", OpenedBy::Knock),
    ] {
        assert_eq!(ElementNote::read(data), by.into(), "{data:?}");
    }
}

/// nft's own entry, the comment, comes first and stays as it was.
#[test]
fn a_session_is_marked_beside_the_opener() {
    for (by, comment) in [
        (OpenedBy::Knock, &b""[..]),
        (OpenedBy::User("alice", SecretsId(7)), b"\x00\x0buser alice\0k\x04\0\0\0\x07"),
        (OpenedBy::Hand, b"\x00\x05hand\0"),
    ] {
        for (is_held, mark) in [(false, &b""[..]), (true, b"h\0")] {
            let note = ElementNote { by, is_held };
            let data = note.user_data();
            assert_eq!(data[..], [comment, mark].concat());
            assert_eq!(ElementNote::read(&data), note);
        }
    }
}

#[test]
fn a_short_time_is_never_no_time() {
    for (time, ms) in
        [(Duration::ZERO, 20), (Duration::from_micros(1), 20), (Duration::from_millis(1500), 1500)]
    {
        let mut request = Datagram::new();
        write_keyed(&mut request, &[192, 0, 2, 1], Some(time));
        let timeout = Attributes::new(request.bytes()).find(ELEMENT_TIMEOUT).expect("timeout");
        assert_eq!(timeout, u64::to_be_bytes(ms));
    }
}

#[test]
fn elements_are_read_and_the_strange_ones_left_out() {
    let mut request = Datagram::new();
    let v6: Ipv6Addr = "2001:db8::1".parse().expect("address");
    let v4: Ipv4Addr = "192.0.2.1".parse().expect("address");
    request.message(message_type(kind::NEW_ELEMENT), 2, 5, |r| {
        r.raw(&[1, 0, 0x12, 0x34]);
        r.nested(LIST_ELEMENTS, |r| {
            r.nested(LIST_ELEMENT, |r| {
                write_keyed(r, &v6.octets(), Some(Duration::from_secs(30)));
                r.attribute(ELEMENT_EXPIRATION, &1234_u64.to_be_bytes());
            });
            for flag in [1_u32, 2] {
                r.nested(LIST_ELEMENT, |r| {
                    write_keyed(r, &v4.octets(), None);
                    r.attribute(ELEMENT_FLAGS, &flag.to_be_bytes());
                });
            }
            r.nested(LIST_ELEMENT, |r| r.nested(ELEMENT_KEY, |r| r.attribute(DATA_VALUE, &[1, 2])));
            r.nested(LIST_ELEMENT, |r| write_keyed(r, &v4.octets(), None));
        });
    });
    let message = Messages::new(request.bytes()).next().expect("message");
    let KernelAnswer::Object { kind: kind::NEW_ELEMENT, attributes, generation: 0x1234 } =
        KernelAnswer::of(&message)
    else {
        panic!("{message:?}")
    };
    let (timeout, left) = (Some(Duration::from_secs(30)), Some(Duration::from_millis(1234)));
    assert_eq!(
        elements(attributes, None).collect::<Vec<_>>(),
        [
            Element { passage: IpAddr::from(v6).into(), timeout, left, note: OpenedBy::Knock.into() },
            Element {
                passage: IpAddr::from(v4).into(),
                timeout: None,
                left: None,
                note: OpenedBy::Knock.into()
            }
        ]
    );
}

#[test]
fn outcomes() {
    let outcome = |kind, body: &[u8]| match KernelAnswer::of(&Message { kind, flags: 0, sequence: 9, body }) {
        KernelAnswer::Outcome(errno) => errno,
        other => panic!("{other:?}"),
    };
    assert_eq!(outcome(NLMSG_ERROR, &0_i32.to_ne_bytes()), 0);
    assert_eq!(outcome(NLMSG_ERROR, &(-libc::ENOENT).to_ne_bytes()), libc::ENOENT);
    assert_eq!(outcome(NLMSG_DONE, &(-libc::EINTR).to_ne_bytes()), libc::EINTR);
    assert_eq!(outcome(NLMSG_DONE, &[]), 0);
}

/// Each kind of key is read as it was written.
#[test]
fn keys_with_ports() {
    let any =
        |family| SetName::new(DoorSets { any_port: true, ..DoorSets::from("any") }, family).expect("short");
    let of_udp = |family| SetName::of_protocol("any", family, Protocol::Udp).expect("short");
    let port = Some(Step { protocol: Protocol::Udp, port: 53.try_into().expect("a port") });
    for (text, family) in [("192.0.2.1", AddressFamily::V4), ("2001:db8::1", AddressFamily::V6)] {
        let passage = Passage { address: text.parse().expect("address"), port };
        let (whole, shorter) = (key(&any(family), passage), key(&of_udp(family), passage));
        assert_eq!(whole.len(), shorter.len() + 4);
        assert_eq!(read_key(&whole, None), Some(passage));
        assert_eq!(read_key(&shorter, Some(Protocol::Udp)), Some(passage));
        assert_eq!(read_key(&shorter, None), None, "of no protocol");
    }
    assert_eq!(
        key(&any(AddressFamily::V4), Passage { address: [192, 0, 2, 1].into(), port })[4..],
        [17, 0, 0, 0, 0, 53, 0, 0]
    );
    assert_eq!(of_udp(AddressFamily::V6).as_str(), "ketuk_any_udp6");
    // A protocol that has no ports, and port 0.
    assert_eq!(read_key(&[192, 0, 2, 1, 1, 0, 0, 0, 0, 53, 0, 0], None), None);
    assert_eq!(read_key(&[192, 0, 2, 1, 6, 0, 0, 0, 0, 0, 0, 0], None), None);
}
