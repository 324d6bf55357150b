//! Reads `knockd.conf` of knockd 0.8 as knockd does.
//!
//! Keys ignore case, section names do not. A comment is a whole line. A value is everything after the first `=`. If a
//! key is written twice, the last one counts. Some files contain lines that knockd refuses: a comment after a value,
//! or a line that continues in the next. Their meaning is clear, so they are read.

use super::door::{ONE_TIME, SEQUENCE};
use super::doors::{self, ForeignFile};
use super::host::Host;
use super::lines::{Line, Lines};
use super::outcome::{ImportError, Imported, Note};
use super::part::{KnockdLine, KnockdSection};

/// The name of the section for knockd itself.
const OPTIONS: &str = "options";

/// Reads a knockd.conf; `file` is its name, for the comments.
///
/// # Errors
/// The file has nothing to import.
pub(super) fn import(
    file: &str,
    lines: &Lines,
    range: std::ops::Range<usize>,
    host: &dyn Host,
) -> Result<Imported, ImportError> {
    let mut notes = Vec::new();
    if lines.has_mark() {
        notes.push(Note::new(
            1,
            "the file begins with a byte order mark, for which knockd refuses it: the mark is ignored",
        ));
    }
    let parts = parts(lines.get(range), &mut notes);
    if parts.is_empty() {
        return Err(ImportError::Unknown);
    }
    let (own, doors): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| is_options(part, &mut notes));
    Ok(doors::import(ForeignFile { file, lines, host }, &own, doors, notes))
}

/// Whether the section is for knockd itself. knockd refuses a file with `[Options]`, since it takes that for a door without a
/// sequence. Its device is meant all the same.
fn is_options(part: &KnockdSection, notes: &mut Vec<Note>) -> bool {
    let meant =
        part.name.eq_ignore_ascii_case(OPTIONS) && part.get(SEQUENCE).or(part.get(ONE_TIME)).is_none();
    if meant && part.name != OPTIONS {
        notes.push(part.note("it is taken for [options], as knockd wants it written"));
    }
    part.name == OPTIONS || meant
}

/// A line with its continuation lines.
struct Joined {
    text: String,
    number: usize,
    is_text: bool,
}

/// The sections of a file.
fn parts(lines: &[Line], notes: &mut Vec<Note>) -> Vec<KnockdSection> {
    let mut parts: Vec<KnockdSection> = Vec::new();
    for Joined { text, number, is_text } in joined(lines, notes) {
        let content = text.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if !is_text {
            notes.push(Note::new(number, "this is not UTF-8: save the file as UTF-8"));
        }
        let name = content.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            let unreadable = (!is_text).then_some(number);
            parts.push(KnockdSection {
                name: name.trim().to_owned(),
                line: number,
                entries: Vec::new(),
                unreadable,
            });
            continue;
        }
        let Some(part) = parts.last_mut() else {
            notes.push(Note::new(number, "left out: it stands before the first section"));
            continue;
        };
        if !is_text {
            part.unreadable = Some(number);
            continue;
        }
        let (key, value) = match content.split_once('=') {
            Some((key, value)) => (key.trim(), Some(value.trim().to_owned())),
            None => (content, None),
        };
        part.entries.push(KnockdLine { key: key.to_ascii_lowercase(), value, line: number });
    }
    parts
}

/// The lines, with lines that end in a backslash joined to the next.
fn joined(lines: &[Line], notes: &mut Vec<Note>) -> Vec<Joined> {
    let mut all: Vec<Joined> = Vec::new();
    let mut goes_on = false;
    for line in lines {
        match all.last_mut().filter(|_| goes_on) {
            Some(joined) => {
                joined.text.push_str(line.text.trim());
                joined.is_text &= line.is_text;
            }
            None => all.push(Joined { text: line.text.clone(), number: line.number, is_text: line.is_text }),
        }
        let joined = all.last_mut().expect("a line was added");
        let text = joined.text.trim_end();
        goes_on = text.ends_with('\\') && !text.trim_start().starts_with('#');
        if goes_on {
            let len = text.len() - 1;
            joined.text.truncate(len);
            notes.push(Note::new(
                line.number,
                "the line goes on in the next one, which knockd does not know: the lines are joined",
            ));
        }
    }
    all
}
