//! The expressions that rules are made of, as attributes (`linux/netfilter/nf_tables.h`).
//!
//! Each works on registers. Register 1 holds 16 bytes; the registers from 8 on hold 4 bytes each, and a key of several
//! parts lies in some of them side by side.

use core::net::{IpAddr, Ipv4Addr};

use crate::config::PortRange;
use crate::core::network::AddressFamily;
use crate::core::sequence::Protocol;
use crate::linux::netlink::message::Request;

// Attributes of a rule, and of the list of its expressions.
const LIST_ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;

/// `NFTA_DATA_VALUE`, `NFTA_DATA_VERDICT`.
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;

/// `NFT_REG_VERDICT`, `NFT_REG_1`, `NFT_REG_2`, `NFT_REG32_00`.
const REGISTER_VERDICT: u32 = 0;
const REGISTER: u32 = 1;
const REGISTER_2: u32 = 2;
/// The first register of four bytes.
pub(super) const REGISTER_4: u32 = 8;

/// What a packet is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Compare {
    /// `NFT_CMP_EQ`
    Equal = 0,
    /// `NFT_CMP_NEQ`
    NotEqual = 1,
    /// `NFT_CMP_LTE`
    AtMost = 3,
    /// `NFT_CMP_GTE`
    AtLeast = 5,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// `NF_DROP`
    Drop,
    /// `NF_ACCEPT`: this table lets it pass.
    Accept,
    /// `NFT_JUMP`: the chain of this name decides; if it does not, the next rule.
    Jump(&'a str),
    /// The sender is told that nobody listens.
    Reject(Protocol),
}

/// The states of a connection (`NF_CT_STATE_BIT`).
const STATE_ESTABLISHED: u32 = 2;
const STATE_RELATED: u32 = 4;
/// `IPS_DST_NAT`: its destination is translated.
const STATUS_DST_NAT: u32 = 1 << 5;

/// Flags of a TCP segment.
pub(super) mod tcp_flag {
    pub(in super::super) const SYN: u8 = 0x02;
    pub(in super::super) const RST: u8 = 0x04;
    pub(in super::super) const ACK: u8 = 0x10;
}

/// The expressions of a rule under construction: conditions, and what becomes of a packet that meets them all.
#[derive(Debug)]
pub(super) struct Expressions<'r>(pub(super) &'r mut Request);

impl Expressions<'_> {
    /// It came in by this device.
    pub(super) fn device(&mut self, compare: Compare, name: &str) -> &mut Self {
        /// `IFNAMSIZ`
        const SIZE: usize = 16;
        let mut padded = [0; SIZE];
        // A longer name is no device's: compared without its zero, it matches none.
        let len = name.len().min(SIZE);
        padded[..len].copy_from_slice(&name.as_bytes()[..len]);
        self.meta(6).compare(compare, &padded)
    }

    /// It is of this family.
    pub(super) fn family(&mut self, family: AddressFamily) -> &mut Self {
        self.meta(15).compare(Compare::Equal, &[nf_family(family)])
    }

    /// It is of this protocol.
    pub(super) fn protocol(&mut self, protocol: Protocol) -> &mut Self {
        self.meta(16).compare(Compare::Equal, &[protocol_number(protocol)])
    }

    /// It goes to one of these ports.
    pub(super) fn port(&mut self, ports: PortRange) -> &mut Self {
        self.transport(2, 2).between(ports)
    }

    /// It went to one of these ports before it was translated.
    pub(super) fn port_before_translation(&mut self, ports: PortRange) -> &mut Self {
        // NFT_CT_PROTO_DST, IP_CT_DIR_ORIGINAL
        self.expression("ct", |r| {
            r.number(1, REGISTER);
            r.number(2, 12);
            r.attribute(3, &[0]);
        });
        self.between(ports)
    }

    fn between(&mut self, ports: PortRange) -> &mut Self {
        if ports.is_one() {
            return self.compare(Compare::Equal, &ports.first().to_be_bytes());
        }
        self.compare(Compare::AtLeast, &ports.first().to_be_bytes());
        self.compare(Compare::AtMost, &ports.last().to_be_bytes())
    }

    /// Of the TCP flags in `mask` it has those in `set` and no others.
    pub(super) fn tcp_flags(&mut self, mask: u8, set: u8) -> &mut Self {
        self.transport(13, 1).mask(&[mask]).compare(Compare::Equal, &[set])
    }

    /// Its source is in this set.
    pub(super) fn source_in(&mut self, family: AddressFamily, set: &str) -> &mut Self {
        let (offset, len) = source(family);
        self.network(offset, len).lookup(set, REGISTER)
    }

    /// It goes to this address.
    pub(super) fn destination(&mut self, address: IpAddr) -> &mut Self {
        let (offset, len) = destination(AddressFamily::of(address));
        self.network(offset, len);
        match address {
            IpAddr::V4(address) => self.compare(Compare::Equal, &address.octets()),
            IpAddr::V6(address) => self.compare(Compare::Equal, &address.octets()),
        }
    }

    /// Its protocol, and addresses and ports of source and destination, are in this set.
    pub(super) fn ends_in_set(&mut self, family: AddressFamily, set: &str) -> &mut Self {
        let mut register = REGISTER_4 + 1;
        self.expression("meta", |r| {
            r.number(1, REGISTER_4);
            r.number(2, 16);
        });
        for (base, (offset, len)) in [(1, source(family)), (2, (0, 2)), (1, destination(family)), (2, (2, 2))]
        {
            self.payload(register, base, offset, len);
            register += len.div_ceil(4);
        }
        self.lookup(set, REGISTER_4)
    }

    /// It does not belong to a connection that is known.
    pub(super) fn of_no_connection(&mut self) -> &mut Self {
        let known = (STATE_ESTABLISHED | STATE_RELATED).to_ne_bytes();
        self.connection(0).mask(&known).compare(Compare::Equal, &[0; 4])
    }

    /// Its destination was translated.
    pub(super) fn translated(&mut self) -> &mut Self {
        self.connection(2).mask(&STATUS_DST_NAT.to_ne_bytes()).compare(Compare::NotEqual, &[0; 4])
    }

    /// Counts the packets that come so far.
    pub(super) fn counter(&mut self) -> &mut Self {
        self.expression("counter", |_| {})
    }

    /// What becomes of the packet.
    pub(super) fn verdict(&mut self, verdict: Verdict<'_>) -> &mut Self {
        let (code, chain) = match verdict {
            Verdict::Drop => (0, None),
            Verdict::Accept => (1, None),
            Verdict::Jump(chain) => (-3_i32, Some(chain)),
            Verdict::Reject(protocol) => {
                return self.expression("reject", |r| match protocol {
                    // NFT_REJECT_TCP_RST; NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_PORT_UNREACH
                    Protocol::Tcp => r.number(1, 1),
                    Protocol::Udp => {
                        r.number(1, 2);
                        r.attribute(2, &[1]);
                    }
                });
            }
        };
        self.expression("immediate", |r| {
            r.number(1, REGISTER_VERDICT);
            r.nested(2, |r| {
                r.nested(DATA_VERDICT, |r| {
                    r.attribute(VERDICT_CODE, &code.to_be_bytes());
                    if let Some(chain) = chain {
                        r.string(VERDICT_CHAIN, chain);
                    }
                });
            });
        })
    }

    /// It goes to this address instead, and to this port unless that stays as it is.
    pub(super) fn translate(&mut self, address: Ipv4Addr, port: Option<u16>) -> &mut Self {
        self.load(REGISTER, &address.octets());
        if let Some(port) = port {
            self.load(REGISTER_2, &port.to_be_bytes());
        }
        self.expression("nat", |r| {
            r.number(1, 1); // NFT_NAT_DNAT
            r.number(2, u32::from(nf_family(AddressFamily::V4)));
            r.number(3, REGISTER);
            if port.is_some() {
                r.number(5, REGISTER_2);
            }
        })
    }

    fn load(&mut self, register: u32, value: &[u8]) {
        self.expression("immediate", |r| {
            r.number(1, register);
            r.nested(2, |r| r.attribute(DATA_VALUE, value));
        });
    }

    fn meta(&mut self, key: u32) -> &mut Self {
        self.expression("meta", |r| {
            r.number(1, REGISTER);
            r.number(2, key);
        })
    }

    fn connection(&mut self, key: u32) -> &mut Self {
        self.expression("ct", |r| {
            r.number(1, REGISTER);
            r.number(2, key);
        })
    }

    fn network(&mut self, offset: u32, len: u32) -> &mut Self {
        self.payload(REGISTER, 1, offset, len)
    }

    fn transport(&mut self, offset: u32, len: u32) -> &mut Self {
        self.payload(REGISTER, 2, offset, len)
    }

    fn payload(&mut self, register: u32, base: u32, offset: u32, len: u32) -> &mut Self {
        self.expression("payload", |r| {
            for (kind, number) in (1..).zip([register, base, offset, len]) {
                r.number(kind, number);
            }
        })
    }

    fn mask(&mut self, mask: &[u8]) -> &mut Self {
        self.expression("bitwise", |r| {
            r.number(1, REGISTER);
            r.number(2, REGISTER);
            r.number(3, u32::try_from(mask.len()).expect("at most 16"));
            r.nested(4, |r| r.attribute(DATA_VALUE, mask));
            r.nested(5, |r| r.attribute(DATA_VALUE, &[0; 16][..mask.len()]));
        })
    }

    fn compare(&mut self, compare: Compare, value: &[u8]) -> &mut Self {
        self.expression("cmp", |r| {
            r.number(1, REGISTER);
            r.number(2, compare as u32);
            r.nested(3, |r| r.attribute(DATA_VALUE, value));
        })
    }

    fn lookup(&mut self, set: &str, register: u32) -> &mut Self {
        self.expression("lookup", |r| {
            r.string(1, set);
            r.number(2, register);
        })
    }

    fn expression(&mut self, name: &str, data: impl FnOnce(&mut Request)) -> &mut Self {
        self.0.nested(LIST_ELEMENT, |r| {
            r.string(EXPRESSION_NAME, name);
            r.nested(EXPRESSION_DATA, data);
        });
        self
    }
}

/// `IPPROTO_TCP`, `IPPROTO_UDP`.
pub(in crate::firewall) const fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    }
}

/// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
const fn nf_family(family: AddressFamily) -> u8 {
    match family {
        AddressFamily::V4 => 2,
        AddressFamily::V6 => 10,
    }
}

/// Where the source address is in the header: offset and length, in bytes.
const fn source(family: AddressFamily) -> (u32, u32) {
    match family {
        AddressFamily::V4 => (12, 4),
        AddressFamily::V6 => (8, 16),
    }
}

/// The same of the destination.
const fn destination(family: AddressFamily) -> (u32, u32) {
    match family {
        AddressFamily::V4 => (16, 4),
        AddressFamily::V6 => (24, 16),
    }
}
