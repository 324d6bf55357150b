//! Endings: whose time is over, and who may not be in any more.

use core::hash::BuildHasher;
use core::net::IpAddr;

use super::{Access, Policy};
use crate::door::DoorId;
use crate::grants::Grant;
use crate::moment::Moment;
use crate::time::Instant;
use crate::user::UserId;

/// Why a door shuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its time is over, or its last connection.
    TimeOver,
    /// Another door's knock shut it.
    Knock,
    /// The operator shut it.
    Hand,
    /// The door is gone, or opens something else now.
    Reload,
    /// The user who opened it may not any more.
    User,
    /// The daemon stops.
    Stop,
}

impl Cause {
    /// A short name, which stays the same for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TimeOver => "timeout",
            Self::Knock => "knock",
            Self::Hand => "hand",
            Self::Reload => "reload",
            Self::User => "user",
            Self::Stop => "stop",
        }
    }
}

/// What ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The door shuts for this grant, which is in the table no more.
    Shut {
        /// The grant, as it was.
        grant: Grant,
        /// Why.
        cause: Cause,
    },
    /// A user's part of the grant is over. The operator's goes on: the firewall must be told its time and its name.
    Operators {
        /// The door.
        door: DoorId,
        /// For whom.
        address: IpAddr,
    },
}

impl<S: BuildHasher> Access<'_, S> {
    /// Ends one thing that is over at this moment; to be called until there is none. Count sessions before.
    pub fn end_due(&mut self, moment: &Moment, policy: &impl Policy) -> Option<End> {
        let now = moment.now;
        let is_over = |grant: &Grant| grant.until().is_some_and(|until| until <= now);
        let over = self.grants().iter().find(|grant| is_over(grant)).copied();
        if let Some(grant) = over {
            return Some(self.shut(&grant, Cause::TimeOver));
        }
        self.end_users(now, |user, door| {
            policy.user(user).is_some_and(|user| user.may_open(door) && !user.is_expired(moment.wall_s))
        })
    }

    /// Ends one grant of a user whom `may_open` does not allow its door any more; to be called until there is none.
    pub fn end_users(&mut self, now: Instant, may_open: impl Fn(UserId, DoorId) -> bool) -> Option<End> {
        let lost = |grant: &&Grant| grant.user().is_some_and(|user| !may_open(user, grant.door()));
        let grant = self.grants().iter().find(lost).copied()?;
        let (door, address) = (grant.door(), grant.address());
        let kept = self.tables.grants.get_mut(&self.keyed, door, address)?;
        if kept.disown(now) {
            Some(End::Operators { door, address })
        } else {
            Some(self.shut(&grant, Cause::User))
        }
    }

    /// Shuts a door for one address, or for one of everybody; to be called until there is none.
    pub fn end(&mut self, door: DoorId, address: Option<IpAddr>, cause: Cause) -> Option<End> {
        let is_meant =
            |grant: &&Grant| grant.door() == door && address.is_none_or(|address| address == grant.address());
        let grant = self.grants().iter().find(is_meant).copied()?;
        Some(self.shut(&grant, cause))
    }

    /// When [`Self::end_due`] must be called next.
    pub fn next_deadline(&self, moment: &Moment, policy: &impl Policy) -> Option<Instant> {
        let users = self.grants().iter().filter_map(|grant| {
            let expires = policy.user(grant.user()?)?.expires?;
            let left = core::time::Duration::from_secs(expires.saturating_sub(moment.wall_s));
            Some(moment.now.after(left))
        });
        users.chain(self.grants().next_deadline()).min()
    }

    fn shut(&mut self, grant: &Grant, cause: Cause) -> End {
        self.tables.grants.remove(&self.keyed, grant.door(), grant.address());
        End::Shut { grant: *grant, cause }
    }
}
