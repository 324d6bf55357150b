//! Finds and cuts the connections that go through a door.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::error::NftError;
use super::flows;
use super::own::Own;
use crate::config::{Door, PortRange};
use crate::core::flow::Flow;
use crate::core::passage::Passage;

/// Whether a connection goes through a door that is open for this passage.
/// `own` are this host's addresses.
///
/// It does if the door opens its destination: this host's own address with the door's port, or the host to which the door
/// forwards. Other connections through this host do not count, whatever their port is.
pub fn goes_through(door: &Door, passage: Passage, own: &[IpAddr], flow: &Flow) -> bool {
    if door.grant_prefix.group(flow.source) != passage.address {
        return false;
    }
    let to_this_host = own.contains(&flow.destination);
    if let Some(port) = passage.port {
        let is_at_port = flow.protocol == port.protocol && flow.destination_port == port.port.get();
        return to_this_host && is_at_port;
    }
    let Some(opening) = &door.opening else { return false };
    if !opening.protocols.contains(&flow.protocol) {
        return false;
    }
    let has = |ports: &[PortRange]| ports.iter().any(|range| range.contains(flow.destination_port));
    match &opening.forward {
        // Another table may translate the port to a container.
        None => to_this_host && has(&opening.dest_port),
        Some(forward) if flow.answers != flow.destination => {
            to_this_host && forward.dest_ip.contains(&flow.answers) && has(&forward.src_dport)
        }
        // The port of a connection to the host's own address is not translated.
        Some(forward) => forward.dest_ip.contains(&flow.destination) && has(&opening.dest_port),
    }
}

/// The most connections that are cut in one round. The rest follows, in at most [`ROUNDS`].
const AT_ONCE: usize = 256;
const ROUNDS: usize = 16;

/// Why some connections of a passage live on.
#[derive(Debug)]
pub enum CutError {
    /// The kernel does not list all its connections.
    List(io::Error),
    /// The firewall cannot refuse their packets.
    Refuse(NftError),
    /// There are more connections than are cut at once.
    TooMany,
}

impl fmt::Display for CutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(error) => write!(f, "the kernel does not list its connections: {error}"),
            Self::Refuse(error) => write!(f, "{error}"),
            Self::TooMany => f.write_str("there are too many to cut them at once"),
        }
    }
}

impl std::error::Error for CutError {}

/// Cuts the connections of a passage that go through a door, and no others. Returns how many were cut. Packets of both ends
/// are refused from now on, and the kernel forgets the connections.
///
/// # Errors
/// Some connections live on.
pub fn cut(own_table: &mut Own, door: &Door, passage: Passage, own: &[IpAddr]) -> Result<usize, CutError> {
    cut_by_rounds(
        |each| {
            flows::each(&mut |flow| {
                if goes_through(door, passage, own, flow) {
                    each(flow);
                }
            })
            .map(drop)
        },
        |found| own_table.cut(found),
        |found| flows::forget(found).unwrap_or(0),
    )
}

/// Cuts the connections that `list` names.
fn cut_by_rounds(
    list: impl Fn(&mut dyn FnMut(&Flow)) -> io::Result<()>,
    mut refuse: impl FnMut(&[Flow]) -> Result<(), NftError>,
    forget: impl Fn(&[Flow]) -> usize,
) -> Result<usize, CutError> {
    let mut cut = 0;
    for _ in 0..ROUNDS {
        let mut found = Vec::new();
        let listed = list(&mut |flow| {
            // Connections that do not fit are found in the next round.
            if found.len() < AT_ONCE {
                found.push(*flow);
            }
        });
        // The refusal comes first, so that no packet can bring a forgotten connection back.
        refuse(&found).map_err(CutError::Refuse)?;
        let forgotten = forget(&found);
        cut += forgotten;
        listed.map_err(CutError::List)?;
        if found.len() < AT_ONCE {
            return Ok(cut);
        }
        // The next round would find the same connections.
        if forgotten == 0 {
            break;
        }
    }
    Err(CutError::TooMany)
}

/// Undoes [`cut`], because `address` is let in again.
///
/// # Errors
/// Packets on the ports of the old connections may still be refused.
pub fn uncut(own_table: &mut Own, door: &Door, address: IpAddr) -> Result<(), NftError> {
    let is_his = |ends: [SocketAddr; 2]| ends.iter().any(|end| door.grant_prefix.group(end.ip()) == address);
    own_table.uncut(address, is_his)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::core::sequence::{Protocol, Step};

    const ROUTER: &str = "203.0.113.1";
    const KNOCKER: &str = "198.51.100.10";

    const DOORS: &str = "
config door 'ssh'
	option proto 'tcp'
	option dest_port '22'
config door 'nas'
	option proto 'tcp'
	option src_dport '8443'
	list dest_ip '192.168.1.10'
	list dest_ip '2001:db8:2::10'
	option dest_port '443'
config door 'net'
	option dest_port '22'
	option grant_prefix_4 '24'
";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Whether a connection from `from` to `to`, which `answers` answers, goes through the door.
    fn goes(door: &str, from: &str, to: (&str, u16), answers: &str) -> bool {
        let config = config::parse("test", DOORS.as_bytes()).unwrap();
        let door = config.doors.iter().find(|found| found.name == door).unwrap();
        let own = [ip("192.168.1.1"), ip(ROUTER), ip("2001:db8:1::1")];
        let address = door.grant_prefix.group(ip(if from.contains(':') { "2001:db8::9" } else { KNOCKER }));
        let flow = Flow {
            protocol: Protocol::Tcp,
            source: ip(from),
            source_port: 40000,
            destination: ip(to.0),
            destination_port: to.1,
            answers: ip(answers),
            answers_port: 443,
            replied: true,
            tcp_state: Some(3),
        };
        goes_through(door, address.into(), &own, &flow)
    }

    /// A kernel that lists this many connections.
    fn listing(number: usize) -> impl Fn(&mut dyn FnMut(&Flow)) -> io::Result<()> {
        let flow = Flow {
            protocol: Protocol::Tcp,
            source: ip(KNOCKER),
            source_port: 40000,
            destination: ip(ROUTER),
            destination_port: 22,
            answers: ip(ROUTER),
            answers_port: 22,
            replied: true,
            tcp_state: Some(3),
        };
        move |each| {
            (0..number).for_each(|_| each(&flow));
            Ok(())
        }
    }

    #[test]
    fn connections_that_live_on_are_an_error() {
        assert_eq!(cut_by_rounds(listing(3), |_| Ok(()), <[Flow]>::len).unwrap(), 3);
        // Their packets are refused, even if the kernel cannot forget them.
        assert_eq!(cut_by_rounds(listing(3), |_| Ok(()), |_| 0).unwrap(), 0);
        for forgotten in [0, AT_ONCE] {
            let cut = cut_by_rounds(listing(AT_ONCE), |_| Ok(()), |_| forgotten);
            assert!(matches!(cut, Err(CutError::TooMany)), "{cut:?}");
        }
        let cut = cut_by_rounds(|_| Err(io::ErrorKind::NotFound.into()), |_| Ok(()), |_| 0);
        assert!(matches!(cut, Err(CutError::List(_))), "{cut:?}");
        let cut = cut_by_rounds(listing(3), |_| Err(NftError::Denied), <[Flow]>::len);
        assert!(matches!(cut, Err(CutError::Refuse(NftError::Denied))), "{cut:?}");
    }

    #[test]
    fn what_the_door_opens_and_nothing_else() {
        for (door, from, to, answers, expected) in [
            ("ssh", KNOCKER, (ROUTER, 22), ROUTER, true),
            ("ssh", KNOCKER, ("192.168.1.1", 22), "192.168.1.1", true),
            ("ssh", KNOCKER, (ROUTER, 22), "172.17.0.2", true), // led on to a container
            ("ssh", KNOCKER, (ROUTER, 23), ROUTER, false),
            ("ssh", "198.51.100.11", (ROUTER, 22), ROUTER, false),
            // A connection from the LAN to the world, through the router.
            ("ssh", KNOCKER, ("192.0.2.1", 22), "192.0.2.1", false),
            ("net", "198.51.100.77", (ROUTER, 22), ROUTER, true),
            ("net", "198.51.101.77", (ROUTER, 22), ROUTER, false),
            ("nas", KNOCKER, (ROUTER, 8443), "192.168.1.10", true),
            ("nas", KNOCKER, (ROUTER, 8443), "192.168.1.11", false),
            ("nas", KNOCKER, (ROUTER, 443), "192.168.1.10", false),
            ("nas", KNOCKER, ("192.0.2.1", 8443), "192.168.1.10", false),
            ("nas", "2001:db8::9", ("2001:db8:2::10", 443), "2001:db8:2::10", true),
            ("nas", "2001:db8::9", ("2001:db8:2::10", 8443), "2001:db8:2::10", false),
            ("nas", "2001:db8::9", ("2001:db8:2::11", 443), "2001:db8:2::11", false),
        ] {
            assert_eq!(goes(door, from, to, answers), expected, "{door}: {from} to {to:?}, {answers}");
        }
    }

    #[test]
    fn of_any_port_only_the_one_that_was_asked_for() {
        let own = [ip(ROUTER)];
        let port = Step { protocol: Protocol::Tcp, port: 22.try_into().unwrap() };
        let passage = Passage { address: ip(KNOCKER), port: Some(port) };
        let goes = |from, to, port| {
            let flow = Flow {
                protocol: Protocol::Tcp,
                source: ip(from),
                source_port: 40000,
                destination: ip(to),
                destination_port: port,
                answers: ip(to),
                answers_port: port,
                replied: true,
                tcp_state: Some(3),
            };
            goes_through(&Door::named("any"), passage, &own, &flow)
        };
        assert!(goes(KNOCKER, ROUTER, 22));
        assert!(!goes(KNOCKER, ROUTER, 23));
        assert!(!goes(KNOCKER, "192.0.2.1", 22), "it only passes");
        assert!(!goes("198.51.100.11", ROUTER, 22));
    }
}
