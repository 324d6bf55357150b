//! Why the client failed.

/// Why it did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code: 1 it failed, 2 wrong usage.
    pub code: u8,
    /// What was wrong, and what to do.
    pub message: String,
}

impl Failure {
    /// It was tried, and did not work.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }

    /// What was asked for cannot be.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }
}
