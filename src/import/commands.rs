//! Firewall commands as people write them into knockd.conf, recognised.
//!
//! Recognised is only what is understood to the last word: a command that does more than let one address in
//! at some ports stays a command.

use crate::config::PortRange;
use crate::core::sequence::Protocol;

/// What a command lets in, for the address `%IP%`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The protocol.
    pub protocol: Protocol,
    /// The ports of this host, in order.
    pub ports: Vec<PortRange>,
    /// Who is asked.
    pub program: Program,
    /// The device it is limited to, if it is.
    pub device: Option<String>,
}

/// Which firewall a command speaks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// `iptables` or `ip6tables`.
    Iptables,
    /// `nft`, with the table, family first.
    Nft(String),
}

/// What a command does with its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Adds it.
    Open,
    /// Deletes it.
    Shut,
}

impl Rule {
    /// Whether both let in the same, wherever they do it.
    pub fn opens_as(&self, other: &Self) -> bool {
        (self.protocol, &self.ports, &self.program) == (other.protocol, &other.ports, &other.program)
    }
}

/// Recognises a command.
pub fn read(command: &str) -> Option<(Verb, Rule)> {
    let words = words(command)?;
    let (program, rest) = words.split_first()?;
    match program.rsplit('/').next()? {
        "iptables" | "ip6tables" | "iptables-legacy" | "ip6tables-legacy" | "iptables-nft"
        | "ip6tables-nft" => iptables(rest),
        "nft" => nft(rest).map(|rule| (Verb::Open, rule)),
        _ => None,
    }
}

/// Whether `command` undoes what `rule` did. nft deletes rules by handle, which takes a pipeline to find;
/// one that deletes a rule for `%IP%` in the same table has no other purpose.
pub fn undoes(command: &str, rule: &Rule) -> bool {
    match &rule.program {
        Program::Iptables => {
            read(command).is_some_and(|(verb, other)| verb == Verb::Shut && other.opens_as(rule))
        }
        Program::Nft(table) => {
            let name = table.split(' ').nth(1).unwrap_or(table);
            command.contains("nft")
                && command.contains("%IP%")
                && ["delete rule ", "delete rule inet ", "delete rule ip "]
                    .iter()
                    .any(|delete| command.contains(&format!("{delete}{name} input")))
        }
    }
}

fn iptables(words: &[String]) -> Option<(Verb, Rule)> {
    let (mut verb, mut protocol, mut ports, mut device) = (None, None, None, None);
    let (mut from_knocker, mut accepts) = (false, false);
    let mut words = words.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        let number = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        match word {
            "-w" | "--wait" => drop(words.next_if(number)),
            "-t" | "--table" if words.next()? != "filter" => return None,
            "-t" | "--table" => {}
            "-A" | "--append" | "-I" | "--insert" | "-D" | "--delete" if verb.is_none() => {
                if !matches!(words.next()?, "INPUT" | "input_rule" | "input_wan_rule") {
                    return None;
                }
                let deletes = matches!(word, "-D" | "--delete");
                verb = Some(if deletes { Verb::Shut } else { Verb::Open });
                if !deletes {
                    // Where to insert: the door's own rule comes first anyway.
                    words.next_if(number);
                }
            }
            "-s" | "--source" | "--src" if !from_knocker => {
                from_knocker = matches!(words.next()?, "%IP%" | "%IP%/32" | "%IP%/128");
                if !from_knocker {
                    return None;
                }
            }
            "-p" | "--protocol" | "--proto" if protocol.is_none() => {
                protocol = Some(protocol_of(words.next()?)?);
            }
            "-m" | "--match" => {
                if !matches!(words.next()?, "tcp" | "udp" | "state" | "conntrack" | "comment" | "multiport") {
                    return None;
                }
            }
            "--dport" | "--dports" | "--destination-port" | "--destination-ports" if ports.is_none() => {
                ports = Some(port_list(words.next()?, ':')?);
            }
            // Established connections are accepted anyway.
            "--state" | "--ctstate" => drop(words.next()?.split(',').find(|state| *state == "NEW")?),
            "--syn" if protocol == Some(Protocol::Tcp) => {}
            "--comment" => drop(words.next()?),
            "-i" | "--in-interface" => device = Some(words.next()?.to_owned()),
            "-j" | "--jump" if !accepts => {
                accepts = words.next()? == "ACCEPT";
                if !accepts {
                    return None;
                }
            }
            _ => return None,
        }
    }
    if !from_knocker || !accepts {
        return None;
    }
    Some((verb?, Rule { protocol: protocol?, ports: ports?, program: Program::Iptables, device }))
}

/// `nft add rule [FAMILY] TABLE input ip saddr %IP% tcp dport 22 accept`.
fn nft(words: &[String]) -> Option<Rule> {
    // nft reads its arguments as one line of its own language, in which braces and commas are words.
    let line = words.join(" ");
    let spaced: String =
        line.chars().flat_map(|c| if "{},".contains(c) { vec![' ', c, ' '] } else { vec![c] }).collect();
    let mut words = spaced.split_whitespace().peekable();
    if !matches!(words.next()?, "add" | "insert") || words.next()? != "rule" {
        return None;
    }
    let family = words.next_if(|word| matches!(*word, "inet" | "ip" | "ip6")).unwrap_or("ip");
    let table = words.next()?;
    if words.next()? != "input" {
        return None;
    }
    let (mut from_knocker, mut ports, mut accepts) = (false, None, false);
    while let Some(word) = words.next() {
        match word {
            "ip" | "ip6" if !from_knocker => {
                if words.next()? != "saddr" || words.next()? != "%IP%" {
                    return None;
                }
                from_knocker = true;
            }
            "tcp" | "udp" if ports.is_none() => {
                let protocol = protocol_of(word)?;
                if words.next()? != "dport" {
                    return None;
                }
                let mut list = words.next()?.to_owned();
                if list == "{" {
                    let inside: Vec<_> = words.by_ref().take_while(|word| *word != "}").collect();
                    list = inside.concat();
                }
                ports = Some((protocol, port_list(&list, '-')?));
            }
            "ct" => {
                if words.next()? != "state" {
                    return None;
                }
                let mut new = words.next()? == "new";
                while words.next_if_eq(&",").is_some() {
                    new |= words.next()? == "new";
                }
                if !new {
                    return None;
                }
            }
            "counter" => {}
            "accept" if !accepts => accepts = true,
            "comment" if accepts => drop(words.by_ref().last()),
            _ => return None,
        }
    }
    let (protocol, ports) = ports.filter(|_| from_knocker && accepts)?;
    Some(Rule { protocol, ports, program: Program::Nft(format!("{family} {table}")), device: None })
}

fn protocol_of(word: &str) -> Option<Protocol> {
    match word {
        "tcp" | "6" => Some(Protocol::Tcp),
        "udp" | "17" => Some(Protocol::Udp),
        _ => None,
    }
}

/// `22`, `22,80`, `6000:6010`; some services by their name.
fn port_list(text: &str, to: char) -> Option<Vec<PortRange>> {
    let mut ports = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once(to).unwrap_or((range, range));
        ports.push(PortRange::new(port(first)?, port(last)?)?);
    }
    ports.sort_unstable();
    Some(ports)
}

fn port(text: &str) -> Option<u16> {
    match text {
        "ssh" => Some(22),
        "http" => Some(80),
        "https" => Some(443),
        _ if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok().filter(|port| *port > 0),
        _ => None,
    }
}

/// The words of a command that is one program with arguments; none for a pipeline, a list, a substitution or
/// whatever else a shell would make of it.
fn words(command: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = command.trim().chars();
    while let Some(character) = characters.next() {
        match character {
            quote @ ('"' | '\'') => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        end if end == quote => break,
                        '$' | '`' | '\\' if quote == '"' => return None,
                        other => word.push(other),
                    }
                }
            }
            ' ' | '\t' => words.extend(word.take()),
            '|' | '&' | ';' | '<' | '>' | '$' | '`' | '\\' | '(' | ')' | '*' | '?' | '[' | '#' | '~'
            | '!' => {
                return None;
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(command: &str) -> String {
        match read(command) {
            Some((verb, Rule { protocol, ports, program, device })) => {
                let ports: Vec<_> =
                    ports.iter().map(|range| format!("{}-{}", range.first(), range.last())).collect();
                let device = device.map(|device| format!(" on {device}")).unwrap_or_default();
                format!("{verb:?} {protocol} {}{device} {program:?}", ports.join(","))
            }
            None => "a command".to_owned(),
        }
    }

    #[test]
    fn the_usual_iptables_commands() {
        for (command, expected) in [
            ("/usr/sbin/iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT", "Open tcp 22-22 Iptables"),
            ("/sbin/iptables -I INPUT -s %IP% -p tcp --dport ssh -j ACCEPT", "Open tcp 22-22 Iptables"),
            ("iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT", "Shut tcp 22-22 Iptables"),
            (
                "iptables -w 5 -I INPUT 1 -s %IP%/32 -p udp -m udp --dport 1194 -j ACCEPT",
                "Open udp 1194-1194 Iptables",
            ),
            (
                "iptables -I INPUT -i eth0 -p tcp -s %IP% -m multiport --dports 443,22,6000:6010 -j ACCEPT",
                "Open tcp 22-22,443-443,6000-6010 on eth0 Iptables",
            ),
            (
                "iptables -A INPUT -s %IP% -p tcp -m state --state NEW,ESTABLISHED --dport 22 \
                 -m comment --comment \"let him in\" -j ACCEPT",
                "Open tcp 22-22 Iptables",
            ),
            ("ip6tables -A input_wan_rule -s %IP% -p tcp --dport 22 -j ACCEPT", "Open tcp 22-22 Iptables"),
        ] {
            assert_eq!(opened(command), expected, "{command}");
        }
    }

    #[test]
    fn the_usual_nft_commands() {
        for (command, expected) in [
            (
                "nft add rule inet filter input ip saddr %IP% tcp dport 22 accept",
                "Open tcp 22-22 Nft(\"inet filter\")",
            ),
            (
                "/usr/sbin/nft 'insert rule filter input ip saddr %IP% tcp dport { 22, 8000-8010 } ct state new,established \
                 counter accept comment \"knock %IP%\"'",
                "Open tcp 22-22,8000-8010 Nft(\"ip filter\")",
            ),
        ] {
            assert_eq!(opened(command), expected, "{command}");
        }
        let (_, rule) = read("nft add rule inet filter input ip saddr %IP% tcp dport 22 accept").unwrap();
        let undo = "nft delete rule inet filter input handle $(nft -a list chain inet filter input | \
                    awk '/%IP%/ { print $NF }')";
        assert!(undoes(undo, &rule));
        assert!(!undoes(&undo.replace("inet filter", "inet other"), &rule));
        assert!(!undoes("nft flush chain inet filter input", &rule));
    }

    #[test]
    fn what_does_more_stays_a_command() {
        for command in [
            "iptables -A INPUT -s %IP% -j ACCEPT",
            "iptables -A INPUT -p tcp --dport 22 -j ACCEPT",
            "iptables -A INPUT -s %IP% -p tcp --dport 22 -j DROP",
            "iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT; echo open",
            "iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT && logger %IP%",
            "iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT | tee /tmp/x",
            "iptables -A INPUT ! -s %IP% -p tcp --dport 22 -j ACCEPT",
            "iptables -A INPUT -s %IP%/24 -p tcp --dport 22 -j ACCEPT",
            "iptables -A INPUT -s %IP% -p tcp --sport 22 -j ACCEPT",
            "iptables -A INPUT -s %IP% -d 192.0.2.1 -p tcp --dport 22 -j ACCEPT",
            "iptables -A FORWARD -s %IP% -p tcp --dport 22 -j ACCEPT",
            "iptables -t nat -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT",
            "iptables -A INPUT -s %IP% -p tcp --dport 22 -m limit --limit 1/s -j ACCEPT",
            "iptables -A INPUT -s %IP% -p tcp --dport 22 -m state --state ESTABLISHED -j ACCEPT",
            "iptables -A INPUT -s %IP% -p tcp --dport 0 -j ACCEPT",
            "iptables -A INPUT -s %IP% -p tcp --dport 22",
            "iptables -D INPUT 1",
            "ipset add allowed %IP%",
            "nft add element inet filter allowed { %IP% }",
            "nft add rule inet filter forward ip saddr %IP% tcp dport 22 accept",
            "nft add rule inet filter input ip saddr %IP% tcp dport 22 drop",
            "nft add rule inet filter input tcp dport 22 accept",
            "/bin/true",
            "'",
            "",
        ] {
            assert_eq!(opened(command), "a command", "{command}");
        }
    }
}
