//! The grants: for each door the addresses that it is open for, and until when.

use core::hash::BuildHasher;
use core::net::IpAddr;
use core::time::Duration;

use super::attempt::key;
use super::door::DoorId;
use super::hash_index::HashIndex;
use super::passage::Passage;
use super::sequence::Step;
use super::session::Session;
use super::time::Instant;
use super::user::UserId;

/// Most grants at one time. A household has a handful, and each may have a stop command to run.
pub const MAX_GRANTS: usize = 256;

/// Least time between two renewals of a grant that lengthen it by no more than this. Each renewal is a change
/// of the firewall, and somebody who knows a one-step door could ask for thousands in a second.
pub const RENEWAL_SPACING: Duration = Duration::from_millis(100);

/// The opener of a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opener {
    /// A stranger who knocked the door's sequence.
    Knock,
    /// A user. The key or the secret of the user proved it.
    User(UserId),
    /// The operator, over the control socket.
    Hand,
}

impl Opener {
    /// A short name, which stays the same for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Knock => "knock",
            Self::User(_) => "user",
            Self::Hand => "hand",
        }
    }
}

/// An address that a door is open for.
///
/// A grant keeps its opener, and a weaker opener never replaces a stronger one. A plain knock from a user's address renews
/// the user's grant, which stays the user's. A grant of the operator stays the operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    door: DoorId,
    passage: Passage,
    until: Option<Instant>,
    renewed: Instant,
    user: Option<UserId>,
    hand_until: Option<Instant>,
    session: Option<Session>,
    in_firewall: bool,
    told: bool,
}

impl Grant {
    /// A grant without an opener yet.
    pub(crate) fn new(
        now: Instant,
        door: DoorId,
        passage: impl Into<Passage>,
        until: Option<Instant>,
    ) -> Self {
        Self {
            door,
            passage: passage.into(),
            until,
            renewed: now,
            user: None,
            hand_until: None,
            session: None,
            in_firewall: false,
            told: false,
        }
    }

    /// The door.
    pub const fn door(&self) -> DoorId {
        self.door
    }

    /// The address that is let in, or the first one of its network.
    pub const fn address(&self) -> IpAddr {
        self.passage.address
    }

    /// The port that it may reach, at a door with `any_port`.
    pub const fn port(&self) -> Option<Step> {
        self.passage.port
    }

    /// The address and the port.
    pub const fn passage(&self) -> Passage {
        self.passage
    }

    /// The moment at which it ends; `None` means that it lasts until somebody shuts it.
    pub const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// The user who opened it last.
    pub const fn user(&self) -> Option<UserId> {
        self.user
    }

    /// The state of its connections, if the door shuts with the last of them.
    pub const fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Whether the firewall has it.
    pub const fn is_in_firewall(&self) -> bool {
        self.in_firewall
    }

    /// Whether the operator's own time still runs at `now`.
    pub fn is_by_hand(&self, now: Instant) -> bool {
        self.hand_until.is_some_and(|until| until > now)
    }

    /// Whether the operator opened it, even if the requested time is over.
    pub const fn was_by_hand(&self) -> bool {
        self.hand_until.is_some()
    }

    /// The opener whose name the firewall keeps: the operator if the operator's time lasts longest, else the user, else the
    /// operator, else a stranger.
    pub fn opener(&self, now: Instant) -> Opener {
        match self.user {
            // A restarted daemon must find the opener whose time lasts longest.
            _ if self.is_by_hand(now) && self.lasts_by_hand() => Opener::Hand,
            Some(user) => Opener::User(user),
            None if self.is_by_hand(now) => Opener::Hand,
            None => Opener::Knock,
        }
    }

    /// The time that is left; `None` if there is no end.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.until.map(|until| until.since(now))
    }

    /// The time that it has left; `None` if there is no end, or if the end of its last connection decides.
    pub fn time_left(&self, now: Instant) -> Option<Duration> {
        match self.session {
            Some(session) if self.is_held(now) => session.limit.map(|limit| limit.since(now)),
            _ => self.left(now),
        }
    }

    /// Whether its time is over, and only connections hold it open.
    pub fn is_held(&self, now: Instant) -> bool {
        self.session.is_some_and(|session| session.open_until <= now)
    }

    /// The time to give the kernel; `None` if there is no end.
    pub fn lease(&self, now: Instant) -> Option<Duration> {
        self.session.map_or_else(|| self.left(now), |session| Some(session.lease(now)))
    }

    /// Whether a renewal until `until` is worth a change of the firewall.
    pub(crate) fn is_renewed_by(&self, now: Instant, opener: Opener, until: Option<Instant>) -> bool {
        let lengthens =
            self.until.is_some_and(|old| until.is_none_or(|new| new > old.after(RENEWAL_SPACING)));
        let names = match opener {
            Opener::Knock => false,
            Opener::User(user) => self.user != Some(user),
            Opener::Hand => !self.is_by_hand(now),
        };
        lengthens || names || now >= self.renewed.after(RENEWAL_SPACING)
    }

    /// Whether the grant lasts no longer than the operator's time.
    fn lasts_by_hand(&self) -> bool {
        self.hand_until.is_some_and(|hand| hand >= self.until.unwrap_or(Instant::NEVER))
    }

    /// Adds the opener's claim, which lasts until `until`. A renewal never shortens a grant: a knock for 30 seconds does not
    /// end a day that the operator gave.
    pub(crate) fn claim(&mut self, now: Instant, opener: Opener, until: Option<Instant>) {
        self.renewed = now;
        self.until = self.until.zip(until).map(|(old, new)| old.max(new));
        match opener {
            Opener::Knock => {}
            Opener::User(user) => self.user = Some(user),
            Opener::Hand => self.hand_until = self.hand_until.max(Some(until.unwrap_or(Instant::NEVER))),
        }
    }

    /// Removes the user, and all the time that is not the operator's. Returns whether any time is left.
    pub(crate) fn disown(&mut self, now: Instant) -> bool {
        self.user = None;
        let Some(hand) = self.hand_until.filter(|hand| *hand > now) else { return false };
        self.until = (hand != Instant::NEVER).then_some(hand);
        if let (Some(session), Some(until)) = (&mut self.session, self.until) {
            session.open_until = until;
        }
        true
    }

    pub(crate) const fn set_until(&mut self, until: Option<Instant>) {
        self.until = until;
    }

    pub(crate) const fn set_session(&mut self, session: Option<Session>) {
        self.session = session;
    }

    pub(crate) const fn session_mut(&mut self) -> Option<&mut Session> {
        self.session.as_mut()
    }

    /// Marks its opening as told. Returns whether it had been told before.
    pub(crate) const fn tell(&mut self) -> bool {
        core::mem::replace(&mut self.told, true)
    }

    /// Whether its opening has been told.
    pub const fn is_told(&self) -> bool {
        self.told
    }

    pub(crate) const fn set_in_firewall(&mut self, there: bool) {
        self.in_firewall = there;
    }
}

/// The table has [`MAX_GRANTS`] already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyGrants;

/// All grants.
#[derive(Debug)]
pub struct Grants {
    grants: heapless::Vec<Grant, MAX_GRANTS>,
    index: HashIndex<MAX_GRANTS>,
}

impl Grants {
    /// No grants.
    pub const fn new() -> Self {
        Self { grants: heapless::Vec::new(), index: HashIndex::new() }
    }

    /// Adds a grant for a passage that has none at its door.
    ///
    /// # Errors
    /// There is no room.
    pub fn insert(&mut self, keyed: &impl BuildHasher, grant: Grant) -> Result<(), TooManyGrants> {
        let (at, hash) = (self.grants.len(), hash_of(&grant, keyed));
        self.grants.push(grant).map_err(|_| TooManyGrants)?;
        self.index.link(hash, at);
        Ok(())
    }

    /// Ends a grant, and gives it back.
    pub fn remove(
        &mut self,
        keyed: &impl BuildHasher,
        door: DoorId,
        passage: impl Into<Passage>,
    ) -> Option<Grant> {
        let at = self.position(keyed, door, passage.into())?;
        let last = self.grants.len() - 1;
        let hash = |grant: &Grant| hash_of(grant, keyed);
        self.index.unlink(hash(&self.grants[at]), at);
        if last != at {
            // The last grant takes the place of the one removed.
            let moved = hash(&self.grants[last]);
            self.index.unlink(moved, last);
            self.index.link(moved, at);
        }
        Some(self.grants.swap_remove(at))
    }

    /// When the next grant is over.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.grants.iter().filter_map(|grant| grant.until).min()
    }

    /// The grant for a passage at a door.
    pub fn get(&self, keyed: &impl BuildHasher, door: DoorId, passage: impl Into<Passage>) -> Option<&Grant> {
        self.position(keyed, door, passage.into()).map(|at| &self.grants[at])
    }

    /// The grant for a passage at a door.
    pub fn get_mut(
        &mut self,
        keyed: &impl BuildHasher,
        door: DoorId,
        passage: impl Into<Passage>,
    ) -> Option<&mut Grant> {
        let at = self.position(keyed, door, passage.into())?;
        Some(&mut self.grants[at])
    }

    /// All grants, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.grants.iter()
    }

    /// All grants, in no order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Grant> {
        self.grants.iter_mut()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.grants.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }

    fn position(&self, keyed: &impl BuildHasher, door: DoorId, passage: Passage) -> Option<usize> {
        // The ports of one address have one hash: a user has at most [`super::access::USER_GRANTS`] of them.
        self.index.slots(key(door, passage.address, keyed)).find(|at| {
            let grant = &self.grants[*at];
            grant.door == door && grant.passage == passage
        })
    }
}

fn hash_of(grant: &Grant, keyed: &impl BuildHasher) -> u64 {
    key(grant.door, grant.passage.address, keyed)
}

impl Default for Grants {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
