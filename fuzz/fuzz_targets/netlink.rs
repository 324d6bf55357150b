//! The kernel's answers, were they damaged, and the lines of its connection table.
#![no_main]

use ketuk::firewall::conntrack;
use ketuk::linux::netlink::message::Messages;
use ketuk::firewall::nft::{Answer, elements};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for message in Messages::new(data) {
        let _ = conntrack::flow(&message);
        if let Answer::Object { attributes, .. } = Answer::of(&message) {
            elements(attributes).for_each(drop);
        }
    }
    if let Ok(text) = core::str::from_utf8(data) {
        text.lines().map(conntrack::line).for_each(drop);
    }
});
