//! Why a door does not open to somebody who knocked rightly.

use std::fmt;

use crate::core::counters::Event;

/// Why a door did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too many doors were opened just now.
    Rate,
    /// Too many are in.
    Full,
    /// Too many commands wait.
    Commands,
    /// The door is not for this address.
    Address,
    /// The door is not for this hour.
    Hours,
}

impl Refused {
    /// The counter that counts it.
    pub const fn counter(self) -> Event {
        match self {
            Self::Rate => Event::OpenRate,
            Self::Full => Event::GrantsFull,
            Self::Commands => Event::CommandsFull,
            Self::Address | Self::Hours => Event::NotAllowed,
        }
    }

    /// A word for watchers.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Rate | Self::Full | Self::Commands => "limit",
            Self::Address => "src",
            Self::Hours => "hours",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rate => "too many doors were opened just now",
            Self::Full => "too many doors are open",
            Self::Commands => "too many commands are waiting",
            Self::Address => "the door is not for this address",
            Self::Hours => "the door is not for this hour",
        })
    }
}
