//! Other programs' configurations as UCI: `ketukd import`.
//!
//! What comes out is always a configuration that `ketukd check` accepts. What cannot be carried over is
//! named with its line. If it may have kept somebody out, its section is shut (`enabled '0'`, the reason as a comment).
#![forbid(unsafe_code)]

mod access;
mod calendar;
mod closing;
mod commands;
mod commands_of_cycle;
mod door;
mod doors;
mod fwknopd;
mod kind;
mod knockd;
mod lines;
mod netmask;
mod opens;
mod outcome;
mod part;
mod restrictions;
mod settings;
mod shell;
mod stanza;
mod uci;
mod write;

pub use self::access::Reader;
use self::kind::Kind;
use self::lines::Lines;
pub use self::outcome::{ImportError, Imported, Warning};

/// Reads another program's configuration; `file` is its name, for comments and messages, and `read` reads the files that
/// it includes.
///
/// # Errors
/// There is nothing to import.
pub fn import(file: &str, text: &[u8], read: &Reader<'_>) -> Result<Imported, ImportError> {
    let mut lines = Lines::default();
    let range = lines.add(file, text)?;
    match kind::of(lines.get(range.clone()))? {
        Kind::Knockd => knockd::import(file, &lines, range),
        Kind::Access => access::import(file, &mut lines, range, read),
        Kind::Fwknopd => Ok(fwknopd::import(file, &lines, range)),
        Kind::Uci => uci::import(file, text, &lines, range),
    }
}

#[cfg(test)]
mod tests;
