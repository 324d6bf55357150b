//! The matches and targets of iptables, as C structures: in rules of iptables-legacy, and inside `nf_tables` rules.
//!
//! The matches that firewalls use to let senders in or keep them out are known. Any other counts as one that may match or not.

use super::effect::{Effect, Tri};
use super::packet::Packet;
use crate::core::sequence::Protocol;

/// `XT_CONNTRACK_STATE_BIT` of a new connection, and of one with a translated destination.
const STATE_NEW: u32 = 1 << 3;
const STATE_DNAT: u32 = 1 << 7;

/// Whether a packet matches.
pub(super) fn matches(name: &str, revision: u32, info: &[u8], packet: &Packet<'_>) -> Tri {
    known(name, revision, info, packet).map_or(Tri::Maybe, Tri::of)
}

fn known(name: &str, revision: u32, info: &[u8], packet: &Packet<'_>) -> Option<bool> {
    let u16_at = |at: usize| Some(u16::from_ne_bytes(*info.get(at..)?.first_chunk()?));
    let u32_at = |at: usize| Some(u32::from_ne_bytes(*info.get(at..)?.first_chunk()?));
    let port = |at: usize| Some(u16::from_be_bytes(*packet.transport.get(at..)?.first_chunk()?));
    let between = |at: usize, port: u16| Some((u16_at(at)?..=u16_at(at + 2)?).contains(&port));
    match name {
        "comment" | "limit" => Some(true),
        // struct xt_state_info
        "state" => Some(u32_at(0)? & STATE_NEW != 0),
        // struct xt_conntrack_mtinfo3: only matches on the state and on the port before translation are known
        "conntrack" if revision >= 2 => {
            let (flags, inverted) = (u16_at(146)?, u16_at(148)?);
            let states = u32::from(u16_at(150)?);
            let new = STATE_NEW | if packet.translated { STATE_DNAT } else { 0 };
            let state = (states & new != 0) != (inverted & 1 != 0);
            // XT_CONNTRACK_STATE_ALIAS: it was written as `-m state`.
            match flags & !(1 << 13) {
                1 => Some(state),
                // XT_CONNTRACK_ORIGDST_PORT: one port or a range, from revision 3 on in the host's byte order.
                0x201 if revision >= 3 => {
                    let inside = (u16_at(140)?..=u16_at(156)?).contains(&packet.arrival.port);
                    Some(state && inside != (inverted & 0x200 != 0))
                }
                // The state does not match, so the other conditions do not matter.
                _ if flags & 1 != 0 && !state => Some(false),
                _ => None,
            }
        }
        // struct xt_tcp, struct xt_udp
        "tcp" if packet.arrival.protocol == Protocol::Tcp => {
            let inverted = *info.get(11)?;
            let flags = packet.transport.get(13)? & info.get(9)? == *info.get(10)?;
            Some(
                between(0, port(0)?)? != (inverted & 1 != 0)
                    && between(4, port(2)?)? != (inverted & 2 != 0)
                    && flags != (inverted & 4 != 0)
                    && *info.get(8)? == 0,
            )
        }
        "udp" if packet.arrival.protocol == Protocol::Udp => {
            let inverted = *info.get(8)?;
            Some(between(0, port(0)?)? != (inverted & 1 != 0) && between(4, port(2)?)? != (inverted & 2 != 0))
        }
        // struct xt_multiport_v1
        "multiport" => {
            let (kind, count) = (*info.first()?, usize::from(*info.get(1)?));
            let found: &[u16] = match kind {
                0 => &[port(0)?],
                1 => &[port(2)?],
                _ => &[port(0)?, port(2)?],
            };
            let mut inside = false;
            let mut at = 0;
            while at < count {
                let first = u16_at(2 + 2 * at)?;
                let is_range = *info.get(32 + at)? != 0;
                let last = if is_range { u16_at(4 + 2 * at)? } else { first };
                inside |= found.iter().any(|port| (first..=last).contains(port));
                at += 1 + usize::from(is_range);
            }
            Some(inside != (*info.get(47)? != 0))
        }
        // struct xt_addrtype_info_v1
        "addrtype" if revision == 1 => {
            const UNICAST: u16 = 1 << 1;
            const LOCAL: u16 = 1 << 2;
            let (source, destination, flags) = (u16_at(0)?, u16_at(2)?, u32_at(4)?);
            let kind = if packet.is_local { LOCAL } else { UNICAST };
            let is =
                |mask: u16, kind: u16, invert: u32| mask == 0 || (mask & kind != 0) != (flags & invert != 0);
            Some(is(source, UNICAST, 1) && is(destination, kind, 2))
        }
        // These match the other protocol, or extension headers, which the test packet does not have.
        "tcp" | "udp" | "rt" | "frag" | "hbh" | "dst" | "ah" | "esp" => Some(false),
        // struct xt_recent_mtinfo: seconds, hits, operation (XT_RECENT_SET), inverted. The sender of a first packet is
        // not in the list.
        "recent" => match (*info.get(8)? & 2 != 0, u32_at(4)?) {
            (true, _) => Some(true),
            (false, 2..) => Some(*info.get(9)? != 0),
            _ => None,
        },
        // struct xt_mark_mtinfo1
        "mark" => Some((packet.mark? & u32_at(4)? == u32_at(0)?) != (*info.get(8)? != 0)),
        _ => None,
    }
}

/// The effect of a target on the packet. `surely` says that the rule matches.
pub(super) fn target(
    name: &str,
    revision: u32,
    info: &[u8],
    packet: &mut Packet<'_>,
    surely: bool,
) -> Effect {
    match name {
        "LOG" | "NFLOG" | "AUDIT" | "CT" | "CONNMARK" | "CLASSIFY" | "TCPMSS" | "TRACE" | "SET" | "DSCP" => {
            Effect::Continue
        }
        "MARK" => {
            packet.mark = None;
            Effect::Continue
        }
        "REJECT" => Effect::Drop,
        "DNAT" | "REDIRECT" if surely => {
            const ADDRESSES: u32 = 1;
            const PORTS: u32 = 2;
            // struct nf_nat_ipv4_multi_range_compat: the number of ranges; flags, lowest and highest address, lowest
            // port.
            let (at, len, ports) = match (packet.is_ipv4(), revision) {
                (true, 0 | 1) => (4, 4, 16),
                (true, _) => (0, 4, 36),
                (false, _) => (0, 16, 36),
            };
            let flags =
                info.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |flags| u32::from_ne_bytes(*flags));
            let address = info.get(at + 4..at + 4 + len);
            let port = info.get(ports..).and_then(<[u8]>::first_chunk).map(|port| u16::from_be_bytes(*port));
            packet.translate(
                address.filter(|_| name == "DNAT" && flags & ADDRESSES != 0),
                port.filter(|_| flags & PORTS != 0),
            );
            Effect::Accept
        }
        "DNAT" | "REDIRECT" | "SNAT" | "MASQUERADE" => Effect::Accept,
        _ => Effect::Unknown,
    }
}
