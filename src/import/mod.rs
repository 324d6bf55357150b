//! Other programs' configurations as UCI: `ketukd import`.
//!
//! What comes out is always a configuration that `ketukd check` accepts. What cannot be carried over is
//! left out and named, with its line.
#![forbid(unsafe_code)]

pub mod access;
pub mod commands;
pub mod knockd;
pub mod write;

use crate::config::MAX_FILE;

/// A configuration, and what it lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The text of /etc/config/ketuk.
    pub uci: String,
    /// What was not carried over, in the order of the lines.
    pub warnings: Vec<Warning>,
}

/// Something that was not carried over, or not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The line, from 1.
    pub line: usize,
    /// What, and what to do.
    pub message: String,
}

/// Why nothing was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportError {
    /// The file is larger than a configuration may be.
    TooLarge,
    /// There is no `[section]` in it.
    NotKnockd,
    /// There is no `SOURCE` in it.
    NotFwknopd,
}

impl std::fmt::Display for ImportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge => write!(f, "larger than {} KiB", MAX_FILE / 1024),
            Self::NotFwknopd => f.write_str("this is no access.conf: it has no SOURCE"),
            Self::NotKnockd => f.write_str("this is no knockd.conf: it has no [section]"),
        }
    }
}
