//! A stanza of fwknopd's access.conf, in whatever syntax it was written.

use super::outcome::Note;

/// `SOURCE` and what belongs to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Stanza {
    /// Its line.
    pub(super) line: usize,
    /// What it is called, if it has a name.
    pub(super) name: Option<String>,
    /// Its keys and values, in order.
    pub(super) settings: Vec<Setting>,
    /// A line of it that could not be read, and why.
    pub(super) unreadable: Option<(usize, &'static str)>,
}

/// `KEY value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// As it was written.
    pub(super) key: String,
    /// What stands behind it.
    pub(super) value: String,
    /// Its line.
    pub(super) line: usize,
}

impl Stanza {
    /// The value of a key, and its line. Of a key written twice the last counts.
    pub(super) fn get(&self, key: &str) -> Option<(&str, usize)> {
        let setting = self.settings.iter().rev().find(|setting| setting.key == key)?;
        Some((setting.value.as_str(), setting.line))
    }

    /// Names the keys that are written again further down.
    pub(super) fn name_doubles(&self, notes: &mut Vec<Note>) {
        for (at, Setting { key, line, .. }) in self.settings.iter().enumerate() {
            let again = self.settings[at + 1..].iter().rev().find(|later| later.key == *key);
            if let Some(Setting { line: again, .. }) = again {
                notes.push(Note::new(
                    *line,
                    format!("{key} is left out: line {again} says it again, and counts"),
                ));
            }
        }
    }
}

/// Whether a value means yes to fwknopd.
pub(super) fn is_yes(value: &str) -> bool {
    value.starts_with(['y', 'Y'])
}

/// A value as fwknopd takes it of a line: the key without its colon, and the value up to `;`. None for a line without a
/// value.
pub(super) fn key_and_value(content: &str) -> Option<(&str, &str)> {
    let (key, value) = content.trim_start().split_once(char::is_whitespace)?;
    let value = value.trim_start().split(';').next().unwrap_or_default().trim_end();
    let key = key.rsplit_once(':').map_or(key, |(key, _)| key);
    (!value.is_empty()).then_some((key, value))
}
