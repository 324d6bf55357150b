//! Stage four of the packet's way: who is let in, for how long, and whose time is over.
//!
//! ```text
//!   a plain knock --.
//!   a user's knock --+--> OpenRequest --> decide --> Decision::Open --> (the line is marked) --> commit
//!   the operator ---'                        |                                                      |
//!                                            '--> Refused, Unchanged, Shut           the firewall is asked
//!                                                                                                   |
//!   time over, shut, reload, a user's end --> end --> End                   confirm (it is told now) or reject
//! ```
//! This is the only place that decides. It is a function of its state, the configuration, the request and the
//! moment; what it answers are values, which the daemon carries out in order. `ketukd explain` asks the same code.

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
use super::ports::DoorSet;
use quota::Quotas;

/// The fixed tables, apart from what uses them, as [`super::engine::Tables`] are.
#[derive(Debug)]
pub struct Tables {
    grants: Grants,
    quotas: Quotas,
}

impl Tables {
    /// Nobody is in.
    pub const fn new() -> Self {
        Self { grants: Grants::new(), quotas: Quotas::new() }
    }
}

impl Default for Tables {
    fn default() -> Self {
        Self::new()
    }
}

/// Somebody asks that a door opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenRequest {
    /// Who asks.
    pub opener: Opener,
    /// Which door.
    pub door: DoorId,
    /// Where the knock came from; none for the operator.
    pub sender: Option<IpAddr>,
    /// For whom.
    pub address: IpAddr,
    /// For how long.
    pub time: AskedTime,
}

/// For how long a door is to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedTime {
    /// The door's own `open_time`.
    OpenTime,
    /// This long; for a user at most the door's `max_time`.
    For(Duration),
    /// Until it is shut.
    UntilShut,
}

/// What is to be done about an [`OpenRequest`].
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
        /// The knocker.
        address: IpAddr,
    },
    /// Nothing opens.
    Refused(Refusal),
}

/// A door that is to open, or to stay open longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Who opens it.
    pub opener: Opener,
    /// Which door.
    pub door: DoorId,
    /// Where the knock came from; none for the operator.
    pub sender: Option<IpAddr>,
    /// For whom: an address, or the first one of a network.
    pub address: IpAddr,
    /// For how long; `None`: until it is shut.
    pub time: Option<Duration>,
    /// Whether the door was shut for this address.
    pub is_new: bool,
    /// Whether a line of one-time sequences is to be marked as used before anything opens.
    pub uses_line: bool,
    /// Whether the door only runs a command, and is not open afterwards.
    pub is_momentary: bool,
}

/// The grants that exist, and what each opener has used.
#[derive(Debug)]
pub struct Access<'t, S> {
    tables: &'t mut Tables,
    keyed: S,
}

impl<'t, S: BuildHasher> Access<'t, S> {
    /// On these tables.
    pub const fn new(tables: &'t mut Tables, keyed: S) -> Self {
        Self { tables, keyed }
    }

    /// Decides. It takes what the request uses of the opener's quota; nothing opens before [`Self::commit`].
    /// `load` is what waits of commands, if opening the door runs any.
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
        let OpenRequest { opener, door, sender, address, time } = *request;
        let rules = policy.door(door).ok_or(Refusal::NoDoor)?;
        // Where a knock came from was looked at when it was heard: on `lo` a loopback address is right.
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
        let address = rules.prefix.group(address);
        let time = time_for(moment, policy, &rules, opener, time);
        let until = time.map(|time| moment.now.after(time));
        let opening = Opening {
            opener,
            door,
            sender,
            address,
            time,
            is_new: true,
            uses_line: rules.is_one_time && opener == Opener::Knock,
            is_momentary: rules.is_momentary,
        };
        match self.tables.grants.get(&self.keyed, door, address) {
            Some(grant) if grant.is_renewed_by(moment.now, opener, until) => {
                Ok(Decision::Open(Opening { is_new: false, ..opening }))
            }
            Some(_) => Ok(Decision::Unchanged),
            None if load.is_some_and(|load| load.is_starting) => Ok(Decision::Unchanged),
            None => {
                if load.is_some_and(|load| !quota::has_room_for_commands(opener, load)) {
                    return Err(Refusal::CommandsFull);
                }
                let Tables { grants, quotas } = &mut *self.tables;
                quotas.take(moment.now, grants, opener, door)?;
                Ok(Decision::Open(opening))
            }
        }
    }

    /// All grants.
    pub fn grants(&self) -> &Grants {
        &self.tables.grants
    }

    /// The grant for an address at a door.
    pub fn grant(&self, door: DoorId, address: IpAddr) -> Option<&Grant> {
        self.tables.grants.get(&self.keyed, door, address)
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
        // The operator may do as he likes.
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

/// Whether both the sender and the address that he names are in these networks, of which none is all: either may be
/// forged.
fn in_networks(networks: &[Network], request: &OpenRequest) -> bool {
    let is_in = |address: &IpAddr| networks.iter().any(|network| network.contains(*address));
    networks.is_empty() || request.sender.iter().chain([&request.address]).all(is_in)
}

/// How long a door opens. A user's grant ends with the user, whatever he asks for.
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
