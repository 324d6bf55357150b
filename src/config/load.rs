//! Reads a whole configuration, and gives each section to its reader.

mod any_port;
mod closing;
mod door;
mod globals;
mod group;
mod opening;
mod options;
mod rules;
mod shutting;
mod user;
mod value;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

pub(crate) use globals::is_page;
use options::SectionOptions;
pub use options::nearest;
use zeroize::Zeroizing;

use super::error::{Error, Fault, quoted};
use super::uci::{self, Section, Span, SyntaxError, SyntaxFault};
use super::{Config, MAX_FILE};
use crate::core::door::MAX_DOORS;
use crate::core::ports::MAX_PORTS;
use crate::core::user::MAX_USERS;

/// The mark that some editors write in front of UTF-8. libuci reads it as part of the first word.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The known types of sections.
const KINDS: &[&str] = &["globals", "door", "user"];

/// Reads a configuration file.
///
/// # Errors
/// The file cannot be read, is too large, or is wrong somewhere.
pub fn load(path: &Path) -> Result<Config, Error> {
    load_opened(path, File::open(path))
}

/// Reads a configuration from its file, which the caller has opened; `path` is for the errors.
///
/// # Errors
/// Those of [`load`].
pub fn load_opened(path: &Path, opened: io::Result<File>) -> Result<Config, Error> {
    let file = path.display().to_string();
    let metadata = opened.as_ref().ok().and_then(|opened| opened.metadata().ok());
    // The buffer has its full size from the start, because growing would leave copies of secrets in memory.
    let len = metadata.map_or(0, |metadata| metadata.len()).min(MAX_FILE as u64);
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(len).unwrap_or(0) + 64));
    let limit = MAX_FILE as u64 + 1;
    match opened.and_then(|opened| opened.take(limit).read_to_end(&mut text)) {
        Ok(_) => parse(&file, &text),
        Err(cause) => Err(Error::Read { file, cause }),
    }
}

/// Reads a configuration from memory; `file_name` is for the errors.
///
/// # Errors
/// The text is too large, or is wrong somewhere.
pub fn parse(file_name: &str, text: &[u8]) -> Result<Config, Error> {
    if text.len() > MAX_FILE {
        return Err(Error::TooLarge { file: file_name.to_owned() });
    }
    let sections = uci::parse(text).map_err(|refusal| syntax_fault(refusal, file_name, text));
    sections.and_then(|sections| read(&sections)).map_err(|fault| fault.into_error(file_name, text))
}

/// The fault for a text that libuci refuses, with advice if the file is plainly another program's.
fn syntax_fault(refusal: SyntaxError, file_name: &str, text: &[u8]) -> Fault {
    let word = &text[refusal.span.start.min(text.len())..refusal.span.end.min(text.len())];
    let is_foreign =
        word.starts_with(b"[") || word.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_');
    if text.starts_with(BYTE_ORDER_MARK) {
        let span = Span { start: 0, end: BYTE_ORDER_MARK.len() };
        Fault::new(span, "the file begins with a byte order mark")
            .help("save it as UTF-8 without a byte order mark (in an editor: 'UTF-8', not 'UTF-8 with BOM')")
    } else if refusal.reason == SyntaxFault::UnknownCommand && is_foreign {
        Fault::new(refusal.span, refusal.reason.to_string()).help(format!(
            "if this is a configuration of knockd or fwknop: 'ketukd import {file_name}' prints it as ketuk's own"
        ))
    } else {
        Fault::from(refusal)
    }
}

fn read(sections: &[Section]) -> Result<Config, Fault> {
    let (mut own, mut doors, mut users) = (None, Vec::new(), Vec::new());
    for section in sections {
        match section.kind.bytes.as_slice() {
            b"globals" if own.is_some() => {
                return Err(Fault::new(section.kind.span, "there is a globals section already")
                    .help("move its options there, or give both the same name"));
            }
            b"globals" => own = Some(section),
            b"door" => doors.push(section),
            b"user" => users.push(section),
            unknown => {
                let fault =
                    Fault::new(section.kind.span, format!("unknown section type {}", quoted(unknown)));
                return Err(match nearest(unknown, KINDS) {
                    Some(known) => fault.help(format!("did you mean '{known}'?")),
                    None => fault.help("the section types are globals, door and user"),
                });
            }
        }
    }
    if let Some(section) = doors.get(MAX_DOORS) {
        return Err(Fault::new(section.kind.span, format!("more than {MAX_DOORS} doors")));
    }
    if let Some(section) = users.get(MAX_USERS) {
        return Err(Fault::new(section.kind.span, format!("more than {MAX_USERS} users")));
    }

    // The doors take missing options from the globals, which may come later in the file.
    let (mut globals, on_stop) = globals::read(own.map(SectionOptions::globals).transpose()?.as_ref())?;
    let mut ports = Vec::new();
    let doors: Vec<_> = doors
        .into_iter()
        .map(|section| {
            let door = door::read(&SectionOptions::door(section)?, on_stop, &mut globals.trap_except)?;
            for port in &door.knock.sequence {
                if !ports.contains(port) {
                    ports.push(*port);
                }
            }
            if ports.len() > MAX_PORTS {
                let problem =
                    format!("more than {MAX_PORTS} different ports in all sequences up to this door's");
                return Err(Fault::new(section.kind.span, problem).help("let doors share ports"));
            }
            Ok(door)
        })
        .collect::<Result<Vec<_>, _>>()?;
    closing::check(sections, &doors)?;
    let mut read_users = Vec::with_capacity(users.len());
    for section in users {
        let user = user::read(&SectionOptions::user(section)?, &doors, &read_users)?;
        read_users.push(user);
    }
    Ok(Config { globals, doors, users: read_users })
}

#[cfg(test)]
mod tests;
