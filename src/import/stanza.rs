//! Turns fwknopd's stanzas into ketuk's users and doors.

mod doors;
mod keys;

use self::doors::Doors;
use super::lines::Lines;
use super::outcome::{Imported, Note};
use super::settings::Stanza;
use super::write::{NewSection, settle};
use crate::config::MAX_NAME;
use crate::protocol::is_door;

/// Imports the stanzas. `globals` are options that are known already.
pub(super) fn import(
    file: &str,
    lines: &Lines,
    stanzas: &[Stanza],
    globals: Vec<super::write::UciLine>,
    mut notes: Vec<Note>,
) -> Imported {
    let mut own = NewSection::new("globals", "globals", 1);
    own.comment(&format!("Made from {file} by 'ketukd import'."));
    own.comment("It holds secrets: keep it where only root can read it.");
    own.option(1, "enabled", "1");
    own.options.extend(globals);
    let (mut doors, mut users) = (Doors::default(), Vec::<StanzaUser>::new());
    for stanza in stanzas {
        let user = stanza.user(&users, &mut doors, &mut notes);
        match users.iter_mut().find(|known| known.has_key_of(&user)) {
            None => users.push(user),
            Some(known) if known.may_be(&user) => known.merge(user),
            Some(known) => {
                let name = &known.section.name;
                notes.push(Note::new(
                    stanza.line,
                    format!("this stanza is left out: it has {name}'s key and other rules: give it a key of its own"),
                ));
            }
        }
    }
    // A stanza that was left out may have added doors that nobody opens. With backend `own` such a door would still shut its ports.
    doors.sections.retain(|door| users.iter().any(|user| user.names(&door.name)));
    let users = users.into_iter().map(|user| user.section);
    let mut sections: Vec<_> = std::iter::once(own).chain(doors.sections).chain(users).collect();
    let (uci, refused) = settle(&mut sections);
    notes.extend(refused);
    lines.imported(uci, notes)
}

/// A user, and the settings by which two stanzas are merged into one.
struct StanzaUser {
    section: NewSection,
    key: Option<(String, String)>,
}

impl StanzaUser {
    fn has_key_of(&self, other: &Self) -> bool {
        self.key.is_some()
            && self.key.as_ref().map(|(_, hmac)| hmac) == other.key.as_ref().map(|(_, hmac)| hmac)
    }

    /// Whether both have the same rules and keys. Their doors may differ.
    fn may_be(&self, other: &Self) -> bool {
        let rules = |user: &Self| {
            let rules = user.section.options.iter().filter(|entry| entry.name != "door");
            rules.map(|entry| (entry.name, entry.value.clone())).collect::<Vec<_>>()
        };
        !self.section.is_shut() && !other.section.is_shut() && rules(self) == rules(other)
    }

    /// Whether the user may open this door.
    fn names(&self, door: &str) -> bool {
        self.section.options.iter().any(|entry| entry.name == "door" && entry.value == door)
    }

    fn merge(&mut self, other: Self) {
        for entry in other.section.options.into_iter().filter(|entry| entry.name == "door") {
            if !self.names(&entry.value) {
                self.section.options.push(entry);
            }
        }
    }
}

impl Stanza {
    /// The stanza as a user. Its doors are added to `doors`.
    fn user(&self, users: &[StanzaUser], doors: &mut Doors, notes: &mut Vec<Note>) -> StanzaUser {
        let mut section = NewSection::new("user", &self.user_name(users), self.line);
        self.name_doubles(notes);
        if let Some((line, why)) = self.unreadable {
            section.shut(&format!("line {line} is left out: {why}"));
        }
        self.restrictions(&mut section, notes);
        for name in self.doors(doors, &mut section, notes) {
            section.list(self.line, "door", name);
        }
        let key = self.keys(&mut section, notes);
        // fwknopd opens for the address in the packet, wherever the packet comes from.
        section.option(self.line, "other_address", "1");
        StanzaUser { section, key }
    }

    /// The user's name: the section's name, `REQUIRE_USERNAME`, or a number.
    fn user_name(&self, users: &[StanzaUser]) -> String {
        let free = |name: &str| !users.iter().any(|user| user.section.name == name);
        let own =
            self.name.as_deref().or(self.get("REQUIRE_USERNAME").map(|(name, _)| name)).map(str::to_owned);
        let own = own.filter(|name| {
            is_door(name.as_bytes()) && name.len() <= MAX_NAME && free(name) && name != "globals"
        });
        let numbered = || (1..=users.len() + 1).map(|n| format!("user{n}")).find(|name| free(name));
        own.or_else(numbered).unwrap_or_default()
    }
}
