//! A packet's way through the chains.

use super::effect::{Effect, Tri};
use super::{ChainName, KernelRule, LoadedChain, LoadedRules, Packet};

/// The most nested jumps that are followed. The kernel allows 16.
const MAX_DEPTH: usize = 16;

/// `NF_INET_PRE_ROUTING`, `NF_INET_LOCAL_IN`, `NF_INET_FORWARD`.
const PREROUTING: u32 = 0;
const LOCAL_IN: u32 = 1;
const FORWARD: u32 = 2;

/// The fate of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacketFate {
    /// The packet passes.
    Passes {
        /// Whether it goes to this host.
        is_local: bool,
    },
    /// The packet is dropped or rejected.
    Dropped {
        /// The chain that drops it.
        by: ChainName,
    },
    /// The outcome depends on something unknown.
    Depends,
}

/// The possible ends of a packet in a chain.
#[derive(Debug, Default)]
struct Ends {
    accepts: bool,
    /// The chain that may drop the packet.
    drops: Option<ChainName>,
    /// Whether the packet may reach the chain's end or return.
    returns: bool,
}

impl LoadedRules {
    /// Follows a packet through all loaded chains.
    pub fn follow(&mut self, packet: &mut Packet<'_>) -> PacketFate {
        let mut depends = false;
        for is_first in [true, false] {
            // The first hook decides whether the packet is local or forwarded.
            let hook = match (is_first, packet.is_local) {
                (true, _) => PREROUTING,
                (false, true) => LOCAL_IN,
                (false, false) => FORWARD,
            };
            for at in 0..self.chains.len() {
                let LoadedChain { name, hook: Some(found), .. } = &self.chains[at] else { continue };
                let (found, name) = (*found, name.clone());
                // Only the first translation counts.
                if found.number != hook
                    || !name.family.sees(packet.is_ipv4())
                    || found.is_nat && packet.translated
                {
                    continue;
                }
                let mut ends = self.walk(at, packet, 0);
                if ends.returns {
                    if found.drops {
                        ends.drops = Some(name);
                    } else {
                        ends.accepts = true;
                    }
                }
                match ends {
                    Ends { accepts: false, drops: Some(by), .. } => return PacketFate::Dropped { by },
                    Ends { accepts: true, drops: None, .. } => {}
                    _ => depends = true,
                }
            }
        }
        if depends { PacketFate::Depends } else { PacketFate::Passes { is_local: packet.is_local } }
    }

    fn walk(&mut self, chain: usize, packet: &mut Packet<'_>, depth: usize) -> Ends {
        let here = self.chains[chain].name.clone();
        if here.is_filter() && packet.arrival.accepted_in.contains(&&*here.chain) {
            return Ends { accepts: true, ..Ends::default() };
        }
        let rules = std::mem::take(&mut self.chains[chain].rules);
        let ends = self.walk_rules(&here, &rules, packet, depth);
        self.chains[chain].rules = rules;
        ends
    }

    fn walk_rules(
        &mut self,
        here: &ChainName,
        rules: &[KernelRule],
        packet: &mut Packet<'_>,
        depth: usize,
    ) -> Ends {
        let mut ends = Ends::default();
        for rule in rules {
            let (applies, effect) = match rule {
                KernelRule::Nft(expressions) => self.evaluate(here.family, &here.table, expressions, packet),
                KernelRule::Legacy(rule) => rule.evaluate(packet),
            };
            if applies == Tri::No {
                continue;
            }
            let surely = applies == Tri::Yes;
            match effect {
                Effect::Continue => {}
                Effect::Accept => {
                    ends.accepts = true;
                    if surely {
                        return ends;
                    }
                }
                Effect::Drop => {
                    ends.drops = Some(here.clone());
                    if surely {
                        return ends;
                    }
                }
                Effect::Return => {
                    ends.returns = true;
                    if surely {
                        return ends;
                    }
                }
                Effect::Unknown => {
                    ends.accepts = true;
                    ends.drops = Some(here.clone());
                }
                Effect::Jump(name) | Effect::Goto(name) if depth >= MAX_DEPTH => {
                    debug_assert!(!name.is_empty(), "the kernel allows no loops");
                    ends.returns = true;
                }
                Effect::Jump(ref name) | Effect::Goto(ref name) => {
                    let wanted = ChainName { chain: name.clone(), ..here.clone() };
                    let Some(at) = self.chains.iter().position(|found| found.name == wanted) else {
                        continue;
                    };
                    let inner = self.walk(at, packet, depth + 1);
                    ends.accepts |= inner.accepts;
                    ends.drops = inner.drops.or(ends.drops);
                    if matches!(effect, Effect::Goto(_)) {
                        ends.returns |= inner.returns;
                    }
                    if surely && (!inner.returns || matches!(effect, Effect::Goto(_))) {
                        return ends;
                    }
                }
            }
        }
        ends.returns = true;
        ends
    }
}
