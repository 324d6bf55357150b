//! Reads `access.conf` of fwknopd 2.6 as fwknopd does.
//!
//! A stanza begins with `SOURCE` and becomes a user. Each port that it opens becomes a door. A comment is a line that
//! begins with `#` or `;`. A value ends at a `;`. Lines before the first stanza are ignored.

use std::ops::Range;
use std::path::Path;

use super::host::Host;
use super::lines::Lines;
use super::outcome::{ImportError, Imported, Note};
use super::settings::{Setting, Stanza, key_and_value};
use super::stanza;

/// The most levels of includes, as in fwknopd.
const MAX_DEPTH: usize = 3;

/// Reads an access.conf; `file` is its name, for the comments.
///
/// # Errors
/// The file has nothing to import, or too much.
pub(super) fn import(
    file: &str,
    lines: &mut Lines,
    range: Range<usize>,
    host: &dyn Host,
) -> Result<Imported, ImportError> {
    let mut stanzas = Stanzas { lines, host, all: Vec::new(), notes: Vec::new() };
    stanzas.file(range, MAX_DEPTH)?;
    let Stanzas { all, notes, .. } = stanzas;
    if all.is_empty() && notes.is_empty() {
        return Err(ImportError::Unknown);
    }
    Ok(stanza::import(file, lines, &all, Vec::new(), notes))
}

struct Stanzas<'l> {
    lines: &'l mut Lines,
    host: &'l dyn Host,
    all: Vec<Stanza>,
    notes: Vec<Note>,
}

impl Stanzas<'_> {
    /// Reads the stanzas of one file and of its includes.
    fn file(&mut self, range: Range<usize>, depth: usize) -> Result<(), ImportError> {
        let mut current: Option<usize> = None;
        for line in self.lines.get(range).to_vec() {
            let content = line.text.trim_start();
            if content.is_empty() || content.starts_with(['#', ';']) {
                continue;
            }
            let why =
                if line.is_text { "it has no value" } else { "this is not UTF-8: save the file as UTF-8" };
            let Some((key, value)) = key_and_value(content).filter(|_| line.is_text) else {
                self.notes.push(Note::new(line.number, format!("left out: {why}")));
                if let Some(stanza) = current {
                    self.all[stanza].unreadable = Some((line.number, why));
                }
                continue;
            };
            let setting = Setting { key: key.to_owned(), value: value.to_owned(), line: line.number };
            match (key, current) {
                ("%include", _) => self.include(line.number, Path::new(value), depth)?,
                ("%include_folder", _) => self.folder(line.number, Path::new(value), depth)?,
                ("SOURCE", _) => {
                    current = Some(self.all.len());
                    self.all.push(Stanza { line: line.number, settings: vec![setting], ..Stanza::default() });
                }
                (_, None) => self.notes.push(Note::new(
                    line.number,
                    format!("{key} is left out: it stands before the first SOURCE"),
                )),
                ("%include_keys", Some(stanza)) => self.keys(line.number, Path::new(value), stanza)?,
                (_, Some(stanza)) => self.all[stanza].settings.push(setting),
            }
        }
        Ok(())
    }

    /// Reads an included file. Returns the range of its lines.
    fn open(&mut self, line: usize, path: &Path) -> Result<Option<Range<usize>>, ImportError> {
        let name = path.display().to_string();
        match self.host.read(path) {
            Ok(text) => self.lines.add(&name, &text).map(Some),
            Err(error) => {
                self.notes.push(Note::new(line, format!("cannot read {name}: {error}")));
                Ok(None)
            }
        }
    }

    fn include(&mut self, line: usize, path: &Path, depth: usize) -> Result<(), ImportError> {
        if depth == 0 {
            self.notes
                .push(Note::new(line, format!("left out: includes go at most {MAX_DEPTH} levels deep")));
            return Ok(());
        }
        match self.open(line, path)? {
            Some(range) => self.file(range, depth - 1),
            None => Ok(()),
        }
    }

    /// Includes the files of a folder whose names end in `.conf`.
    fn folder(&mut self, line: usize, path: &Path, depth: usize) -> Result<(), ImportError> {
        let entries = std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut files: Vec<_> = match entries {
            Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect(),
            Err(error) => {
                self.notes.push(Note::new(line, format!("cannot read {}: {error}", path.display())));
                return Ok(());
            }
        };
        files.retain(|file| file.extension().is_some_and(|extension| extension == "conf"));
        files.sort();
        files.iter().try_for_each(|file| self.include(line, file, depth))
    }

    /// `%include_keys`: reads a file of which only the keys count, for this stanza.
    fn keys(&mut self, line: usize, path: &Path, stanza: usize) -> Result<(), ImportError> {
        let Some(range) = self.open(line, path)? else {
            self.all[stanza].unreadable = Some((line, "its keys cannot be read"));
            return Ok(());
        };
        for line in self.lines.get(range) {
            if let Some((key, value)) =
                key_and_value(&line.text).filter(|(key, _)| !key.starts_with(['#', ';']))
            {
                let is_key = matches!(key, "KEY" | "KEY_BASE64" | "HMAC_KEY" | "HMAC_KEY_BASE64")
                    || key.starts_with("GPG_");
                if is_key && line.is_text {
                    let setting = Setting { key: key.to_owned(), value: value.to_owned(), line: line.number };
                    self.all[stanza].settings.push(setting);
                } else {
                    self.notes.push(Note::new(
                        line.number,
                        format!("{key} is left out: only keys are read from this file"),
                    ));
                }
            }
        }
        Ok(())
    }
}
