//! Events at doors, for the log, for watchers and for scripts.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use super::access::{Cause, OpenRequest, Opening};
use super::auth::Refusal;
use super::door::DoorId;
use super::grants::{Grant, Opener};
use super::sequence::Step;
use super::time::Instant;
use super::user::UserId;

/// An event at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoorEvent {
    /// The kind of the event.
    pub change: DoorChange,
    /// The door.
    pub door: DoorId,
    /// The address that is let in, or the first one of its network. For a request that was refused: the one that it came from.
    pub address: IpAddr,
    /// The port that it may reach, at a door with `any_port`.
    pub port: Option<Step>,
    /// The user who caused it, or whose grant it was.
    pub user: Option<UserId>,
    /// Time from now until it shuts; `None` means until somebody shuts it.
    pub left: Option<Duration>,
}

/// The kind of an event at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorChange {
    /// It is open now.
    Opened {
        /// The opener.
        opener: Opener,
        /// Where the knock came from, if that is another address.
        asked_by: Option<IpAddr>,
    },
    /// It was open, and its time begins anew.
    Renewed {
        /// The opener who renewed it.
        opener: Opener,
        /// Where the knock came from, if that is another address.
        asked_by: Option<IpAddr>,
    },
    /// The request was refused, and the door stays as it was.
    Refused {
        /// The opener who asked.
        opener: Opener,
        /// Why.
        refusal: Refusal,
        /// The address to open for, if that is not the one that the request came from.
        asked_for: Option<IpAddr>,
    },
    /// It is shut.
    Shut {
        /// Why.
        cause: Cause,
    },
}

impl DoorEvent {
    /// An opening that the firewall has taken.
    pub fn opened(opening: &Opening, is_first: bool) -> Self {
        let Opening { opener, door, sender, address, port, time, .. } = *opening;
        let asked_by = sender.filter(|sender| *sender != address);
        let change = if is_first {
            DoorChange::Opened { opener, asked_by }
        } else {
            DoorChange::Renewed { opener, asked_by }
        };
        Self { change, door, address, port, user: user_of(opener), left: time }
    }

    /// An opening that the firewall refused at first and has taken now.
    pub fn opened_late(grant: &Grant, now: Instant) -> Self {
        let opener = grant.opener(now);
        Self {
            change: DoorChange::Opened { opener, asked_by: None },
            door: grant.door(),
            address: grant.address(),
            port: grant.port(),
            user: grant.user(),
            left: grant.left(now),
        }
    }

    /// A request was refused. The event has the address that the request came from, because programs ban the address of
    /// such an event, and the sender chooses the other one.
    pub fn refused(request: &OpenRequest, refusal: Refusal) -> Self {
        let OpenRequest { opener, door, sender, address: asked, port, .. } = *request;
        let address = sender.unwrap_or(asked);
        let change = DoorChange::Refused { opener, refusal, asked_for: (asked != address).then_some(asked) };
        Self { change, door, address, port, user: user_of(opener), left: None }
    }

    /// A grant has ended: the door shuts, or the firewall never had it open.
    pub fn ended(grant: &Grant, cause: Cause, now: Instant) -> Self {
        let (change, user, left) = if grant.is_told() {
            (DoorChange::Shut { cause }, grant.user(), Some(Duration::ZERO))
        } else {
            let opener = grant.opener(now);
            let change = DoorChange::Refused { opener, refusal: Refusal::Firewall, asked_for: None };
            (change, user_of(opener), None)
        };
        Self { change, door: grant.door(), address: grant.address(), port: grant.port(), user, left }
    }

    /// The kind of event: a word that stays the same for programs.
    pub const fn kind(&self) -> &'static str {
        match self.change {
            DoorChange::Opened { .. } => "open",
            DoorChange::Renewed { .. } => "renew",
            DoorChange::Refused { .. } => "refuse",
            DoorChange::Shut { .. } => "close",
        }
    }

    /// Why: a word that stays the same for programs.
    pub const fn reason(&self) -> &'static str {
        match self.change {
            DoorChange::Opened { opener, .. } | DoorChange::Renewed { opener, .. } => opener.name(),
            DoorChange::Refused { refusal, .. } => refusal.name(),
            DoorChange::Shut { cause } => cause.name(),
        }
    }
}

/// The sentence for people, without door, address and user.
impl fmt::Display for DoorEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let opener = match self.change {
            DoorChange::Opened { opener, .. } => {
                f.write_str("opened")?;
                opener
            }
            DoorChange::Renewed { opener, .. } => {
                f.write_str("renewed")?;
                opener
            }
            DoorChange::Refused { refusal, asked_for, .. } => {
                write!(f, "not opened: {refusal}")?;
                return asked_for.map_or(Ok(()), |asked| write!(f, " (asked for {asked})"));
            }
            DoorChange::Shut { cause } => return write!(f, "shut: {cause}"),
        };
        match self.left {
            Some(left) => write!(f, " for {} s", left.as_secs())?,
            None => f.write_str(" until it is shut")?,
        }
        f.write_str(match opener {
            Opener::Knock => " by a knock",
            Opener::User(_) => " by the user",
            Opener::Hand => " by hand",
        })
    }
}

const fn user_of(opener: Opener) -> Option<UserId> {
    match opener {
        Opener::User(user) => Some(user),
        Opener::Knock | Opener::Hand => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_a_kind_a_reason_and_a_sentence() {
        let (now, address) = (Instant::from_millis(0), IpAddr::from([198, 51, 100, 10]));
        let sender = Some(IpAddr::from([192, 0, 2, 1]));
        let opening = |opener, sender, time: Option<u64>| Opening {
            opener,
            door: DoorId(1),
            sender,
            address,
            port: None,
            time: time.map(Duration::from_secs),
            is_new: true,
            uses_line: false,
            is_momentary: false,
        };
        let alice = Opener::User(UserId(3));
        let request = OpenRequest {
            opener: alice,
            door: DoorId(1),
            sender,
            address,
            port: None,
            time: crate::access::AskedTime::OpenTime,
        };
        let mut grant = Grant::new(now, DoorId(1), address, Some(now.after(Duration::from_secs(9))));
        grant.claim(now, alice, grant.until());
        let late = DoorEvent::opened_late(&grant, now);
        let never = DoorEvent::ended(&grant, Cause::Hand, now);
        grant.tell();
        let [hours, firewall] = [Refusal::Hours, Refusal::Firewall].map(|why| format!("not opened: {why}"));
        let asked = format!("{hours} (asked for {address})");
        for (event, kind, reason, user, sentence) in [
            (
                DoorEvent::opened(&opening(Opener::Knock, Some(address), Some(30)), true),
                "open",
                "knock",
                None,
                "opened for 30 s by a knock",
            ),
            (
                DoorEvent::opened(&opening(alice, sender, None), false),
                "renew",
                "user",
                Some(UserId(3)),
                "renewed until it is shut by the user",
            ),
            (
                DoorEvent::opened(&opening(Opener::Hand, None, Some(5)), true),
                "open",
                "hand",
                None,
                "opened for 5 s by hand",
            ),
            (DoorEvent::refused(&request, Refusal::Hours), "refuse", "not_in_hours", Some(UserId(3)), &asked),
            (late, "open", "user", Some(UserId(3)), "opened for 9 s by the user"),
            (never, "refuse", "not_in_firewall", Some(UserId(3)), &firewall),
            (
                DoorEvent::ended(&grant, Cause::Hand, now),
                "close",
                "hand",
                Some(UserId(3)),
                "shut: it was shut by hand",
            ),
        ] {
            assert_eq!((event.kind(), event.reason(), event.user), (kind, reason, user));
            assert_eq!(event.to_string(), sentence);
        }
        let refused = DoorEvent::refused(&request, Refusal::Hours);
        assert_eq!(Some(refused.address), sender, "the sender cannot have another address named");
        let own = DoorEvent::refused(&OpenRequest { sender: Some(address), ..request }, Refusal::Hours);
        assert_eq!((own.address, own.to_string()), (address, hours));
        let asked_by = |sender| match DoorEvent::opened(&opening(alice, sender, None), true).change {
            DoorChange::Opened { asked_by, .. } => asked_by,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            (asked_by(sender), asked_by(Some(address))),
            (sender, None),
            "only another address is named"
        );
    }
}
