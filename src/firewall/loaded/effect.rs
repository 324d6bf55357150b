//! The effect of a rule on a packet.

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tri {
    No,
    /// The answer depends on something unknown.
    Maybe,
    Yes,
}

impl Tri {
    pub(super) const fn of(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

/// The effect of a rule on a packet that matches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The next rule decides.
    Continue,
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
    /// The effect cannot be known.
    Unknown,
}
