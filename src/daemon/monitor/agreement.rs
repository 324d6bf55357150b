//! The parts of a configuration on which both processes must agree. Each process reads the configuration by itself. Messages
//! name doors and users by numbers, so both must have read the same configuration.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::message::ConfigPlace;
use crate::config::{Config, Door};
use crate::core::door::DoorId;
use crate::daemon::slots::Slots;

/// The doors and users of a configuration, and its number.
#[derive(Clone, Debug, Default)]
struct Version {
    generation: u32,
    slots: Slots,
    /// The names of the enabled users, in the order of the file.
    users: Vec<String>,
    log_file: Option<PathBuf>,
}

/// The configuration, and the one before. Events of doors and users that the last reload removed refer to the one before.
#[derive(Clone, Debug, Default)]
pub(super) struct Agreement {
    current: Version,
    before: Version,
}

impl Agreement {
    /// The agreement at the start.
    pub(super) fn begin(config: &Config) -> Self {
        let current = Version::default().with(config, 0);
        Self { before: current.clone(), current }
    }

    /// The agreement with the configuration that this process has read now.
    #[must_use]
    pub(super) fn next(&self, config: &Config) -> Self {
        let generation = self.current.generation.wrapping_add(1);
        Self { current: self.current.with(config, generation), before: self.current.clone() }
    }

    /// The number of the configuration.
    pub(super) const fn generation(&self) -> u32 {
        self.current.generation
    }

    /// A number that is the same in both processes if they have read the same doors, commands, files and users. The hash needs
    /// no key: only a person who may write the configuration could make two configurations with one number, and gains nothing.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (id, door) in self.current.slots.iter() {
            (id.0, &door.name, &door.commands, &door.one_time).hash(&mut hasher);
        }
        (&self.current.users, &self.current.log_file).hash(&mut hasher);
        hasher.finish()
    }

    /// The log file of the current configuration.
    pub(super) fn log_file(&self) -> Option<&Path> {
        self.current.log_file.as_deref()
    }

    /// The doors of the current configuration.
    pub(super) fn doors(&self) -> impl Iterator<Item = &Door> {
        self.current.slots.iter().map(|(_, door)| &**door)
    }

    /// The place of a door of the current configuration.
    pub(super) fn find(&self, door: &str) -> Option<ConfigPlace> {
        self.current.find(door)
    }

    /// The place of a door that may have been removed by the last reload.
    pub(super) fn find_old(&self, door: &str) -> Option<ConfigPlace> {
        self.current.find(door).or_else(|| self.before.find(door))
    }

    /// The place of a user who may have been removed by the last reload.
    pub(super) fn find_user(&self, user: &str) -> Option<ConfigPlace> {
        self.current.find_user(user).or_else(|| self.before.find_user(user))
    }

    /// The door in a place of the current configuration.
    pub(super) fn door(&self, place: ConfigPlace) -> Option<&Rc<Door>> {
        if place.generation == self.current.generation { self.old_door(place) } else { None }
    }

    /// The door in a place, which the last reload may have removed.
    pub(super) fn old_door(&self, place: ConfigPlace) -> Option<&Rc<Door>> {
        self.version(place)?.slots.get(DoorId(place.number))
    }

    /// The user in a place, whom the last reload may have removed.
    pub(super) fn user(&self, place: ConfigPlace) -> Option<&str> {
        self.version(place)?.users.get(usize::from(place.number)).map(String::as_str)
    }

    fn version(&self, place: ConfigPlace) -> Option<&Version> {
        [&self.current, &self.before].into_iter().find(|version| version.generation == place.generation)
    }
}

impl Version {
    fn with(&self, config: &Config, generation: u32) -> Self {
        let users = config.users.iter().filter(|user| user.enabled).map(|user| user.name.clone());
        let log_file = config.globals.log_file.clone();
        Self { generation, slots: self.slots.with(config), users: users.collect(), log_file }
    }

    fn find(&self, door: &str) -> Option<ConfigPlace> {
        let slot = self.slots.find(door)?;
        Some(ConfigPlace { generation: self.generation, number: slot.0 })
    }

    fn find_user(&self, name: &str) -> Option<ConfigPlace> {
        let number = self.users.iter().position(|user| user == name)?;
        Some(ConfigPlace { generation: self.generation, number: u8::try_from(number).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(names: &[(&str, &str)]) -> Config {
        let sections = names.iter().map(|(kind, name)| match *kind {
            "door" => format!("config door '{name}'\nlist sequence '1'\noption dest_port '22'\n"),
            kind => format!("config {kind} '{name}'\nlist door 'a'\n"),
        });
        crate::config::parse("test", sections.collect::<String>().as_bytes()).expect("a configuration")
    }

    #[test]
    fn places_of_this_configuration_and_the_one_before() {
        let first =
            Agreement::begin(&config(&[("door", "a"), ("door", "b"), ("user", "alice"), ("user", "bob")]));
        let next = config(&[("door", "a"), ("door", "c"), ("user", "bob")]);
        let second = first.next(&next);
        assert_eq!([&first, &second].map(Agreement::generation), [0, 1]);
        let [old, kept] = ["b", "a"].map(|door| first.find(door).expect("it is there"));
        assert_eq!(second.find("b"), None);
        assert_eq!(second.find_old("b"), Some(old));
        // The new door has the old one's slot, in another configuration.
        let new = second.find("c").expect("it is there");
        assert_eq!((new.number, new.generation), (old.number, old.generation + 1));
        assert!(second.door(old).is_none() && second.door(kept).is_none(), "of an old configuration");
        assert_eq!(second.old_door(old).expect("known").name, "b");
        let alice = second.find_user("alice").expect("known");
        assert_eq!((second.user(alice), alice.generation), (Some("alice"), 0));
        assert_eq!(second.find_user("bob").and_then(|bob| second.user(bob)), Some("bob"));
        let third = second.next(&next);
        assert_eq!((third.find_old("b"), third.user(alice)), (None, None));
        assert!(third.old_door(old).is_none());
    }

    #[test]
    fn who_has_read_something_else_is_seen() {
        let texts =
            ["", "option start_command 'a'\n", "option start_command 'b'\n", "option stop_command 'a'\n"];
        let door = "config door 'a'\nlist sequence '1'\noption dest_port '22'\n";
        let user = "config user 'bob'\nlist door 'a'\n";
        let texts = texts.iter().map(|more| format!("{door}{more}")).chain([format!("{door}{user}")]);
        let prints: std::collections::BTreeSet<u64> = texts
            .map(|text| crate::config::parse("test", text.as_bytes()).expect("a configuration"))
            .map(|config| Agreement::begin(&config).fingerprint())
            .collect();
        assert_eq!(prints.len(), 5);
    }
}
