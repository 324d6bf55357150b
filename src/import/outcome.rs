//! The result of an import: a configuration with warnings, or an error.

use crate::config::MAX_FILE;

/// An imported configuration, and the settings that it lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The text of /etc/config/ketuk.
    pub uci: String,
    /// The settings that were not carried over, in the order of their lines.
    pub(crate) warnings: Vec<Warning>,
}

/// A setting that was not carried over, or was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The file.
    pub(crate) file: String,
    /// The line, from 1.
    pub(crate) line: usize,
    /// The setting that was lost, and the remedy.
    pub(crate) message: String,
}

/// A warning before its file is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// The number of a [`super::lines::Line`].
    pub(super) line: usize,
    /// The setting that was lost, and the remedy.
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
    /// The file and its includes are larger than a configuration may be.
    TooLarge,
    /// The file is UTF-16.
    Utf16,
    /// The file is ketuk's own configuration.
    Ketuk,
    /// The file is of a program that cannot be imported. The text names it and says what to do.
    Other(&'static str),
    /// The file is of no known kind.
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
