//! The keys of fwknopd's stanzas.

use crate::import::outcome::Note;
use crate::import::settings::{Setting, Stanza};
use crate::import::write::NewSection;
use crate::protocol::base64;

/// Longest key that is carried over, in bytes.
const MAX_KEY: usize = 128;
/// Keys with fewer bytes get a warning.
const SHORT_KEY: usize = 16;
/// Placeholders for keys in the files of distributions.
const PLACEHOLDERS: &[&str] = &["__CHANGEME__", "CHANGEME"];

impl Stanza {
    /// The keys in base 64.
    pub(super) fn keys(&self, user: &mut NewSection, notes: &mut Vec<Note>) -> Option<(String, String)> {
        let mut key = |plain: &str, encoded: &str| {
            // Of the two forms of a key, the last one in the stanza counts.
            let is_either = |setting: &&Setting| setting.key == plain || setting.key == encoded;
            let setting = self.settings.iter().rev().find(is_either)?;
            if PLACEHOLDERS.iter().any(|placeholder| setting.value.eq_ignore_ascii_case(placeholder)) {
                let message = format!("{} is a placeholder, which everybody knows", setting.key);
                user.shut(&message);
                notes.push(Note::new(setting.line, message));
                return None;
            }
            let mut out = [0; 2 * MAX_KEY];
            let (text, bytes) = if setting.key == plain {
                let bytes = setting.value.as_bytes();
                let text = base64::encode(bytes.get(..bytes.len().min(MAX_KEY))?, &mut out)?.to_owned();
                (text, bytes.len())
            } else {
                (setting.value.clone(), base64::decode(&setting.value, &mut out).map_or(0, <[u8]>::len))
            };
            if bytes > 0 && bytes < SHORT_KEY {
                notes.push(Note::new(
                    setting.line,
                    format!("{} has only {bytes} bytes, which can be guessed", setting.key),
                ));
            }
            Some((text, setting.line))
        };
        let (key, hmac_key) = (key("KEY", "KEY_BASE64"), key("HMAC_KEY", "HMAC_KEY_BASE64"));
        let name = user.name.clone();
        let mut missing = |what: &str| {
            if !user.is_shut() {
                user.shut(&format!("the user has no {what}"));
            }
            notes.push(Note::new(
                self.line,
                format!("{name} has no {what}, without which no packet is taken: see 'ketukd keygen'"),
            ));
        };
        match (key, hmac_key) {
            (Some((key, line)), Some((hmac_key, hmac_line))) => {
                user.option(line, "fwknop_key", key.as_str());
                user.option(hmac_line, "fwknop_hmac_key", hmac_key.as_str());
                Some((key, hmac_key))
            }
            (None, _) => {
                missing("KEY");
                None
            }
            (_, None) => {
                missing("HMAC_KEY");
                None
            }
        }
    }
}
