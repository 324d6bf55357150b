//! Other programs' configurations: what comes out is one that ketuk takes.
#![no_main]

use ketuk::config::parse;
use ketuk::import::{access, knockd};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    for imported in [knockd::import("file", text), access::import("file", text)].into_iter().flatten() {
        if let Err(error) = parse("ketuk", imported.uci.as_bytes()) {
            panic!("{error}\n{}", imported.uci);
        }
    }
});
