//! A packet's way through the chains.

use super::effect::{Effect, Tri};
use super::{Chain, ChainName, Packet, Rules};

/// Deepest way through chains that jump to each other; the kernel allows 16.
const MAX_DEPTH: usize = 16;

/// `NF_INET_PRE_ROUTING`, `NF_INET_LOCAL_IN`, `NF_INET_FORWARD`.
const PREROUTING: u32 = 0;
const LOCAL_IN: u32 = 1;
const FORWARD: u32 = 2;

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It passes.
    Passes {
        /// Whether it goes to this host itself.
        is_local: bool,
    },
    /// It is dropped or rejected.
    Dropped {
        /// By this chain.
        by: ChainName,
    },
    /// That depends on what cannot be known.
    Depends,
}

/// What a chain may do with a packet.
#[derive(Debug, Default)]
struct Ends {
    accepts: bool,
    /// The chain that may drop it.
    drops: Option<ChainName>,
    /// It may come to the chain's end, or return.
    returns: bool,
}

impl Rules {
    /// Follows a packet through all that is loaded.
    pub fn follow(&mut self, packet: &mut Packet<'_>) -> Outcome {
        let mut depends = false;
        for is_first in [true, false] {
            // Where it goes is only known after the first hook.
            let hook = match (is_first, packet.is_local) {
                (true, _) => PREROUTING,
                (false, true) => LOCAL_IN,
                (false, false) => FORWARD,
            };
            for at in 0..self.chains.len() {
                let Chain { name, hook: Some(found), .. } = &self.chains[at] else { continue };
                let (found, name) = (*found, name.clone());
                // The first translation counts.
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
                    Ends { accepts: false, drops: Some(by), .. } => return Outcome::Dropped { by },
                    Ends { accepts: true, drops: None, .. } => {}
                    _ => depends = true,
                }
            }
        }
        if depends { Outcome::Depends } else { Outcome::Passes { is_local: packet.is_local } }
    }

    fn walk(&mut self, chain: usize, packet: &mut Packet<'_>, depth: usize) -> Ends {
        let mut ends = Ends::default();
        let family = self.chains[chain].name.family;
        for rule in 0..self.chains[chain].rules.len() {
            let expressions = std::mem::take(&mut self.chains[chain].rules[rule]);
            let table = self.chains[chain].name.table.clone();
            let (applies, effect) = self.evaluate(family, &table, &expressions, packet);
            self.chains[chain].rules[rule] = expressions;
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
                    ends.drops = Some(self.chains[chain].name.clone());
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
                    ends.drops = Some(self.chains[chain].name.clone());
                }
                Effect::Jump(name) | Effect::Goto(name) if depth >= MAX_DEPTH => {
                    debug_assert!(!name.is_empty(), "the kernel allows no loops");
                    ends.returns = true;
                }
                Effect::Jump(ref name) | Effect::Goto(ref name) => {
                    let wanted = |found: &Chain| {
                        found.name.family == family && found.name.table == table && found.name.chain == *name
                    };
                    let Some(at) = self.chains.iter().position(wanted) else { continue };
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
