//! The expressions of rules, as attributes (`linux/netfilter/nf_tables.h`).
//!
//! Expressions work on registers. Register 1 holds 16 bytes. The registers from 8 on hold 4 bytes each; a key of
//! several parts takes several of them side by side.

use core::net::{IpAddr, Ipv4Addr};

use crate::config::PortRange;
use crate::core::network::AddressFamily;
use crate::core::sequence::Protocol;
use crate::linux::netlink::message::Datagram;

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

/// How a value is compared.
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

/// The verdict on a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NftVerdict<'a> {
    /// `NF_DROP`
    Drop,
    /// `NF_ACCEPT`: this table lets it pass.
    Accept,
    /// `NFT_JUMP`: the chain of this name decides. If it gives no verdict, the next rule decides.
    Jump(&'a str),
    /// The packet is refused, and the sender is told that the port is closed.
    Reject(Protocol),
}

/// The port of a packet that a set lookup uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetPort {
    /// The destination port.
    Destination,
    /// The destination port before translation.
    BeforeTranslation,
}

/// The states of a connection (`NF_CT_STATE_BIT`).
const STATE_ESTABLISHED: u32 = 2;
const STATE_RELATED: u32 = 4;
/// `IPS_DST_NAT`: the destination is translated.
const STATUS_DST_NAT: u32 = 1 << 5;

/// Flags of a TCP segment.
pub(super) mod tcp_flag {
    pub(in super::super) const SYN: u8 = 0x02;
    pub(in super::super) const RST: u8 = 0x04;
    pub(in super::super) const ACK: u8 = 0x10;
}

/// The expressions of a rule under construction: conditions, and the verdict on packets that meet all of them.
#[derive(Debug)]
pub(super) struct Expressions<'r>(pub(super) &'r mut Datagram);

impl Expressions<'_> {
    /// The packet came in by this device.
    pub(super) fn device(&mut self, compare: Compare, name: &str) -> &mut Self {
        /// `IFNAMSIZ`
        const SIZE: usize = 16;
        let mut padded = [0; SIZE];
        // No device has a longer name. Compared without its zero, it matches none.
        let len = name.len().min(SIZE);
        padded[..len].copy_from_slice(&name.as_bytes()[..len]);
        self.meta(6).compare(compare, &padded)
    }

    /// The packet is of this address family.
    pub(super) fn family(&mut self, family: AddressFamily) -> &mut Self {
        self.meta(15).compare(Compare::Equal, &[nf_family(family)])
    }

    /// The packet is of this protocol.
    pub(super) fn protocol(&mut self, protocol: Protocol) -> &mut Self {
        self.meta(16).compare(Compare::Equal, &[protocol.number()])
    }

    /// The packet's destination port is in this range.
    pub(super) fn port(&mut self, ports: PortRange) -> &mut Self {
        self.transport(2, 2).between(ports)
    }

    /// The packet's destination port was in this range before translation.
    pub(super) fn port_before_translation(&mut self, ports: PortRange) -> &mut Self {
        self.destination_before_translation(REGISTER).between(ports)
    }

    fn destination_before_translation(&mut self, register: u32) -> &mut Self {
        // NFT_CT_PROTO_DST, IP_CT_DIR_ORIGINAL
        self.expression("ct", |r| {
            r.number(1, register);
            r.number(2, 12);
            r.attribute(3, &[0]);
        })
    }

    fn between(&mut self, ports: PortRange) -> &mut Self {
        if ports.is_one() {
            return self.compare(Compare::Equal, &ports.first().to_be_bytes());
        }
        self.compare(Compare::AtLeast, &ports.first().to_be_bytes());
        self.compare(Compare::AtMost, &ports.last().to_be_bytes())
    }

    /// The TCP flags in `mask` are exactly those in `set`.
    pub(super) fn tcp_flags(&mut self, mask: u8, set: u8) -> &mut Self {
        self.transport(13, 1).mask(&[mask]).compare(Compare::Equal, &[set])
    }

    /// The packet's source is in this set.
    pub(super) fn source_in(&mut self, family: AddressFamily, set: &str) -> &mut Self {
        let (offset, len) = source(family);
        self.network(offset, len).lookup(set, REGISTER)
    }

    /// Its source, its protocol and its port are in this set.
    pub(super) fn source_and_port_in(
        &mut self,
        family: AddressFamily,
        port: SetPort,
        set: &str,
    ) -> &mut Self {
        let (offset, len) = source(family);
        self.payload(REGISTER_4, 1, offset, len);
        let register = REGISTER_4 + len.div_ceil(4);
        self.expression("meta", |r| {
            r.number(1, register);
            r.number(2, 16);
        });
        match port {
            SetPort::Destination => self.payload(register + 1, 2, 2, 2),
            SetPort::BeforeTranslation => self.destination_before_translation(register + 1),
        };
        self.lookup(set, REGISTER_4)
    }

    /// The packet's destination is this address.
    pub(super) fn destination(&mut self, address: IpAddr) -> &mut Self {
        let (offset, len) = destination(AddressFamily::of(address));
        self.network(offset, len);
        match address {
            IpAddr::V4(address) => self.compare(Compare::Equal, &address.octets()),
            IpAddr::V6(address) => self.compare(Compare::Equal, &address.octets()),
        }
    }

    /// The packet's protocol, and the addresses and ports of its source and destination, are in this set.
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

    /// The packet does not belong to a tracked connection.
    pub(super) fn of_no_connection(&mut self) -> &mut Self {
        let known = (STATE_ESTABLISHED | STATE_RELATED).to_ne_bytes();
        self.connection(0).mask(&known).compare(Compare::Equal, &[0; 4])
    }

    /// The packet's destination was translated.
    pub(super) fn translated(&mut self) -> &mut Self {
        self.connection(2).mask(&STATUS_DST_NAT.to_ne_bytes()).compare(Compare::NotEqual, &[0; 4])
    }

    /// Counts the packets that match up to here.
    pub(super) fn counter(&mut self) -> &mut Self {
        self.expression("counter", |_| {})
    }

    /// The verdict on the packet.
    pub(super) fn verdict(&mut self, verdict: NftVerdict<'_>) -> &mut Self {
        let (code, chain) = match verdict {
            NftVerdict::Drop => (0, None),
            NftVerdict::Accept => (1, None),
            NftVerdict::Jump(chain) => (-3_i32, Some(chain)),
            NftVerdict::Reject(protocol) => {
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

    /// Translates the destination to this address, and to this port unless it is `None`.
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

    fn expression(&mut self, name: &str, data: impl FnOnce(&mut Datagram)) -> &mut Self {
        self.0.nested(LIST_ELEMENT, |r| {
            r.string(EXPRESSION_NAME, name);
            r.nested(EXPRESSION_DATA, data);
        });
        self
    }
}

/// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
const fn nf_family(family: AddressFamily) -> u8 {
    match family {
        AddressFamily::V4 => 2,
        AddressFamily::V6 => 10,
    }
}

/// The source address's offset and length in the header, in bytes.
const fn source(family: AddressFamily) -> (u32, u32) {
    match family {
        AddressFamily::V4 => (12, 4),
        AddressFamily::V6 => (8, 16),
    }
}

/// The destination address's offset and length in the header, in bytes.
const fn destination(family: AddressFamily) -> (u32, u32) {
    match family {
        AddressFamily::V4 => (16, 4),
        AddressFamily::V6 => (24, 16),
    }
}
