//! The end of a program.

use std::fmt;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Exit {
    /// Whether the program reports success.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// Reads the status of `waitpid`. It reports stopped and continued programs only if it is asked to.
    pub(super) const fn from_status(status: libc::c_int) -> Self {
        if libc::WIFSIGNALED(status) {
            Self::Signal(libc::WTERMSIG(status))
        } else {
            Self::Code(libc::WEXITSTATUS(status))
        }
    }
}

/// The words are knockd's, because scripts look for them.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(0) => f.write_str("command succeeded"),
            Self::Code(code) => write!(f, "command returned non-zero status code ({code})"),
            Self::Signal(signal) => write!(f, "command was killed by signal ({signal})"),
        }
    }
}
