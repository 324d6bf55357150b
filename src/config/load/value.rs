//! Readers of values that several options share: numbers, ports, steps, yes and no.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use super::options::Text;
use crate::config::PortRange;
use crate::config::error::Fault;
use crate::core::access::is_host;
use crate::core::sequence::{FlagMatch, Protocol, Step, flag};

/// For lists that only blanks separate.
pub(super) fn blanks(_: char) -> bool {
    false
}

/// For lists that commas separate too.
pub(super) fn commas(c: char) -> bool {
    c == ','
}

/// A yes or no, in OpenWrt's words.
pub(super) fn boolean(value: Text<'_>) -> Result<bool, Fault> {
    match value.text {
        "1" | "on" | "true" | "yes" | "enabled" => Ok(true),
        "0" | "off" | "false" | "no" | "disabled" => Ok(false),
        _ => Err(value.fault(format!("{} is neither yes nor no", value.quoted())).help("write 1 or 0")),
    }
}

/// One of a few words.
pub(super) fn choice<T: Copy>(value: Text<'_>, choices: &[(&str, T)]) -> Result<T, Fault> {
    if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == value.text) {
        return Ok(*choice);
    }
    let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
    Err(value
        .fault(format!("{} is not one of the possible values", value.quoted()))
        .help(format!("they are {}", words.join(", "))))
}

/// A decimal number of digits only, without sign and blanks.
pub(super) fn number(text: &str) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Whole seconds from `min` to `max`.
pub(super) fn seconds(value: Text<'_>, min: u32, max: u32) -> Result<Duration, Fault> {
    match number(value.text) {
        Some(seconds) if (min..=max).contains(&seconds) => Ok(Duration::from_secs(seconds.into())),
        Some(_) => Err(value.fault(format!("{} is not from {min} to {max} seconds", value.quoted()))),
        None => Err(value
            .fault(format!("{} is not a number of seconds", value.quoted()))
            .help("write digits only, without a unit")),
    }
}

/// A port, 1 to 65535.
pub(super) fn port(value: Text<'_>) -> Result<NonZeroU16, Fault> {
    number(value.text)
        .and_then(|number| u16::try_from(number).ok())
        .and_then(NonZeroU16::new)
        .ok_or_else(|| value.fault(format!("{} is not a port", value.quoted())).help("a port is 1 to 65535"))
}

/// A port, or `first-last`.
pub(super) fn port_range(value: Text<'_>) -> Result<PortRange, Fault> {
    let (first, last) = match value.split_once('-') {
        Some((first, last)) => (port(first)?.get(), port(last)?.get()),
        None => (port(value)?.get(), port(value)?.get()),
    };
    PortRange::new(first, last).ok_or_else(|| {
        value.fault(format!("{} ends before it begins", value.quoted())).help("write the lower port first")
    })
}

/// `tcp` or `udp`, in either case, as in knockd.
pub(super) fn protocol(value: Text<'_>) -> Result<Protocol, Fault> {
    Protocol::named(value.text)
        .ok_or_else(|| value.fault(format!("{} is neither tcp nor udp", value.quoted())))
}

/// Names of ICMP. Some apps send its echo requests of certain sizes as knocks.
const ICMP: [&str; 4] = ["icmp", "icmp6", "icmpv6", "ping"];

/// `port[:tcp|:udp]`, default tcp.
pub(super) fn step(value: Text<'_>) -> Result<Step, Fault> {
    let (number, protocol) = match value.split_once(':') {
        Some((_, word)) if ICMP.iter().any(|icmp| word.text.eq_ignore_ascii_case(icmp)) => {
            return Err(word.fault(format!("{} in a step", word.quoted())).help(
                "a step is a TCP or UDP port: pings have some 1,400 sizes, and a scan sends them all in a second",
            ));
        }
        Some((number, word)) => (number, protocol(word)?),
        None => (value, Protocol::Tcp),
    };
    Ok(Step { protocol, port: port(number)? })
}

/// `port[-port][:tcp|:udp]`, default both.
pub(super) fn ports_of_both(value: Text<'_>) -> Result<Vec<Step>, Fault> {
    let (range, protocols) = match value.split_once(':') {
        Some((range, word)) => (range, vec![protocol(word)?]),
        None => (value, vec![Protocol::Tcp, Protocol::Udp]),
    };
    let range = port_range(range)?;
    let ports = (range.first()..=range.last()).filter_map(NonZeroU16::new);
    Ok(ports.flat_map(|port| protocols.iter().map(move |&protocol| Step { protocol, port })).collect())
}

/// An address of one host.
pub(super) fn address(value: Text<'_>) -> Result<IpAddr, Fault> {
    match value.text.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() || address.is_multicast() => Err(no_host(value)),
        Ok(address) => Ok(address),
        Err(_) => Err(value
            .fault(format!("{} is not an IP address", value.quoted()))
            .help("write an IPv4 or IPv6 address, without a prefix length")),
    }
}

/// An address of one host that is not this one.
pub(super) fn other_host(value: Text<'_>) -> Result<IpAddr, Fault> {
    let address = address(value)?;
    // Packets do not carry such addresses: they stand for IPv4 addresses in programs.
    let is_mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    if is_mapped || !is_host(address) { Err(no_host(value)) } else { Ok(address) }
}

fn no_host(value: Text<'_>) -> Fault {
    value.fault(format!("{} is not the address of a host", value.quoted()))
}

/// knockd's `tcpflags`: `fin,syn,rst,psh,ack,urg`, each with `!` if it must be clear.
///
/// If `syn` must be set, then fin, rst and ack must be clear unless they are named, as in firewalls. (knockd also takes a
/// SYN+ACK for `syn`. A stranger can make any server send one, with a forged SYN.)
pub(super) fn tcp_flags(value: Text<'_>) -> Result<FlagMatch, Fault> {
    const NAMES: [(&str, u8); 6] = [
        ("fin", flag::FIN),
        ("syn", flag::SYN),
        ("rst", flag::RST),
        ("psh", flag::PSH),
        ("ack", flag::ACK),
        ("urg", flag::URG),
    ];
    let (mut set, mut clear) = (0, 0);
    for piece in value.split(commas) {
        let word = piece.text.trim();
        let word = piece.piece(piece.text.len() - piece.text.trim_start().len(), word);
        let (name, to, other) = match word.text.strip_prefix('!') {
            Some(name) => (name.trim_start(), &mut clear, set),
            None => (word.text, &mut set, clear),
        };
        let Some((_, bit)) = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) else {
            return Err(word
                .fault(format!("{} is not a TCP flag", word.quoted()))
                .help("the flags are fin, syn, rst, psh, ack and urg, each with ! if it must be clear"));
        };
        if other & bit != 0 {
            return Err(word.fault(format!("{name} cannot be both set and clear")));
        }
        *to |= bit;
    }
    if set & flag::SYN != 0 {
        clear |= (flag::FIN | flag::RST | flag::ACK) & !set;
    }
    Ok(FlagMatch::new(set | clear, set))
}
