//! The ports at which users' knocks are heard.

use core::num::NonZeroU16;

use super::ports::PortRange;

/// The ports for users' knocks, at the router's own addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listening {
    /// UDP port of packets.
    pub packets: Option<NonZeroU16>,
    /// TCP ports of changing sequences.
    pub changing: Option<PortRange>,
}

/// The kind of a user's knock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A packet with a proof in it.
    Packet,
    /// A knock that may belong to a changing sequence.
    Totp,
}
