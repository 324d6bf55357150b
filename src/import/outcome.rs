//! What comes of an import: a configuration, and what was not carried over; or why there is none.

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
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What, and what to do.
    pub message: String,
}

/// The same, before it is known which file the line is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// The number of a [`super::lines::Line`].
    pub(super) line: usize,
    /// What.
    pub(super) message: String,
}

impl Note {
    /// A note about a line.
    pub(super) fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// Why nothing was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportError {
    /// The file, with those that it includes, is larger than a configuration may be.
    TooLarge,
    /// It is UTF-16.
    Utf16,
    /// It is ketuk's own configuration.
    Ketuk,
    /// It is of a program that is not imported: which, and what to do.
    Other(&'static str),
    /// It is nothing that is known.
    Unknown,
}

impl std::fmt::Display for ImportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge => write!(f, "larger than {} KiB, with what it includes", MAX_FILE / 1024),
            Self::Utf16 => f.write_str("this is UTF-16: save it as UTF-8"),
            Self::Ketuk => f.write_str("this is ketuk's own configuration: it needs no import"),
            Self::Other(what) => f.write_str(what),
            Self::Unknown => f.write_str(
                "this is neither a knockd.conf (it has no [section]) nor an access.conf (it has no SOURCE), a fwknopd.conf \
                 or OpenWrt's configuration of either",
            ),
        }
    }
}
