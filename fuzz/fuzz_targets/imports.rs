//! Other programs' configurations: the import's result is a configuration that ketuk accepts.
#![no_main]

mod coverage;

use std::io;
use std::path::Path;

use ketuk::config::parse;
use ketuk::import::import;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    // Files that the configuration includes do not exist.
    let nothing = |_: &Path| -> io::Result<Vec<u8>> { Err(io::ErrorKind::NotFound.into()) };
    let Ok(imported) = import("file", text, &nothing) else { return };
    if let Err(error) = parse("ketuk", imported.uci.as_bytes()) {
        panic!("{error}\n{}", imported.uci);
    }
});
