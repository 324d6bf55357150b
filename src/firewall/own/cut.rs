//! Connections that are cut when a door with `kill 'on'` shuts.
//!
//! To delete a connection from the kernel's tracking is not enough: with `nf_conntrack_tcp_loose`, which is the
//! default, the next packet of either end is taken for a connection of its own and brings it back. So each connection
//! that is cut is in a set for a while, by its addresses and both ports, and what both ends still say on it is refused.
//! A new connection is not refused, even between the same ports: it begins with a SYN, and from then on the kernel
//! knows it.

use core::net::IpAddr;
use core::time::Duration;

use nix::errno::Errno;

use super::expression::{Verdict, protocol_number, tcp_flag};
use super::{CREATE, FORWARD, INPUT, NAME, OUTPUT, Own, write_rule};
use crate::config::TableFamily;
use crate::core::flow::Flow;
use crate::core::network::AddressFamily;
use crate::core::sequence::Protocol;
use crate::firewall::error::{NftError, Operation};
use crate::firewall::nft::batch::Batch;
use crate::firewall::nft::{self, Answer, kind};
use crate::linux::netlink::message::Request;

/// The sets of connections that were cut.
pub(super) const CUT_TUPLES: [(AddressFamily, &str); 2] =
    [(AddressFamily::V4, "cut_4"), (AddressFamily::V6, "cut_6")];

/// Most ends of connections that are refused at one time, three for each connection at most. A full set refuses
/// further ones, which is logged: those connections live on.
pub(super) const MAX_CUT: u32 = 4096;

/// How long what the ends of a connection say is refused. An end that is silent asks after two hours whether the other
/// is still there (`tcp_keepalive_time`), is refused, and gives up.
const CUT_TIME: Duration = Duration::from_secs(3 * 3600);

/// Most elements in one transaction, so that the kernel's answer fits into the socket's queue.
const AT_ONCE: usize = 64;

/// One direction of a connection, as its packets show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    protocol: Protocol,
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
}

impl Cut {
    /// What the packets of a connection look like where they are filtered: from who began it, as he sends them and as
    /// they are translated, and from who answers.
    pub fn of(flow: &Flow) -> impl Iterator<Item = Self> + use<> {
        let client = (flow.source, flow.source_port);
        let called = (flow.destination, flow.destination_port);
        let answers = (flow.answers, flow.answers_port);
        let protocol = flow.protocol;
        let cut = |source, destination| Self { protocol, source, destination };
        let translated = (answers != called).then_some(cut(client, answers));
        [Some(cut(client, called)), translated, Some(cut(answers, client))].into_iter().flatten()
    }

    /// Each part takes four bytes or a multiple.
    fn key(&self) -> heapless::Vec<u8, 44> {
        let mut key = heapless::Vec::new();
        key.extend_from_slice(&[protocol_number(self.protocol), 0, 0, 0]).expect("room for IPv6");
        for (address, port) in [self.source, self.destination] {
            let written = match address {
                IpAddr::V4(address) => key.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => key.extend_from_slice(&address.octets()),
            };
            written.and_then(|()| key.extend_from_slice(&port.to_be_bytes())).expect("room for IPv6");
            key.extend_from_slice(&[0; 2]).expect("room for IPv6");
        }
        key
    }

    fn set(&self) -> &'static str {
        set_for(self.source.0)
    }
}

/// Writes the rules that refuse what was cut.
pub(super) fn write_cut(batch: &mut Batch<'_>) {
    for hook in [INPUT, FORWARD, OUTPUT] {
        for (family, set) in CUT_TUPLES {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                write_rule(batch, hook.name, "cut", |e| {
                    e.family(family).protocol(protocol).of_no_connection();
                    if protocol == Protocol::Tcp {
                        // A SYN begins a new one. The refusal itself, a reset, goes out by the same chain.
                        e.tcp_flags(tcp_flag::SYN | tcp_flag::RST, 0);
                    }
                    e.ends_in_set(family, set).counter().verdict(Verdict::Reject(protocol));
                });
            }
        }
    }
}

impl Own {
    /// Refuses from now on what is said on these connections. The kernel still has to forget them.
    ///
    /// # Errors
    /// Some connection may live on.
    pub fn cut(&mut self, flows: &[Flow]) -> Result<(), NftError> {
        let cuts: Vec<Cut> = flows.iter().flat_map(Cut::of).collect();
        for cuts in cuts.chunks(AT_ONCE) {
            self.commit(Operation::Add, |batch| {
                for cut in cuts {
                    // One that is there already has its time.
                    batch.change(kind::NEW_ELEMENT, CREATE, TableFamily::Inet, |r| {
                        write_element(r, cut.set(), &cut.key(), Some(CUT_TIME));
                    });
                }
            })?;
        }
        Ok(())
    }

    /// Takes back what [`Self::cut`] did to the connections that are `his`: of the family of `address`, who is let
    /// in again, and with these two ends.
    ///
    /// # Errors
    /// Something may still be refused to him.
    pub fn uncut(
        &mut self,
        address: IpAddr,
        his: impl Fn([(IpAddr, u16); 2]) -> bool,
    ) -> Result<(), NftError> {
        let set = set_for(address);
        let mut keys = Vec::new();
        let (request, sequence) = self.dialogue.begin(1);
        nft::dump_elements(request, &super::table(), set, sequence);
        let errno = self
            .dialogue
            .ask(sequence, &mut |message| {
                if let Answer::Object { kind: kind::NEW_ELEMENT, attributes, .. } = Answer::of(message) {
                    let his = nft::keys(attributes).filter(|key| ends(key).is_some_and(&his));
                    keys.extend(his.map(<[u8]>::to_vec));
                }
            })
            .map_err(|error| self.failed(Operation::List, error))?;
        // A set or table that is not there refuses nobody.
        if errno != 0 && errno != libc::ENOENT {
            return Err(NftError::of(Operation::List, &self.table_name, Errno::from_raw(errno)));
        }
        for keys in keys.chunks(AT_ONCE) {
            self.commit(Operation::Delete, |batch| {
                for key in keys {
                    batch.change(kind::DEL_ELEMENT, 0, TableFamily::Inet, |r| {
                        write_element(r, set, key, None);
                    });
                }
            })?;
        }
        Ok(())
    }

    /// Takes back all that [`Self::cut`] did, at a clean stop.
    ///
    /// # Errors
    /// Something may still be refused.
    pub fn uncut_all(&mut self) -> Result<(), NftError> {
        for (_, set) in CUT_TUPLES {
            let emptied = self.commit(Operation::Delete, |batch| {
                batch.change(kind::DEL_ELEMENT, 0, TableFamily::Inet, |r| {
                    r.string(nft::LIST_TABLE, NAME);
                    r.string(nft::LIST_SET, set);
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

/// Addresses and ports of both ends in a key.
fn ends(key: &[u8]) -> Option<[(IpAddr, u16); 2]> {
    let ends = key.get(4..)?;
    let (source, destination) = ends.split_at(ends.len() / 2);
    let end = |end: &[u8]| {
        let (address, port) = end.split_at_checked(end.len().checked_sub(4)?)?;
        let address = match address.len() {
            4 => IpAddr::from(*address.first_chunk::<4>()?),
            _ => IpAddr::from(*address.first_chunk::<16>()?),
        };
        Some((address, u16::from_be_bytes(*port.first_chunk()?)))
    };
    Some([end(source)?, end(destination)?])
}

fn write_element(request: &mut Request, set: &str, key: &[u8], time: Option<Duration>) {
    request.string(nft::LIST_TABLE, NAME);
    request.string(nft::LIST_SET, set);
    request.nested(nft::LIST_ELEMENTS, |r| r.nested(nft::LIST_ELEMENT, |r| nft::keyed_element(r, key, time)));
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
            let cuts = Cut::of(flow).map(|Cut { source, destination, .. }| {
                format!("{}:{} {}:{}", source.0, source.1, destination.0, destination.1)
            });
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
        assert_eq!(ends(&key), Some([(here.source, 40000), (here.destination, 8443)]));
    }
}
