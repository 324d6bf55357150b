//! What a user's request means: which doors, if he may open all that he asks for.

use std::net::IpAddr;

use super::slots::Slots;
use crate::config::User;
use crate::core::auth::{Refusal, Wanted};
use crate::core::door::{DoorId, MAX_DOORS};
use crate::core::ports::DoorSet;
#[cfg(feature = "fwknop")]
use crate::{
    config::{Door, PortRange},
    core::sequence::{Protocol, Step},
    protocol::fwknop::{Nat, Port},
};

/// The doors, at least one.
pub type Doors = heapless::Vec<DoorId, MAX_DOORS>;

/// The doors that a user's request is for. `own` are this host's addresses.
///
/// # Errors
/// [`Refusal::Door`] if there is one that he may not open, or that is not there.
pub fn doors(slots: &Slots, own: &[IpAddr], user: &User, wanted: &Wanted) -> Result<Doors, Refusal> {
    #[cfg(not(feature = "fwknop"))]
    let _ = own;
    let may = |id: DoorId| slots.get(id).filter(|door| user.doors.contains(&door.name)).map(|_| id);
    let mut set = DoorSet::default();
    let mut add = |id: Option<DoorId>| {
        set.0 |= 1 << id.and_then(may).ok_or(Refusal::Door)?.0;
        Ok(())
    };
    match wanted {
        Wanted::Named(name) => add(slots.find(name.as_str()))?,
        Wanted::Door(id) => add(Some(*id))?,
        #[cfg(feature = "fwknop")]
        Wanted::Ports(request) => {
            for port in request.ports() {
                // Several doors may open the port; one of them is his.
                let opens = |door: &Door| opens(door, own, *port, request.nat);
                let his = slots.iter().filter(|(id, door)| opens(door) && may(*id).is_some());
                add(his.map(|(id, _)| id).next())?;
            }
        }
    }
    Ok(set.iter().collect())
}

/// Whether a door opens what fwknop asks for.
#[cfg(feature = "fwknop")]
fn opens(door: &Door, own: &[IpAddr], port: Port, nat: Option<Nat>) -> bool {
    let protocol = if port.udp { Protocol::Udp } else { Protocol::Tcp };
    let Some(opening) = &door.opening else {
        let asked = |step: Step| step.protocol == protocol && step.port.get() == port.port;
        return nat.is_none() && door.fwknop_port.is_some_and(asked);
    };
    let here = |host: &IpAddr| host.is_loopback() || own.contains(host);
    let has = |ranges: &[PortRange], port| ranges.iter().any(|range| range.contains(port));
    if !opening.protocols.contains(&protocol) {
        return false;
    }
    match (&opening.forward, nat) {
        (None, None) => has(&opening.dest_port, port.port),
        // `--nat-local` to the port itself is access by another name; the host is whatever the client takes the
        // router for.
        (None, Some(nat)) => nat.local && nat.port == port.port && has(&opening.dest_port, port.port),
        // fwknopd's FORCE_NAT: where the port leads is the door's to say.
        (Some(forward), None) => has(&forward.src_dport, port.port),
        (Some(forward), Some(nat)) => {
            // A forward goes to one port, or leaves each its number.
            let keeps = opening.dest_port == forward.src_dport;
            has(&forward.src_dport, port.port)
                // A name is the client's for a host: which one it is, the door says.
                && (nat.host.is_none_or(|host| forward.dest_ip.contains(&host.into()))
                    || nat.local && forward.dest_ip.iter().any(here))
                && if keeps { nat.port == port.port } else { has(&opening.dest_port, nat.port) }
        }
    }
}

#[cfg(test)]
#[cfg(feature = "fwknop")]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::config;

    const CONFIG: &str = "
config door 'web'
	option proto 'tcp'
	option dest_port '80 8000-8010'
config door 'dns'
	option dest_port '53'
config door 'nas'
	option proto 'tcp'
	option src_dport '8443'
	option dest_ip '192.168.1.10'
	option dest_port '443'
config door 'range'
	option src_dport '9000-9010'
	option dest_ip '192.168.1.11'
config door 'local'
	option src_dport '5000'
	option dest_ip '192.168.1.1'
	option dest_port '22'
config door 'never'
	option dest_port '22'
config user 'alice'
	list door 'web dns nas range local'
";

    fn opened(proto: &str, port: u16, nat: Option<(&str, u16, bool)>) -> Option<String> {
        let config = config::parse("test", CONFIG.as_bytes()).unwrap();
        let own = ["192.168.1.1".parse().unwrap()];
        let nat = nat.map(|(host, port, local)| Nat { host: host.parse::<Ipv4Addr>().ok(), port, local });
        let port = Port { udp: proto == "udp", port };
        let may = |door: &&Door| opens(door, &own, port, nat) && config.users[0].doors.contains(&door.name);
        config.doors.iter().find(may).map(|door| door.name.clone())
    }

    #[test]
    fn the_door_is_found_by_what_it_opens() {
        let lan = Some(("192.168.1.10", 443, false));
        let own = Some(("127.0.0.1", 80, true));
        for (proto, port, nat, expected) in [
            ("tcp", 80, None, Some("web")),
            ("tcp", 8005, None, Some("web")),
            ("udp", 80, None, None),
            ("udp", 53, None, Some("dns")),
            ("tcp", 22, None, None),
            ("tcp", 8443, lan, Some("nas")),
            ("tcp", 8443, None, Some("nas")),
            ("udp", 8443, lan, None),
            ("tcp", 443, lan, None),
            ("tcp", 8443, Some(("192.168.1.10", 80, false)), None),
            ("tcp", 8443, Some(("192.168.1.11", 443, false)), None),
            ("udp", 9005, Some(("192.168.1.11", 9005, false)), Some("range")),
            ("udp", 9005, Some(("192.168.1.11", 9006, false)), None),
            ("tcp", 80, own, Some("web")),
            ("tcp", 8000, own, None),
            ("tcp", 80, Some(("127.0.0.1", 80, false)), None),
            ("tcp", 5000, Some(("203.0.113.1", 22, true)), Some("local")),
            ("tcp", 5000, Some(("home.example.org", 22, true)), Some("local")),
            ("tcp", 5000, Some(("203.0.113.1", 22, false)), None),
            ("tcp", 5000, Some(("203.0.113.1", 23, true)), None),
            ("tcp", 8443, Some(("203.0.113.1", 443, true)), None),
        ] {
            assert_eq!(opened(proto, port, nat).as_deref(), expected, "{proto}/{port} {nat:?}");
        }
    }
}
