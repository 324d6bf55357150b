//! The result of a knock, as it is reported: a name that stays the same for programs, and a sentence for people.
//! `ketukd watch`, `status`, `explain` and the log take both from here.

use core::fmt;

use super::auth::Refusal;
use super::counters::{CountedEvent, Judged};
use super::packet::Probe;
use super::sequence::{Protocol, Step};

/// The result of a knock, with the firewall's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The result of the matching.
    Judged(Judged),
    /// It opened nothing.
    Refused(Refusal),
    /// The firewall is being asked, by a program.
    Asked,
    /// It shut other doors.
    Shut,
    /// The next knock did not come in time.
    TimedOut,
}

impl Reason {
    /// A short name, which stays the same for programs: that of the counter, if it is counted.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Judged(judged) => judged.name(),
            Self::Refused(refusal) => refusal.name(),
            Self::Asked => "asked",
            Self::Shut => "shut",
            Self::TimedOut => CountedEvent::TimedOut.name(),
        }
    }

    /// Whether it explains why a door did not open.
    pub const fn is_failure(self) -> bool {
        match self {
            Self::Judged(judged) => !matches!(
                judged,
                Judged::Opened
                    | Judged::Unchanged
                    | Judged::Advanced
                    | Judged::Retransmission
                    | Judged::Repeat
                    | Judged::TotpKnock
                    | Judged::Forgiven
            ),
            Self::Refused(_) | Self::TimedOut => true,
            Self::Asked | Self::Shut => false,
        }
    }
}

/// The port that a knock came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnockedPort {
    /// The port. A packet may carry 0.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl KnockedPort {
    /// The port of a probe.
    pub const fn of(probe: &Probe) -> Self {
        Self { port: probe.transport.port(), protocol: probe.transport.protocol() }
    }
}

/// The result of a knock, with everything that its sentence names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnockReport {
    /// The result.
    pub reason: Reason,
    /// The port; `None` if no knock came.
    pub port: Option<KnockedPort>,
    /// Steps taken, this knock included; if the attempt ended, the steps before its end.
    pub stage: u8,
    /// Steps of the door's sequence; 0 without a door.
    pub steps: u8,
    /// The step that was due when the knock came.
    pub due: Option<Step>,
}

impl KnockReport {
    /// The report on a knock at no door's own sequence.
    pub const fn without_door(reason: Reason, probe: &Probe) -> Self {
        Self { reason, port: Some(KnockedPort::of(probe)), stage: 0, steps: 0, due: None }
    }
}

impl fmt::Display for KnockReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stage, steps, .. } = self;
        let text = match self.reason {
            Reason::Refused(refusal) => return write!(f, "not opened: {refusal}"),
            Reason::Asked => "right: the firewall is being asked",
            Reason::Shut => "right: it shut other doors",
            Reason::TimedOut => {
                self.due(f)?;
                ", and did not come in time"
            }
            Reason::Judged(judged) => match judged {
                Judged::Opened => "right: the door is open",
                Judged::Unchanged => "right: the door was open already",
                Judged::Advanced => return write!(f, "right: step {stage} of {steps}"),
                Judged::Retransmission => "the same knock came again, which changes nothing",
                Judged::Repeat => "a step that was taken came again, which changes nothing",
                Judged::TotpKnock => "it may be a part of a changing sequence",
                Judged::WrongStep | Judged::NotBegun => {
                    self.due(f)?;
                    if let Some(came) = self.port {
                        write!(f, ", {came} came")?;
                    }
                    if judged == Judged::WrongStep { ": begin again" } else { ": nothing has begun" }
                }
                Judged::Forgiven => "a foreign port, which one attempt may touch once",
                Judged::Trap if *steps == 0 => "a foreign port, as in a scan: nothing has begun",
                Judged::Trap => "a second foreign port, as in a scan: begin again",
                Judged::Implausible => "the kernel would not take it on this device",
                Judged::NotOurs => "it is not to an address of this host",
                Judged::Flags => "no door asks for these TCP flags",
                Judged::NoDoor => "no door names this port",
            },
        };
        f.write_str(text)
    }
}

impl KnockReport {
    /// `step 2 of 3 is 8000/udp`
    fn due(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} of {}", self.stage.saturating_add(1), self.steps)?;
        match self.due {
            Some(Step { port, protocol }) => write!(f, " is {port}/{protocol}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for KnockedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_sentence_names_what_was_due_and_what_came() {
        let due = Step { port: 8000.try_into().unwrap(), protocol: Protocol::Udp };
        let port = Some(KnockedPort { port: 9000, protocol: Protocol::Tcp });
        let report = KnockReport { reason: Reason::TimedOut, port: None, stage: 1, steps: 3, due: Some(due) };
        assert_eq!(report.to_string(), "step 2 of 3 is 8000/udp, and did not come in time");
        let said = |reason| KnockReport { reason, port, ..report }.to_string();
        assert_eq!(
            said(Reason::Judged(Judged::WrongStep)),
            "step 2 of 3 is 8000/udp, 9000/tcp came: begin again"
        );
        assert_eq!(said(Reason::Judged(Judged::Advanced)), "right: step 1 of 3");
        assert_eq!(
            said(Reason::Refused(Refusal::Hours)),
            "not opened: the door may not be opened at this hour"
        );
        assert!(said(Reason::Judged(Judged::Trap)).ends_with("begin again"));
        let nothing = KnockReport { reason: Reason::Judged(Judged::Trap), steps: 0, ..report };
        assert!(nothing.to_string().ends_with("nothing has begun"));
    }

    #[test]
    fn a_reason_has_the_name_of_its_counter_and_says_whether_a_door_stays_shut() {
        for (reason, name, is_failure) in [
            (Reason::Judged(Judged::Opened), "opened", false),
            (Reason::Judged(Judged::Forgiven), "forgiven", false),
            (Reason::Judged(Judged::Trap), "trap", true),
            (Reason::Judged(Judged::NoDoor), "no_door", true),
            (Reason::Refused(Refusal::Hours), "not_in_hours", true),
            (Reason::Asked, "asked", false),
            (Reason::Shut, "shut", false),
            (Reason::TimedOut, "timed_out", true),
        ] {
            assert_eq!((reason.name(), reason.is_failure()), (name, is_failure));
        }
    }
}
