//! Which connections go through a door, and how they are cut.

use std::net::IpAddr;

use super::error::NftError;
use super::flows;
use super::own::Own;
use crate::config::{Door, PortRange};
use crate::core::flow::Flow;

/// Whether a connection goes through a door as it is open for `address`, an address or the first one of a network.
/// `own` are this host's addresses.
///
/// It does if it leads to what the door opens: one of this host's own addresses and the door's port, or the host behind
/// this one that the door forwards to. A connection that only passes through this host is none of the door's, whatever
/// its port.
pub fn goes_through(door: &Door, address: IpAddr, own: &[IpAddr], flow: &Flow) -> bool {
    let Some(opening) = &door.opening else { return false };
    if door.grant_prefix.group(flow.source) != address || !opening.protocols.contains(&flow.protocol) {
        return false;
    }
    let has = |ports: &[PortRange]| ports.iter().any(|range| range.contains(flow.destination_port));
    let to_this_host = own.contains(&flow.destination);
    match &opening.forward {
        // Another table may lead it on, to a container.
        None => to_this_host && has(&opening.dest_port),
        Some(forward) if flow.answers != flow.destination => {
            to_this_host && forward.dest_ip.contains(&flow.answers) && has(&forward.src_dport)
        }
        // To a host's own address the port is not translated.
        Some(forward) => forward.dest_ip.contains(&flow.destination) && has(&opening.dest_port),
    }
}

/// Most connections cut at once; the rest follows, in at most [`ROUNDS`].
const AT_ONCE: usize = 256;
const ROUNDS: usize = 16;

/// Cuts the connections of `address` that go through a door, and no others: how many. What both ends still say on them
/// is refused from now on, and the kernel forgets them.
///
/// # Errors
/// Some live on.
pub fn cut(own_table: &mut Own, door: &Door, address: IpAddr, own: &[IpAddr]) -> Result<usize, NftError> {
    let mut cut = 0;
    for _ in 0..ROUNDS {
        let mut found = Vec::new();
        let read = flows::each(|flow| {
            // What does not fit is found in the next round.
            if found.len() < AT_ONCE && goes_through(door, address, own, flow) {
                found.push(*flow);
            }
        });
        // First the refusal, so that nothing can bring a forgotten connection back.
        own_table.cut(&found)?;
        let forgotten = flows::forget(&found).unwrap_or(0);
        cut += forgotten;
        if read.is_err() || forgotten == 0 || found.len() < AT_ONCE {
            break;
        }
    }
    Ok(cut)
}

/// Takes back what [`cut`] did, since `address` is let in again.
///
/// # Errors
/// He may still be refused on the ports of his old connections.
pub fn uncut(own_table: &mut Own, door: &Door, address: IpAddr) -> Result<(), NftError> {
    let his = |ends: [(IpAddr, u16); 2]| ends.iter().any(|(end, _)| door.grant_prefix.group(*end) == address);
    own_table.uncut(address, his)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::core::sequence::Protocol;

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

    /// Whether a connection `from` to `to` (address and port), which `answers` answers, goes through the door.
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
        goes_through(door, address, &own, &flow)
    }

    #[test]
    fn what_the_door_opens_and_nothing_else() {
        for (door, from, to, answers, expected) in [
            ("ssh", KNOCKER, (ROUTER, 22), ROUTER, true),
            ("ssh", KNOCKER, ("192.168.1.1", 22), "192.168.1.1", true),
            ("ssh", KNOCKER, (ROUTER, 22), "172.17.0.2", true), // led on to a container
            ("ssh", KNOCKER, (ROUTER, 23), ROUTER, false),
            ("ssh", "198.51.100.11", (ROUTER, 22), ROUTER, false),
            // Out to the world, through the router.
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
}
