//! A stanza of fwknopd's configuration, from access.conf or from UCI.

use super::outcome::Note;

/// `SOURCE` and the settings that follow.
#[derive(Clone, Debug, Default)]
pub(super) struct Stanza {
    /// The number of its line.
    pub(super) line: usize,
    /// The stanza's name, if it has one.
    pub(super) name: Option<String>,
    /// The keys and values in order.
    pub(super) settings: Vec<Setting>,
    /// A line of the stanza that could not be read, and why.
    pub(super) unreadable: Option<(usize, &'static str)>,
}

/// `KEY value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The key as written.
    pub(super) key: String,
    /// The text after the key.
    pub(super) value: String,
    /// The number of its line.
    pub(super) line: usize,
}

impl Stanza {
    /// The value of a key, and its line. If a key is written twice, the last one counts.
    pub(super) fn get(&self, key: &str) -> Option<(&str, usize)> {
        let setting = self.settings.iter().rev().find(|setting| setting.key == key)?;
        Some((setting.value.as_str(), setting.line))
    }

    /// Notes keys that are written again further down.
    pub(super) fn name_doubles(&self, notes: &mut Vec<Note>) {
        for (at, Setting { key, line, .. }) in self.settings.iter().enumerate() {
            let again = self.settings[at + 1..].iter().rev().find(|later| later.key == *key);
            if let Some(Setting { line: again, .. }) = again {
                notes.push(Note::new(
                    *line,
                    format!("{key} is left out: line {again} sets it again, and the last one counts"),
                ));
            }
        }
    }
}

/// Whether fwknopd reads the value as yes.
pub(super) fn is_yes(value: &str) -> bool {
    value.starts_with(['y', 'Y'])
}

/// Splits a line as fwknopd does: the key without its colon, and the value up to `;`. `None` if there is no value.
pub(super) fn key_and_value(content: &str) -> Option<(&str, &str)> {
    let (key, value) = content.trim_start().split_once(char::is_whitespace)?;
    let value = value.trim_start().split(';').next().unwrap_or_default().trim_end();
    let key = key.rsplit_once(':').map_or(key, |(key, _)| key);
    (!value.is_empty()).then_some((key, value))
}
