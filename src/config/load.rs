//! Reads a whole configuration: the sections, and who reads which.

mod closing;
mod door;
mod globals;
mod opening;
mod options;
mod rules;
mod shutting;
mod value;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use options::{Options, nearest};

use super::error::{Error, Fault, quoted};
use super::{Config, MAX_FILE, uci};
use crate::core::door::MAX_DOORS;
use crate::core::ports::MAX_PORTS;

/// The section types there are.
const KINDS: &[&str] = &["globals", "door", "user"];

/// Reads a configuration file.
///
/// # Errors
/// The file cannot be read, is too large, or is wrong somewhere.
pub fn load(path: &Path) -> Result<Config, Error> {
    let file = path.display().to_string();
    let mut text = Vec::new();
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
    read(text).map_err(|fault| fault.into_error(file_name, text))
}

fn read(text: &[u8]) -> Result<Config, Fault> {
    let sections = uci::parse(text)?;
    let (mut own, mut doors) = (None, Vec::new());
    for section in &sections {
        match section.kind.bytes.as_slice() {
            b"globals" if own.is_some() => {
                return Err(Fault::new(section.kind.span, "there is a globals section already")
                    .help("move its options there, or give both the same name"));
            }
            b"globals" => own = Some(section),
            b"door" => doors.push(section),
            b"user" => {
                return Err(Fault::new(
                    section.kind.span,
                    "users are not available in this version of ketuk",
                ));
            }
            unknown => {
                let fault =
                    Fault::new(section.kind.span, format!("unknown section type {}", quoted(unknown)));
                return Err(match nearest(unknown, KINDS) {
                    Some(known) => fault.help(format!("did you mean '{known}'?")),
                    None => fault.help("the section types are globals and door"),
                });
            }
        }
    }
    if let Some(section) = doors.get(MAX_DOORS) {
        return Err(Fault::new(section.kind.span, format!("more than {MAX_DOORS} doors")));
    }

    // The doors take what they lack from the globals, wherever those stand in the file.
    let (mut globals, on_stop) = globals::read(own.map(Options::globals).transpose()?.as_ref())?;
    let mut ports = BTreeSet::new();
    let doors = doors
        .into_iter()
        .map(|section| {
            let door = door::read(&Options::door(section)?, on_stop, &mut globals.trap_except)?;
            ports.extend(door.knock.sequence.iter().copied());
            if ports.len() > MAX_PORTS {
                let problem =
                    format!("more than {MAX_PORTS} different ports in all sequences up to this door's");
                return Err(Fault::new(section.kind.span, problem).help("let doors share ports"));
            }
            Ok(door)
        })
        .collect::<Result<Vec<_>, _>>()?;
    closing::check(&sections, &doors)?;
    Ok(Config { globals, doors })
}

#[cfg(test)]
mod tests;
