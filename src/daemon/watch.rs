//! Findings about the doors in the loaded firewall: missing sets, ports that are open to everybody, and other firewalls that
//! keep knockers out of open doors. The firewall is checked when it has changed, and for `ketukd status`.

use std::time::Duration;

use log::{info, warn};

use crate::core::time::Instant;
use crate::firewall::exposure::DoorFinding;

/// The time from a change of the firewall to the check. Loading a firewall takes several steps.
const SOON: Duration = Duration::from_millis(500);

/// Least time between two checks. Each check reads all rules.
const SPACING: Duration = Duration::from_secs(2);

/// The time for which a set or a door's rule may be missing before it is logged. At a start, for a new door, and
/// after a restart of the firewall, they come a moment later.
const PATIENCE: Duration = Duration::from_secs(5);

/// The sentence for rules that cannot be read. The reason follows.
const UNKNOWN: &str = "it is not known whether the doors' ports can be reached without a knock: the loaded rules cannot \
                       be read";

/// A set or table that the firewall lacks.
#[derive(Clone, Debug)]
struct Missing {
    text: String,
    since: Instant,
    is_said: bool,
}

/// A finding about a door.
#[derive(Clone, Debug)]
struct Found {
    finding: DoorFinding,
    since: Instant,
    is_said: bool,
}

/// The results of the last check, and the time of the next.
#[derive(Debug, Default)]
pub(super) struct Watch {
    findings: Vec<Found>,
    /// Why the rules could not be read.
    unreadable: Option<String>,
    missing: Vec<Missing>,
    looked: Option<Instant>,
    due: Option<Instant>,
}

impl Watch {
    /// Notes that the firewall has changed.
    pub(super) fn on_change(&mut self, now: Instant) {
        let earliest = self.looked.map_or(now, |looked| looked.after(SPACING));
        self.due.get_or_insert(now.after(SOON).max(earliest));
    }

    /// When to check next.
    pub(super) const fn next_deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Whether a check is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Whether the last check was less than [`SPACING`] ago.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.looked.is_some_and(|looked| now < looked.after(SPACING))
    }

    /// The findings about a door, as sentences.
    pub(super) fn of_door(&self, door: &str) -> impl Iterator<Item = String> {
        let of_door =
            self.findings.iter().map(|found| &found.finding).filter(move |finding| finding.door == door);
        of_door
            .map(ToString::to_string)
            .chain(self.unreadable.iter().map(|error| format!("{UNKNOWN}: {error}")))
    }

    /// Takes the results of a check, and logs new ones. Returns how many missing sets were logged for the first time.
    pub(super) fn looked(
        &mut self,
        now: Instant,
        missing: Vec<String>,
        findings: Result<Vec<DoorFinding>, String>,
    ) -> u64 {
        self.due = None;
        self.looked = Some(now);
        let said = self.note_missing(now, missing);
        match findings {
            Ok(findings) => {
                self.note_findings(now, findings);
                self.unreadable = None;
            }
            Err(error) => {
                if self.unreadable.as_ref() != Some(&error) {
                    warn!("{UNKNOWN}: {error}");
                }
                self.unreadable = Some(error);
            }
        }
        said
    }

    /// Logs new findings and those that are gone. Doors whose rules may only not be loaded yet must wait.
    fn note_findings(&mut self, now: Instant, findings: Vec<DoorFinding>) {
        let before = std::mem::take(&mut self.findings);
        for Found { finding, .. } in before.iter().filter(|found| found.is_said) {
            if !findings.contains(finding) {
                let DoorFinding { door, protocol, port, .. } = finding;
                info!("door '{door}': {protocol} port {port} is right again");
            }
        }
        for finding in findings {
            let known = before.iter().find(|known| known.finding == finding).cloned();
            let mut found = known.unwrap_or(Found { finding, since: now, is_said: false });
            let patience = if found.finding.may_be_loading() { PATIENCE } else { Duration::ZERO };
            let due = found.since.after(patience);
            if !found.is_said && due <= now {
                warn!("{}", found.finding);
                found.is_said = true;
            } else if !found.is_said {
                self.due = Some(self.due.map_or(due, |other| other.min(due)));
            }
            self.findings.push(found);
        }
    }

    /// Logs sets that have been missing for [`PATIENCE`], and plans the next check for the rest.
    fn note_missing(&mut self, now: Instant, missing: Vec<String>) -> u64 {
        let before = std::mem::take(&mut self.missing);
        let mut said = 0;
        for text in missing {
            let known = before.iter().find(|known| known.text == text).cloned();
            let mut missing = known.unwrap_or(Missing { text, since: now, is_said: false });
            let due = missing.since.after(PATIENCE);
            if !missing.is_said && due <= now {
                warn!("{}", missing.text);
                missing.is_said = true;
                said += 1;
            } else if !missing.is_said {
                self.due = Some(self.due.map_or(due, |other| other.min(due)));
            }
            self.missing.push(missing);
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::sequence::Protocol;
    use crate::firewall::exposure::{DoorFault, Maker, PortShutter};
    use crate::firewall::loaded::ChainName;

    #[test]
    fn a_door_that_openwrts_firewall_has_not_loaded_yet_is_not_said() {
        let at = |ms: u64| Instant::from_millis(1_000_000 + ms);
        let finding = |fault| DoorFinding {
            door: "ssh".to_owned(),
            protocol: Protocol::Tcp,
            port: 22,
            device: "wan".to_owned(),
            fault,
        };
        let by = |maker| finding(DoorFault::Blocked { by: ChainName::of_inet("fw4", "input_wan"), maker });
        let open = finding(DoorFault::Open { answered: true, shutting: PortShutter::Firewall });
        let mut watch = Watch::default();
        let mut look = |ms, findings: &[&DoorFinding]| {
            watch.looked(at(ms), Vec::new(), Ok(findings.iter().map(|&finding| finding.clone()).collect()));
            let said = watch.findings.iter().filter(|found| found.is_said).map(|found| found.finding.clone());
            (said.collect::<Vec<_>>(), watch.next_deadline())
        };
        let (fw4, ufw) = (by(Maker::Fw4), by(Maker::Ufw));
        assert_eq!(look(0, &[&fw4]), (vec![], Some(at(5000))), "the firewall has some seconds");
        assert_eq!(look(2000, &[]), (vec![], None), "it has loaded the door");
        assert_eq!(look(3000, &[&open, &fw4, &ufw]), (vec![open.clone(), ufw.clone()], Some(at(8000))));
        assert_eq!(look(8000, &[&open, &fw4, &ufw]), (vec![open, fw4, ufw], None), "what lasts");
    }

    #[test]
    fn the_firewall_is_checked_soon_after_a_change_and_not_too_often() {
        let at = |ms: u64| Instant::from_millis(1_000_000 + ms);
        let mut watch = Watch::default();
        assert!(!watch.is_due(at(0)) && !watch.is_fresh(at(0)));
        watch.on_change(at(0));
        assert_eq!([499, 500, 501].map(|ms| watch.is_due(at(ms))), [false, true, true]);
        watch.looked(at(500), Vec::new(), Ok(Vec::new()));
        assert_eq!([500, 2499, 2500, 2501].map(|ms| watch.is_fresh(at(ms))), [true, true, false, false]);
        watch.on_change(at(600));
        assert_eq!([2499, 2500].map(|ms| watch.is_due(at(ms))), [false, true]);
    }

    #[test]
    fn what_is_missing_for_a_moment_is_not_said() {
        let at = |ms: u64| Instant::from_millis(1_000_000 + ms);
        let mut watch = Watch::default();
        let mut look = |ms, missing: &[&str]| {
            let missing = missing.iter().map(|&text| text.to_owned()).collect();
            let said = watch.looked(at(ms), missing, Ok(Vec::new()));
            (said, watch.next_deadline())
        };
        assert_eq!(look(0, &["ssh"]), (0, Some(at(5000))), "the firewall has some seconds");
        assert_eq!(look(2000, &[]), (0, None), "it came");
        assert_eq!(look(3000, &["ssh"]), (0, Some(at(8000))), "another time");
        assert_eq!(look(4000, &["ssh", "nas"]), (0, Some(at(8000))));
        assert_eq!(look(8000, &["ssh", "nas"]), (1, Some(at(9000))), "what lasts");
        assert_eq!(look(9000, &["ssh", "nas"]), (1, None));
        assert_eq!(look(60_000, &["ssh", "nas"]), (0, None), "once");
    }
}
