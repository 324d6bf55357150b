//! Counters of events. For most packets a counter is the only trace.

use super::auth::Refusal;
use super::packet::Malformed;

/// A counter. Each packet that reaches the daemon is counted in exactly one of the first three groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counter {
    /// A packet that is no probe, with the reason.
    Malformed(Malformed),
    /// A probe, with its result at the door where the attempt is furthest.
    Judged(Judged),
    /// A user's knock that opened nothing, with the reason.
    Refused(Refusal),
    /// An event outside the matching.
    Event(CountedEvent),
}

/// The result of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Judged {
    /// It completed a sequence.
    Opened,
    /// It completed a sequence at a door that was opened a moment ago.
    Unchanged,
    /// It was the right next step.
    Advanced,
    /// It was a knock already counted, sent again.
    Retransmission,
    /// It repeated a step that the attempt has taken.
    Repeat,
    /// It was a knock in the range of changing sequences.
    TotpKnock,
    /// It was a later step of the door, out of turn.
    WrongStep,
    /// It was the first trap that the attempt touched: a coincidence.
    Forgiven,
    /// It was a second trap.
    Trap,
    /// It was a later step, from a source that has not made the first.
    NotBegun,
    /// The kernel would not accept it on the device where it came in.
    Implausible,
    /// It was not addressed to this router.
    NotOurs,
    /// No door asks for such TCP flags.
    Flags,
    /// No door names its port.
    NoDoor,
}

impl Judged {
    /// The counter's name.
    pub const fn name(self) -> &'static str {
        JUDGED[self as usize].1
    }
}

/// An event that is counted beside the results of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CountedEvent {
    /// An attempt ran out of time.
    TimedOut,
    /// An attempt was forgotten to make room for a newer one.
    Displaced,
    /// The firewall would not take a change.
    FirewallError,
    /// The kernel dropped packets that the filter had passed: the socket's buffer was full.
    SocketDrops,
    /// A log line was left out.
    LogSuppressed,
}

impl CountedEvent {
    /// The counter's name.
    pub const fn name(self) -> &'static str {
        EVENTS[self as usize].1
    }

    /// Whether a counter of this name counts events, and not packets.
    pub fn is_name(name: &str) -> bool {
        EVENTS.iter().any(|(_, event)| *event == name)
    }
}

const JUDGED: [(Judged, &str); 14] = [
    (Judged::Opened, "opened"),
    (Judged::Unchanged, "unchanged"),
    (Judged::Advanced, "advanced"),
    (Judged::Retransmission, "retransmission"),
    (Judged::Repeat, "repeat"),
    (Judged::TotpKnock, "totp_knock"),
    (Judged::WrongStep, "wrong_step"),
    (Judged::Forgiven, "forgiven"),
    (Judged::Trap, "trap"),
    (Judged::NotBegun, "not_begun"),
    (Judged::Implausible, "implausible"),
    (Judged::NotOurs, "not_ours"),
    (Judged::Flags, "other_flags"),
    (Judged::NoDoor, "no_door"),
];

const EVENTS: [(CountedEvent, &str); 5] = [
    (CountedEvent::TimedOut, "timed_out"),
    (CountedEvent::Displaced, "displaced"),
    (CountedEvent::FirewallError, "firewall_error"),
    (CountedEvent::SocketDrops, "socket_drops"),
    (CountedEvent::LogSuppressed, "log_suppressed"),
];

/// The counts since start.
#[derive(Debug)]
pub struct Counters {
    malformed: [u64; Malformed::ALL.len()],
    judged: [u64; JUDGED.len()],
    refused: [u64; Refusal::ALL.len()],
    events: [u64; EVENTS.len()],
}

impl Counters {
    /// All zero.
    pub const fn new() -> Self {
        Self {
            malformed: [0; Malformed::ALL.len()],
            judged: [0; JUDGED.len()],
            refused: [0; Refusal::ALL.len()],
            events: [0; EVENTS.len()],
        }
    }

    /// Counts one more.
    pub fn count(&mut self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Counts `more`.
    pub fn add(&mut self, counter: Counter, more: u64) {
        let count = match counter {
            Counter::Malformed(reason) => &mut self.malformed[reason as usize],
            Counter::Judged(judged) => &mut self.judged[judged as usize],
            Counter::Refused(refusal) => &mut self.refused[refusal as usize],
            Counter::Event(event) => &mut self.events[event as usize],
        };
        *count = count.saturating_add(more);
    }

    /// Every counter's name and value, zeros included, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let malformed = Malformed::ALL.iter().map(|reason| (reason.name(), self.malformed[*reason as usize]));
        let judged = JUDGED.iter().map(|(judged, name)| (*name, self.judged[*judged as usize]));
        let events = EVENTS.iter().map(|(event, name)| (*name, self.events[*event as usize]));
        let refused = Refusal::ALL.iter().map(|refusal| (refusal.name(), self.refused[*refusal as usize]));
        judged.chain(refused).chain(malformed).chain(events)
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_place_of_its_own_and_a_name_of_its_own() {
        let all = Malformed::ALL
            .map(Counter::Malformed)
            .into_iter()
            .chain(Refusal::ALL.map(Counter::Refused))
            .chain(JUDGED.map(|(judged, _)| Counter::Judged(judged)))
            .chain(EVENTS.map(|(event, _)| Counter::Event(event)));
        let mut names = std::collections::BTreeSet::new();
        for counter in all {
            let mut counters = Counters::new();
            counters.count(counter);
            let counted: Vec<_> = counters.iter().filter(|(_, n)| *n == 1).collect();
            assert_eq!(counted.len(), 1, "{counter:?}");
            assert!(names.insert(counted[0].0), "{counter:?} shares its name");
        }
        assert_eq!(names.len(), Counters::new().iter().count());
        for (place, (judged, name)) in JUDGED.into_iter().enumerate() {
            assert_eq!((judged as usize, judged.name()), (place, name));
        }
        for (place, (event, name)) in EVENTS.into_iter().enumerate() {
            assert_eq!((event as usize, event.name()), (place, name));
            assert!(CountedEvent::is_name(name));
        }
        assert!(!CountedEvent::is_name(Judged::Opened.name()));
    }
}
