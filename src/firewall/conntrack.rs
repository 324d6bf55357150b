//! Messages to and from connection tracking (`ctnetlink`), and the text form in `/proc/net/nf_conntrack` for kernels without
//! `ctnetlink`.
//!
//! Numbers are from `linux/netfilter/nfnetlink_conntrack.h`. Addresses and ports are big-endian.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::core::flow::Flow;
use crate::core::sequence::Protocol;

use crate::linux::netlink::message::{Attributes, Datagram, Message};

/// `NFNL_SUBSYS_CTNETLINK`: the upper byte of every message type.
const SUBSYSTEM: u16 = 1;
/// `IPCTNL_MSG_CT_NEW`: a connection.
pub const NEW: u16 = SUBSYSTEM << 8;
/// `IPCTNL_MSG_CT_GET`.
const GET: u16 = SUBSYSTEM << 8 | 1;
/// `IPCTNL_MSG_CT_DELETE`: a connection was deleted from tracking, or must be.
pub const DELETE: u16 = SUBSYSTEM << 8 | 2;

const REQUEST: u16 = 0x001;
const ACK: u16 = 0x004;
const DUMP: u16 = 0x300;

/// `CTA_TUPLE_ORIG`: the connection's first direction, from its originator.
pub(super) const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
/// `CTA_STATUS`, and its bit `IPS_SEEN_REPLY`. Numbers of connection tracking are big-endian.
const STATUS: u16 = 3;
const SEEN_REPLY: u32 = 1 << 1;
const PROTOINFO: u16 = 4;
/// `CTA_TUPLE_IP`.
pub(super) const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
/// `CTA_IP_V4_SRC`.
pub(super) const V4_SOURCE: u16 = 1;
const V4_DESTINATION: u16 = 2;
/// `CTA_IP_V6_SRC`.
pub(super) const V6_SOURCE: u16 = 3;
const V6_DESTINATION: u16 = 4;
const PROTO_NUMBER: u16 = 1;
const PROTO_SOURCE_PORT: u16 = 2;
const PROTO_DESTINATION_PORT: u16 = 3;
const PROTOINFO_TCP: u16 = 1;
const PROTOINFO_TCP_STATE: u16 = 1;

/// Length of `struct nfgenmsg`, in bytes.
pub(super) const FAMILY_HEADER: usize = 4;

/// A request for all connections.
pub fn dump(request: &mut Datagram, sequence: u32) {
    request.message(GET, REQUEST | DUMP, sequence, |r| r.raw(&[0; FAMILY_HEADER]));
}

/// A request to forget a connection.
pub fn delete(request: &mut Datagram, flow: &Flow, sequence: u32) {
    request.message(DELETE, REQUEST | ACK, sequence, |r| {
        // AF_INET, AF_INET6
        r.raw(&[if flow.source.is_ipv4() { 2 } else { 10 }, 0, 0, 0]);
        r.nested(TUPLE_ORIGINAL, |r| {
            r.nested(TUPLE_IP, |r| {
                for (address, v4, v6) in
                    [(flow.source, V4_SOURCE, V6_SOURCE), (flow.destination, V4_DESTINATION, V6_DESTINATION)]
                {
                    match address {
                        IpAddr::V4(address) => r.attribute(v4, &address.octets()),
                        IpAddr::V6(address) => r.attribute(v6, &address.octets()),
                    }
                }
            });
            r.nested(TUPLE_PROTO, |r| {
                r.attribute(PROTO_NUMBER, &[number(flow.protocol)]);
                r.attribute(PROTO_SOURCE_PORT, &flow.source_port.to_be_bytes());
                r.attribute(PROTO_DESTINATION_PORT, &flow.destination_port.to_be_bytes());
            });
        });
    });
}

/// The connection in a message of type [`NEW`] or [`DELETE`]; `None` for other protocols.
pub fn flow(message: &Message<'_>) -> Option<Flow> {
    let attributes = Attributes::new(message.body.get(FAMILY_HEADER..)?);
    let nested = |kind| attributes.clone().find(kind).map(Attributes::new);
    let original = nested(TUPLE_ORIGINAL)?;
    let reply = nested(TUPLE_REPLY)?;
    let protocol =
        protocol(*Attributes::new(original.clone().find(TUPLE_PROTO)?).find(PROTO_NUMBER)?.first()?)?;
    let status = attributes.clone().find(STATUS).and_then(|status| status.first_chunk());
    let tcp_state = nested(PROTOINFO).and_then(|info| {
        let tcp = Attributes::new(info.find(PROTOINFO_TCP)?);
        tcp.find(PROTOINFO_TCP_STATE)?.first().copied()
    });
    Some(Flow {
        protocol,
        source: address(&original, V4_SOURCE, V6_SOURCE)?,
        source_port: port(&original, PROTO_SOURCE_PORT)?,
        destination: address(&original, V4_DESTINATION, V6_DESTINATION)?,
        destination_port: port(&original, PROTO_DESTINATION_PORT)?,
        answers: address(&reply, V4_SOURCE, V6_SOURCE)?,
        answers_port: port(&reply, PROTO_SOURCE_PORT)?,
        replied: status.is_some_and(|status| u32::from_be_bytes(*status) & SEEN_REPLY != 0),
        // A message about a deleted connection has no state.
        tcp_state: (protocol == Protocol::Tcp).then_some(tcp_state.unwrap_or(0)),
    })
}

fn address(tuple: &Attributes<'_>, v4: u16, v6: u16) -> Option<IpAddr> {
    let ip = Attributes::new(tuple.clone().find(TUPLE_IP)?);
    match ip.clone().find(v4) {
        Some(bytes) => Some(IpAddr::V4(Ipv4Addr::from(*bytes.first_chunk()?))),
        None => Some(IpAddr::V6(Ipv6Addr::from(*ip.find(v6)?.first_chunk()?))),
    }
}

fn port(tuple: &Attributes<'_>, kind: u16) -> Option<u16> {
    let proto = Attributes::new(tuple.clone().find(TUPLE_PROTO)?);
    Some(u16::from_be_bytes(*proto.find(kind)?.first_chunk()?))
}

/// The connection in a line of `/proc/net/nf_conntrack`.
pub fn line(line: &str) -> Option<Flow> {
    // ipv4 2 tcp 6 431999 ESTABLISHED src=A dst=B sport=1 dport=2 src=B dst=A sport=2 dport=1 [ASSURED] mark=0
    let mut words = line.split_ascii_whitespace().skip(3);
    let protocol = protocol(words.next()?.parse().ok()?)?;
    let state = words.clone().nth(1).filter(|_| protocol == Protocol::Tcp);
    let mut values = words.filter_map(|word| word.split_once('='));
    let mut next = |name: &str| values.find(|(key, _)| *key == name).map(|(_, value)| value);
    Some(Flow {
        protocol,
        source: next("src")?.parse().ok()?,
        destination: next("dst")?.parse().ok()?,
        source_port: next("sport")?.parse().ok()?,
        destination_port: next("dport")?.parse().ok()?,
        answers: next("src")?.parse().ok()?,
        answers_port: next("sport")?.parse().ok()?,
        replied: !line.contains("[UNREPLIED]"),
        tcp_state: state.map(tcp_state),
    })
}

/// `tcp_conntrack_names` of `nf_conntrack_proto_tcp.c`, in the order of `enum tcp_conntrack`.
fn tcp_state(name: &str) -> u8 {
    const NAMES: [&str; 10] = [
        "NONE",
        "SYN_SENT",
        "SYN_RECV",
        "ESTABLISHED",
        "FIN_WAIT",
        "CLOSE_WAIT",
        "LAST_ACK",
        "TIME_WAIT",
        "CLOSE",
        "SYN_SENT2",
    ];
    (0..).zip(NAMES).find(|(_, known)| *known == name).map_or(0, |(state, _)| state)
}

const fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    }
}

const fn protocol(number: u8) -> Option<Protocol> {
    match number {
        6 => Some(Protocol::Tcp),
        17 => Some(Protocol::Udp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::netlink::message::Messages;

    fn forwarded() -> Flow {
        Flow {
            protocol: Protocol::Tcp,
            source: "198.51.100.10".parse().unwrap(),
            source_port: 40000,
            destination: "203.0.113.1".parse().unwrap(),
            destination_port: 8443,
            answers: "192.168.1.10".parse().unwrap(),
            answers_port: 443,
            replied: true,
            tcp_state: Some(3),
        }
    }

    #[test]
    fn a_line_of_proc() {
        let text = "ipv4     2 tcp      6 431999 ESTABLISHED src=198.51.100.10 dst=203.0.113.1 sport=40000 dport=8443 \
                    src=192.168.1.10 dst=198.51.100.10 sport=443 dport=40000 [ASSURED] mark=0 zone=0 use=2";
        assert_eq!(line(text), Some(forwarded()));
        let udp = "ipv6     10 udp      17 29 src=2001:0db8:0000:0000:0000:0000:0000:0001 dst=2001:db8::2 sport=5 dport=53 \
                   [UNREPLIED] src=2001:db8::2 dst=2001:db8::1 sport=53 dport=5 mark=0 zone=0 use=2";
        let flow = line(udp).unwrap();
        assert_eq!(
            (flow.source, flow.tcp_state, flow.is_live()),
            ("2001:db8::1".parse().unwrap(), None, false)
        );
        let answered = line(&udp.replace("[UNREPLIED] ", "")).unwrap();
        assert!(answered.is_live(), "both sides have spoken");
        assert!(!line(&text.replace("ESTABLISHED", "TIME_WAIT")).unwrap().is_live());
        for odd in
            ["", "ipv4 2 icmp 1 29 src=1.2.3.4 dst=1.2.3.4 type=8 code=0 id=1", "ipv4 2 tcp 6 1 CLOSE src=x"]
        {
            assert_eq!(line(odd), None, "{odd}");
        }
    }

    #[test]
    fn what_is_deleted_is_named_by_its_beginning() {
        let mut request = Datagram::new();
        delete(&mut request, &forwarded(), 7);
        let message = Messages::new(request.bytes()).next().unwrap();
        assert_eq!((message.kind, message.sequence), (DELETE, 7));
        // Without the reply's half there is no connection to read.
        assert_eq!(flow(&message), None);
        let attributes = Attributes::new(&message.body[FAMILY_HEADER..]);
        let original = Attributes::new(attributes.find(TUPLE_ORIGINAL).unwrap());
        assert_eq!(address(&original, V4_DESTINATION, V6_DESTINATION), Some(forwarded().destination));
    }

    #[test]
    fn states_that_are_a_connection() {
        let live = |state| Flow { tcp_state: Some(state), ..forwarded() }.is_live();
        let live: Vec<u8> = (0..=10).filter(|state| live(*state)).collect();
        assert_eq!(live, [3, 4, 5, 6], "not SYN_RECV, which a forged SYN makes");
        assert_eq!((tcp_state("LAST_ACK"), tcp_state("TIME_WAIT")), (6, 7));
    }
}
