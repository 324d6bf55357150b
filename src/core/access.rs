//! Stage four of the packet's way: decides whether a door opens, for how long, and which grants end.
//!
//! ```text
//!   a plain knock --.
//!   a user's knock --+--> OpenRequest --> decide --> Decision::Open --> (the line is marked) --> commit
//!   the operator ---'                        |                                                      |
//!                                            '--> Refused, Unchanged, Shut           the firewall is asked
//!                                                                                                   |
//!   time over, shut, reload, a user's end --> end --> End                   confirm (it is told now) or reject
//! ```
//! This is the only place that decides. The decision is a function of the state, the configuration, the request and the
//! moment. The answers are values, which the daemon carries out in order. `ketukd explain` asks the same code.

mod ending;
mod granting;
mod policy;
mod quota;
mod sessions;
mod wanted;

use core::hash::BuildHasher;
use core::net::IpAddr;
use core::time::Duration;

pub use self::ending::{Cause, End};
pub use self::granting::{Adopted, Lease};
pub use self::policy::{Close, DoorRules, GrantPrefix, OpeningRules, Policy, Shown, UserRules};
pub use self::quota::{
    ALL_KNOCK_GRANTS, ALL_USER_GRANTS, COMMANDS_FOR_USERS, CommandLoad, DOOR_KNOCK_COMMANDS,
    DOOR_KNOCK_GRANTS, USER_GRANTS, is_host,
};
pub use self::wanted::{Requests, requests};
use super::auth::Refusal;
use super::door::DoorId;
use super::grants::{Grant, Grants, Opener};
use super::moment::Moment;
use super::network::Network;
use super::passage::Passage;
use super::ports::DoorSet;
use super::sequence::Step;
use quota::Quotas;

/// The fixed tables of [`Access`]. They are a `static` of the daemon, as [`super::engine::EngineTables`] are.
#[derive(Debug)]
pub struct AccessTables {
    grants: Grants,
    quotas: Quotas,
}

impl AccessTables {
    /// No grants, and no quota used.
    pub const fn new() -> Self {
        Self { grants: Grants::new(), quotas: Quotas::new() }
    }
}

impl Default for AccessTables {
    fn default() -> Self {
        Self::new()
    }
}

/// A request that a door opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenRequest {
    /// The kind of the request: a stranger's, a user's or the operator's.
    pub opener: Opener,
    /// The door to open.
    pub door: DoorId,
    /// The address that the knock came from; `None` for the operator.
    pub sender: Option<IpAddr>,
    /// The address to open for.
    pub address: IpAddr,
    /// The port to open, at a door with `any_port`.
    pub port: Option<Step>,
    /// The time to open for.
    pub time: AskedTime,
}

/// The time that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedTime {
    /// The door's own `open_time`.
    OpenTime,
    /// This long; for a user at most the door's `max_time`.
    For(Duration),
    /// Until it is shut.
    UntilShut,
}

/// The answer to an [`OpenRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The door opens, or stays open longer.
    Open(Opening),
    /// The door was opened a moment ago, or its command is still to run: nothing changes.
    Unchanged,
    /// These doors shut for the address.
    Shut {
        /// The doors.
        doors: DoorSet,
        /// The knocker's address.
        address: IpAddr,
    },
    /// Nothing opens, for this reason.
    Refused(Refusal),
}

/// A door that is to open, or to stay open longer. Only [`Access::decide`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The kind of the request that opens it.
    pub(crate) opener: Opener,
    /// The door.
    pub(crate) door: DoorId,
    /// The address that the knock came from; `None` for the operator.
    pub(crate) sender: Option<IpAddr>,
    /// The address that is let in. For a door with `grant_prefix_4` or `_6` it is the first address of the network.
    pub(crate) address: IpAddr,
    /// The port that opens, at a door with `any_port`.
    pub(crate) port: Option<Step>,
    /// The time that the door is open for; `None` means until somebody shuts it.
    pub(crate) time: Option<Duration>,
    /// Whether the door was shut for this address.
    pub(crate) is_new: bool,
    /// Whether a line of one-time sequences is to be marked as used before anything opens.
    pub(crate) uses_line: bool,
    /// Whether the door only runs a command, and is not open afterwards.
    pub(crate) is_momentary: bool,
}

impl Opening {
    /// The door.
    pub const fn door(&self) -> DoorId {
        self.door
    }

    /// The address that is let in. For a door with `grant_prefix_4` or `_6` it is the first address of the network.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// The port that opens, at a door with `any_port`.
    pub const fn port(&self) -> Option<Step> {
        self.port
    }

    /// The time that the door is open for; `None` means until somebody shuts it.
    pub const fn time(&self) -> Option<Duration> {
        self.time
    }

    /// Whether a line of one-time sequences is to be marked as used before anything opens.
    pub const fn uses_line(&self) -> bool {
        self.uses_line
    }

    /// Whether the door only runs a command, and is not open afterwards.
    pub const fn is_momentary(&self) -> bool {
        self.is_momentary
    }

    /// The packets that it lets through.
    pub const fn passage(&self) -> Passage {
        Passage { address: self.address, port: self.port }
    }
}

/// The grants that exist, and the quota that each opener has used.
#[derive(Debug)]
pub struct Access<'t, S> {
    tables: &'t mut AccessTables,
    keyed: S,
}

impl<'t, S: BuildHasher> Access<'t, S> {
    /// No grants yet, on these tables.
    pub const fn new(tables: &'t mut AccessTables, keyed: S) -> Self {
        Self { tables, keyed }
    }

    /// Decides whether the door opens. It charges the opener's quota; the table of grants changes only with
    /// [`Self::commit`]. `load` is the state of the queue of commands; `None` if opening the door runs no command.
    pub fn decide(
        &mut self,
        moment: &Moment,
        policy: &impl Policy,
        request: &OpenRequest,
        load: Option<CommandLoad>,
    ) -> Decision {
        self.try_decide(moment, policy, request, load).unwrap_or_else(Decision::Refused)
    }

    fn try_decide(
        &mut self,
        moment: &Moment,
        policy: &impl Policy,
        request: &OpenRequest,
        load: Option<CommandLoad>,
    ) -> Result<Decision, Refusal> {
        let OpenRequest { opener, door, sender, address, port, time } = *request;
        let rules = policy.door(door).ok_or(Refusal::NoDoor)?;
        // The address of the sender was checked when the packet was heard: on `lo` a loopback address is right.
        if sender != Some(address) && !is_host(address) {
            return Err(Refusal::NoHost);
        }
        may_open(moment, policy, &rules, request)?;
        if let Some(doors) = rules.closes {
            return match opener {
                Opener::Hand => Err(Refusal::Closing),
                _ => Ok(Decision::Shut { doors, address }),
            };
        }
        let port = port_for(&rules, port)?;
        let address = rules.prefix.group(address);
        let time = time_for(moment, policy, &rules, opener, time);
        let until = time.map(|time| moment.now.after(time));
        let opening = Opening {
            opener,
            door,
            sender,
            address,
            port,
            time,
            is_new: true,
            uses_line: rules.is_one_time && opener == Opener::Knock,
            is_momentary: rules.is_momentary,
        };
        match self.tables.grants.get(&self.keyed, door, opening.passage()) {
            Some(grant) if grant.is_renewed_by(moment.now, opener, until) => {
                Ok(Decision::Open(Opening { is_new: false, ..opening }))
            }
            Some(_) => Ok(Decision::Unchanged),
            None if load.is_some_and(|load| load.is_starting) => Ok(Decision::Unchanged),
            None => {
                if load.is_some_and(|load| !quota::has_room_for_commands(opener, load)) {
                    return Err(Refusal::CommandsFull);
                }
                let AccessTables { grants, quotas } = &mut *self.tables;
                quotas.take(moment.now, grants, opener, door)?;
                Ok(Decision::Open(opening))
            }
        }
    }

    /// All grants.
    pub fn grants(&self) -> &Grants {
        &self.tables.grants
    }

    /// The grant for a passage at a door.
    pub fn grant(&self, door: DoorId, passage: impl Into<Passage>) -> Option<&Grant> {
        self.tables.grants.get(&self.keyed, door, passage)
    }
}

/// The port that the grant is for: one of the door's if the door opens any of them, none if the door's ports are fixed.
fn port_for(rules: &DoorRules<'_>, asked: Option<Step>) -> Result<Option<Step>, Refusal> {
    if rules.any_port.is_empty() {
        return Ok(None);
    }
    let port = asked.ok_or(Refusal::NoPort)?;
    if rules.any_port.iter().any(|allowed| allowed.contains(port)) {
        Ok(Some(port))
    } else {
        Err(Refusal::Door)
    }
}

/// The rules that say who may open a door, and when.
fn may_open(
    moment: &Moment,
    policy: &impl Policy,
    rules: &DoorRules<'_>,
    request: &OpenRequest,
) -> Result<(), Refusal> {
    match request.opener {
        // No rule limits the operator.
        Opener::Hand => return Ok(()),
        Opener::User(user) => {
            let user = policy.user(user).ok_or(Refusal::Door)?;
            if user.is_expired(moment.wall_s) {
                return Err(Refusal::Expired);
            }
            if !user.may_open(request.door) {
                return Err(Refusal::Door);
            }
            if !in_networks(user.src, request) {
                return Err(Refusal::Source);
            }
            if request.sender.is_some_and(|sender| sender != request.address) && !user.other_address {
                return Err(Refusal::Address);
            }
        }
        Opener::Knock => {}
    }
    if !in_networks(rules.src, request) {
        return Err(Refusal::DoorSource);
    }
    if rules.hours.is_some_and(|hours| !hours.allow(moment.local)) {
        return Err(Refusal::Hours);
    }
    Ok(())
}

/// Whether both the sender and the named address are in these networks. Either may be forged, so one is not enough.
/// An empty list contains all addresses.
fn in_networks(networks: &[Network], request: &OpenRequest) -> bool {
    let is_in = |address: &IpAddr| networks.iter().any(|network| network.contains(*address));
    networks.is_empty() || request.sender.iter().chain([&request.address]).all(is_in)
}

/// The time that a door opens for. A user's grant ends when the user expires, whatever the time in the request.
fn time_for(
    moment: &Moment,
    policy: &impl Policy,
    rules: &DoorRules<'_>,
    opener: Opener,
    asked: AskedTime,
) -> Option<Duration> {
    let time = match asked {
        AskedTime::OpenTime => rules.open_time,
        AskedTime::For(time) => Some(time),
        AskedTime::UntilShut => None,
    };
    let Opener::User(user) = opener else { return time };
    let max = if asked == AskedTime::OpenTime { None } else { rules.max_time };
    let left = policy.user(user).and_then(|user| user.expires);
    let left = left.map(|expires| Duration::from_secs(expires.saturating_sub(moment.wall_s)));
    [time, max, left].into_iter().flatten().min()
}

#[cfg(test)]
mod tests;
