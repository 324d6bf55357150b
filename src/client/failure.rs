//! Why the client failed.

/// A failure of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFailure {
    /// The exit code: 1 for a failure, 2 for wrong usage.
    pub(crate) code: u8,
    /// The fault and, if one is known, the remedy.
    pub(crate) message: String,
}

impl ClientFailure {
    /// A failed attempt, with exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }

    /// A wrong request, with exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }
}
