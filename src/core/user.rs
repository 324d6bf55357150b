//! Who may open which doors, and the secrets that prove who it is.

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

/// Which user: his slot, 0 to [`MAX_USERS`] - 1. A user keeps his slot through a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub u8);

impl UserId {
    /// The slot as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What the core knows of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Keys of ketuk's packet.
    pub keys: heapless::Vec<packet::Keys, MAX_SECRETS>,
    /// Secrets of changing sequences.
    pub totp: heapless::Vec<Secret<{ totp::MAX_SECRET }>, MAX_SECRETS>,
    /// Keys of fwknop's packet.
    #[cfg(feature = "fwknop")]
    pub fwknop: heapless::Vec<fwknop::Keys, MAX_SECRETS>,
    /// The user name that his fwknop client must send, if it must be one.
    #[cfg(feature = "fwknop")]
    pub fwknop_user: Option<UserName>,
    /// The doors he may open.
    pub doors: DoorSet,
    /// From when on he may not, in seconds since 1970.
    pub expires: Option<u64>,
}

impl User {
    /// Whether his time is over.
    pub fn is_expired(&self, wall_s: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= wall_s)
    }
}

/// The users that are there, with their slots.
pub(super) fn users_of(users: &[Option<User>]) -> impl Iterator<Item = (UserId, &User)> {
    (0..).zip(users).filter_map(|(slot, user)| Some((UserId(slot), user.as_ref()?)))
}
