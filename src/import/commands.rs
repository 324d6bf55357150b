//! Firewall commands as people write them into knockd.conf, recognised.
//!
//! Recognised is only what is understood to the last word: a command that does more than let one address in
//! at some ports, or shut it out again, stays a command.

mod iptables;
mod nft;
mod ports;

use std::net::IpAddr;

use super::shell;
use crate::config::PortRange;
use crate::core::network::AddressFamily;
use crate::core::sequence::Protocol;

/// What one simple command of a list does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Adds a rule that accepts `%IP%`.
    Open(Rule),
    /// Deletes one.
    Shut(Rule),
    /// Finds the rules for `%IP%` in an nftables table and deletes them by their handle.
    ShutByHandle(ByHandle),
    /// Waits, in seconds.
    Sleep(u32),
    /// Changes entries of a firewall that no other program makes: ufw's rules, an ipset. The program's name.
    Foreign(&'static str),
    /// Touches no firewall.
    Harmless,
    /// Anything: it may shut what another command has opened.
    Unknown,
}

/// A rule that accepts `%IP%`, or translates its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// The firewall that holds it.
    pub(super) program: Program,
    /// Where it stands.
    pub(super) chain: Chain,
    /// The protocol.
    pub(super) protocol: Protocol,
    /// The destination ports, in order.
    pub(super) ports: Vec<PortRange>,
    /// The knockers' address family.
    pub(super) family: AddressFamily,
    /// The device it is limited to.
    pub(super) device: Option<String>,
}

/// Which firewall a command speaks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// `iptables` or `ip6tables`.
    Iptables,
    /// `nft`, with the table, family first.
    Nft(String),
}

/// Where a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chain {
    /// For connections to this host.
    Input,
    /// For connections through it, to this host if one is named.
    Forward(Option<IpAddr>),
    /// Translates them to this host, and to this port if it is another.
    Dnat(IpAddr, Option<u16>),
}

/// Rules for `%IP%` that are deleted by their handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ByHandle {
    /// The table's name, without its family.
    table: String,
    /// Numbers in the command, of which one may be the port that it looks for.
    numbers: Vec<u16>,
}

impl Rule {
    /// Whether both accept the same, whatever device they are limited to.
    pub(super) fn opens_as(&self, other: &Self) -> bool {
        let what = |rule: &Self| (rule.protocol, rule.chain, rule.family, rule.ports.clone());
        what(self) == what(other) && self.program == other.program
    }
}

impl ByHandle {
    /// Whether it deletes this rule too. Without a port in the command it deletes all those for `%IP%`.
    pub(super) fn shuts(&self, rule: &Rule) -> bool {
        let Program::Nft(table) = &rule.program else { return false };
        let has = |port: &u16| rule.ports.iter().any(|range| range.contains(*port));
        table.split(' ').next_back() == Some(self.table.as_str())
            && (self.numbers.is_empty() || self.numbers.iter().any(has))
    }
}

/// What a command does, one simple command after the other.
pub(super) fn read(command: &str) -> Vec<Deed> {
    if let Some(by_handle) = nft::by_handle(command) {
        return vec![Deed::ShutByHandle(by_handle)];
    }
    match shell::split(command) {
        Some(commands) => commands.iter().map(|words| deed(words)).collect(),
        None => vec![Deed::Unknown],
    }
}

fn deed(words: &[String]) -> Deed {
    /// Programs that people run beside or instead of a firewall's, and that touch none.
    const HARMLESS: &[&str] = &[
        ":",
        "true",
        "echo",
        "printf",
        "logger",
        "touch",
        "date",
        "etherwake",
        "ether-wake",
        "wakeonlan",
        "wol",
        "mail",
        "sendmail",
        "curl",
        "wget",
        "reboot",
        "shutdown",
        "poweroff",
    ];
    let Some((program, rest)) = shell::program(words) else { return Deed::Unknown };
    let first = rest.first().map_or("", String::as_str);
    // It ends what stands behind its time, which does nothing else because of it.
    if program == "timeout" && rest.len() > 1 && !first.starts_with('-') {
        return match deed(&rest[1..]) {
            deed @ (Deed::Harmless | Deed::Unknown) => deed,
            Deed::Sleep(_) => Deed::Harmless,
            _ => Deed::Unknown,
        };
    }
    let rule = match program {
        "iptables" | "iptables-legacy" | "iptables-nft" => iptables::read(AddressFamily::V4, rest),
        "ip6tables" | "ip6tables-legacy" | "ip6tables-nft" => iptables::read(AddressFamily::V6, rest),
        "nft" => nft::read(rest),
        "sleep" => return ports::number(first).map_or(Deed::Unknown, Deed::Sleep),
        "ufw" if ["allow", "delete", "insert", "prepend"].contains(&first) => return Deed::Foreign("ufw"),
        "firewall-cmd" if rest.iter().any(|word| word.contains("-rich-rule")) => {
            return Deed::Foreign("firewall-cmd");
        }
        "ipset" if ["add", "del", "-A", "-D", "-exist"].contains(&first) => return Deed::Foreign("ipset"),
        _ if HARMLESS.contains(&program) => return Deed::Harmless,
        _ => None,
    };
    rule.unwrap_or(Deed::Unknown)
}

/// `tcp` or `udp`, or its number.
fn protocol_of(word: &str) -> Option<Protocol> {
    match word {
        "tcp" | "6" => Some(Protocol::Tcp),
        "udp" | "17" => Some(Protocol::Udp),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
