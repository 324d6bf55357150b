//! A door in knockd's configuration.

use super::outcome::Note;
use super::part::{KnockdSection, KnockdValue};

/// The names of the key for the command that opens.
pub(super) const START: &[&str] = &["start_command", "command"];
/// The names of the same key for IPv6.
pub(super) const START_6: &[&str] = &["start_command_6", "command_6"];
/// The names of the key for the command that shuts.
pub(super) const STOP: &[&str] = &["stop_command"];
/// The names of the same key for IPv6.
pub(super) const STOP_6: &[&str] = &["stop_command_6"];
/// The names of the key for the sequence.
pub(super) const SEQUENCE: &[&str] = &["sequence"];
/// The names of the key for the file of one-time sequences.
pub(super) const ONE_TIME: &[&str] = &["one_time_sequences"];
/// The names of the key for the time for a knock, in seconds.
pub(super) const SEQ_TIMEOUT: &[&str] = &["seq_timeout", "timeout"];
/// The names of the key for the time until the door shuts, in seconds.
pub(super) const CMD_TIMEOUT: &[&str] = &["cmd_timeout"];
/// The names of the key for the TCP flags of knocks.
pub(super) const TCP_FLAGS: &[&str] = &["tcpflags"];
/// The names of the key for the knocks' destination.
pub(super) const TARGET: &[&str] = &["target"];
/// All keys of a door, each with its names.
pub(super) const KEYS: &[&[&str]] =
    &[SEQUENCE, ONE_TIME, SEQ_TIMEOUT, TCP_FLAGS, TARGET, START, START_6, STOP, STOP_6, CMD_TIMEOUT];

/// A door in knockd's configuration.
#[derive(Debug)]
pub(super) struct KnockdDoor {
    pub(super) part: KnockdSection,
    /// The door's name in UCI.
    pub(super) name: String,
}

/// A door's commands that are given and not empty, with their lines.
pub(super) struct KnockdCommands<'a> {
    /// `start_command`.
    pub(super) start: Option<KnockdValue<'a>>,
    /// `start_command_6`.
    pub(super) start_6: Option<KnockdValue<'a>>,
    /// `stop_command`.
    pub(super) stop: Option<KnockdValue<'a>>,
    /// `stop_command_6`.
    pub(super) stop_6: Option<KnockdValue<'a>>,
    /// Whether `start_command_6` is empty: nothing opens for IPv6.
    pub(super) nothing_for_6: bool,
    /// Whether `stop_command_6` is empty: nothing shuts for IPv6.
    pub(super) never_shut_for_6: bool,
}

impl KnockdCommands<'_> {
    /// All commands.
    pub(super) fn all(&self) -> impl Iterator<Item = KnockdValue<'_>> {
        [self.start, self.start_6, self.stop, self.stop_6].into_iter().flatten()
    }
}

impl KnockdDoor {
    /// A door that has no UCI name yet.
    pub(super) fn new(part: KnockdSection) -> Self {
        Self { name: String::new(), part }
    }

    /// The value of the key with these names.
    pub(super) fn get(&self, names: &[&str]) -> Option<KnockdValue<'_>> {
        self.part.get(names)
    }

    /// A note about one of the door's lines.
    pub(super) fn note_at(&self, line: usize, message: impl std::fmt::Display) -> Note {
        self.part.note_at(line, message)
    }

    /// The door's commands.
    pub(super) fn commands(&self) -> KnockdCommands<'_> {
        let written = |names| self.get(names).filter(|(command, _): &KnockdValue<'_>| !command.is_empty());
        let is_empty = |names| self.get(names).is_some_and(|(command, _)| command.is_empty());
        KnockdCommands {
            start: written(START),
            start_6: written(START_6),
            stop: written(STOP),
            stop_6: written(STOP_6),
            nothing_for_6: is_empty(START_6),
            never_shut_for_6: is_empty(STOP_6),
        }
    }
}
