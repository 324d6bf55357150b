//! `ketukd import`.

use std::fs::File;
use std::io::Read as _;

use super::arguments::Arguments;
use super::{Failure, Outcome};
use crate::config::MAX_FILE;
use crate::import::{ImportError, access, knockd};

/// Prints another program's configuration as UCI, and on standard error what could not be carried over.
pub(super) fn print(arguments: &Arguments) -> Outcome {
    let file = arguments.operands[0].as_str();
    let mut text = Vec::new();
    let limit = MAX_FILE as u64 + 1;
    let read = File::open(file).and_then(|opened| opened.take(limit).read_to_end(&mut text));
    read.map_err(|error| Failure::Failed(format!("cannot read {file}: {error}")))?;
    // What has a stanza of fwknopd's is fwknopd's; a knockd.conf has none.
    let imported = match access::import(file, &text) {
        Err(ImportError::NotFwknopd) => knockd::import(file, &text),
        imported => imported,
    };
    let imported = imported.map_err(|refused| Failure::Config(format!("{file}: {refused}")))?;
    for warning in &imported.warnings {
        eprintln!("{file}:{}: {}", warning.line, warning.message);
    }
    super::print(&imported.uci)
}
