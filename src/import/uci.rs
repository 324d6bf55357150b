//! Reads OpenWrt's UCI files of fwknopd and of the third-party package of knockd.

use std::ops::Range;

use super::doors::ForeignFile;
use super::fwknopd::globals_of;
use super::host::Host;
use super::lines::Lines;
use super::outcome::{ImportError, Imported, Note};
use super::part::{KnockdLine, KnockdSection, is_on};
use super::settings::{Setting, Stanza};
use super::write::NewSection;
use super::{doors, stanza};
use crate::config::uci::{self, Section as Foreign, Span, Value};

/// Reads either file. `file` is its name, for the comments.
///
/// # Errors
/// The file is neither.
pub(super) fn import(
    file: &str,
    text: &[u8],
    lines: &Lines,
    range: Range<usize>,
    host: &dyn Host,
) -> Result<Imported, ImportError> {
    let bom = text.len() - text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).len();
    let text = &text[bom..];
    let line_of =
        |span: Span| range.start + text[..span.start.min(text.len())].split(|byte| *byte == b'\n').count();
    let sections = uci::parse(text)
        .map_err(|_| ImportError::Other("this is UCI, and has a fault: 'uci show' says where"))?;
    let has = |kinds: &[&[u8]]| sections.iter().any(|section| kinds.contains(&section.kind.bytes.as_slice()));
    if has(&[b"access"]) {
        Ok(fwknopd(file, lines, &sections, &line_of))
    } else if has(&[b"rule"]) && (has(&[b"options"]) || sections.iter().any(has_sequence)) {
        Ok(knockd(ForeignFile { file, lines, host }, &sections, &line_of))
    } else if has(&[b"globals"]) && has(&[b"door", b"user"]) {
        Err(ImportError::Ketuk)
    } else if has(&[b"zone", b"defaults", b"redirect"]) {
        Err(ImportError::Other("this is OpenWrt's firewall, not the configuration of a knock daemon"))
    } else {
        Err(ImportError::Other(
            "this is UCI, and of neither fwknopd (it has no 'config access') nor knockd (no 'config rule')",
        ))
    }
}

/// Whether this is a rule of knockd. The sections of OpenWrt's firewall have the same name, and no sequence.
fn has_sequence(section: &Foreign) -> bool {
    section.options.iter().any(|entry| entry.name.bytes.eq_ignore_ascii_case(b"sequence"))
}

/// The options of a section: name, value and line.
fn options<'s>(
    section: &'s Foreign,
    line_of: &'s dyn Fn(Span) -> usize,
) -> impl Iterator<Item = (String, Option<String>, usize)> + 's {
    section.options.iter().flat_map(move |entry| {
        let words = match &entry.value {
            Value::One(word) => std::slice::from_ref(word),
            Value::List(words) => words.as_slice(),
        };
        let name = String::from_utf8_lossy(&entry.name.bytes).into_owned();
        words.iter().map(move |word| {
            let text = std::str::from_utf8(&word.bytes).ok().filter(|text| !text.contains('\n'));
            (name.clone(), text.map(str::to_owned), line_of(word.span))
        })
    })
}

fn fwknopd(file: &str, lines: &Lines, sections: &[Foreign], line_of: &dyn Fn(Span) -> usize) -> Imported {
    let mut notes = Vec::new();
    let (mut stanzas, mut own, mut networks) = (Vec::new(), Vec::new(), Vec::new());
    let (mut enabled, mut switch) = (false, 1);
    for section in sections {
        let line = line_of(section.kind.span);
        match section.kind.bytes.as_slice() {
            b"access" => stanzas.push(access(section, line, line_of, &mut notes)),
            b"config" => {
                let readable = options(section, line_of)
                    .filter_map(|(key, value, line)| Some(Setting { key, value: value?, line }));
                own.extend(readable);
            }
            b"network" => {
                networks.extend(options(section, line_of).filter(|(name, ..)| name == "network"));
            }
            b"global" => {
                for (_, value, line) in options(section, line_of).filter(|(name, ..)| name == "uci_enabled") {
                    enabled |= value.as_deref().is_some_and(is_on);
                    switch = line;
                }
            }
            _ => notes.push(Note::new(line, "this section is left out: fwknopd has no such section")),
        }
    }
    let mut globals = NewSection::new("globals", "globals", 1);
    globals_of(&mut globals, &own, networks.is_empty(), &mut notes);
    for (_, network, line) in &networks {
        globals.list(*line, "network", network.as_deref().unwrap_or_default());
    }
    if !globals.options.iter().any(|entry| matches!(entry.name, "network" | "device")) {
        // OpenWrt's script listens on the network wan.
        globals.list(1, "network", "wan");
    }
    if !enabled {
        notes.push(Note::new(
            switch,
            "uci_enabled is not 1: OpenWrt's fwknopd uses /etc/fwknop/*.conf instead of this file",
        ));
        for stanza in &mut stanzas {
            stanza.unreadable.get_or_insert((switch, "uci_enabled is not 1, so this file is not in use"));
        }
    }
    stanza::import(file, lines, &stanzas, globals.options, notes)
}

/// Reads `config access`. Its SOURCE may stand anywhere in it.
fn access(section: &Foreign, line: usize, line_of: &dyn Fn(Span) -> usize, notes: &mut Vec<Note>) -> Stanza {
    let name = (!section.anonymous).then(|| String::from_utf8_lossy(&section.name.bytes).into_owned());
    let mut stanza = Stanza { line, name, ..Stanza::default() };
    for (key, value, line) in options(section, line_of) {
        let Some(value) = value else {
            notes.push(Note::new(line, format!("{key} is left out: it is not one line of UTF-8")));
            stanza.unreadable = Some((line, "it is not one line of UTF-8"));
            continue;
        };
        // OpenWrt's script writes the value into access.conf, where a `;` ends it.
        let value = value.split(';').next().unwrap_or_default().trim().to_owned();
        stanza.settings.push(Setting { key, value, line });
    }
    if stanza.get("SOURCE").is_none() {
        notes.push(Note::new(line, "it has no SOURCE"));
        stanza.unreadable.get_or_insert((line, "it has no SOURCE"));
    }
    stanza
}

fn knockd(source: ForeignFile<'_>, sections: &[Foreign], line_of: &dyn Fn(Span) -> usize) -> Imported {
    let mut notes = Vec::new();
    let (mut own, mut rules) = (Vec::new(), Vec::new());
    for section in sections {
        let line = line_of(section.kind.span);
        let mut part = KnockdSection {
            name: String::from_utf8_lossy(&section.name.bytes).into_owned(),
            line,
            ..KnockdSection::default()
        };
        for (key, value, line) in options(section, line_of) {
            // A section is enabled unless it says otherwise.
            if key == "enabled" && value.as_deref().is_some_and(is_on) {
                continue;
            }
            // UCI repeats a key only in a list. Here each item of the list is a step of the sequence.
            let earlier = part.entries.iter_mut().find(|entry| key == "sequence" && entry.key == key);
            if let (Some(KnockdLine { value: Some(steps), .. }), Some(step)) = (earlier, &value) {
                steps.push(',');
                steps.push_str(step);
            } else if value.is_none() {
                notes.push(Note::new(line, format!("{key} is left out: it is not one line of UTF-8")));
                part.unreadable = Some(line);
            } else {
                part.entries.push(KnockdLine { key: key.to_ascii_lowercase(), value, line });
            }
        }
        match section.kind.bytes.as_slice() {
            b"options" => own.push(part),
            b"rule" => rules.push(part),
            _ => notes.push(Note::new(line, "this section is left out: knockd has no such section")),
        }
    }
    doors::import(source, &own, rules, notes)
}
