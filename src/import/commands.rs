//! Recognises firewall commands in knockd.conf.
//!
//! A command is recognised only if every word of it is understood. A command that does more than let one address in at
//! some ports, or shut it out again, stays a command.

mod helper;
mod iptables;
mod nft;
mod ports;

use std::net::IpAddr;

use super::shell;
use crate::config::PortRange;
use crate::core::network::AddressFamily;
use crate::core::sequence::Protocol;

/// The effect of one simple command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Adds a rule that accepts `%IP%`.
    Open(ForeignRule),
    /// Deletes such a rule.
    Shut(ForeignRule),
    /// Finds the rules for `%IP%` in an nftables table and deletes them by their handle.
    ShutByHandle(ByHandle),
    /// Waits for this many seconds.
    Sleep(u32),
    /// Changes entries that no other program makes, such as ufw's rules or an ipset. Holds the program's name.
    Foreign(&'static str),
    /// Does not touch a firewall.
    Harmless,
    /// Not understood. It may shut what another command has opened.
    Unknown,
}

/// A rule that accepts `%IP%`, or translates its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ForeignRule {
    /// The firewall that holds it.
    pub(super) program: ForeignFirewall,
    /// The rule's chain.
    pub(super) chain: ForeignChain,
    /// The protocol.
    pub(super) protocol: Protocol,
    /// The destination ports, sorted.
    pub(super) ports: Vec<PortRange>,
    /// The knockers' address family.
    pub(super) family: AddressFamily,
    /// The device that the rule is limited to.
    pub(super) device: Option<String>,
}

/// The firewall that a command changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ForeignFirewall {
    /// `iptables` or `ip6tables`.
    Iptables,
    /// `nft`, with the table: its family, then its name.
    Nft(String),
}

/// The chain of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ForeignChain {
    /// For connections to this host.
    Input,
    /// For forwarded connections, to this host if one is named.
    Forward(Option<IpAddr>),
    /// Translates connections to this host, and to this port if it is another.
    Dnat(IpAddr, Option<u16>),
}

/// A deletion of rules for `%IP%` by their handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ByHandle {
    /// The table's name, without its family.
    table: String,
    /// Numbers in the command. One of them may be the port.
    numbers: Vec<u16>,
}

impl ForeignRule {
    /// Whether both rules accept the same packets, apart from the device.
    pub(super) fn opens_as(&self, other: &Self) -> bool {
        let what = |rule: &Self| (rule.protocol, rule.chain, rule.family, rule.ports.clone());
        what(self) == what(other) && self.program == other.program
    }
}

impl ByHandle {
    /// Whether the command deletes this rule too. Without a port it deletes all rules for `%IP%`.
    pub(super) fn shuts(&self, rule: &ForeignRule) -> bool {
        let ForeignFirewall::Nft(table) = &rule.program else { return false };
        let has = |port: &u16| rule.ports.iter().any(|range| range.contains(*port));
        table.split(' ').next_back() == Some(self.table.as_str())
            && (self.numbers.is_empty() || self.numbers.iter().any(has))
    }
}

/// The deeds of a command, one for each simple command.
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
    /// Programs that people run in such commands, and that touch no firewall.
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
    // `timeout` runs the words after its time as a command.
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
        "knock_add" | "knock_helper_ipt.sh" => helper::read(rest),
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

/// Reads `tcp`, `udp` or a protocol number.
fn protocol_of(word: &str) -> Option<Protocol> {
    match word {
        "tcp" | "6" => Some(Protocol::Tcp),
        "udp" | "17" => Some(Protocol::Udp),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
