//! Endings: grants whose time is over, and grants of users who may not open the door any more.

use core::fmt;
use core::hash::BuildHasher;
use core::net::IpAddr;

use super::{Access, Policy};
use crate::door::DoorId;
use crate::grants::Grant;
use crate::moment::Moment;
use crate::passage::Passage;
use crate::time::Instant;
use crate::user::UserId;

/// Why a door shuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its time is over, or its last connection has ended.
    TimeOver,
    /// Another door's knock shut it.
    Knock,
    /// The operator shut it.
    Hand,
    /// The door is gone, or opens something else now.
    Reload,
    /// The user who opened it may not open it any more.
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

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimeOver => "its time is over",
            Self::Knock => "another door's knock shut it",
            Self::Hand => "it was shut by hand",
            Self::Reload => "the configuration has changed",
            Self::User => "the user may not open it any more",
            Self::Stop => "the daemon stops",
        })
    }
}

/// An ending that the daemon must carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The door shuts for this grant, which was removed from the table.
    Shut {
        /// The grant, as it was.
        grant: Grant,
        /// Why.
        cause: Cause,
    },
    /// The user's claim to the grant is over, and the operator's goes on. The firewall's element gets the operator's time and
    /// name.
    Operators {
        /// The door.
        door: DoorId,
        /// The passage that stays open.
        passage: Passage,
    },
}

impl<S: BuildHasher> Access<'_, S> {
    /// Ends one grant that is over at this moment. Call it until it returns `None`, after the connections of sessions were
    /// counted.
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

    /// Ends one grant of a user who may not open its door any more, as `may_open` says. Call it until it returns `None`.
    pub fn end_users(&mut self, now: Instant, may_open: impl Fn(UserId, DoorId) -> bool) -> Option<End> {
        let lost = |grant: &&Grant| grant.user().is_some_and(|user| !may_open(user, grant.door()));
        let grant = self.grants().iter().find(lost).copied()?;
        let (door, passage) = (grant.door(), grant.passage());
        let kept = self.tables.grants.get_mut(&self.keyed, door, passage)?;
        if kept.disown(now) {
            Some(End::Operators { door, passage })
        } else {
            Some(self.shut(&grant, Cause::User))
        }
    }

    /// Ends one grant of a door for this address, or for any address if it is `None`. Call it until it returns `None`.
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
        self.tables.grants.remove(&self.keyed, grant.door(), grant.passage());
        End::Shut { grant: *grant, cause }
    }
}
