//! Why a packet or a knock is nobody's request.

use core::fmt;

use crate::user::UserId;

/// Why a packet or a knock is nobody's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// It has the form of no packet there is.
    Form,
    /// No user has a key for it.
    Unknown,
    /// It has a user's tag, and was not made with his key.
    Forged,
    /// Its source failed too often, or all sources together.
    Limited,
    /// This host does not know the time.
    NoClock,
    /// Its time is too far from this host's.
    Age,
    /// It was taken before, or it is from before the start.
    Replay,
    /// The user's time is over.
    Expired,
    /// It is authentic, and not as a client writes it.
    Rules,
    /// It asks for a command.
    Command,
    /// It asks for a door that is not there, or that the user may not open.
    Door,
    /// It asks to open for an address that is not its source, and the user may not.
    Address,
}

impl Refusal {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 12] = [
        Self::Form,
        Self::Unknown,
        Self::Forged,
        Self::Limited,
        Self::NoClock,
        Self::Age,
        Self::Replay,
        Self::Expired,
        Self::Rules,
        Self::Command,
        Self::Door,
        Self::Address,
    ];

    /// The counter's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Form => "auth_form",
            Self::Unknown => "auth_unknown",
            Self::Forged => "auth_forged",
            Self::Limited => "auth_limited",
            Self::NoClock => "auth_no_clock",
            Self::Age => "auth_age",
            Self::Replay => "auth_replay",
            Self::Expired => "auth_expired",
            Self::Rules => "auth_rules",
            Self::Command => "auth_command",
            Self::Door => "auth_door",
            Self::Address => "auth_address",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "it is neither ketuk's packet nor fwknop's",
            Self::Unknown => "it was made with no user's key",
            Self::Forged => "it has a user's tag and was not made with his key",
            Self::Limited => "too many packets that prove nothing",
            Self::NoClock => "this host does not know the time",
            Self::Age => "its time is too far from this host's: are both clocks right?",
            Self::Replay => "it was used before, or made before ketukd started",
            Self::Expired => "the user has expired",
            Self::Rules => "it is not written as a client writes, or the fwknop_key is another",
            Self::Command => "it asks for a command, and commands are never run",
            Self::Door => "it asks for something that the user may not open",
            Self::Address => "it asks for another address, and the user has no other_address '1'",
        })
    }
}

/// A refusal, and whose knock it was if that was proved.
pub type Refused = (Refusal, Option<UserId>);
