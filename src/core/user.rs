//! Users: the secrets that prove who knocks, and the doors that each user may open.

use super::ports::DoorSet;
#[cfg(feature = "fwknop")]
use ketuk_protocol::fwknop;
use ketuk_protocol::secret::Secret;
use ketuk_protocol::{packet, totp};

/// Most users in one configuration: a household has ten, a small office a hundred.
pub const MAX_USERS: usize = 128;

/// Most secrets of one kind that a user has at one time: the old and the new one of two devices.
pub const MAX_SECRETS: usize = 4;

/// A user name as fwknop's client sends it (fwknop: `MAX_SPA_USERNAME_SIZE`).
#[cfg(feature = "fwknop")]
pub type UserName = heapless::String<64>;

/// The slot of a user, 0 to [`MAX_USERS`] - 1. A user keeps the slot through a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub u8);

impl UserId {
    /// The slot as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A user as the core knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownUser {
    /// Keys of ketuk's packet.
    pub keys: heapless::Vec<packet::Keys, MAX_SECRETS>,
    /// Secrets of changing sequences.
    pub totp: heapless::Vec<Secret<{ totp::MAX_SECRET }>, MAX_SECRETS>,
    /// Keys of fwknop's packet.
    #[cfg(feature = "fwknop")]
    pub fwknop: heapless::Vec<fwknop::FwknopKeys, MAX_SECRETS>,
    /// The user name that the fwknop client must send; `None` if any will do.
    #[cfg(feature = "fwknop")]
    pub fwknop_user: Option<UserName>,
    /// The doors that the user may open.
    pub doors: DoorSet,
    /// The time from which on the user may not open anything, in seconds since 1970.
    pub expires: Option<u64>,
}

impl KnownUser {
    /// Becomes the same as `other`. Secrets are written and wiped where they are: a move of the whole value would also
    /// copy its unused parts, where the stack may hold another user's secret.
    pub fn copy_from(&mut self, other: &Self) {
        self.keys.clear();
        self.keys.extend(other.keys.iter().cloned());
        self.totp.clear();
        self.totp.extend(other.totp.iter().cloned());
        #[cfg(feature = "fwknop")]
        {
            self.fwknop.clear();
            self.fwknop.extend(other.fwknop.iter().cloned());
            self.fwknop_user.clone_from(&other.fwknop_user);
        }
        self.doors = other.doors;
        self.expires = other.expires;
    }

    /// Whether the user has expired.
    pub fn is_expired(&self, wall_s: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= wall_s)
    }
}

/// The users with their slots. A slot without a user has no secrets, so that no knock belongs to it.
pub(super) fn users_of(users: &[KnownUser]) -> impl Iterator<Item = (UserId, &KnownUser)> {
    (0..).map(UserId).zip(users)
}
