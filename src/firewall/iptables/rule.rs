//! Rules of iptables for ports, without the knocker's address.

use super::Chain;
use crate::config::PortRange;
use crate::core::sequence::Protocol;

/// The most ports in one rule. A range counts as two (iptables-extensions(8), multiport).
const MULTIPORT: usize = 15;

/// A rule without the program, the knocker's address and the comment.
pub(super) struct Rule<'a> {
    pub(super) chain: Chain<'a>,
    pub(super) condition: Vec<String>,
    pub(super) target: Vec<String>,
}

/// One rule for each protocol and each group of ports that fits into a rule.
pub(super) fn door_rules<'a>(
    chain: Chain<'a>,
    protocols: &[Protocol],
    ranges: &[PortRange],
    condition: &[&str],
    target: &[&str],
) -> Vec<Rule<'a>> {
    let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let ports = ports(ranges);
    let mut rules = Vec::new();
    for protocol in protocols {
        let protocol = protocol.to_string();
        for [option, ports] in &ports {
            let module = if option == "--dports" { "multiport" } else { &protocol };
            let mut words = strings(&["-p", &protocol, "-m", module, option, ports]);
            words.extend(strings(condition));
            rules.push(Rule { chain, condition: words, target: strings(target) });
        }
    }
    rules
}

/// The port options, one pair of arguments for each rule.
pub(in crate::firewall) fn ports(ranges: &[PortRange]) -> Vec<[String; 2]> {
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

/// The number of `ranges` that fit into one rule: at least one, unless `ranges` is empty.
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

/// A port or a range, as iptables writes it.
pub(in crate::firewall) fn port(range: PortRange) -> String {
    if range.is_one() { range.to_string() } else { format!("{}:{}", range.first(), range.last()) }
}
