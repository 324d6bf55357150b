//! What a rule does with a packet.

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tri {
    No,
    /// It depends on something that is not known.
    Maybe,
    Yes,
}

impl Tri {
    pub(super) const fn of(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

/// What a rule does with a packet that it applies to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The next rule has it.
    Continue,
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
    /// Any of these.
    Unknown,
}
