//! Cuts connections when a door with `kill 'on'` shuts.
//!
//! It is not enough to delete a connection from the kernel's tracking. By default (`nf_conntrack_tcp_loose`) the next
//! packet of either end brings it back. So the addresses and ports of each cut connection are kept in a set for a
//! while, and packets of both ends are refused. A new connection between the same ports is not refused: it begins with
//! a SYN, and from then on the kernel tracks it.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use nix::errno::Errno;

use super::expression::{NftVerdict, tcp_flag};
use super::{FORWARD, INPUT, NAME, OUTPUT, Own, write_rule};
use crate::config::TableFamily;
use crate::core::flow::Flow;
use crate::core::network::AddressFamily;
use crate::core::sequence::Protocol;
use crate::firewall::error::{NftError, Operation};
use crate::firewall::nft::batch::Batch;
use crate::firewall::nft::element::{self, LIST_ELEMENT, LIST_ELEMENTS, LIST_SET, LIST_TABLE};
use crate::firewall::nft::{CREATE, KernelAnswer, kind};
use crate::linux::netlink::message::Datagram;

/// The sets of connections that were cut.
pub(super) const CUT_TUPLES: [(AddressFamily, &str); 2] =
    [(AddressFamily::V4, "cut_4"), (AddressFamily::V6, "cut_6")];

/// The most elements in the sets of cut connections. A connection has three at most. When a set is full, further
/// connections live on, which is logged.
pub(super) const MAX_CUT: u32 = 4096;

/// The time for which packets of a cut connection are refused. A silent end probes the other after two hours
/// (`tcp_keepalive_time`), is refused, and gives up.
const CUT_TIME: Duration = Duration::from_secs(3 * 3600);

/// The most elements in one transaction. The kernel's answers must fit into the socket's queue.
const AT_ONCE: usize = 64;

/// One direction of a connection, as packets show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    protocol: Protocol,
    source: SocketAddr,
    destination: SocketAddr,
}

impl Cut {
    /// The directions of a connection as the rules may see them: from the originator before translation, from the originator
    /// after translation if there is one, and from the responder.
    pub fn of(flow: &Flow) -> impl Iterator<Item = Self> + use<> {
        let client = SocketAddr::new(flow.source, flow.source_port);
        let called = SocketAddr::new(flow.destination, flow.destination_port);
        let answers = SocketAddr::new(flow.answers, flow.answers_port);
        let protocol = flow.protocol;
        let cut = |source, destination| Self { protocol, source, destination };
        let translated = (answers != called).then_some(cut(client, answers));
        [Some(cut(client, called)), translated, Some(cut(answers, client))].into_iter().flatten()
    }

    /// The key of the set. Each part is padded to a multiple of four bytes.
    fn key(&self) -> heapless::Vec<u8, 44> {
        let mut key = heapless::Vec::new();
        key.extend_from_slice(&[self.protocol.number(), 0, 0, 0]).expect("room for IPv6");
        for end in [self.source, self.destination] {
            let written = match end.ip() {
                IpAddr::V4(address) => key.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => key.extend_from_slice(&address.octets()),
            };
            written.and_then(|()| key.extend_from_slice(&end.port().to_be_bytes())).expect("room for IPv6");
            key.extend_from_slice(&[0; 2]).expect("room for IPv6");
        }
        key
    }

    fn set(&self) -> &'static str {
        set_for(self.source.ip())
    }
}

/// Writes the rules that refuse packets of cut connections.
pub(super) fn write_cut(batch: &mut Batch<'_>) {
    for hook in [INPUT, FORWARD, OUTPUT] {
        for (family, set) in CUT_TUPLES {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                write_rule(batch, hook.name, "cut", &mut |e| {
                    e.family(family).protocol(protocol).of_no_connection();
                    if protocol == Protocol::Tcp {
                        // A SYN begins a new connection, and the refusal itself is a reset. Both may pass.
                        e.tcp_flags(tcp_flag::SYN | tcp_flag::RST, 0);
                    }
                    e.ends_in_set(family, set).counter().verdict(NftVerdict::Reject(protocol));
                });
            }
        }
    }
}

impl Own {
    /// Refuses packets of these connections from now on. The caller must then make the kernel forget them.
    ///
    /// # Errors
    /// Some connections may live on.
    pub fn cut(&mut self, flows: &[Flow]) -> Result<(), NftError> {
        let mut cuts = Vec::new();
        for flow in flows {
            cuts.extend(Cut::of(flow));
        }
        for cuts in cuts.chunks(AT_ONCE) {
            self.commit(Operation::Add, &mut |batch| {
                for cut in cuts {
                    // An element that exists keeps its time.
                    batch.change(kind::NEW_ELEMENT, CREATE, TableFamily::Inet, |r| {
                        write_element(r, cut.set(), &cut.key(), Some(CUT_TIME));
                    });
                }
            })?;
        }
        Ok(())
    }

    /// Undoes [`Self::cut`] for connections of `address`, which is let in again. `is_his` says whether a connection with these
    /// two ends belongs to the address.
    ///
    /// # Errors
    /// Some packets may still be refused.
    pub fn uncut(
        &mut self,
        address: IpAddr,
        is_his: impl Fn([SocketAddr; 2]) -> bool,
    ) -> Result<(), NftError> {
        let set = set_for(address);
        let mut keys = Vec::new();
        let (request, sequence) = self.dialogue.begin(1);
        element::dump(request, &super::table(), set, sequence);
        let errno = self
            .dialogue
            .ask(sequence, &mut |message| {
                if let KernelAnswer::Object { kind: kind::NEW_ELEMENT, attributes, .. } =
                    KernelAnswer::of(message)
                {
                    let his = element::keys(attributes).filter(|key| ends(key).is_some_and(&is_his));
                    keys.extend(his.map(<[u8]>::to_vec));
                }
            })
            .map_err(|error| self.failed(Operation::List, error))?;
        // A missing set or table refuses nothing.
        if errno != 0 && errno != libc::ENOENT {
            return Err(NftError::of(Operation::List, &self.table_name, Errno::from_raw(errno)));
        }
        for keys in keys.chunks(AT_ONCE) {
            self.commit(Operation::Delete, &mut |batch| {
                for key in keys {
                    batch.change(kind::DEL_ELEMENT, 0, TableFamily::Inet, |r| {
                        write_element(r, set, key, None);
                    });
                }
            })?;
        }
        Ok(())
    }

    /// Undoes all cuts, at a clean stop.
    ///
    /// # Errors
    /// Some packets may still be refused.
    pub fn uncut_all(&mut self) -> Result<(), NftError> {
        for (_, set) in CUT_TUPLES {
            let emptied = self.commit(Operation::Delete, &mut |batch| {
                batch.change(kind::DEL_ELEMENT, 0, TableFamily::Inet, |r| {
                    r.string(LIST_TABLE, NAME);
                    r.string(LIST_SET, set);
                });
            });
            match emptied {
                Ok(()) | Err(NftError::Kernel { errno: Errno::ENOENT, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The set for connections of this address.
fn set_for(address: IpAddr) -> &'static str {
    let [(_, v4), (_, v6)] = CUT_TUPLES;
    if address.is_ipv4() { v4 } else { v6 }
}

/// The addresses and ports of both ends in a key.
fn ends(key: &[u8]) -> Option<[SocketAddr; 2]> {
    let ends = key.get(4..)?;
    let (source, destination) = ends.split_at(ends.len() / 2);
    let end = |end: &[u8]| {
        let (address, port) = end.split_at_checked(end.len().checked_sub(4)?)?;
        let address = match address.len() {
            4 => IpAddr::from(*address.first_chunk::<4>()?),
            _ => IpAddr::from(*address.first_chunk::<16>()?),
        };
        Some(SocketAddr::new(address, u16::from_be_bytes(*port.first_chunk()?)))
    };
    Some([end(source)?, end(destination)?])
}

fn write_element(request: &mut Datagram, set: &str, key: &[u8], time: Option<Duration>) {
    request.string(LIST_TABLE, NAME);
    request.string(LIST_SET, set);
    request.nested(LIST_ELEMENTS, |r| r.nested(LIST_ELEMENT, |r| element::write_keyed(r, key, time)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(destination: &str, answers: &str) -> Flow {
        Flow {
            protocol: Protocol::Tcp,
            source: "198.51.100.10".parse().unwrap(),
            source_port: 40000,
            destination: destination.parse().unwrap(),
            destination_port: 8443,
            answers: answers.parse().unwrap(),
            answers_port: if answers == destination { 8443 } else { 443 },
            replied: true,
            tcp_state: Some(3),
        }
    }

    #[test]
    fn a_connection_is_named_by_both_ends_and_nothing_less() {
        let shown = |flow: &Flow| {
            let cuts = Cut::of(flow).map(|Cut { source, destination, .. }| format!("{source} {destination}"));
            cuts.collect::<Vec<_>>()
        };
        let here = flow("203.0.113.1", "203.0.113.1");
        assert_eq!(
            shown(&here),
            ["198.51.100.10:40000 203.0.113.1:8443", "203.0.113.1:8443 198.51.100.10:40000"]
        );
        let behind = flow("203.0.113.1", "192.168.1.10");
        assert_eq!(
            shown(&behind),
            [
                "198.51.100.10:40000 203.0.113.1:8443",
                "198.51.100.10:40000 192.168.1.10:443",
                "192.168.1.10:443 198.51.100.10:40000"
            ]
        );
        let key = Cut::of(&here).next().unwrap().key();
        assert_eq!(key, [6, 0, 0, 0, 198, 51, 100, 10, 0x9c, 0x40, 0, 0, 203, 0, 113, 1, 0x20, 0xfb, 0, 0]);
        assert_eq!(
            ends(&key),
            Some([SocketAddr::new(here.source, 40000), SocketAddr::new(here.destination, 8443)])
        );
    }
}
