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
mod policy;
mod quota;
mod wanted;

use core::hash::BuildHasher;
use core::net::IpAddr;
use core::time::Duration;

pub use self::ending::{Cause, End};
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
use super::session::{MARGIN, Session};
use super::time::Instant;
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

/// What the firewall is to give a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The kernel's timer; `None`: no end.
    pub time: Option<Duration>,
    /// Whether the firewall is believed to have the grant already.
    pub is_there: bool,
    /// Who opened it: a restarted daemon reads this from the firewall.
    pub opener: Opener,
}

/// Who is in, and what each opener has used.
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

    /// Takes an opening into the table, just before the firewall is asked.
    pub fn commit(&mut self, moment: &Moment, policy: &impl Policy, opening: &Opening) {
        let Opening { opener, door, address, time, is_new, is_momentary, .. } = *opening;
        if is_momentary {
            return;
        }
        let now = moment.now;
        let until = time.map(|time| now.after(time));
        let Tables { grants, .. } = &mut *self.tables;
        if is_new {
            // Decided with a place free, and nothing was let in since.
            let _ = grants.insert(&self.keyed, Grant::new(now, door, address, until));
        }
        let Some(grant) = grants.get_mut(&self.keyed, door, address) else { return };
        grant.claim(now, opener, until);
        let close = policy.door(door).map_or(Close::Timeout, |rules| rules.close);
        grant.set_session(session_of(now, close, time, grant.session()));
    }

    /// What the firewall is to give this grant now.
    pub fn lease(&mut self, now: Instant, door: DoorId, address: IpAddr) -> Option<Lease> {
        let grant = self.tables.grants.get_mut(&self.keyed, door, address)?;
        let lease =
            Lease { time: grant.lease(now), is_there: grant.is_in_firewall(), opener: grant.opener(now) };
        if let (Some(session), Some(time)) = (grant.session_mut(), lease.time) {
            session.leased = now.after(time);
        }
        Some(lease)
    }

    /// The firewall has the grant. The first time this gives it back: only now is the door open, and may be told.
    pub fn confirm(&mut self, door: DoorId, address: IpAddr) -> Option<Grant> {
        let grant = self.tables.grants.get_mut(&self.keyed, door, address)?;
        grant.set_in_firewall(true);
        if grant.tell() { None } else { Some(*grant) }
    }

    /// The firewall does not have the grant, which is to be tried again.
    pub fn reject(&mut self, door: DoorId, address: IpAddr) {
        if let Some(grant) = self.tables.grants.get_mut(&self.keyed, door, address) {
            grant.set_in_firewall(false);
        }
    }

    /// Takes over what an earlier daemon let in: the firewall has it, with this time left. Of a session only the
    /// kernel's timer is known, not when it was opened.
    pub fn adopt(
        &mut self,
        now: Instant,
        policy: &impl Policy,
        grant: (DoorId, IpAddr),
        left: Option<Duration>,
        opener: Opener,
    ) -> bool {
        let (door, address) = grant;
        let Some(rules) = policy.door(door) else { return false };
        let until = left.map(|left| now.after(left));
        let mut grant = Grant::new(now, door, address, until);
        grant.claim(now, opener, until);
        grant.set_in_firewall(true);
        grant.tell();
        if let (Close::Session { max }, Some(left), Some(until)) = (rules.close, left, until) {
            let time = left.saturating_sub(MARGIN);
            grant.set_session(Some(Session { leased: until, ..Session::new(now, time, max) }));
            grant.set_until(Some(now.after(time)));
        }
        let Tables { grants, .. } = &mut *self.tables;
        grants.get(&self.keyed, door, address).is_none() && grants.insert(&self.keyed, grant).is_ok()
    }

    /// Whether the connections of sessions must be counted before anything ends.
    pub fn is_count_due(&self, now: Instant) -> bool {
        let due = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        self.grants().iter().any(|grant| grant.session().is_some() && due(grant.until()))
    }

    /// Takes the number of connections of each grant, in the order of [`Self::grants`], and decides which sessions go
    /// on; one that is over ends like any grant whose time is over.
    pub fn count_connections(&mut self, now: Instant, counts: impl Iterator<Item = u32>) {
        for (grant, count) in self.tables.grants.iter_mut().zip(counts) {
            let Some(session) = grant.session_mut() else { continue };
            session.live = count;
            let hold = session.hold(now);
            grant.set_until(Some(hold.unwrap_or(now)));
        }
    }

    /// A session whose timer in the kernel must be set anew; call [`Self::lease`] for it, until there is none.
    pub fn lease_due(&self, now: Instant) -> Option<(DoorId, IpAddr)> {
        let due = self.grants().iter().find(|grant| {
            let goes_on = grant.until().is_none_or(|until| until > now);
            goes_on && grant.session().is_some_and(|session| session.needs_lease(now))
        });
        due.map(|grant| (grant.door(), grant.address()))
    }

    /// Whether the kernel announces the end of every connection of this session.
    pub fn set_announced(&mut self, door: DoorId, address: IpAddr, announced: bool) {
        let grant = self.tables.grants.get_mut(&self.keyed, door, address);
        if let Some(session) = grant.and_then(Grant::session_mut) {
            session.announced = announced;
        }
    }

    /// The firewall was loaded anew: it has only what [`Self::confirm`] names from now on.
    pub fn forget_firewall(&mut self) {
        self.tables.grants.iter_mut().for_each(|grant| grant.set_in_firewall(false));
    }

    /// Everybody who is in.
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
        // Whoever may use the control socket may do as he likes.
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

/// The session of a grant that opens at `now` for `time`. Renewing never shortens.
fn session_of(now: Instant, close: Close, time: Option<Duration>, old: Option<&Session>) -> Option<Session> {
    let (Close::Session { max }, Some(time)) = (close, time) else { return None };
    let new = Session::new(now, time, max);
    Some(match old {
        Some(old) => Session { open_until: new.open_until.max(old.open_until), limit: new.limit, ..*old },
        None => new,
    })
}

#[cfg(test)]
mod tests;
