//! The options of one section: their names and their values.

use crate::config::error::{Fault, quoted};
use crate::config::uci::{Section, Span, UciOption, Value, Word};

/// The options of `config globals`.
const GLOBALS: &[&str] = &[
    "enabled",
    "network",
    "device",
    "backend",
    "nft_table",
    "log_level",
    "log_file",
    "on_stop",
    "trap_except",
    "command_timeout",
    "spa_port",
    "spa_max_age",
    "totp_ports",
    "trust_clock",
    "page",
];

/// The options of `config user`.
const USER: &[&str] = &[
    "enabled",
    "key",
    "totp",
    "fwknop_key",
    "fwknop_hmac_key",
    "fwknop_hmac_type",
    "fwknop_user",
    "door",
    "src",
    "expires",
    "other_address",
    "require_address",
];

/// The options of `config door`.
const DOOR: &[&str] = &[
    "enabled",
    "sequence",
    "seq_timeout",
    "tcpflags",
    "target",
    "proto",
    "dest_port",
    "src_dport",
    "dest_ip",
    "open_time",
    "cmd_timeout",
    "max_time",
    "close",
    "start_command",
    "start_command_6",
    "stop_command",
    "stop_command_6",
    "on_stop",
    "trap_except",
    "one_time_sequences",
    "action",
    "door",
    "kill",
    "src",
    "start_time",
    "stop_time",
    "weekdays",
    "grant_prefix_4",
    "grant_prefix_6",
    "fwknop_port",
    "any_port",
    "allow_port",
];

/// Longest name that is compared with the known options, in bytes. A longer one is hardly a misspelt option.
const MAX_MISSPELT: usize = 64;

/// A section whose options are all known.
pub(super) struct SectionOptions<'a> {
    section: &'a Section,
}

impl<'a> SectionOptions<'a> {
    /// The options of `config globals`.
    pub(super) fn globals(section: &'a Section) -> Result<Self, Fault> {
        check_names(section, "globals", GLOBALS, ("door", DOOR))?;
        Ok(Self { section })
    }

    /// The options of `config door`.
    pub(super) fn door(section: &'a Section) -> Result<Self, Fault> {
        let title = format!("door {}", quoted(&section.name.bytes));
        check_names(section, &title, DOOR, ("globals", GLOBALS))?;
        Ok(Self { section })
    }

    /// The options of `config user`.
    pub(super) fn user(section: &'a Section) -> Result<Self, Fault> {
        let title = format!("user {}", quoted(&section.name.bytes));
        check_names(section, &title, USER, ("globals", GLOBALS))?;
        Ok(Self { section })
    }

    /// The section's name, with its place.
    pub(super) fn name(&self) -> &'a Word {
        &self.section.name
    }

    /// Whether the section has no name.
    pub(super) fn anonymous(&self) -> bool {
        self.section.anonymous
    }

    /// The first option in the section that has none of these names.
    pub(super) fn other_than(&self, names: &[&str]) -> Option<&'a Word> {
        let is = |entry: &&UciOption| !names.iter().any(|name| name.as_bytes() == entry.name.bytes);
        self.section.options.iter().find(is).map(|entry| &entry.name)
    }

    /// The place of an option's name, or of the section's name if the option is not given.
    pub(super) fn place(&self, name: &str) -> Span {
        self.entry(name).map_or(self.section.name.span, |entry| entry.name.span)
    }

    /// The value of an option that takes one.
    pub(super) fn one(&self, name: &str) -> Result<Option<Text<'a>>, Fault> {
        match self.entry(name) {
            None => Ok(None),
            Some(UciOption { value: Value::One(word), .. }) => Text::new(word).map(Some),
            Some(UciOption { name, value: Value::List(_) }) => {
                Err(Fault::new(name.span, format!("{} takes one value, not a list", quoted(&name.bytes)))
                    .help("write it with 'option', once"))
            }
        }
    }

    /// The values of an option that takes several: a list's items, or those in one `option`. Blanks separate them in
    /// either form. `separates` says which other characters do.
    pub(super) fn many(&self, name: &str, separates: fn(char) -> bool) -> Result<Vec<Text<'a>>, Fault> {
        let words = match self.entry(name) {
            None => &[],
            Some(UciOption { value: Value::One(word), .. }) => std::slice::from_ref(word),
            Some(UciOption { value: Value::List(words), .. }) => words.as_slice(),
        };
        let mut all = Vec::new();
        for word in words {
            let text = Text::new(word)?;
            // `7000,` has an empty second piece, which its reader refuses. Blanks make no empty piece.
            for piece in text.split(separates) {
                let blank = all.len();
                all.extend(piece.split(is_blank).into_iter().filter(|part| !part.text.is_empty()));
                if all.len() == blank {
                    all.push(piece);
                }
            }
        }
        Ok(all)
    }

    fn entry(&self, name: &str) -> Option<&'a UciOption> {
        self.section.options.iter().find(|entry| entry.name.bytes == name.as_bytes())
    }
}

/// A value or a piece of one, and its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    /// The text.
    pub(super) text: &'a str,
    /// Its place.
    pub(super) span: Span,
}

impl<'a> Text<'a> {
    fn new(word: &'a Word) -> Result<Self, Fault> {
        std::str::from_utf8(&word.bytes).map(|text| Self { text, span: word.span }).map_err(|error| {
            let mut span = word.span;
            if span.end - span.start == word.bytes.len() {
                span.start += error.valid_up_to();
                span.end = span.start + 1;
            }
            Fault::new(span, "this is not UTF-8").help("save the file as UTF-8")
        })
    }

    /// A fault at this place.
    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.span, message)
    }

    /// The text in quotes, for a message.
    pub(super) fn quoted(&self) -> String {
        quoted(self.text.as_bytes())
    }

    /// The pieces between separators.
    pub(super) fn split(&self, separates: fn(char) -> bool) -> Vec<Self> {
        let mut start = 0;
        let mut pieces = Vec::new();
        for piece in self.text.split(separates) {
            pieces.push(self.piece(start, piece));
            // Separators are ASCII: one byte long.
            start += piece.len() + 1;
        }
        pieces
    }

    /// The parts before and after the first separator.
    pub(super) fn split_once(&self, separator: char) -> Option<(Self, Self)> {
        let (before, behind) = self.text.split_once(separator)?;
        Some((self.piece(0, before), self.piece(self.text.len() - behind.len(), behind)))
    }

    /// The piece `text`, which begins at byte `at`.
    pub(super) fn piece(&self, at: usize, text: &'a str) -> Self {
        // The value contains quotes or backslashes, so only the place of the whole value is known.
        let verbatim = self.span.end - self.span.start == self.text.len();
        let start = self.span.start + at;
        Self { text, span: if verbatim { Span { start, end: start + text.len() } } else { self.span } }
    }
}

/// Whether the character is a blank. A newline in quotes is one too.
pub(super) fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace()
}

/// The name in `known` that `unknown` may be a misspelling of.
pub fn nearest<'n>(unknown: &[u8], known: &[&'n str]) -> Option<&'n str> {
    if unknown.len() > MAX_MISSPELT {
        return None;
    }
    known
        .iter()
        .map(|name| (distance(unknown, name.as_bytes()), *name))
        .min()
        // With more differences it is another word.
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .map(|(_, name)| name)
}

/// Refuses options that a section does not have.
fn check_names(
    section: &Section,
    title: &str,
    known: &[&str],
    (elsewhere, names_there): (&str, &[&str]),
) -> Result<(), Fault> {
    for UciOption { name, .. } in &section.options {
        let is = |candidate: &&str| candidate.as_bytes() == name.bytes;
        if known.iter().any(is) {
            continue;
        }
        let fault = Fault::new(name.span, format!("unknown option {} in {title}", quoted(&name.bytes)));
        if names_there.iter().any(is) {
            return Err(fault.help(format!("it belongs in 'config {elsewhere}'")));
        }
        return Err(match nearest(&name.bytes, known) {
            Some(candidate) => fault.help(format!("did you mean '{candidate}'?")),
            None => fault,
        });
    }
    Ok(())
}

/// Levenshtein's distance.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(!x.eq_ignore_ascii_case(y));
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_described() {
        let document = include_str!("../../../docs/configuration.md");
        for name in GLOBALS.iter().chain(DOOR).chain(USER) {
            assert!(document.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn the_nearest_name() {
        for (unknown, expected) in [
            ("dest_prot", Some("dest_port")),
            ("destport", Some("dest_port")),
            ("Sequence", Some("sequence")),
            ("cmd_timout", Some("cmd_timeout")),
            ("start_comand_6", Some("start_command_6")),
            ("", None),
            ("colour", None),
            ("timeout", None),
        ] {
            assert_eq!(nearest(unknown.as_bytes(), DOOR), expected, "{unknown}");
        }
        assert_eq!(nearest("x".repeat(100_000).as_bytes(), DOOR), None);
    }

    #[test]
    fn distances() {
        for (a, b, expected) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "BA", 2)]
        {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        }
    }
}
