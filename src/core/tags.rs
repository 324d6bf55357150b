//! The tags of all users' keys: one look-up finds the user of a packet.

use core::hash::BuildHasher;

use super::hash_index::HashIndex;
use super::user::{KnownUser, MAX_SECRETS, MAX_USERS, UserId, users_of};
use ketuk_protocol::packet::{TAG_WINDOW_S, tag_window};

/// Most windows whose tags are accepted: the current one and those within [`MAX_SPA_AGE_S`] of it.
const MAX_WINDOWS: usize = 5;

/// Largest `spa_max_age`, in seconds.
pub const MAX_SPA_AGE_S: u64 = 2 * TAG_WINDOW_S;

const MAX_TAGS: usize = MAX_USERS * MAX_SECRETS * MAX_WINDOWS;

/// The key that a tag belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub(crate) user: UserId,
    /// The number of the key among this user's keys.
    pub(crate) key: u8,
}

/// The tags that are valid now.
#[derive(Debug)]
pub struct Tags {
    all: heapless::Vec<(u64, Owner), MAX_TAGS>,
    index: HashIndex<MAX_TAGS>,
    /// The window that they were made for.
    window: Option<u64>,
}

impl Tags {
    /// No tags yet.
    pub const fn new() -> Self {
        Self { all: heapless::Vec::new(), index: HashIndex::new(), window: None }
    }

    /// Drops all tags, because the users changed.
    pub fn clear(&mut self) {
        self.window = None;
    }

    /// Makes the tags for this moment, once in each window. It costs a few hashes for each key.
    pub fn follow(&mut self, keyed: &impl BuildHasher, users: &[KnownUser], wall_s: u64, max_age_s: u64) {
        let window = tag_window(wall_s);
        if self.window == Some(window) {
            return;
        }
        self.window = Some(window);
        self.all.clear();
        self.index.clear();
        let beside = max_age_s.min(MAX_SPA_AGE_S).div_ceil(TAG_WINDOW_S);
        for (user, secrets) in users_of(users) {
            for (key, keys) in (0..).zip(&secrets.keys) {
                for window in window.saturating_sub(beside)..=window.saturating_add(beside) {
                    let tag = keys.tag(window);
                    self.index.link(keyed.hash_one(tag), self.all.len());
                    self.all.push((tag, Owner { user, key })).expect("MAX_TAGS is as many");
                }
            }
        }
    }

    /// The keys that may have made a packet with this tag: usually none or one.
    pub fn owners(&self, keyed: &impl BuildHasher, tag: u64) -> impl Iterator<Item = Owner> + '_ {
        let found = self.index.slots(keyed.hash_one(tag)).map(|slot| self.all[slot]);
        found.filter(move |(known, _)| *known == tag).map(|(_, owner)| owner)
    }
}

impl Default for Tags {
    fn default() -> Self {
        Self::new()
    }
}
