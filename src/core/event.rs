//! What became of a door, for the log, for watchers and for scripts.

use core::net::IpAddr;
use core::time::Duration;

use super::access::{Cause, Opening};
use super::auth::Refusal;
use super::door::DoorId;
use super::grants::{Grant, Opener};
use super::time::Instant;
use super::user::UserId;

/// Something happened at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoorEvent {
    /// What.
    pub change: DoorChange,
    /// Which door.
    pub door: DoorId,
    /// For whom: an address, or the first one of a network.
    pub address: IpAddr,
    /// The user who caused it, or whose grant it was.
    pub user: Option<UserId>,
    /// Time from now until it shuts; `None`: until it is shut.
    pub left: Option<Duration>,
}

/// What happened at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorChange {
    /// It is open now.
    Opened {
        /// Who opened it.
        opener: Opener,
        /// Where the knock came from, if that is another address.
        asked_by: Option<IpAddr>,
    },
    /// It was open, and its time begins anew.
    Renewed {
        /// Who renewed it.
        opener: Opener,
        /// Where the knock came from, if that is another address.
        asked_by: Option<IpAddr>,
    },
    /// It was knocked at rightly, and stays as it was.
    Refused {
        /// Who asked.
        opener: Opener,
        /// Why.
        refusal: Refusal,
    },
    /// It is shut.
    Shut {
        /// Why.
        cause: Cause,
    },
}

impl DoorEvent {
    /// The firewall has done what was decided.
    pub fn opened(opening: &Opening, is_first: bool) -> Self {
        let Opening { opener, door, sender, address, time, .. } = *opening;
        let asked_by = sender.filter(|sender| *sender != address);
        let change = if is_first {
            DoorChange::Opened { opener, asked_by }
        } else {
            DoorChange::Renewed { opener, asked_by }
        };
        Self { change, door, address, user: user_of(opener), left: time }
    }

    /// The firewall has at last what was decided earlier.
    pub fn opened_late(grant: &Grant, now: Instant) -> Self {
        let opener = grant.opener(now);
        Self {
            change: DoorChange::Opened { opener, asked_by: None },
            door: grant.door(),
            address: grant.address(),
            user: grant.user(),
            left: grant.left(now),
        }
    }

    /// A request was refused.
    pub const fn refused(opener: Opener, door: DoorId, address: IpAddr, refusal: Refusal) -> Self {
        Self {
            change: DoorChange::Refused { opener, refusal },
            door,
            address,
            user: user_of(opener),
            left: None,
        }
    }

    /// A door shut.
    pub const fn shut(grant: &Grant, cause: Cause) -> Self {
        Self {
            change: DoorChange::Shut { cause },
            door: grant.door(),
            address: grant.address(),
            user: grant.user(),
            left: Some(Duration::ZERO),
        }
    }

    /// The kind of event: a word that stays the same for programs.
    pub const fn kind(&self) -> &'static str {
        match self.change {
            DoorChange::Opened { .. } => "open",
            DoorChange::Renewed { .. } => "renew",
            DoorChange::Refused { .. } => "refuse",
            DoorChange::Shut { .. } => "close",
        }
    }

    /// Why: a word that stays the same for programs.
    pub const fn reason(&self) -> &'static str {
        match self.change {
            DoorChange::Opened { opener, .. } | DoorChange::Renewed { opener, .. } => opener.name(),
            DoorChange::Refused { refusal, .. } => refusal.name(),
            DoorChange::Shut { cause } => cause.name(),
        }
    }
}

const fn user_of(opener: Opener) -> Option<UserId> {
    match opener {
        Opener::User(user) => Some(user),
        Opener::Knock | Opener::Hand => None,
    }
}
