//! The users by their numbers in the core.

use std::rc::Rc;

use super::slots::Slots;
use crate::config::{self, Config};
use crate::core::ports::DoorSet;
use crate::core::time::Instant;
use crate::core::user::{self, UserId};
use crate::firewall::nft::SecretsId;

/// The enabled users by slot. A user keeps the slot through a reload, because the core remembers a user's packets
/// under that number.
#[derive(Clone, Debug, Default)]
pub struct Users(Vec<Option<Slot>>);

#[derive(Clone, Debug)]
struct Slot {
    user: Rc<config::User>,
    /// When a packet of the user last opened a door.
    seen: Option<Instant>,
}

impl Users {
    /// The users of a new configuration. Users that exist already keep their places.
    #[must_use]
    pub fn with(&self, config: &Config) -> Self {
        let enabled = || config.users.iter().filter(|user| user.enabled);
        let staying = |old: &Option<Slot>| {
            let Slot { user: old, seen } = old.as_ref()?;
            let user = enabled().find(|user| user.name == old.name).cloned().map(Rc::new)?;
            Some(Slot { user, seen: *seen })
        };
        let mut slots: Vec<_> = self.0.iter().map(staying).collect();
        for user in enabled() {
            if !slots.iter().flatten().any(|placed| placed.user.name == user.name) {
                let slot = Some(Slot { user: Rc::new(user.clone()), seen: None });
                match slots.iter_mut().find(|slot| slot.is_none()) {
                    Some(free) => *free = slot,
                    None => slots.push(slot),
                }
            }
        }
        Self(slots)
    }

    /// The user in a slot.
    pub fn get(&self, id: UserId) -> Option<&Rc<config::User>> {
        self.0.get(id.index())?.as_ref().map(|slot| &slot.user)
    }

    /// Every user, and when a packet of the user last opened a door.
    pub fn iter(&self) -> impl Iterator<Item = (&config::User, Option<Instant>)> {
        self.0.iter().flatten().map(|slot| (&*slot.user, slot.seen))
    }

    /// Notes that a packet of the user opened a door.
    pub fn see(&mut self, id: UserId, now: Instant) {
        if let Some(Some(slot)) = self.0.get_mut(id.index()) {
            slot.seen = Some(now);
        }
    }

    /// A digest of the user's secrets, which the firewall keeps.
    pub fn secrets(&self, id: UserId) -> SecretsId {
        self.get(id).map(|user| user.secrets_id()).map(SecretsId).unwrap_or_default()
    }

    /// The user's name.
    pub fn name(&self, id: UserId) -> Option<&str> {
        self.get(id).map(|user| user.name.as_str())
    }

    /// The slot of a user.
    pub fn find(&self, name: &str) -> Option<UserId> {
        let named =
            (0..).zip(&self.0).find(|(_, slot)| slot.as_ref().is_some_and(|slot| slot.user.name == name));
        named.map(|(slot, _)| UserId(slot))
    }

    /// Whether the user in a slot still exists in `after`, with all the same secrets.
    pub fn keeps_secrets(&self, after: &Self, id: UserId) -> bool {
        let (Some(before), Some(after)) = (self.get(id), after.get(id)) else { return false };
        before.name == after.name && before.secrets_are_in(after)
    }

    /// The users' rules and secrets for the core.
    pub fn for_core(&self, slots: &Slots) -> Vec<Option<user::KnownUser>> {
        let doors = |user: &config::User| {
            let ids = user.doors.iter().filter_map(|door| slots.find(door));
            DoorSet(ids.fold(0, |set, id| set | 1 << id.0))
        };
        // Each user is filled in at the final place, see `user::KnownUser::copy_from`.
        let mut known: Vec<_> =
            self.0.iter().map(|slot| slot.as_ref().map(|_| user::KnownUser::default())).collect();
        for (slot, known) in self.0.iter().zip(&mut known) {
            if let (Some(slot), Some(known)) = (slot, known) {
                slot.user.tell_core(doors(&slot.user), known);
            }
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(users: &[&str]) -> Config {
        let users: String =
            users.iter().flat_map(|user| ["config user ", user, "\nlist door ssh\n"]).collect();
        config::parse("test", format!("config door ssh\noption dest_port 22\n{users}").as_bytes()).unwrap()
    }

    #[test]
    fn a_user_keeps_his_slot_and_a_new_one_takes_a_free_one() {
        let before = Users::default().with(&config(&["alice", "bob", "carol"]));
        let now = before.with(&config(&["dave", "carol", "eve", "alice"]));
        let names = [0, 1, 2, 3, 4].map(|slot| now.name(UserId(slot)));
        assert_eq!(names, [Some("alice"), Some("dave"), Some("carol"), Some("eve"), None]);
        assert!(before.keeps_secrets(&now, UserId(2)));
        assert!(!before.keeps_secrets(&now, UserId(1)), "dave has bob's slot, and is not bob");
    }

    #[test]
    fn the_core_gets_each_users_own_doors() {
        let doors =
            ["ssh", "web", "nas"].map(|door| format!("config door {door}\noption dest_port 22\n")).concat();
        let users = "config user alice\nlist door nas\nlist door ssh\nconfig user bob\nlist door web\n";
        let config = config::parse("test", (doors + users).as_bytes()).unwrap();
        let slots = Slots::default().with(&config);
        let known = Users::default().with(&config).for_core(&slots);
        let doors: Vec<_> = known.iter().flatten().map(|user| user.doors).collect();
        assert_eq!(doors, [DoorSet(0b101), DoorSet(0b010)]);
    }

    #[test]
    fn a_user_is_seen_and_has_secrets_with_a_number_of_their_own() {
        let with = |key: &str| {
            let text = format!(
                "config door ssh\noption dest_port 22\nconfig user alice\noption key '{key}'\nlist door ssh\n"
            );
            Users::default().with(&config::parse("test", text.as_bytes()).unwrap())
        };
        let [mut users, others] =
            ['A', 'E'].map(|letter| with(&format!("{}=", letter.to_string().repeat(43))));
        let alice = users.find("alice").unwrap();
        assert_ne!(users.secrets(alice), SecretsId::default());
        assert_ne!(users.secrets(alice), others.secrets(alice));
        assert_eq!(users.iter().map(|(_, seen)| seen).collect::<Vec<_>>(), [None]);
        let now = Instant::from_millis(7);
        users.see(alice, now);
        assert_eq!(users.iter().map(|(_, seen)| seen).collect::<Vec<_>>(), [Some(now)]);
    }
}
