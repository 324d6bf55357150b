//! Table `filter`, as `iptables-save` prints it.

use super::BUILT_IN;
use crate::firewall::iptables::{OPENING, SHUTTING, split_rules};

/// The chains and rules of table `filter`.
#[derive(Debug, Default)]
pub(super) struct Listing {
    chains: Vec<String>,
    /// Each rule as its words, `-A CHAIN` first.
    rules: Vec<Vec<String>>,
}

impl Listing {
    pub(super) fn read(text: &str) -> Self {
        let mut listing = Self::default();
        let mut is_filter = false;
        for words in split_rules(text) {
            let Some(first) = words.first() else { continue };
            if let Some(table) = first.strip_prefix('*') {
                is_filter = table == "filter";
            } else if let (true, Some(chain)) = (is_filter, first.strip_prefix(':')) {
                listing.chains.push(chain.to_owned());
            } else if is_filter && first == "-A" {
                listing.rules.push(words);
            }
        }
        listing
    }

    /// Whether the table has this chain.
    pub(super) fn has(&self, chain: &str) -> bool {
        self.chains.iter().any(|found| found == chain)
    }

    /// Whether every packet enters the daemon's chains first, and once.
    pub(super) fn is_reached(&self) -> bool {
        (0..SHUTTING.len()).all(|at| self.has(OPENING[at]) && self.is_entered(at))
    }

    /// Whether the first rule of a built-in chain leads to the daemon's chain, and no other rule does.
    pub(super) fn is_entered(&self, at: usize) -> bool {
        let first = self.rules.iter().find(|rule| rule.get(1).is_some_and(|chain| chain == BUILT_IN[at]));
        let jump = ["-A", BUILT_IN[at], "-j", SHUTTING[at]];
        first.is_some_and(|first| first.iter().eq(jump)) && self.jumps_to(SHUTTING[at]).count() == 1
    }

    /// The rules that lead to a chain.
    pub(super) fn jumps_to(&self, chain: &str) -> impl Iterator<Item = &Vec<String>> {
        let leads = move |pair: &[String]| matches!(&*pair[0], "-j" | "-g") && pair[1] == chain;
        self.rules.iter().filter(move |rule| rule.windows(2).any(leads))
    }

    /// The rules of the chains that shut ports.
    pub(super) fn own_rules(&self) -> Vec<Vec<String>> {
        let is_own = |rule: &&Vec<String>| rule.get(1).is_some_and(|chain| SHUTTING.contains(&&**chain));
        self.rules.iter().filter(is_own).cloned().collect()
    }
}
