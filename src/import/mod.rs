//! Turns other programs' configurations into UCI: `ketukd import`.
//!
//! The result is always a configuration that `ketukd check` accepts. Settings that cannot be carried over are reported
//! with their line. If such a setting may have kept some people out, its section is disabled (`enabled '0'`, with the
//! reason as a comment).
#![forbid(unsafe_code)]

mod access;
mod calendar;
mod closing;
mod commands;
mod commands_of_cycle;
mod door;
mod doors;
mod fwknopd;
mod host;
mod kind;
mod knockd;
mod lines;
mod listens;
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

pub use self::host::Host;
use self::kind::FileKind;
use self::lines::Lines;
pub use self::outcome::{ImportError, Imported, Warning};

/// Reads another program's configuration. `file` is its name, for comments and messages. `host` is asked for included
/// files and for the addresses of aliases.
///
/// # Errors
/// The file has nothing to import.
pub fn import(file: &str, text: &[u8], host: &dyn Host) -> Result<Imported, ImportError> {
    let mut lines = Lines::default();
    let range = lines.add(file, text)?;
    match kind::of(lines.get(range.clone()))? {
        FileKind::Knockd => knockd::import(file, &lines, range, host),
        FileKind::Access => access::import(file, &mut lines, range, host),
        FileKind::Fwknopd => Ok(fwknopd::import(file, &lines, range)),
        FileKind::Uci => uci::import(file, text, &lines, range, host),
    }
}

#[cfg(test)]
mod tests;
