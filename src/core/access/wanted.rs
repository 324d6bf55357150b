//! What a user's knock asks for: which doors, if he may open all of them.

use core::net::IpAddr;
use core::time::Duration;

use super::{AskedTime, OpenRequest, Policy};
#[cfg(feature = "fwknop")]
use super::{DoorRules, UserRules};
use crate::auth::{Refusal, Request, Wanted};
use crate::door::{DoorId, MAX_DOORS};
use crate::grants::Opener;
use crate::ports::DoorSet;
#[cfg(feature = "fwknop")]
use crate::ports::PortRange;
#[cfg(feature = "fwknop")]
use crate::sequence::{Protocol, Step};
#[cfg(feature = "fwknop")]
use ketuk_protocol::fwknop::{Nat, Port};

/// Longest time that a user may ask for, in seconds: 31 days. What is to be open for longer is a rule of the firewall.
const MAX_ASKED_S: u32 = 31 * 24 * 3600;

/// One for each door, at least one.
pub type Requests = heapless::Vec<OpenRequest, MAX_DOORS>;

/// What a user's knock from `sender` asks for. `own` are this host's addresses.
///
/// # Errors
/// [`Refusal::Door`] if there is one door that he may not open, or that is not there; [`Refusal::NoAddress`] if he must
/// name an address and does not.
pub fn requests(
    policy: &impl Policy,
    own: &[IpAddr],
    sender: IpAddr,
    request: &Request,
) -> Result<Requests, Refusal> {
    let time = request.seconds.map_or(AskedTime::OpenTime, |seconds| {
        AskedTime::For(Duration::from_secs(seconds.min(MAX_ASKED_S).into()))
    });
    if request.address.is_none() && policy.user(request.user).is_some_and(|user| user.require_address) {
        return Err(Refusal::NoAddress);
    }
    let address = request.address.unwrap_or(sender);
    let doors = doors(policy, own, request)?;
    let opener = Opener::User(request.user);
    Ok(doors.iter().map(|door| OpenRequest { opener, door, sender: Some(sender), address, time }).collect())
}

fn doors(policy: &impl Policy, own: &[IpAddr], request: &Request) -> Result<DoorSet, Refusal> {
    #[cfg(not(feature = "fwknop"))]
    let _ = own;
    let user = policy.user(request.user).ok_or(Refusal::Door)?;
    let may = |id: DoorId| user.may_open(id).then_some(id);
    let mut set = DoorSet::default();
    match &request.wanted {
        Wanted::Named(name) => set.add(policy.find(name.as_str()).and_then(may).ok_or(Refusal::Door)?),
        Wanted::Door(id) => set.add(may(*id).ok_or(Refusal::Door)?),
        #[cfg(feature = "fwknop")]
        Wanted::Ports(ports) => {
            for port in ports.ports() {
                set.add(opening(policy, own, user, *port, ports.nat).ok_or(Refusal::Door)?);
            }
        }
    }
    Ok(set)
}

/// The user's door that opens a port, as fwknop asks for it. Several doors may open the port; one of them is his.
#[cfg(feature = "fwknop")]
fn opening(
    policy: &impl Policy,
    own: &[IpAddr],
    user: UserRules<'_>,
    port: Port,
    nat: Option<Nat>,
) -> Option<DoorId> {
    user.doors.iter().find(|id| policy.door(*id).is_some_and(|door| opens(&door, own, port, nat)))
}

/// Whether a door opens what fwknop asks for.
#[cfg(feature = "fwknop")]
fn opens(door: &DoorRules<'_>, own: &[IpAddr], port: Port, nat: Option<Nat>) -> bool {
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
    match (opening.forward, nat) {
        (None, None) => has(opening.dest_port, port.port),
        // `--nat-local` to the port itself is access by another name; the host is whatever the client takes the
        // router for.
        (None, Some(nat)) => nat.local && nat.port == port.port && has(opening.dest_port, port.port),
        // fwknopd's FORCE_NAT: the door says where the port leads.
        (Some((src_dport, _)), None) => has(src_dport, port.port),
        (Some((src_dport, hosts)), Some(nat)) => {
            // A forward goes to one port, or leaves each its number.
            let keeps = opening.dest_port == src_dport;
            has(src_dport, port.port)
                // A name is the client's for a host: the door says which host it is.
                && (nat.host.is_none_or(|host| hosts.contains(&host.into()))
                    || nat.local && hosts.iter().any(here))
                && if keeps { nat.port == port.port } else { has(opening.dest_port, nat.port) }
        }
    }
}
