//! The messages between the two processes. All have the same size, and each value has exactly one form. The monitor refuses
//! all other bytes.

mod fields;

use std::time::Duration;

pub(super) use self::fields::is_printable;
use self::fields::{INPUTS, KINDS, MessageReader, Writer};
use crate::core::passage::Passage;
use crate::core::sequence::Sequence;
use crate::daemon::jobs::{JobKind, JobPart, Ticket};
use crate::linux::process::Exit;

/// The size of a message, in bytes.
pub(super) const LEN: usize = 128;

/// The most bytes of text in one message.
pub(super) const MAX_WORDS: usize = LEN - 8;

/// The bytes of a message.
pub(super) type Bytes = [u8; LEN];

/// The bytes are no message. Their sender does not behave like this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MalformedMessage;

/// The number of a running program, or of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunId(pub(super) u32);

/// A door or a user of a configuration that both processes have read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConfigPlace {
    /// The number of the configuration. Each reload increments it.
    pub(super) generation: u32,
    /// The number of the door or the user there.
    pub(super) number: u8,
}

/// An event for which scripts are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScriptEvent {
    /// Whether the door opens; otherwise it shuts.
    pub(super) is_open: bool,
    pub(super) door: ConfigPlace,
    pub(super) passage: Passage,
    /// The time until the door shuts, in whole seconds; `None` if it has no end.
    pub(super) left: Option<Duration>,
    pub(super) user: Option<ConfigPlace>,
}

/// A line of a file of one-time sequences, which the monitor has read for the packet side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::daemon) struct LineId {
    /// The line's door.
    pub(super) door: ConfigPlace,
    /// The line's start in the file, in bytes.
    pub(super) offset: u64,
}

/// A file that the packet side reads again at a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::daemon) enum Input {
    /// The configuration.
    Config,
    /// The firewall's configuration.
    Firewall,
    /// The file of devices.
    Devices,
}

/// From the packet side to the monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MonitorRequest {
    /// An opening begins. Later messages name it by its ticket.
    Hold {
        /// The opening's number.
        ticket: Ticket,
        /// The door.
        place: ConfigPlace,
        /// The address, and its port.
        passage: Passage,
        /// Whether there is something to undo already.
        is_open: bool,
    },
    /// Runs a program of an opening. The answer says whether it was started.
    Run {
        /// The program's number.
        id: RunId,
        /// The opening.
        ticket: Ticket,
        /// The kind of the program's job.
        kind: JobKind,
        /// The program of the job.
        part: JobPart,
        /// The time for the kernel's timer, in whole seconds.
        lease: Option<Duration>,
    },
    /// Runs the scripts for an event. The answer says whether they were started.
    Call {
        /// The program's number.
        id: RunId,
        /// The event.
        event: ScriptEvent,
    },
    /// Kills a program.
    Kill(RunId),
    /// An opening has ended, and none of its programs runs any more.
    Release(Ticket),
    /// Reads the configuration again. The answer says whether both have read the same.
    Reload {
        /// The question's number.
        id: RunId,
        /// The number of the new configuration.
        generation: u32,
        /// The fingerprint of the configuration that the packet side has read.
        fingerprint: u64,
    },
    /// Asks whether iptables has lost all of the doors' rules.
    LookForRules {
        /// The question's number.
        id: RunId,
    },
    /// Loads the daemon's own chains of iptables, for the doors that both have read. The answer says whether they are there.
    LoadChains {
        /// The question's number.
        id: RunId,
    },
    /// Asks whether these chains are as they were loaded. `ESTALE`: they are not.
    LookAtChains {
        /// The question's number.
        id: RunId,
    },
    /// The packet side ends cleanly, so the monitor has nothing to undo.
    Leave,
    /// Opens a file for reading. The answer comes with the open file.
    Hand {
        /// The question's number.
        id: RunId,
        /// The file.
        input: Input,
    },
    /// Opens the log file, or opens it anew. The answer says whether it is open.
    OpenLog {
        /// The question's number.
        id: RunId,
    },
    /// A part of a line for the log file.
    Log {
        /// Whether the line begins here.
        begins: bool,
        /// Whether the line ends here.
        ends: bool,
        /// Printable ASCII characters.
        words: OutputPart,
    },
    /// Reads the first unused line of a door's one-time sequences. If there is one, the line comes before the answer.
    NextLine {
        /// The question's number.
        id: RunId,
        /// The door.
        door: ConfigPlace,
    },
    /// Marks the line that was read last as used. The answer says whether the mark is on the disk.
    Mark {
        /// The question's number.
        id: RunId,
        /// The line.
        line: LineId,
    },
}

/// From the monitor to the packet side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The answer to a request: success, or the errno.
    Answer(RunId, Result<(), i32>),
    /// The output of a program, in parts. The program's end follows.
    Printed(RunId, OutputPart),
    /// A program has ended.
    Ended(RunId, Exit),
    /// The line that was asked for: its start in the file, and its sequence.
    Line(RunId, u64, Sequence),
}

/// A part of a program's output, or of a line for the log file.
pub(super) type OutputPart = heapless::Vec<u8, MAX_WORDS>;

impl MonitorRequest {
    /// The message.
    pub(super) fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        match *self {
            Self::Hold { ticket, place, passage, is_open } => {
                writer.byte(1).word(ticket.0).place(place).passage(passage).byte(is_open.into())
            }
            Self::Run { id, ticket, kind, part, lease } => {
                let kind = KINDS.iter().position(|known| *known == kind).unwrap_or_default();
                let part = match part {
                    JobPart::Command => 0,
                    JobPart::Rule(number) => 1 + u32::from(number),
                };
                writer
                    .byte(2)
                    .word(id.0)
                    .word(ticket.0)
                    .byte(u8::try_from(kind).unwrap_or_default())
                    .word(part)
                    .time(lease)
            }
            Self::Kill(id) => writer.byte(3).word(id.0),
            Self::Release(ticket) => writer.byte(4).word(ticket.0),
            Self::Reload { id, generation, fingerprint } => {
                writer.byte(5).word(id.0).word(generation).long(fingerprint)
            }
            Self::LookForRules { id } => writer.byte(6).word(id.0),
            Self::Leave => writer.byte(7),
            Self::LoadChains { id } => writer.byte(9).word(id.0),
            Self::LookAtChains { id } => writer.byte(10).word(id.0),
            Self::Call { id, event: ScriptEvent { is_open, door, passage, left, user } } => {
                writer.byte(8).word(id.0).byte(is_open.into()).place(door).passage(passage).time(left);
                match user {
                    None => writer.byte(0),
                    Some(user) => writer.byte(1).place(user),
                }
            }
            Self::Hand { id, input } => {
                let input = INPUTS.iter().position(|known| *known == input).unwrap_or_default();
                writer.byte(20).word(id.0).byte(u8::try_from(input).unwrap_or_default())
            }
            Self::OpenLog { id } => writer.byte(21).word(id.0),
            Self::Log { begins, ends, ref words } => {
                writer.byte(22).byte(begins.into()).byte(ends.into()).words(words)
            }
            Self::NextLine { id, door } => writer.byte(23).word(id.0).place(door),
            Self::Mark { id, line } => writer.byte(24).word(id.0).place(line.door).long(line.offset),
        };
        writer.bytes
    }

    /// Reads a message.
    ///
    /// # Errors
    /// The bytes are not exactly those of a request.
    pub(super) fn decode(bytes: &Bytes) -> Result<Self, MalformedMessage> {
        let mut reader = MessageReader(bytes);
        let request = match reader.byte()? {
            1 => Self::Hold {
                ticket: Ticket(reader.word()?),
                place: reader.place()?,
                passage: reader.passage()?,
                is_open: reader.flag()?,
            },
            2 => Self::Run {
                id: RunId(reader.word()?),
                ticket: Ticket(reader.word()?),
                kind: *KINDS.get(usize::from(reader.byte()?)).ok_or(MalformedMessage)?,
                part: match reader.word()? {
                    0 => JobPart::Command,
                    number => JobPart::Rule(u16::try_from(number - 1).map_err(|_| MalformedMessage)?),
                },
                lease: reader.time()?,
            },
            3 => Self::Kill(RunId(reader.word()?)),
            4 => Self::Release(Ticket(reader.word()?)),
            5 => Self::Reload {
                id: RunId(reader.word()?),
                generation: reader.word()?,
                fingerprint: reader.long()?,
            },
            6 => Self::LookForRules { id: RunId(reader.word()?) },
            7 => Self::Leave,
            9 => Self::LoadChains { id: RunId(reader.word()?) },
            10 => Self::LookAtChains { id: RunId(reader.word()?) },
            8 => Self::Call {
                id: RunId(reader.word()?),
                event: ScriptEvent {
                    is_open: reader.flag()?,
                    door: reader.place()?,
                    passage: reader.passage()?,
                    left: reader.time()?,
                    user: if reader.flag()? { Some(reader.place()?) } else { None },
                },
            },
            20 => Self::Hand {
                id: RunId(reader.word()?),
                input: *INPUTS.get(usize::from(reader.byte()?)).ok_or(MalformedMessage)?,
            },
            21 => Self::OpenLog { id: RunId(reader.word()?) },
            22 => {
                let (begins, ends, words) = (reader.flag()?, reader.flag()?, reader.words()?);
                if !words.iter().copied().all(is_printable) {
                    return Err(MalformedMessage);
                }
                Self::Log { begins, ends, words }
            }
            23 => Self::NextLine { id: RunId(reader.word()?), door: reader.place()? },
            24 => Self::Mark {
                id: RunId(reader.word()?),
                line: LineId { door: reader.place()?, offset: reader.long()? },
            },
            _ => return Err(MalformedMessage),
        };
        reader.end().map(|()| request)
    }
}

impl Reply {
    /// The message.
    pub(super) fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        match self {
            Self::Answer(id, Ok(())) => writer.byte(1).word(id.0),
            Self::Answer(id, Err(errno)) => writer.byte(2).word(id.0).word(errno.cast_unsigned()),
            Self::Ended(id, Exit::Code(code)) => writer.byte(3).word(id.0).word(code.cast_unsigned()),
            Self::Ended(id, Exit::Signal(signal)) => writer.byte(4).word(id.0).word(signal.cast_unsigned()),
            Self::Printed(id, words) => writer.byte(5).word(id.0).words(words),
            Self::Line(id, offset, sequence) => {
                let len = u8::try_from(sequence.len()).unwrap_or_default();
                let writer = writer.byte(6).word(id.0).long(*offset).byte(len);
                sequence.iter().fold(writer, |writer, step| writer.step(Some(*step)))
            }
        };
        writer.bytes
    }

    /// Reads a message.
    ///
    /// # Errors
    /// The bytes are not exactly those of a reply.
    pub(super) fn decode(bytes: &Bytes) -> Result<Self, MalformedMessage> {
        let mut reader = MessageReader(bytes);
        let (tag, id) = (reader.byte()?, RunId(reader.word()?));
        let reply = match tag {
            1 => Self::Answer(id, Ok(())),
            2 => Self::Answer(id, Err(reader.word()?.cast_signed())),
            3 => Self::Ended(id, Exit::Code(reader.word()?.cast_signed())),
            4 => Self::Ended(id, Exit::Signal(reader.word()?.cast_signed())),
            5 => Self::Printed(id, reader.words()?),
            6 => Self::Line(id, reader.long()?, reader.sequence()?),
            _ => return Err(MalformedMessage),
        };
        reader.end().map(|()| reply)
    }
}

#[cfg(test)]
mod tests;
