//! A section of knockd's configuration, from knockd.conf or UCI.

use super::outcome::Note;

/// A section and its lines.
#[derive(Clone, Debug, Default)]
pub(super) struct KnockdSection {
    /// The section's name as written.
    pub(super) name: String,
    /// The number of its line.
    pub(super) line: usize,
    /// The keys and values in order.
    pub(super) entries: Vec<KnockdLine>,
    /// A line of the section that could not be read.
    pub(super) unreadable: Option<usize>,
}

/// `key = value`.
#[derive(Clone, Debug)]
pub(super) struct KnockdLine {
    /// The key in lower case.
    pub(super) key: String,
    /// `None` if the line is a single word.
    pub(super) value: Option<String>,
    /// The number of its line.
    pub(super) line: usize,
}

/// A value and its line.
pub(super) type KnockdValue<'a> = (&'a str, usize);

impl KnockdSection {
    /// The value of the key with these names. If a key is written twice, the last one counts.
    pub(super) fn get(&self, names: &[&str]) -> Option<KnockdValue<'_>> {
        let entry = self.entries.iter().rev().find(|entry| entry.is(names))?;
        Some((entry.value.as_deref()?, entry.line))
    }

    /// A note about the section.
    pub(super) fn note(&self, message: impl std::fmt::Display) -> Note {
        self.note_at(self.line, message)
    }

    /// A note about a line of the section.
    pub(super) fn note_at(&self, line: usize, message: impl std::fmt::Display) -> Note {
        Note::new(line, format!("[{}]: {message}", self.name))
    }

    /// Notes keys that are written again further down. The last one counts.
    pub(super) fn name_doubles(&self, keys: &[&[&str]], notes: &mut Vec<Note>) {
        for names in keys {
            let entries: Vec<_> = self.entries.iter().filter(|entry| entry.is(names)).collect();
            let Some((last, earlier)) = entries.split_last() else { continue };
            for entry in earlier {
                let (key, again) = (&entry.key, last.line);
                notes.push(Note::new(
                    entry.line,
                    format!("{key} is left out: line {again} sets it again, and the last one counts"),
                ));
            }
        }
    }
}

impl KnockdLine {
    /// Whether the line has one of these keys, and a value.
    pub(super) fn is(&self, names: &[&str]) -> bool {
        self.value.is_some() && names.contains(&self.key.as_str())
    }
}

/// Reads a number as `atoi` does: digits up to the first other character. Without digits it is 0; too large a number
/// gives the largest.
pub(super) fn atoi(text: &str) -> i64 {
    let text = text.trim_start();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    sign * match &digits[..end] {
        "" => 0,
        digits => digits.parse().unwrap_or(i64::from(i32::MAX)),
    }
}

/// Whether the text is a number of digits only.
pub(super) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The value without a comment after it.
pub(super) fn without_comment(value: &str) -> &str {
    let comment = value.char_indices().find(|&(at, c)| {
        c == '#' && (at == 0 || value[..at].ends_with(|before: char| before.is_whitespace()))
    });
    comment.map_or(value, |(at, _)| &value[..at]).trim()
}

/// Whether OpenWrt's scripts read the value as yes.
pub(super) fn is_on(value: &str) -> bool {
    matches!(value, "1" | "on" | "true" | "yes" | "enabled")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_knockd_reads_them() {
        for (text, expected) in [
            ("15", 15),
            (" 15  # s", 15),
            ("15s", 15),
            ("-5", -5),
            ("+5", 5),
            ("", 0),
            ("ssh", 0),
            ("99999999999999999999", 2_147_483_647),
        ] {
            assert_eq!(atoi(text), expected, "{text}");
        }
        assert_eq!(without_comment("a b # c"), "a b");
        assert_eq!((without_comment("a#b"), without_comment("# c")), ("a#b", ""));
    }
}
