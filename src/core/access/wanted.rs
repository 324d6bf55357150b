//! The doors that a user's knock asks for, if he may open all of them.

use core::net::IpAddr;
use core::time::Duration;

use super::{AskedTime, OpenRequest, Policy};
#[cfg(feature = "fwknop")]
use super::{DoorRules, UserRules};
use crate::auth::{Refusal, UserRequest, Wanted};
use crate::door::DoorId;
use crate::grants::Opener;
#[cfg(feature = "fwknop")]
use crate::ports::PortRange;
#[cfg(feature = "fwknop")]
use crate::sequence::Protocol;
use crate::sequence::Step;
#[cfg(feature = "fwknop")]
use ketuk_protocol::fwknop::{Nat, Port};

/// Longest time that a user may ask for, in seconds: 31 days. A port that is to be open for longer needs a rule of the
/// firewall, not a knock.
const MAX_ASKED_S: u32 = 31 * 24 * 3600;

/// The most requests that one knock makes: one for each port that a fwknop client asks for.
const MAX_REQUESTS: usize = 8;

/// One request for each door, or for each port of a door with `any_port`; at least one.
pub type Requests = heapless::Vec<OpenRequest, MAX_REQUESTS>;

/// A door that is asked for, and the port if the door opens any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WantedDoor {
    door: DoorId,
    port: Option<Step>,
}

/// The doors that a user's knock from `sender` asks for. `own` are this host's addresses.
///
/// # Errors
/// [`Refusal::Door`] if one of the doors is not there, or is one that he may not open; [`Refusal::NoAddress`] if he must
/// name an address and does not.
pub fn requests(
    policy: &impl Policy,
    own: &[IpAddr],
    sender: IpAddr,
    request: &UserRequest,
) -> Result<Requests, Refusal> {
    let time = request.seconds.map_or(AskedTime::OpenTime, |seconds| {
        AskedTime::For(Duration::from_secs(seconds.min(MAX_ASKED_S).into()))
    });
    if request.address.is_none() && policy.user(request.user).is_some_and(|user| user.require_address) {
        return Err(Refusal::NoAddress);
    }
    let address = request.address.unwrap_or(sender);
    let wanted = wanted(policy, own, request)?;
    let opener = Opener::User(request.user);
    let request = |WantedDoor { door, port }: &WantedDoor| OpenRequest {
        opener,
        door: *door,
        sender: Some(sender),
        address,
        port: *port,
        time,
    };
    Ok(wanted.iter().map(request).collect())
}

fn wanted(
    policy: &impl Policy,
    own: &[IpAddr],
    request: &UserRequest,
) -> Result<heapless::Vec<WantedDoor, MAX_REQUESTS>, Refusal> {
    #[cfg(not(feature = "fwknop"))]
    let _ = own;
    let user = policy.user(request.user).ok_or(Refusal::Door)?;
    let named = |id: DoorId| user.may_open(id).then_some(WantedDoor { door: id, port: None });
    let mut all = heapless::Vec::new();
    let mut add = |wanted: Option<WantedDoor>| {
        let wanted = wanted.ok_or(Refusal::Door)?;
        if all.contains(&wanted) { Ok(()) } else { all.push(wanted).map_err(|_| Refusal::Ports) }
    };
    match &request.wanted {
        Wanted::Named(name) => add(policy.find(name.as_str()).and_then(named))?,
        Wanted::Door(id) => add(named(*id))?,
        #[cfg(feature = "fwknop")]
        Wanted::Ports(ports) => {
            ports.ports().iter().try_for_each(|port| add(opening(policy, own, user, *port, ports.nat)))?;
        }
    }
    Ok(all)
}

/// The door of this user that opens the port that a fwknop client asks for. Doors of other users may open the same port.
/// A door that names the port goes before one that opens any.
#[cfg(feature = "fwknop")]
fn opening(
    policy: &impl Policy,
    own: &[IpAddr],
    user: UserRules<'_>,
    port: Port,
    nat: Option<Nat>,
) -> Option<WantedDoor> {
    let find = |wanted: &dyn Fn(&DoorRules<'_>) -> bool| {
        user.doors.iter().find(|id| policy.door(*id).is_some_and(|door| wanted(&door)))
    };
    if let Some(door) = find(&|door| opens(door, own, port, nat)) {
        return Some(WantedDoor { door, port: None });
    }
    // A client that uses `--nat-local` with the same port asks for plain access.
    if nat.is_some_and(|nat| !nat.local || nat.port != port.port) {
        return None;
    }
    let protocol = if port.udp { Protocol::Udp } else { Protocol::Tcp };
    let port = Step { protocol, port: core::num::NonZeroU16::new(port.port)? };
    let door = find(&|door| door.any_port.iter().any(|allowed| allowed.contains(port)))?;
    Some(WantedDoor { door, port: Some(port) })
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
        // With `--nat-local` and the same port, the client asks for plain access. The host in its request is the
        // router's address as the client knows it.
        (None, Some(nat)) => nat.local && nat.port == port.port && has(opening.dest_port, port.port),
        // fwknopd's FORCE_NAT: the door says where the port leads.
        (Some((src_dport, _)), None) => has(src_dport, port.port),
        (Some((src_dport, hosts)), Some(nat)) => {
            // A forward leads to one port, or keeps the port's number.
            let keeps = opening.dest_port == src_dport;
            has(src_dport, port.port)
                // Only the client can resolve a name. The door says which host it is.
                && (nat.host.is_none_or(|host| hosts.contains(&host.into()))
                    || nat.local && hosts.iter().any(here))
                && if keeps { nat.port == port.port } else { has(opening.dest_port, nat.port) }
        }
    }
}
