//! The `iptables` backend: argument lists in, argument lists out, nothing run.
//!
//! A rule is known by its comment, `ketuk:DOOR`. That is how the next start finds what a crash has
//! left, see [`Iptables::stale`]. Where there is ipset, it also wants the address in a set of the door's,
//! whose elements the kernel times: when the time is over it lets nobody in, though the daemon be dead.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::{Door, Forward, MAX_NAME, Opening, PortRange};

/// What the comment of every rule of ours begins with; the door's name is the rest.
const COMMENT: &str = "ketuk:";

/// How long to wait for the lock that programs of this kind share, in seconds: a restart of the firewall
/// holds it that long on a slow router.
const LOCK_WAIT_S: &str = "5";

/// Most ports in one rule, a range counting two (iptables-extensions(8), multiport).
const MULTIPORT: usize = 15;

/// Longest door name that fits into the name of a set (`IPSET_MAXNAMELEN` less its zero). Others have no sets.
const MAX_NAME_IN_SET: usize = 31 - "ketuk__4".len();

/// Longest timeout that ipset takes, in seconds: what is longer the daemon alone ends.
const MAX_TIMEOUT_S: u64 = 2_147_483;

/// The exit code for "somebody else holds the lock" (`RESOURCE_PROBLEM` in xtables.h).
pub const EXIT_BUSY: i32 = 4;

/// Where rules go, and which programs put them there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iptables {
    /// The chain for the router's own ports, which must exist in both families.
    pub chain: String,
    /// The chain for what goes through the router, likewise.
    pub forwarding: String,
    /// The chain of table nat in which destinations are translated, for IPv4.
    pub prerouting: String,
    /// The program for IPv4.
    pub ipv4: String,
    /// The program for IPv6.
    pub ipv6: String,
    /// Whether there is ipset, see [`Self::probe`].
    pub sets: bool,
}

/// A chain of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain<'a> {
    /// `nat`, or none for `filter`.
    pub table: Option<&'static str>,
    /// Its name.
    pub name: &'a str,
}

impl Default for Iptables {
    fn default() -> Self {
        Self {
            chain: "INPUT".to_owned(),
            forwarding: "FORWARD".to_owned(),
            prerouting: "PREROUTING".to_owned(),
            ipv4: "iptables".to_owned(),
            ipv6: "ip6tables".to_owned(),
            sets: false,
        }
    }
}

impl Iptables {
    /// The chains of OpenWrt's fw3 that are for rules of others: it leaves them alone when it reloads.
    pub fn fw3() -> Self {
        Self {
            chain: "input_wan_rule".to_owned(),
            forwarding: "forwarding_wan_rule".to_owned(),
            prerouting: "prerouting_wan_rule".to_owned(),
            ..Self::default()
        }
    }

    /// What lets `address` in at `door`, one command for each rule, after that of [`Self::lease`].
    ///
    /// None for a door that opens nothing, nor for a forward to a host of the other family.
    pub fn insert(&self, door: &Door, address: IpAddr, time: Option<Duration>) -> Vec<Vec<String>> {
        // At the front: the chain's last rule may be one that rejects everything.
        let mut commands = self.rules("-I", door, address);
        if let Some(lease) = self.lease(door, address, time) {
            commands.insert(0, lease);
        }
        commands
    }

    /// What undoes [`Self::insert`].
    pub fn delete(&self, door: &Door, address: IpAddr) -> Vec<Vec<String>> {
        let mut commands = self.rules("-D", door, address);
        if let Some(set) = self.set(door, address) {
            commands.push(shell(format!("ipset -exist del {set} {}", door.grant_prefix.shown(address))));
        }
        commands
    }

    /// What gives `address` so much time from now, if there is a set for it; without a time there is no end.
    pub fn lease(&self, door: &Door, address: IpAddr, time: Option<Duration>) -> Option<Vec<String>> {
        let set = self.set(door, address)?;
        let family = if address.is_ipv4() { "inet" } else { "inet6" };
        // Rounded up: the daemon, which ends it to the millisecond, comes first.
        let timeout = time.map(|time| time.as_secs() + 1).filter(|time| *time <= MAX_TIMEOUT_S).unwrap_or(0);
        let address = door.grant_prefix.shown(address);
        Some(shell(format!(
            "ipset -exist create {set} hash:net family {family} timeout 0; \
             ipset -exist add {set} {address} timeout {timeout}"
        )))
    }

    /// What succeeds where [`Self::sets`] work: in the programs and in the kernel. The rule has no target, and goes.
    pub fn probe(&self) -> Vec<String> {
        let (program, chain) = (&self.ipv4, &self.chain);
        shell(format!(
            "ipset -exist create ketuk hash:net timeout 0 && r='{chain} -m set --match-set ketuk src' && \
             {program} -w 5 -I $r && {program} -w 5 -D $r && ipset destroy ketuk"
        ))
    }

    /// The set that `address` has to be in.
    fn set(&self, door: &Door, address: IpAddr) -> Option<String> {
        if !self.sets || door.opening.is_none() || door.name.len() > MAX_NAME_IN_SET {
            return None;
        }
        Some(format!("ketuk_{}_{}", door.name, if address.is_ipv4() { '4' } else { '6' }))
    }

    /// The chains that rules of ours can be in; `program` is [`Self::ipv4`] or [`Self::ipv6`].
    pub fn chains(&self, program: &str) -> Vec<Chain<'_>> {
        let mut chains = vec![self.input(), Chain { table: None, name: &self.forwarding }];
        if program == self.ipv4 {
            chains.push(Chain { table: Some("nat"), name: &self.prerouting });
        }
        chains
    }

    /// The chain for the router's own ports.
    pub fn input(&self) -> Chain<'_> {
        Chain { table: None, name: &self.chain }
    }

    /// What lists a chain's rules, for [`Self::stale`].
    pub fn list(&self, program: &str, chain: Chain<'_>) -> Vec<String> {
        command(program, chain, "-S")
    }

    /// What deletes every rule of ours in `listing`, the output of [`Self::list`].
    ///
    /// Ours is a rule whose comment is `ketuk:` and what could be a door's name, and nothing more.
    pub fn stale(&self, program: &str, chain: Chain<'_>, listing: &str) -> Vec<Vec<String>> {
        let append = ["-A", chain.name];
        split_rules(listing)
            .into_iter()
            .filter(|rule| rule.iter().take(2).eq(append) && is_ours(rule))
            .map(|rule| {
                let mut argv = command(program, chain, "-D");
                argv.extend(rule.into_iter().skip(append.len()));
                argv
            })
            .collect()
    }

    fn rules(&self, action: &str, door: &Door, address: IpAddr) -> Vec<Vec<String>> {
        let Some(opening) = &door.opening else { return Vec::new() };
        let program = if address.is_ipv4() { &self.ipv4 } else { &self.ipv6 };
        let rules = match &opening.forward {
            None => door_rules(self.input(), opening, &opening.dest_port, &[], &["ACCEPT"]),
            Some(forward) => self.forward(opening, forward, address),
        };
        let comment = format!("{COMMENT}{}", door.name);
        let set = self.set(door, address);
        rules
            .into_iter()
            .map(|Rule { chain, condition, target }| {
                let mut argv = command(program, chain, action);
                argv.extend(["-s".to_owned(), door.grant_prefix.shown(address).to_string()]);
                argv.extend(condition);
                if let Some(set) = &set {
                    argv.extend(["-m", "set", "--match-set", set, "src"].map(str::to_owned));
                }
                argv.extend(["-m", "comment", "--comment", &comment, "-j"].map(str::to_owned));
                argv.extend(target);
                argv
            })
            .collect()
    }

    /// The rules of a forward. What is translated is let through too; the latter comes first, so that no packet
    /// is ever translated and then refused.
    fn forward(&self, opening: &Opening, forward: &Forward, address: IpAddr) -> Vec<Rule<'_>> {
        let through = Chain { table: None, name: &self.forwarding };
        let host = forward.dest_ip.iter().find(|host| host.is_ipv4() == address.is_ipv4());
        let Some(host) = host.map(IpAddr::to_string) else { return Vec::new() };
        if address.is_ipv6() {
            return door_rules(through, opening, &opening.dest_port, &["-d", &host], &["ACCEPT"]);
        }
        // Only what came by the translation: the host's address may be routed to from outside.
        let translated = ["-d", &host, "-m", "conntrack", "--ctstate", "DNAT"];
        let mut rules = door_rules(through, opening, &opening.dest_port, &translated, &["ACCEPT"]);
        let to = match opening.dest_port[..] {
            // Every port leads to this one; more than one is as many as outside, and each keeps its number.
            [range] if range.is_one() => format!("{host}:{range}"),
            _ => host,
        };
        let nat = Chain { table: Some("nat"), name: &self.prerouting };
        let target = ["DNAT", "--to-destination", &to];
        rules.extend(door_rules(nat, opening, &forward.src_dport, &[], &target));
        rules
    }
}

/// A rule without the program, the knocker's address and the comment.
struct Rule<'a> {
    chain: Chain<'a>,
    condition: Vec<String>,
    target: Vec<String>,
}

/// A rule for each protocol and as many ports as fit into one.
fn door_rules<'a>(
    chain: Chain<'a>,
    opening: &Opening,
    ranges: &[PortRange],
    condition: &[&str],
    target: &[&str],
) -> Vec<Rule<'a>> {
    let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let ports = ports(ranges);
    let pairs =
        opening.protocols.iter().flat_map(|protocol| ports.iter().map(move |ports| (protocol, ports)));
    pairs
        .map(|(protocol, [option, ports])| {
            let protocol = protocol.to_string();
            let module = if option == "--dports" { "multiport" } else { &protocol };
            let mut words = strings(&["-p", &protocol, "-m", module, option, ports]);
            words.extend(strings(condition));
            Rule { chain, condition: words, target: strings(target) }
        })
        .collect()
}

/// A command for a shell: names of doors and addresses mean nothing to it.
fn shell(text: String) -> Vec<String> {
    vec!["/bin/sh".to_owned(), "-c".to_owned(), text]
}

fn command(program: &str, chain: Chain<'_>, action: &str) -> Vec<String> {
    let table = chain.table.map(|table| ["-t", table]);
    [program, "-w", LOCK_WAIT_S]
        .into_iter()
        .chain(table.into_iter().flatten())
        .chain([action, chain.name])
        .map(str::to_owned)
        .collect()
}

/// The port options, one pair of arguments for each rule.
fn ports(ranges: &[PortRange]) -> Vec<[String; 2]> {
    let mut rules = Vec::new();
    let mut rest = ranges;
    while !rest.is_empty() {
        let (this, next) = rest.split_at(multiport(rest));
        let list: Vec<String> = this.iter().copied().map(port).collect();
        let option = if list.len() == 1 { "--dport" } else { "--dports" };
        rules.push([option.to_owned(), list.join(",")]);
        rest = next;
    }
    rules
}

/// How many of `ranges` fit into one rule: at least one, if there is one.
fn multiport(ranges: &[PortRange]) -> usize {
    let mut room = MULTIPORT;
    ranges
        .iter()
        .take_while(|range| {
            let need = if range.is_one() { 1 } else { 2 };
            let fits = need <= room;
            room = room.saturating_sub(need);
            fits
        })
        .count()
}

fn port(range: PortRange) -> String {
    if range.is_one() { range.to_string() } else { format!("{}:{}", range.first(), range.last()) }
}

/// Whether one of the rule's comments is one that we write.
///
/// `--comment` could be another option's value, but what follows a value is an option, which begins
/// with a dash.
fn is_ours(rule: &[String]) -> bool {
    rule.windows(2).any(|pair| {
        let name = if pair[0] == "--comment" { pair[1].strip_prefix(COMMENT) } else { None };
        name.is_some_and(|name| {
            (1..=MAX_NAME).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
    })
}

/// The words of each line, as `iptables -S` quotes them (`xtables_save_string`): double quotes around
/// anything unusual, within which a backslash makes the next character literal. A quoted comment may
/// contain a line break, so that a line is not always a rule.
fn split_rules(listing: &str) -> Vec<Vec<String>> {
    let mut rules = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut characters = listing.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                quoted = !quoted;
                // Two quotes alone are a word, an empty one.
                word.get_or_insert_default();
            }
            '\\' if quoted => word.get_or_insert_default().extend(characters.next()),
            ' ' | '\n' if !quoted => {
                let rule = rules.last_mut().expect("it begins with one, and only grows");
                rule.extend(word.take());
                if character == '\n' {
                    rules.push(Vec::new());
                }
            }
            _ => word.get_or_insert_default().push(character),
        }
    }
    // What follows the last line break is no whole line, and so no rule.
    rules.pop();
    rules
}

#[cfg(test)]
mod tests;
