//! What the firewall makes of the doors, looked at when it changed and when somebody asks: sets that are missing, ports
//! that are open to everybody, and other firewalls that keep out whoever knocked.

use std::time::Duration;

use log::{debug, info, warn};

use crate::core::time::Instant;
use crate::firewall::exposure::Finding;

/// How soon after a change of the firewall it is looked at: who loads it anew does so in several steps.
const SOON: Duration = Duration::from_millis(500);

/// Least time between two looks, each of which reads all rules.
const SPACING: Duration = Duration::from_secs(2);

/// The last look.
#[derive(Debug, Default)]
pub(super) struct Watch {
    findings: Vec<Finding>,
    missing: Vec<String>,
    looked: Option<Instant>,
    due: Option<Instant>,
}

impl Watch {
    /// The firewall has changed.
    pub(super) fn on_change(&mut self, now: Instant) {
        let earliest = self.looked.map_or(now, |looked| looked.after(SPACING));
        self.due.get_or_insert(now.after(SOON).max(earliest));
    }

    /// When to look next.
    pub(super) const fn next_deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Whether the last look was a moment ago.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.looked.is_some_and(|looked| now < looked.after(SPACING))
    }

    /// What was found about a door.
    pub(super) fn of_door(&self, door: &str) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.door == door)
    }

    /// Takes the result of a look, and logs what is new in it.
    pub(super) fn looked(
        &mut self,
        now: Instant,
        missing: Vec<String>,
        findings: Result<Vec<Finding>, String>,
    ) {
        self.due = None;
        self.looked = Some(now);
        for text in missing.iter().filter(|text| !self.missing.contains(text)) {
            warn!("{text}");
        }
        self.missing = missing;
        match findings {
            Ok(findings) => {
                for finding in findings.iter().filter(|finding| !self.findings.contains(finding)) {
                    warn!("{finding}");
                }
                let gone = |finding: &&Finding| !findings.contains(finding);
                for Finding { door, protocol, port, .. } in self.findings.iter().filter(gone) {
                    info!("door '{door}': {protocol} port {port} is right again");
                }
                self.findings = findings;
            }
            Err(error) => debug!("the rules that are loaded cannot be read: {error}"),
        }
    }
}
