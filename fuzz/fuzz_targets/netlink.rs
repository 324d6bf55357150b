//! Damaged answers of the kernel, lines of its connection table, and what iptables lists.
#![no_main]

use ketuk::firewall::conntrack;
use ketuk::firewall::iptables::Iptables;
use ketuk::firewall::nft::KernelAnswer;
use ketuk::firewall::nft::element::elements;
use ketuk::linux::netlink::message::Messages;
use ketuk::protocol::Protocol;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for message in Messages::new(data) {
        let _ = conntrack::flow(&message);
        if let KernelAnswer::Object { attributes, .. } = KernelAnswer::of(&message) {
            elements(attributes.clone(), None).for_each(drop);
            elements(attributes, Some(Protocol::Tcp)).for_each(drop);
        }
    }
    if let Ok(text) = core::str::from_utf8(data) {
        text.lines().map(conntrack::line).for_each(drop);
        let iptables = Iptables::default();
        for rule in iptables.stale(&iptables.ipv4, iptables.input(), text) {
            assert!(rule.iter().any(|word| word == "-D"), "{rule:?}");
        }
    }
});
