//! The `iptables` backend. It builds argument lists and reads listings; it runs nothing.
//!
//! The comment of each rule is `ketuk:DOOR`. After a crash, the next start finds the rules by it (see [`Iptables::stale`]).
//! Where ipset exists, a rule also requires that the address is in a set of the door. The kernel removes the set's elements
//! when their time is over, so the door shuts even if the daemon is dead.

mod ip_set;
mod listing;
mod rule;

use std::net::IpAddr;
use std::time::Duration;

use self::ip_set::SetElement;
pub(super) use self::listing::split_rules;
use self::rule::{Rule, door_rules};
pub(super) use self::rule::{port, ports};
use crate::config::{Door, DoorPorts, Forward, PortRange};
use crate::core::passage::Passage;
use crate::core::sequence::Protocol;

/// The prefix of the comments of ketuk's rules. The door's name follows.
const COMMENT: &str = "ketuk:";

/// The time to wait for the lock of iptables, in seconds. A restart of the firewall holds it that long on a slow
/// router.
const LOCK_WAIT_S: &str = "5";

/// The exit code when another program holds the lock (`RESOURCE_PROBLEM` in xtables.h).
pub const EXIT_BUSY: i32 = 4;

/// The condition on packets that another rule has translated from a port; the port follows.
pub(super) const DNAT_FROM: [&str; 5] = ["-m", "conntrack", "--ctstate", "DNAT", "--ctorigdstport"];

/// The daemon's own chains that shut the doors' ports: those of this host, and those of hosts behind it.
pub(super) const SHUTTING: [&str; 2] = ["ketuk_input", "ketuk_forward"];

/// The daemon's own chains for the rules that let knockers in. Each belongs to the chain of [`SHUTTING`] in the same place.
pub(super) const OPENING: [&str; 2] = ["ketuk_input_open", "ketuk_forward_open"];

/// fw3's chains for the rules of other programs: for the router's own ports, and for forwarded packets.
pub(super) const FW3: [&str; 2] = ["input_wan_rule", "forwarding_wan_rule"];

/// The firewall that shuts the doors' ports for everybody who has not knocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutting {
    /// The host's firewall, or nothing. The daemon only lets knockers in.
    Firewall,
    /// Chains of the daemon's own, see [`super::own_chain`].
    OwnChain,
}

/// The chains for the rules, and the programs that insert them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iptables {
    /// The firewall that shuts the doors' ports.
    pub shutting: Shutting,
    /// The chain for the router's own ports. It must exist for both families.
    pub chain: String,
    /// The chain for forwarded packets. It must exist for both families.
    pub forwarding: String,
    /// The chain of table nat in which destinations are translated, for IPv4.
    pub prerouting: String,
    /// The program for IPv4.
    pub ipv4: String,
    /// The program for IPv6.
    pub ipv6: String,
    /// Whether ipset works, see [`Self::probe`].
    pub sets: bool,
}

/// A chain of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain<'a> {
    /// `nat`, or `None` for `filter`.
    pub table: Option<&'static str>,
    /// The chain's name.
    pub name: &'a str,
}

impl Default for Iptables {
    fn default() -> Self {
        Self {
            shutting: Shutting::Firewall,
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
    /// OpenWrt's fw3, with its chains for the rules of other programs. fw3 keeps these rules at a reload.
    pub fn fw3() -> Self {
        let [chain, forwarding] = FW3.map(str::to_owned);
        Self { chain, forwarding, prerouting: "prerouting_wan_rule".to_owned(), ..Self::default() }
    }

    /// The daemon's own chains.
    #[must_use]
    pub fn own_chain(self) -> Self {
        let [chain, forwarding] = OPENING.map(str::to_owned);
        Self { shutting: Shutting::OwnChain, chain, forwarding, ..self }
    }

    /// The chains to search for rules of an earlier run. The daemon's own chains are not among them: loading them empties
    /// them. But the earlier run may have used the firewall's chains.
    #[must_use]
    pub fn swept(&self) -> Self {
        match self.shutting {
            Shutting::Firewall => self.clone(),
            Shutting::OwnChain => {
                Self { ipv4: self.ipv4.clone(), ipv6: self.ipv6.clone(), ..Self::default() }
            }
        }
    }

    /// The chain by which the daemon shuts the router's own ports.
    pub fn own_input(&self) -> Chain<'_> {
        Chain { table: None, name: SHUTTING[0] }
    }

    /// The commands that let a passage in at a door: first that of [`Self::lease`], then one for each rule.
    ///
    /// Empty for a door that opens nothing, and for a forward to a host of the other family.
    pub fn insert(
        &self,
        door: &Door,
        passage: impl Into<Passage>,
        time: Option<Duration>,
    ) -> Vec<Vec<String>> {
        let passage = passage.into();
        // Rules go to the front, because the chain's last rule may reject everything.
        let mut commands = self.rules("-I", door, passage);
        if let Some(lease) = self.lease(door, passage, time) {
            commands.insert(0, lease);
        }
        commands
    }

    /// The commands that undo [`Self::insert`].
    pub fn delete(&self, door: &Door, passage: impl Into<Passage>) -> Vec<Vec<String>> {
        let passage = passage.into();
        let mut commands = self.rules("-D", door, passage);
        commands.extend(self.element(door, passage).map(SetElement::remove));
        commands
    }

    /// The command that sets the remaining time of a passage in the door's set; `None` if the door has no set. A `time` of
    /// `None` means no end.
    pub fn lease(
        &self,
        door: &Door,
        passage: impl Into<Passage>,
        time: Option<Duration>,
    ) -> Option<Vec<String>> {
        self.element(door, passage.into()).map(|element| element.put(time))
    }

    /// A command that succeeds only if the programs and the kernel support [`Self::sets`].
    pub fn probe(&self) -> Vec<String> {
        ip_set::probe(&self.ipv4, &self.chain)
    }

    /// The element of a passage in the door's set.
    fn element<'d>(&self, door: &'d Door, passage: Passage) -> Option<SetElement<'d>> {
        SetElement::new(door, passage).filter(|_| self.sets)
    }

    /// The chains that may hold ketuk's rules. `program` is [`Self::ipv4`] or [`Self::ipv6`].
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

    /// The command that lists a chain's rules, for [`Self::stale`].
    pub fn list(&self, program: &str, chain: Chain<'_>) -> Vec<String> {
        command(program, chain, "-S")
    }

    /// The commands that delete each of ketuk's rules in `listing`, the output of [`Self::list`].
    ///
    /// A rule is ketuk's if its comment is `ketuk:` and a possible door name, and nothing more.
    pub fn stale(&self, program: &str, chain: Chain<'_>, listing: &str) -> Vec<Vec<String>> {
        let append = ["-A", chain.name];
        split_rules(listing)
            .into_iter()
            .filter(|rule| rule.iter().take(2).eq(append) && listing::is_ours(rule))
            .map(|rule| {
                let mut argv = command(program, chain, "-D");
                argv.extend(rule.into_iter().skip(append.len()));
                argv
            })
            .collect()
    }

    fn rules(&self, action: &str, door: &Door, passage: Passage) -> Vec<Vec<String>> {
        let Passage { address, port } = passage;
        let program = if address.is_ipv4() { &self.ipv4 } else { &self.ipv6 };
        let rules = match (&door.opening, port) {
            (None, None) => return Vec::new(),
            (None, Some(port)) => self.local(&[port.protocol], &[PortRange::one(port.port)]),
            (Some(opening), _) => match &opening.forward {
                None => self.local(&opening.protocols, &opening.dest_port),
                Some(forward) => self.forward(opening, forward, address),
            },
        };
        let comment = format!("{COMMENT}{}", door.name);
        let element = self.element(door, passage);
        rules
            .into_iter()
            .map(|Rule { chain, condition, target }| {
                let mut argv = command(program, chain, action);
                argv.extend(["-s".to_owned(), door.grant_prefix.shown(address).to_string()]);
                argv.extend(condition);
                argv.extend(element.iter().flat_map(|element| element.condition()));
                argv.extend(["-m", "comment", "--comment", &comment, "-j"].map(str::to_owned));
                argv.extend(target);
                argv
            })
            .collect()
    }

    /// The rules for ports of this host. The daemon's own chains shut a container's published port too, so they need a rule
    /// that lets knockers through to it.
    fn local(&self, protocols: &[Protocol], ranges: &[PortRange]) -> Vec<Rule<'_>> {
        let mut rules = door_rules(self.input(), protocols, ranges, &[], &["ACCEPT"]);
        if self.shutting == Shutting::OwnChain {
            let chain = Chain { table: None, name: &self.forwarding };
            for protocol in protocols {
                for range in ranges {
                    let mut condition = vec!["-p".to_owned(), protocol.to_string()];
                    condition.extend(DNAT_FROM.map(str::to_owned));
                    condition.push(port(*range));
                    rules.push(Rule { chain, condition, target: vec!["ACCEPT".to_owned()] });
                }
            }
        }
        rules
    }

    /// The rules of a forward. The rule that lets packets through is inserted before the one that translates, so that
    /// no packet is translated and then refused.
    fn forward(&self, opening: &DoorPorts, forward: &Forward, address: IpAddr) -> Vec<Rule<'_>> {
        let protocols = &opening.protocols;
        let through = Chain { table: None, name: &self.forwarding };
        let host = forward.dest_ip.iter().find(|host| host.is_ipv4() == address.is_ipv4());
        let Some(host) = host.map(IpAddr::to_string) else { return Vec::new() };
        if address.is_ipv6() {
            return door_rules(through, protocols, &opening.dest_port, &["-d", &host], &["ACCEPT"]);
        }
        // Only translated packets may pass: the host may also be reachable by its own address from outside.
        let translated = ["-d", &host, "-m", "conntrack", "--ctstate", "DNAT"];
        let mut rules = door_rules(through, protocols, &opening.dest_port, &translated, &["ACCEPT"]);
        let to = match opening.dest_port[..] {
            // With one inside port, every outside port is translated to it. With more, both sides have the same number
            // and each port keeps its own.
            [range] if range.is_one() => format!("{host}:{range}"),
            _ => host,
        };
        let nat = Chain { table: Some("nat"), name: &self.prerouting };
        let target = ["DNAT", "--to-destination", &to];
        rules.extend(door_rules(nat, protocols, &forward.src_dport, &[], &target));
        rules
    }
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

#[cfg(test)]
mod tests;
