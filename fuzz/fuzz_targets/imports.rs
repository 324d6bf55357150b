//! Other programs' configurations: what comes out is one that ketuk takes.
#![no_main]

use std::io;

use ketuk::config::parse;
use ketuk::import::import;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    // Files that it includes are not there.
    let Ok(imported) = import("file", text, &|_| Err(io::ErrorKind::NotFound.into())) else { return };
    if let Err(error) = parse("ketuk", imported.uci.as_bytes()) {
        panic!("{error}\n{}", imported.uci);
    }
});
