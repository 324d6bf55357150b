//! Recognises knockd's own script, which adds and deletes rules of iptables. Debian installs it as `knock_helper_ipt.sh`; its
//! knockd.conf calls it `knock_add`.

use super::{Deed, ForeignChain, ForeignFirewall, ForeignRule, ports, protocol_of};
use crate::core::network::AddressFamily;
use crate::core::sequence::Protocol;

/// Reads the script's options. Those that name another chain than INPUT are not understood.
pub(super) fn read(words: &[String]) -> Option<Deed> {
    let (mut deletes, mut from_knocker, mut protocol, mut opened) = (None, false, Protocol::Tcp, None);
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "-a" | "--append" | "-i" | "--insert" if deletes.is_none() => deletes = Some(false),
            "-x" | "--delete" if deletes.is_none() => deletes = Some(true),
            "-f" | "--srcaddr" => from_knocker = words.next()? == "%IP%",
            "-d" | "--dstport" => opened = Some(ports::list(words.next()?, ':')?),
            "-p" | "--proto" => protocol = protocol_of(words.next()?)?,
            "-c" | "--chain" if words.next()? == "INPUT" => {}
            "-v" | "--verbose" | "-m" | "--comment" => {}
            _ => return None,
        }
    }
    let rule = ForeignRule {
        program: ForeignFirewall::Iptables,
        chain: ForeignChain::Input,
        protocol,
        ports: opened.filter(|_| from_knocker)?,
        family: AddressFamily::V4,
        device: None,
    };
    Some(if deletes? { Deed::Shut(rule) } else { Deed::Open(rule) })
}
