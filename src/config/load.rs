//! Reads a whole configuration: the sections, and who reads which.

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
use std::io::Read as _;
use std::path::Path;

pub(crate) use globals::is_page;
use options::Options;
pub use options::nearest;
use zeroize::{Zeroize as _, Zeroizing};

use super::error::{Error, Fault, quoted};
use super::uci::{self, Section, Value};
use super::{Config, MAX_FILE};
use crate::core::door::MAX_DOORS;
use crate::core::ports::MAX_PORTS;
use crate::core::user::MAX_USERS;

/// The section types there are.
const KINDS: &[&str] = &["globals", "door", "user"];

/// Reads a configuration file.
///
/// # Errors
/// The file cannot be read, is too large, or is wrong somewhere.
pub fn load(path: &Path) -> Result<Config, Error> {
    let file = path.display().to_string();
    // Large enough from the start: growing would leave copies of secrets behind.
    let len = std::fs::metadata(path).map_or(0, |metadata| metadata.len()).min(MAX_FILE as u64);
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(len).unwrap_or(0) + 64));
    let limit = MAX_FILE as u64 + 1;
    match File::open(path).and_then(|opened| opened.take(limit).read_to_end(&mut text)) {
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
    let mut sections =
        uci::parse(text).map_err(|refusal| Fault::from(refusal).into_error(file_name, text))?;
    let config = read(&sections).map_err(|fault| fault.into_error(file_name, text));
    sections.iter_mut().for_each(wipe);
    config
}

/// Overwrites what a section holds: it may be secret.
fn wipe(section: &mut Section) {
    for entry in &mut section.options {
        match &mut entry.value {
            Value::One(word) => word.bytes.zeroize(),
            Value::List(words) => words.iter_mut().for_each(|word| word.bytes.zeroize()),
        }
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

    // The doors take what they lack from the globals, wherever those stand in the file.
    let (mut globals, on_stop) = globals::read(own.map(Options::globals).transpose()?.as_ref())?;
    let mut ports = Vec::new();
    let doors: Vec<_> = doors
        .into_iter()
        .map(|section| {
            let door = door::read(&Options::door(section)?, on_stop, &mut globals.trap_except)?;
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
        let user = user::read(&Options::user(section)?, &doors, &read_users)?;
        read_users.push(user);
    }
    Ok(Config { globals, doors, users: read_users })
}

#[cfg(test)]
mod tests;
