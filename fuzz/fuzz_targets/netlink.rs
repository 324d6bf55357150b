//! Damaged answers of the kernel, lines of its connection table, and what iptables lists.
#![no_main]

mod coverage;

use core::hint::black_box;

use ketuk::firewall::conntrack;
use ketuk::firewall::iptables::Iptables;
use ketuk::firewall::nft::KernelAnswer;
use ketuk::firewall::nft::element::{elements, keys};
use ketuk::linux::netlink::message::Messages;
use ketuk::protocol::Protocol;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for message in Messages::new(data) {
        // The compiler would leave out code whose result nobody reads.
        let _ = black_box(conntrack::flow(&message));
        if let KernelAnswer::Object { attributes, .. } = KernelAnswer::of(&message) {
            for protocol in [None, Some(Protocol::Tcp)] {
                for element in elements(attributes.clone(), protocol) {
                    black_box(element);
                }
            }
            for key in keys(attributes) {
                black_box(key);
            }
        }
    }
    if let Ok(text) = core::str::from_utf8(data) {
        for line in text.lines() {
            let _ = black_box(conntrack::line(line));
        }
        let iptables = Iptables::default();
        for rule in iptables.stale(&iptables.ipv4, iptables.input(), text) {
            assert!(rule.iter().any(|word| word == "-D"), "{rule:?}");
        }
    }
});
