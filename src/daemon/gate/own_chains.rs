//! The daemon's own chains of iptables. The monitor loads them, and loads them again when another program changes them.

use std::time::Duration;

use log::{info, warn};

use super::Gate;
use crate::core::time::Instant;
use crate::daemon::monitor::Monitor;
use crate::firewall::loaded::legacy_fingerprint;

/// Time until a failed load is tried again. Each try starts two programs for each family.
const RETRY: Duration = Duration::from_secs(5);

/// Time between two checks whether another program has changed the rules, because iptables announces no changes. A check reads
/// the rules of iptables-legacy with two system calls for each family, and starts no program.
const LOOK: Duration = Duration::from_secs(1);

/// The state of the chains. The monitor makes them.
#[derive(Debug, Default)]
pub(in crate::daemon) struct OwnChainsState {
    /// Whether the chains shut the doors' ports on this host.
    is_used: bool,
    /// Whether the chains should exist but could not be made.
    is_missing: bool,
    retry: Option<Instant>,
    next_look: Option<Instant>,
    /// The fingerprint of the rules at the last check.
    seen: Option<u64>,
}

impl Gate {
    /// Loads the chains for the doors that the monitor has read.
    pub(in crate::daemon) fn load_chains(&mut self, now: Instant) {
        self.chains.is_used = true;
        if let Some(monitor) = &self.monitor {
            self.chains.make(now, monitor);
        }
    }

    /// Loads the chains again if another program has changed them. Returns whether it has. The chains must be in use.
    pub(in crate::daemon) fn mend_chains(&mut self, now: Instant) -> bool {
        let Self { chains, monitor: Some(monitor), .. } = self else { return false };
        if chains.is_missing || !monitor.are_chains_changed() {
            return false;
        }
        warn!(
            "chains ketuk_input and ketuk_forward were changed or deleted by another program: they are made again"
        );
        chains.make(now, monitor);
        true
    }

    /// Loads the chains if the last try failed some time ago.
    pub(in crate::daemon) fn tend_chains(&mut self, now: Instant) {
        if let Self { chains, monitor: Some(monitor), .. } = self
            && chains.retry.is_some_and(|retry| retry <= now)
        {
            chains.make(now, monitor);
        }
    }
}

impl OwnChainsState {
    /// Whether rules of iptables have changed since the last check. It checks only if a check is due.
    pub(in crate::daemon) fn has_changed(&mut self, now: Instant) -> bool {
        if self.next_look.is_none_or(|next| next > now) {
            return false;
        }
        self.next_look = Some(now.after(LOOK));
        let seen = legacy_fingerprint();
        std::mem::replace(&mut self.seen, seen) != seen
    }

    /// Forgets the rules of the last check, because the daemon itself has changed some. Otherwise the next check would miss a
    /// change that undoes this one.
    pub(in crate::daemon) const fn forget(&mut self) {
        self.seen = None;
    }

    /// When [`Gate::tend_chains`] or [`Self::has_changed`] must be called next.
    pub(in crate::daemon) fn next_deadline(&self) -> Option<Instant> {
        [self.retry, self.next_look].into_iter().flatten().min()
    }

    /// Whether the chains shut the doors' ports on this host.
    pub(in crate::daemon) const fn is_used(&self) -> bool {
        self.is_used
    }

    /// Whether the chains should exist but could not be made.
    pub(in crate::daemon) const fn is_missing(&self) -> bool {
        self.is_missing
    }

    fn make(&mut self, now: Instant, monitor: &Monitor) {
        if monitor.load_chains() {
            self.retry = None;
            self.next_look = Some(now.after(LOOK));
            self.forget();
            if std::mem::take(&mut self.is_missing) {
                info!("chains ketuk_input and ketuk_forward are made: the doors' ports are shut");
            }
        } else {
            self.is_missing = true;
            self.retry = Some(now.after(RETRY));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_rules_are_seen_once_and_looked_for_once_a_second() {
        let (due, early) = (Instant::from_millis(1000), Instant::from_millis(999));
        let mut chains = OwnChainsState::default();
        assert_eq!(chains.next_deadline(), None);
        assert!(!chains.has_changed(due), "without chains nothing is looked for");
        chains.next_look = Some(due);
        // Other rules than those of this host.
        chains.seen = Some(legacy_fingerprint().map_or(1, |rules| !rules));
        assert!(!chains.has_changed(early));
        assert_eq!(chains.next_deadline(), Some(due), "it has not looked");
        assert!(chains.has_changed(due));
        assert_eq!(chains.next_deadline(), Some(due.after(LOOK)));
        assert!(!chains.has_changed(due.after(LOOK)));
        chains.seen = Some(1);
        chains.forget();
        assert_eq!(chains.seen, None);
        chains.retry = Some(due);
        assert_eq!(chains.next_deadline(), Some(due), "the earlier of both");
    }
}
