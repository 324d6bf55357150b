//! The control socket: requests that a local program may send, and answers that a daemon of another version may send. A request that
//! is read is the same when it is written and read again. An answer is printed in lines that a terminal can show.
#![no_main]

mod coverage;

use ketuk::control::message::{ControlRequest, MAX_REQUEST, ReceivedError, unescaped};
use ketuk::control::{row, show};
use libfuzzer_sys::fuzz_target;

const KINDS: [&str; 10] =
    ["daemon", "device", "door", "user", "grant", "recent", "counter", "knock", "event", "error"];

fuzz_target!(|data: &[u8]| {
    // Names and addresses have no characters that JSON escapes, and are not unescaped.
    let is_plain = data.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'\\');
    if let (true, Ok(request)) = (is_plain, ControlRequest::parse(data)) {
        let mut buffer = [0; 4 * MAX_REQUEST];
        if let Ok(len) = serde_json_core::to_slice(&request, &mut buffer) {
            assert_eq!(ControlRequest::parse(&buffer[..len]), Ok(request));
        }
    }
    if let Ok((error, _)) = serde_json_core::from_slice::<ReceivedError<'_>>(data) {
        let _ = unescaped(error.message);
    }
    let Ok(text) = core::str::from_utf8(data) else { return };
    let mut status = show::Status::default();
    for line in text.lines() {
        let Some((kind, json)) = line.split_at_checked(1) else { continue };
        let kind = KINDS[usize::from(kind.as_bytes()[0]) % KINDS.len()];
        status.add(kind, json);
        let mut shown = String::new();
        let _ = row::watch(0, kind, json);
        let _ = row::watch_json(&mut shown, kind, json);
    }
    let mut shown = String::new();
    let _ = status.text(&mut shown);
    let _ = status.json(&mut shown);
});
