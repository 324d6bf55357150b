//! Ports as iptables and nft take them.

use crate::config::PortRange;

/// Services that people name in firewall commands. A name that is not here leaves the command as it is.
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

/// `22`, `22,80`, `6000:6010` (`to` is what stands between the two); in order, and none twice.
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

/// A port, by its number or its service's name.
pub(super) fn port(text: &str) -> Option<u16> {
    if let Some((_, port)) = SERVICES.iter().find(|(name, _)| *name == text) {
        return Some(*port);
    }
    number(text)?.try_into().ok().filter(|port| *port > 0)
}

/// Digits and nothing else.
pub(super) fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}
