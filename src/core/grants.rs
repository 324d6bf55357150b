//! Stage four of the packet's way: who is in, and until when.

use core::hash::BuildHasher;
use core::net::IpAddr;
use core::time::Duration;

use super::attempt::key;
use super::door::DoorId;
use super::hash_index::HashIndex;
use super::session::Session;
use super::time::Instant;
use super::user::UserId;

/// Most grants at one time. Only a complete knock makes one; a household has a handful, and each may
/// have a stop command to run.
pub const MAX_GRANTS: usize = 256;

/// Least time between two renewals of a grant that lengthen it by no more than this. Each renewal is a change
/// of the firewall, and whoever knows a one-step door could ask for thousands in a second.
pub const RENEWAL_SPACING: Duration = Duration::from_millis(100);

/// An address that a door is open for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The door.
    pub door: DoorId,
    /// For whom.
    pub address: IpAddr,
    /// Until when; `None` until it is shut.
    pub until: Option<Instant>,
    /// When it was opened or last renewed.
    pub renewed: Instant,
    /// Who opened it last, if he proved who he is.
    pub user: Option<UserId>,
    /// What is known of the connections through it, for a door that shuts with the last of them.
    pub session: Option<Session>,
    /// Whether the firewall has it. Not so while its set is missing.
    pub in_firewall: bool,
}

impl Grant {
    /// The time that is left; `None` if there is no end.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.until.map(|until| until.since(now))
    }

    /// The time that it certainly has left; `None` if there is no end, or a session's that nobody knows.
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
}

/// What [`Grants::open`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The door was shut for this address and is open now.
    New,
    /// It was open and stays open longer.
    Renewed,
    /// It was opened a moment ago; nothing changed.
    JustNow,
    /// There is no room.
    Full,
}

/// Everybody who is in.
#[derive(Debug)]
pub struct Grants {
    grants: heapless::Vec<Grant, MAX_GRANTS>,
    chains: HashIndex<MAX_GRANTS>,
}

impl Grants {
    /// Nobody.
    pub const fn new() -> Self {
        Self { grants: heapless::Vec::new(), chains: HashIndex::new() }
    }

    /// Lets `address` in for `time`, or until it is shut.
    ///
    /// Renewing never shortens: what an operator gave for a day, a knock does not cut to 30 seconds.
    pub fn open(
        &mut self,
        keyed: &impl BuildHasher,
        now: Instant,
        door: DoorId,
        address: IpAddr,
        time: Option<Duration>,
    ) -> Opened {
        let until = time.map(|time| now.after(time));
        if let Some(at) = self.find(keyed, door, address) {
            let grant = &mut self.grants[at];
            // Who gives much more time than there is left means it, however soon.
            let lengthens =
                grant.until.is_some_and(|old| until.is_none_or(|new| new > old.after(RENEWAL_SPACING)));
            if now < grant.renewed.after(RENEWAL_SPACING) && !lengthens {
                return Opened::JustNow;
            }
            grant.renewed = now;
            grant.until = grant.until.zip(until).map(|(old, new)| old.max(new));
            return Opened::Renewed;
        }
        let at = self.grants.len();
        if self
            .grants
            .push(Grant { door, address, until, renewed: now, user: None, session: None, in_firewall: false })
            .is_err()
        {
            return Opened::Full;
        }
        self.chains.link(key(door, address, keyed), at);
        Opened::New
    }

    /// Ends a grant, and gives it back.
    pub fn shut(&mut self, keyed: &impl BuildHasher, door: DoorId, address: IpAddr) -> Option<Grant> {
        let at = self.find(keyed, door, address)?;
        Some(self.remove(keyed, at))
    }

    /// Ends one grant that is over and gives it back; call until it gives none.
    pub fn expire(&mut self, keyed: &impl BuildHasher, now: Instant) -> Option<Grant> {
        let at = self.grants.iter().position(|grant| grant.until.is_some_and(|until| until <= now))?;
        Some(self.remove(keyed, at))
    }

    /// When the next grant is over.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.grants.iter().filter_map(|grant| grant.until).min()
    }

    /// The grant for an address at a door.
    pub fn get_mut(&mut self, keyed: &impl BuildHasher, door: DoorId, address: IpAddr) -> Option<&mut Grant> {
        let at = self.find(keyed, door, address)?;
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

    /// Whether nobody is in.
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }

    fn find(&self, keyed: &impl BuildHasher, door: DoorId, address: IpAddr) -> Option<usize> {
        self.chains.slots(key(door, address, keyed)).find(|at| {
            let grant = &self.grants[*at];
            grant.door == door && grant.address == address
        })
    }

    /// The last grant takes the place of the one removed.
    fn remove(&mut self, keyed: &impl BuildHasher, at: usize) -> Grant {
        let last = self.grants.len() - 1;
        let hash = |grant: &Grant| key(grant.door, grant.address, keyed);
        self.chains.unlink(hash(&self.grants[at]), at);
        if last != at {
            let moved = hash(&self.grants[last]);
            self.chains.unlink(moved, last);
            self.chains.link(moved, at);
        }
        self.grants.swap_remove(at)
    }
}

impl Default for Grants {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use core::hash::BuildHasherDefault;
    use core::net::Ipv4Addr;
    use std::collections::BTreeMap;
    use std::hash::DefaultHasher;

    use proptest::prelude::*;

    use super::*;

    const DOOR: DoorId = DoorId(3);
    const HALF_MINUTE: Option<Duration> = Some(Duration::from_secs(30));

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn host(n: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(n))
    }

    fn keyed() -> BuildHasherDefault<DefaultHasher> {
        BuildHasherDefault::default()
    }

    #[test]
    fn a_grant_ends_when_its_time_is_over_and_not_before() {
        let mut grants = Grants::new();
        assert_eq!(grants.open(&keyed(), at(0), DOOR, host(1), HALF_MINUTE), Opened::New);
        assert_eq!(grants.next_deadline(), Some(at(30_000)));
        assert_eq!(grants.expire(&keyed(), at(29_999)), None);
        assert_eq!(grants.expire(&keyed(), at(30_000)).map(|grant| grant.address), Some(host(1)));
        assert!(grants.is_empty() && grants.next_deadline().is_none());
    }

    #[test]
    fn renewing_lengthens_never_shortens_and_not_too_often() {
        let mut grants = Grants::new();
        let mut open = |ms, time| {
            let opened = grants.open(&keyed(), at(ms), DOOR, host(1), time);
            (opened, grants.get_mut(&keyed(), DOOR, host(1)).unwrap().until.map(Instant::as_millis))
        };
        assert_eq!(open(0, HALF_MINUTE), (Opened::New, Some(30_000)));
        assert_eq!(open(99, HALF_MINUTE), (Opened::JustNow, Some(30_000)));
        assert_eq!(open(100, HALF_MINUTE), (Opened::Renewed, Some(30_100)));
        assert_eq!(open(150, Some(Duration::from_secs(31))), (Opened::Renewed, Some(31_150)));
        assert_eq!(open(200, HALF_MINUTE), (Opened::JustNow, Some(31_150)));
        assert_eq!(open(1000, Some(Duration::from_secs(1))), (Opened::Renewed, Some(31_150)));
        assert_eq!(open(2000, None), (Opened::Renewed, None));
        assert_eq!(open(3000, HALF_MINUTE), (Opened::Renewed, None));
    }

    #[test]
    fn a_full_table_refuses_newcomers_and_keeps_who_is_in() {
        let mut grants = Grants::new();
        let full = u32::try_from(MAX_GRANTS).unwrap();
        for n in 0..full {
            assert_eq!(grants.open(&keyed(), at(0), DOOR, host(n), HALF_MINUTE), Opened::New);
        }
        assert_eq!(grants.open(&keyed(), at(0), DOOR, host(full), HALF_MINUTE), Opened::Full);
        assert_eq!(grants.open(&keyed(), at(500), DOOR, host(7), HALF_MINUTE), Opened::Renewed);
    }

    proptest! {
        /// Against a map.
        #[test]
        fn behaves_like_a_map(operations in prop::collection::vec((0..3_u8, 0..2_u8, 0..10_u32), 0..100)) {
            let (mut grants, mut model) = (Grants::new(), BTreeMap::new());
            for (step, (operation, door, n)) in operations.into_iter().enumerate() {
                let (now, door, address) = (at(step as u64 * 1000), DoorId(door), host(n));
                match operation {
                    0 => {
                        let opened = grants.open(&keyed(), now, door, address, Some(Duration::from_secs(10)));
                        let known = model.insert((door, address), now.as_millis() + 10_000).is_some();
                        prop_assert_eq!(opened, if known { Opened::Renewed } else { Opened::New });
                    }
                    1 => {
                        let shut = grants.shut(&keyed(), door, address).is_some();
                        prop_assert_eq!(shut, model.remove(&(door, address)).is_some());
                    }
                    _ => {
                        while let Some(grant) = grants.expire(&keyed(), now) {
                            let until = model.remove(&(grant.door, grant.address));
                            prop_assert!(until.is_some_and(|until| until <= now.as_millis()));
                        }
                    }
                }
                prop_assert_eq!(grants.len(), model.len());
                prop_assert_eq!(grants.next_deadline().map(Instant::as_millis), model.values().min().copied());
            }
        }
    }
}
