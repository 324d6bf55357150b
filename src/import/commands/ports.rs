//! Reads ports as iptables and nft do.

use crate::config::PortRange;
use crate::import::part::is_digits;

/// Service names in firewall commands. A command with any other name is not recognised.
const SERVICES: &[(&str, u16)] = &[
    ("domain", 53),
    ("ftp", 21),
    ("http", 80),
    ("http-alt", 8080),
    ("https", 443),
    ("imap", 143),
    ("imap2", 143),
    ("imaps", 993),
    ("ms-wbt-server", 3389),
    ("mysql", 3306),
    ("ntp", 123),
    ("openvpn", 1194),
    ("pop3", 110),
    ("pop3s", 995),
    ("postgresql", 5432),
    ("rsync", 873),
    ("smtp", 25),
    ("ssh", 22),
    ("submission", 587),
    ("telnet", 23),
    ("webmin", 10000),
    ("www", 80),
];

/// Reads `22`, `22,80`, `6000:6010`, where `to` separates the ends of a range. The result is sorted, without
/// duplicates.
pub(super) fn list(text: &str, to: char) -> Option<Vec<PortRange>> {
    let mut ports = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once(to).unwrap_or((range, range));
        ports.push(PortRange::new(port(first)?, port(last)?)?);
    }
    ports.sort_unstable();
    let apart = ports.windows(2).all(|pair| !pair[0].overlaps(pair[1]));
    apart.then_some(ports)
}

/// Reads a port by its number or its service name.
pub(super) fn port(text: &str) -> Option<u16> {
    if let Some((_, port)) = SERVICES.iter().find(|(name, _)| *name == text) {
        return Some(*port);
    }
    number(text)?.try_into().ok().filter(|port| *port > 0)
}

/// Reads a number of digits only.
pub(super) fn number(text: &str) -> Option<u32> {
    is_digits(text).then(|| text.parse().ok())?
}
