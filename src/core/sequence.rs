//! A sequence: ports in an order, and the TCP segments that count.

use core::fmt;

pub use ketuk_protocol::Protocol;

/// Most steps in one sequence (knockd's `SEQ_MAX`).
pub const MAX_STEPS: usize = 32;

/// One knock of a sequence: a port that is never 0, and its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Step {
    /// The protocol.
    pub protocol: Protocol,
    /// Destination port, 1 to 65535.
    pub port: core::num::NonZeroU16,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.port, self.protocol)
    }
}

/// The steps of a door, in order: 1 to [`MAX_STEPS`], or none for a door that no sequence opens.
pub type Sequence = heapless::Vec<Step, MAX_STEPS>;

/// The flag bits of a TCP segment (RFC 9293, section 3.1), byte 13 of the header.
pub mod flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment number is valid.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is valid.
    pub const URG: u8 = 0x20;
}

/// The TCP segments that are knocks at a door: those whose flags under `mask` equal `value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlagMatch {
    /// The flags that matter.
    mask: u8,
    /// The values of those flags; no bit outside `mask`.
    value: u8,
}

impl FlagMatch {
    /// The first segment of a connection, as firewalls define it: SYN, and none of FIN, RST, ACK.
    pub const SYN: Self = Self { mask: flag::FIN | flag::SYN | flag::RST | flag::ACK, value: flag::SYN };

    /// A match for segments whose flags in `mask` have the values that they have in `value`.
    pub const fn new(mask: u8, value: u8) -> Self {
        Self { mask, value: value & mask }
    }

    /// The flags that matter.
    pub const fn mask(self) -> u8 {
        self.mask
    }

    /// The values of the flags that matter; no bit outside [`Self::mask`].
    pub const fn value(self) -> u8 {
        self.value
    }

    /// Whether only the first segment of a connection matches: SYN, and not ACK.
    pub const fn is_first_segment(self) -> bool {
        self.mask & self.value & flag::SYN != 0 && self.mask & !self.value & flag::ACK != 0
    }

    /// A match for both: it accepts at least the segments that either of them accepts.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        let mask = self.mask & other.mask & !(self.value ^ other.value);
        Self { mask, value: self.value & mask }
    }

    /// Whether a segment with these flags is a knock.
    pub const fn matches(self, flags: u8) -> bool {
        flags & self.mask == self.value
    }
}

impl Default for FlagMatch {
    fn default() -> Self {
        Self::SYN
    }
}

#[cfg(test)]
mod tests {
    use super::flag::{ACK, FIN, SYN};
    use super::*;

    #[test]
    fn a_first_segment_has_syn_and_not_ack() {
        for (mask, value, expected) in [
            (FIN | SYN | ACK, SYN, true),
            (SYN | ACK, SYN, true),
            (SYN | ACK, SYN | ACK, false),
            (SYN | ACK, 0, false),
            (SYN, SYN, false),
            (ACK, 0, false),
            (FIN, FIN, false),
            (0, 0, false),
        ] {
            assert_eq!(FlagMatch::new(mask, value).is_first_segment(), expected, "{mask:#x} {value:#x}");
        }
        assert!(FlagMatch::SYN.is_first_segment());
        let asked = FIN | SYN | flag::RST | ACK;
        assert_eq!((FlagMatch::SYN.mask(), FlagMatch::SYN.value()), (asked, SYN));
        let refused = [SYN | FIN, SYN | flag::RST, SYN | ACK, ACK, 0];
        assert!(FlagMatch::SYN.matches(SYN | flag::PSH | flag::URG));
        assert!(refused.into_iter().all(|flags| !FlagMatch::SYN.matches(flags)));
    }

    /// Of each flag, the common match asks what both ask.
    #[test]
    fn what_two_matches_have_in_common() {
        let all = || (0..8).flat_map(|mask| (0..8).map(move |value| FlagMatch::new(mask, value)));
        let asks = |of: FlagMatch, flag: u8| (of.mask() & flag != 0).then_some(of.value() & flag);
        for (a, b) in all().flat_map(|a| all().map(move |b| (a, b))) {
            for flag in [FIN, SYN, flag::RST] {
                let both = asks(a, flag).filter(|value| asks(b, flag) == Some(*value));
                assert_eq!(asks(a.common(b), flag), both, "{a:?} {b:?}");
            }
        }
    }
}
