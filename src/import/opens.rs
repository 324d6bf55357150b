//! Works out what a door's commands open, if ketuk can open it without them.

use std::net::IpAddr;

use super::commands::{self, Deed, ForeignChain, ForeignFirewall, ForeignRule};
use super::door::KnockdCommands;
use crate::config::PortRange;
use crate::core::network::AddressFamily;
use crate::core::sequence::Protocol;

/// The ports that a door opens without commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ForeignPorts {
    /// The protocols.
    pub(super) protocols: Vec<Protocol>,
    /// The ports of this host, sorted.
    pub(super) ports: Vec<PortRange>,
    /// The host behind this one, and its port if it is another.
    pub(super) forward: Option<(IpAddr, Option<u16>)>,
    /// The address families of knockers that the door opens for.
    pub(super) families: Vec<AddressFamily>,
    /// The time in seconds, if the start command itself shuts the door.
    pub(super) seconds: Option<u32>,
    /// Whether a command shuts the door again.
    pub(super) ends: bool,
    /// The rules of the commands.
    pub(super) rules: Vec<ForeignRule>,
}

impl ForeignPorts {
    /// The ports that these commands open. `None` if the commands do anything else, or shut only some of the ports again.
    pub(super) fn read(of: &KnockdCommands<'_>) -> Option<Self> {
        // For a knocker over IPv6 the commands for IPv6 run; without them the same as for IPv4.
        let start_6 = if of.nothing_for_6 { None } else { of.start_6.or(of.start) };
        let stop_6 = if of.never_shut_for_6 { None } else { of.stop_6.or(of.stop) };
        if of.never_shut_for_6 && of.stop.is_some() && start_6.is_some() {
            return None;
        }
        let v4 = side(
            AddressFamily::V4,
            of.start.map(|(command, _)| command),
            of.stop.map(|(command, _)| command),
        )?;
        let v6 =
            side(AddressFamily::V6, start_6.map(|(command, _)| command), stop_6.map(|(command, _)| command))?;
        let mut opens = match (v4, v6) {
            (Some(v4), Some(v6)) => {
                let what = |opens: &Self| {
                    (
                        opens.protocols.clone(),
                        opens.ports.clone(),
                        opens.forward,
                        opens.seconds,
                        opens.program(),
                    )
                };
                if what(&v4) != what(&v6) {
                    return None;
                }
                let rules = [v4.rules, v6.rules].concat();
                Self { families: vec![AddressFamily::V4, AddressFamily::V6], rules, ..v4 }
            }
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return None,
        };
        opens.protocols.sort_unstable_by_key(|protocol| *protocol == Protocol::Udp);
        Some(opens)
    }

    /// The device that the rules are limited to.
    pub(super) fn device(&self) -> Option<&str> {
        self.rules.iter().find_map(|rule| rule.device.as_deref())
    }

    /// The nftables table of the rules.
    pub(super) fn nft_table(&self) -> Option<&str> {
        match &self.rules.first()?.program {
            ForeignFirewall::Nft(table) => Some(table),
            ForeignFirewall::Iptables => None,
        }
    }

    /// The firewall of the rules.
    pub(super) fn program(&self) -> Option<ForeignFirewall> {
        self.rules.first().map(|rule| rule.program.clone())
    }
}

/// The ports that a pair of commands opens for knockers of one family: `Some(None)` if none, `None` if the commands do more.
#[expect(clippy::option_option, reason = "not understood, and opening nothing, are two results")]
fn side(family: AddressFamily, start: Option<&str>, stop: Option<&str>) -> Option<Option<ForeignPorts>> {
    let Some(start) = start else { return Some(None) };
    let deeds = commands::read(start);
    let mut rules = Vec::new();
    let mut rest = deeds.iter().peekable();
    while let Some(Deed::Open(rule)) = rest.next_if(|deed| matches!(deed, Deed::Open(_))) {
        rules.push(rule.clone());
    }
    let shuts_all = |deeds: &[&Deed]| {
        rules.iter().all(|rule| deeds.iter().any(|deed| shuts(deed, rule)))
            && deeds.iter().all(|deed| rules.iter().any(|rule| shuts(deed, rule)))
    };
    let mut seconds = None;
    if let Some(Deed::Sleep(time)) = rest.next_if(|deed| matches!(deed, Deed::Sleep(_))) {
        let after: Vec<_> = rest.by_ref().collect();
        if after.is_empty() || !shuts_all(&after) {
            return None;
        }
        seconds = Some(*time);
    }
    if rest.next().is_some() || rules.is_empty() {
        return None;
    }
    if let Some(stop) = stop {
        let deeds = commands::read(stop);
        if seconds.is_some() || !shuts_all(&deeds.iter().collect::<Vec<_>>()) {
            return None;
        }
    }
    // iptables fails with an IPv6 address, so rules of the other family do not count.
    rules.retain(|rule| rule.family == family);
    if rules.is_empty() {
        return Some(None);
    }
    let ends = stop.is_some() || seconds.is_some();
    let (protocols, ports, forward) = together(&rules)?;
    Some(Some(ForeignPorts { protocols, ports, forward, families: vec![family], seconds, ends, rules }))
}

/// Whether the deed deletes the rule.
pub(super) fn shuts(deed: &Deed, rule: &ForeignRule) -> bool {
    match deed {
        Deed::Shut(other) => other.opens_as(rule),
        Deed::ShutByHandle(by_handle) => by_handle.shuts(rule),
        _ => false,
    }
}

type What = (Vec<Protocol>, Vec<PortRange>, Option<(IpAddr, Option<u16>)>);

/// Joins several rules into one opening.
fn together(rules: &[ForeignRule]) -> Option<What> {
    let first = rules.first()?;
    if rules.iter().any(|rule| (&rule.program, &rule.device) != (&first.program, &first.device)) {
        return None;
    }
    if let [a, b] = rules
        && let Some(forward) = forward(a, b).or_else(|| forward(b, a))
    {
        return Some(forward);
    }
    if rules.iter().any(|rule| rule.chain != ForeignChain::Input) {
        return None;
    }
    if rules.iter().all(|rule| rule.protocol == first.protocol) {
        let mut ports: Vec<_> = rules.iter().flat_map(|rule| rule.ports.iter().copied()).collect();
        ports.sort_unstable();
        ports.dedup();
        return ports
            .windows(2)
            .all(|pair| !pair[0].overlaps(pair[1]))
            .then(|| (vec![first.protocol], ports, None));
    }
    let same = rules.len() == 2 && rules.iter().all(|rule| rule.ports == first.ports);
    same.then(|| (vec![Protocol::Tcp, Protocol::Udp], first.ports.clone(), None))
}

/// Joins a rule that translates and a rule that lets through.
fn forward(dnat: &ForeignRule, through: &ForeignRule) -> Option<What> {
    let (ForeignChain::Dnat(host, port), ForeignChain::Forward(to)) = (dnat.chain, through.chain) else {
        return None;
    };
    let behind =
        port.map_or_else(|| dnat.ports.clone(), |port| PortRange::new(port, port).into_iter().collect());
    let fits = dnat.protocol == through.protocol && to.is_none_or(|to| to == host) && through.ports == behind;
    fits.then(|| (vec![dnat.protocol], dnat.ports.clone(), Some((host, port))))
}
