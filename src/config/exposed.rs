//! Doors without effect, because a rule in /etc/config/firewall lets everybody in.
//!
//! Only explicit rules are found: rules, redirects and the policy of a zone that apply to the zone of the doors without
//! any further condition. The options are those of fw4 and fw3.

use std::fs;
use std::path::Path;

use super::uci::{self, Section, Value};
use super::{Config, Door, MAX_FILE, PortRange};
use crate::core::ports::NeverTrap;
use crate::core::sequence::Protocol;

/// Options that limit a rule. Such a rule may be right beside a door.
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

/// Widest range of ports that may be no traps because the firewall lets everybody in: a rule for all ports would leave
/// none.
const WIDEST_EXPOSED: u16 = 16_384;

/// What to say about the doors of `config`, which was read from `path`: the firewall's file lies beside it.
pub(super) fn warnings(path: &Path, config: &Config) -> Vec<String> {
    let path = path.with_file_name("firewall");
    let sections = sections(&path);
    let zone = zone(&sections, &config.globals.networks);
    let doors = config.doors.iter().filter(|door| door.enabled && door.opening.is_some());
    doors
        .filter_map(|door| {
            let by = sections.iter().find_map(|section| opened_by(section, &zone, door))?;
            Some(format!("door '{}' is open to everybody already, by {by} in {}", door.name, path.display()))
        })
        .collect()
}

/// The ports that the firewall's file beside `path` accepts or forwards for everybody: somebody may use them while he
/// knocks.
pub fn exposed_ports(path: &Path, config: &Config) -> Vec<NeverTrap> {
    let sections = sections(&path.with_file_name("firewall"));
    let zone = zone(&sections, &config.globals.networks);
    sections.iter().flat_map(|section| exposed_by(section, &zone)).collect()
}

/// The sections of the firewall's file; none if it cannot be read. A file that fw4 refuses is no concern of the
/// daemon's.
fn sections(path: &Path) -> Vec<Section> {
    let small = fs::metadata(path).is_ok_and(|data| data.len() <= MAX_FILE as u64);
    let text = if small { fs::read(path).unwrap_or_default() } else { Vec::new() };
    uci::parse(&text).unwrap_or_default()
}

/// The ports that a rule or a redirect names and lets everybody through to.
fn exposed_by(section: &Section, zone: &str) -> Vec<NeverTrap> {
    let (kind, option) = if is(section, "rule") { ("rule", "dest_port") } else { ("redirect", "src_dport") };
    if !lets_everybody(section, kind, zone) {
        return Vec::new();
    }
    let (protocols, ports) = (words(section, "proto"), words(section, option));
    let ranges = ports
        .iter()
        .filter_map(|word| range(word).filter(|range| range.last() - range.first() < WIDEST_EXPOSED));
    let both =
        [Protocol::Tcp, Protocol::Udp].into_iter().filter(|protocol| has_protocol(&protocols, *protocol));
    both.flat_map(|protocol| ranges.clone().map(move |ports| NeverTrap { protocol, ports })).collect()
}

/// The zone that the networks belong to; `wan` if none says so.
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

/// If the section lets everybody in at the door: how it does.
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

/// Whether a section of this kind lets in whoever comes from the zone.
fn lets_everybody(section: &Section, kind: &str, zone: &str) -> bool {
    let first = |name| words(section, name).into_iter().next();
    let from_zone = first("src").is_some_and(|src| src == zone || src == "*");
    let off =
        first("enabled").is_some_and(|value| matches!(&value[..], "0" | "no" | "off" | "false" | "disabled"));
    // The dest_ip of a redirect is its target. A rule with dest is about forwarded packets.
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

/// Without a protocol, fw4 takes both.
fn has_protocol(words: &[String], protocol: Protocol) -> bool {
    let protocol = protocol.to_string();
    words.is_empty()
        || words.iter().any(|word| *word == protocol || matches!(&word[..], "tcpudp" | "all" | "any" | "*"))
}

/// A rule without a port is for all ports.
fn has_port(words: &[String], wanted: PortRange) -> bool {
    words.is_empty() || words.iter().filter_map(|word| range(word)).any(|range| range.overlaps(wanted))
}

/// `22`, `20-25` or `20:25`.
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
    // A name may have blanks in it.
    if name == "name" {
        return values.iter().map(|value| text(&value.bytes)).collect();
    }
    values
        .iter()
        .flat_map(|value| text(&value.bytes).split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const DOORS: &str = "config globals\n list network 'uplink'\n\
        config door 'ssh'\n list sequence '7000'\n option proto 'tcp'\n option dest_port '22'\n\
        config door 'nas'\n list sequence '7001'\n option src_dport '8443'\n option dest_ip '192.168.1.2'\n option dest_port '443'\n";
    const ZONE: &str = "config zone\n option name 'isp'\n list network 'uplink'\n option input 'REJECT'\n";

    /// What is said about a rule or redirect with these options.
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
