//! `ketukd import`.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;

use super::arguments::Arguments;
use super::{CommandResult, Failure};
use crate::config::{self, MAX_FILE};
use crate::import;
use crate::linux::links::labelled_addresses;

/// The operand that stands for standard input.
const STANDARD_INPUT: &str = "-";

/// Prints another program's configuration as UCI, and the parts that cannot be carried over on standard error.
pub(super) fn print(arguments: &Arguments) -> CommandResult {
    let file = arguments.operands[0].as_str();
    let text = if file == STANDARD_INPUT { whole(io::stdin().lock()) } else { open(Path::new(file)) };
    let text = text.map_err(|error| Failure::Failed(format!("cannot read {file}: {error}")))?;
    let name = if file == STANDARD_INPUT { "standard input" } else { file };
    let imported = import::import(name, &text, &ThisHost)
        .map_err(|refused| Failure::Config(format!("{name}: {refused}")))?;
    for import::Warning { file, line, message } in &imported.warnings {
        eprintln!("{file}:{line}: {message}");
    }
    if let Ok(config) = config::parse(name, imported.uci.as_bytes()) {
        for warning in config::sequence_warnings(&config) {
            eprintln!("{name}: {warning}");
        }
    }
    super::print(&imported.uci)
}

struct ThisHost;

impl import::Host for ThisHost {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        open(path)
    }

    fn alias(&self, name: &str) -> Option<IpAddr> {
        let mut labelled = labelled_addresses(name).ok()?;
        labelled.next().filter(|_| labelled.next().is_none())
    }
}

fn open(path: &Path) -> io::Result<Vec<u8>> {
    File::open(path).and_then(whole)
}

/// Reads the text, up to one byte more than an import takes.
fn whole(file: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}
