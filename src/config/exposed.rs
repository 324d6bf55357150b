//! Finds doors without effect: a rule in /etc/config/firewall lets everybody in already.
//!
//! Only simple cases are found: rules, redirects and a zone's policy that apply to the doors' zone without further
//! conditions. The options are those of fw4 and fw3.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::uci::{self, Section, Value};
use super::{Config, Door, MAX_FILE, PortRange};
use crate::core::ports::ProtocolPorts;
use crate::core::sequence::Protocol;

/// Options that limit a rule. A rule with such a limit may be intended beside a door.
const CONDITIONS: &[&str] = &[
    "src_ip",
    "src_mac",
    "src_port",
    "src_dip",
    "dest_ip",
    "ipset",
    "mark",
    "limit",
    "helper",
    "device",
    "icmp_type",
    "start_date",
    "stop_date",
    "start_time",
    "stop_time",
    "weekdays",
    "monthdays",
    "dscp",
    "extra",
];

/// The largest range of ports that is excepted from the traps because the firewall lets everybody in. A rule for all
/// ports would leave no traps.
const WIDEST_EXPOSED: u16 = 16_384;

/// The firewall's configuration, as far as it was read.
#[derive(Debug)]
pub struct FirewallFile {
    path: PathBuf,
    sections: Vec<Section>,
}

impl FirewallFile {
    /// The place of the file: in the folder of ketuk's configuration `config`.
    pub fn path(config: &Path) -> PathBuf {
        config.with_file_name("firewall")
    }

    /// Reads the file that belongs to ketuk's configuration `config`.
    pub fn beside(config: &Path) -> Self {
        let path = Self::path(config);
        let opened = File::open(&path);
        Self::read(path, opened)
    }

    /// Reads the file, which the caller has opened. If it cannot be read, it has no sections: reporting that is fw4's task.
    pub fn read(path: PathBuf, opened: io::Result<File>) -> Self {
        let mut text = Vec::new();
        let read = opened.and_then(|opened| opened.take(MAX_FILE as u64 + 1).read_to_end(&mut text));
        if read.is_err() || text.len() > MAX_FILE {
            text.clear();
        }
        Self::parse(path, &text)
    }

    /// The sections of a text. A text with a syntax error has none.
    pub fn parse(path: PathBuf, text: &[u8]) -> Self {
        Self { path, sections: uci::parse(text).unwrap_or_default() }
    }

    /// Warnings about the doors of `config`.
    pub(super) fn warnings(&self, config: &Config) -> Vec<String> {
        let zone = zone(&self.sections, &config.globals.networks);
        let doors = config.doors.iter().filter(|door| door.enabled && door.opening.is_some());
        doors
            .filter_map(|door| {
                let by = self.sections.iter().find_map(|section| opened_by(section, &zone, door))?;
                let path = self.path.display();
                Some(format!("door '{}' is open to everybody already, by {by} in {path}", door.name))
            })
            .collect()
    }

    /// The ports that the firewall accepts or forwards for everybody. A knocker may use them during an attempt, so they are no
    /// traps.
    pub fn exposed_ports(&self, config: &Config) -> Vec<ProtocolPorts> {
        let zone = zone(&self.sections, &config.globals.networks);
        let mut exposed = Vec::new();
        for section in &self.sections {
            exposed.extend(exposed_by(section, &zone));
        }
        exposed
    }
}

/// The ports that a rule or a redirect names and lets everybody through to.
fn exposed_by(section: &Section, zone: &str) -> Vec<ProtocolPorts> {
    let (kind, option) = if is(section, "rule") { ("rule", "dest_port") } else { ("redirect", "src_dport") };
    if !lets_everybody(section, kind, zone) {
        return Vec::new();
    }
    let (protocols, ports) = (words(section, "proto"), words(section, option));
    let mut exposed = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        if has_protocol(&protocols, protocol) {
            let ranges = ports.iter().filter_map(|word| range(word));
            let ranges = ranges.filter(|range| range.last() - range.first() < WIDEST_EXPOSED);
            exposed.extend(ranges.map(|ports| ProtocolPorts { protocol, ports }));
        }
    }
    exposed
}

/// The zone of these networks, by default `wan`.
fn zone(sections: &[Section], networks: &[String]) -> String {
    let zones = sections.iter().filter(|section| is(section, "zone"));
    let mut names = zones.filter_map(|section| {
        let name = words(section, "name").pop()?;
        let members = words(section, "network");
        let members = if members.is_empty() { vec![name.clone()] } else { members };
        members.iter().any(|member| networks.contains(member)).then_some(name)
    });
    names.next().unwrap_or_else(|| "wan".to_owned())
}

/// Describes the section, if it lets everybody in at the door.
fn opened_by(section: &Section, zone: &str, door: &Door) -> Option<String> {
    let opening = door.opening.as_ref()?;
    let first = |name| words(section, name).into_iter().next();
    let name = || first("name").unwrap_or_else(|| String::from_utf8_lossy(&section.name.bytes).into_owned());
    if is(section, "zone") {
        let open = opening.forward.is_none() && first("name").is_some_and(|name| name == zone);
        return (open && accepts(first("input"))).then(|| format!("the policy of zone '{zone}'"));
    }
    let (kind, ports, wanted) = match &opening.forward {
        None => ("rule", "dest_port", &opening.dest_port),
        Some(forward) => ("redirect", "src_dport", &forward.src_dport),
    };
    let open = lets_everybody(section, kind, zone)
        && opening.protocols.iter().any(|protocol| has_protocol(&words(section, "proto"), *protocol))
        && wanted.iter().any(|range| has_port(&words(section, ports), *range));
    open.then(|| format!("{kind} '{}'", name()))
}

/// Whether a section of this kind lets everybody from the zone in.
fn lets_everybody(section: &Section, kind: &str, zone: &str) -> bool {
    let first = |name| words(section, name).into_iter().next();
    let from_zone = first("src").is_some_and(|src| src == zone || src == "*");
    let off =
        first("enabled").is_some_and(|value| matches!(&value[..], "0" | "no" | "off" | "false" | "disabled"));
    // In a redirect, dest_ip is the target and not a condition. A rule with dest applies to forwarded packets.
    let leads = |option: &&&str| kind == "redirect" && **option == "dest_ip";
    let conditions = CONDITIONS.iter().filter(|option| !leads(option));
    is(section, kind)
        && !off
        && from_zone
        && (kind == "redirect" || accepts(first("target")) && first("dest").is_none())
        && conditions.copied().all(|option| words(section, option).is_empty())
}

fn is(section: &Section, kind: &str) -> bool {
    section.kind.bytes == kind.as_bytes()
}

fn accepts(target: Option<String>) -> bool {
    target.is_some_and(|target| target.eq_ignore_ascii_case("accept"))
}

/// Whether the section applies to the protocol. A section without a protocol applies to tcp and udp in fw4.
fn has_protocol(words: &[String], protocol: Protocol) -> bool {
    let protocol = protocol.to_string();
    words.is_empty()
        || words.iter().any(|word| *word == protocol || matches!(&word[..], "tcpudp" | "all" | "any" | "*"))
}

/// Whether the section applies to these ports. A rule without a port applies to all.
fn has_port(words: &[String], wanted: PortRange) -> bool {
    words.is_empty() || words.iter().filter_map(|word| range(word)).any(|range| range.overlaps(wanted))
}

/// Reads `22`, `20-25` or `20:25`.
fn range(word: &str) -> Option<PortRange> {
    let (first, last) = word.split_once(['-', ':']).unwrap_or((word, word));
    PortRange::new(first.parse().ok()?, last.parse().ok()?)
}

/// The words of an option or a list.
fn words(section: &Section, name: &str) -> Vec<String> {
    let Some(entry) = section.options.iter().find(|entry| entry.name.bytes == name.as_bytes()) else {
        return Vec::new();
    };
    let values = match &entry.value {
        Value::One(value) => std::slice::from_ref(value),
        Value::List(values) => values,
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // A name may contain blanks.
    if name == "name" {
        return values.iter().map(|value| text(&value.bytes)).collect();
    }
    let mut words = Vec::new();
    for value in values {
        words.extend(text(&value.bytes).split_whitespace().map(str::to_owned));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const DOORS: &str = "config globals\n list network 'uplink'\n\
        config door 'ssh'\n list sequence '7000'\n option proto 'tcp'\n option dest_port '22'\n\
        config door 'nas'\n list sequence '7001'\n option src_dport '8443'\n option dest_ip '192.168.1.2'\n option dest_port '443'\n";
    const ZONE: &str = "config zone\n option name 'isp'\n list network 'uplink'\n option input 'REJECT'\n";

    /// The warnings about a rule or redirect with these options.
    fn said(kind: &str, options: &str) -> Vec<String> {
        let config = parse("ketuk", DOORS.as_bytes()).expect("a right configuration");
        let text = format!("{ZONE}config {kind}\n option name 'My rule'\n{options}");
        let sections = uci::parse(text.as_bytes()).expect("right UCI");
        let zone = zone(&sections, &config.globals.networks);
        let doors = config.doors.iter();
        doors.filter_map(|door| sections.iter().find_map(|section| opened_by(section, &zone, door))).collect()
    }

    #[test]
    fn a_rule_for_everybody_is_seen() {
        let seen = ["rule 'My rule'"];
        assert_eq!(
            said("rule", " option src 'isp'\n option dest_port '20-25'\n option target 'ACCEPT'\n"),
            seen
        );
        assert_eq!(
            said(
                "rule",
                " option src '*'\n list proto 'tcp'\n list dest_port '22'\n option target 'accept'\n"
            ),
            seen
        );
        assert_eq!(said("rule", " option src 'isp'\n option proto 'all'\n option target 'ACCEPT'\n"), seen);
        assert_eq!(
            said("redirect", " option src 'isp'\n option src_dport '8443'\n option dest_ip '192.168.1.9'\n"),
            ["redirect 'My rule'"]
        );
    }

    #[test]
    fn a_rule_for_others_or_for_something_else_is_not() {
        let none: [&str; 0] = [];
        for options in [
            " option src 'lan'\n option dest_port '22'\n option target 'ACCEPT'\n",
            " option src 'isp'\n option dest_port '23'\n option target 'ACCEPT'\n",
            " option src 'isp'\n option dest_port '22'\n option target 'DROP'\n",
            " option src 'isp'\n option dest_port '22'\n option target 'ACCEPT'\n option enabled '0'\n",
            " option src 'isp'\n option dest_port '22'\n option target 'ACCEPT'\n option src_ip '192.0.2.1'\n",
            " option src 'isp'\n option dest_port '22'\n option target 'ACCEPT'\n option proto 'udp'\n",
            " option src 'isp'\n option dest 'lan'\n option dest_port '22'\n option target 'ACCEPT'\n",
            " option src 'isp'\n option proto 'icmp'\n option target 'ACCEPT'\n",
        ] {
            assert_eq!(said("rule", options), none, "{options}");
        }
    }

    #[test]
    fn ports_that_everybody_uses_are_no_traps() {
        let exposed = |kind: &str, options: &str| -> Vec<String> {
            let text = format!("{ZONE}config {kind}\n{options}");
            let sections = uci::parse(text.as_bytes()).expect("right UCI");
            let exposed = sections.iter().flat_map(|section| exposed_by(section, "isp"));
            exposed.map(|never| format!("{}:{}", never.ports, never.protocol)).collect()
        };
        let rule = " option src 'isp'\n option target 'ACCEPT'\n";
        assert_eq!(
            exposed("rule", &format!("{rule} option proto 'tcp'\n option dest_port '8080'\n")),
            ["8080:tcp"]
        );
        assert_eq!(
            exposed("rule", &format!("{rule} list dest_port '80'\n list dest_port '5000:5010'\n")),
            ["80:tcp", "5000-5010:tcp", "80:udp", "5000-5010:udp"]
        );
        let forward = " option src 'isp'\n option proto 'udp'\n option src_dport '9000'\n option dest_ip '192.168.1.9'\n";
        assert_eq!(exposed("redirect", forward), ["9000:udp"]);
        for options in [
            format!("{rule} option proto 'icmp'\n option dest_port '8080'\n"),
            format!("{rule} option src_ip '192.0.2.1'\n option dest_port '8080'\n"),
            format!("{rule} option dest_port '1-65535'\n"),
            rule.replace("ACCEPT", "DROP") + " option dest_port '8080'\n",
        ] {
            assert_eq!(exposed("rule", &options), [""; 0], "{options}");
        }
    }

    #[test]
    fn a_zone_that_accepts_everything_is_seen() {
        assert_eq!(said("zone", " option input 'REJECT'\n"), [""; 0]);
        let text = ZONE.replace("REJECT", "ACCEPT");
        let config = parse("ketuk", DOORS.as_bytes()).expect("a right configuration");
        let sections = uci::parse(text.as_bytes()).expect("right UCI");
        assert_eq!(
            opened_by(&sections[0], "isp", &config.doors[0]).as_deref(),
            Some("the policy of zone 'isp'")
        );
        assert_eq!(opened_by(&sections[0], "isp", &config.doors[1]), None);
    }
}
