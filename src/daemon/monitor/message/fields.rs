//! The fields of a message, as bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::time::Duration;

use super::{Bytes, ConfigPlace, Input, LEN, MalformedMessage, OutputPart};
use crate::core::passage::Passage;
use crate::core::sequence::{Protocol, Sequence, Step};
use crate::daemon::jobs::JobKind;

/// The kinds of jobs, by their numbers in a message.
pub(super) const KINDS: [JobKind; 4] = [JobKind::Start, JobKind::Restore, JobKind::Renew, JobKind::Stop];

/// The files that the monitor hands over, by their numbers in a message.
pub(super) const INPUTS: [Input; 3] = [Input::Config, Input::Firewall, Input::Devices];

/// Whether this byte may be in a line for the log file.
pub(in crate::daemon::monitor) const fn is_printable(byte: u8) -> bool {
    byte.is_ascii_graphic() || byte == b' '
}

/// Fills a message from its start. The rest stays zero.
pub(super) struct Writer {
    pub(super) bytes: Bytes,
    len: usize,
}

impl Default for Writer {
    fn default() -> Self {
        Self { bytes: [0; LEN], len: 0 }
    }
}

impl Writer {
    pub(super) fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
        self
    }

    pub(super) fn byte(&mut self, byte: u8) -> &mut Self {
        self.put(&[byte])
    }

    pub(super) fn word(&mut self, word: u32) -> &mut Self {
        self.put(&word.to_le_bytes())
    }

    pub(super) fn long(&mut self, long: u64) -> &mut Self {
        self.put(&long.to_le_bytes())
    }

    pub(super) fn place(&mut self, place: ConfigPlace) -> &mut Self {
        self.word(place.generation).byte(place.number)
    }

    pub(super) fn time(&mut self, time: Option<Duration>) -> &mut Self {
        self.byte(time.is_some().into()).long(time.unwrap_or_default().as_secs())
    }

    pub(super) fn passage(&mut self, passage: Passage) -> &mut Self {
        match passage.address {
            IpAddr::V4(address) => self.byte(4).put(&address.octets()),
            IpAddr::V6(address) => self.byte(6).put(&address.octets()),
        };
        self.step(passage.port)
    }

    pub(super) fn words(&mut self, words: &OutputPart) -> &mut Self {
        self.byte(u8::try_from(words.len()).unwrap_or_default()).put(words)
    }

    pub(super) fn step(&mut self, step: Option<Step>) -> &mut Self {
        match step {
            None => self.byte(0),
            Some(Step { protocol, port }) => {
                let protocol = if protocol == Protocol::Tcp { 1 } else { 2 };
                self.byte(protocol).put(&port.get().to_le_bytes())
            }
        }
    }
}

/// Reads the fields of a message from its start.
pub(super) struct MessageReader<'a>(pub(super) &'a [u8]);

impl MessageReader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], MalformedMessage> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(MalformedMessage)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, MalformedMessage> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(super) fn flag(&mut self) -> Result<bool, MalformedMessage> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(MalformedMessage),
        }
    }

    pub(super) fn word(&mut self) -> Result<u32, MalformedMessage> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn long(&mut self) -> Result<u64, MalformedMessage> {
        self.take().map(u64::from_le_bytes)
    }

    pub(super) fn place(&mut self) -> Result<ConfigPlace, MalformedMessage> {
        Ok(ConfigPlace { generation: self.word()?, number: self.byte()? })
    }

    pub(super) fn time(&mut self) -> Result<Option<Duration>, MalformedMessage> {
        match (self.flag()?, self.long()?) {
            (true, seconds) => Ok(Some(Duration::from_secs(seconds))),
            (false, 0) => Ok(None),
            (false, _) => Err(MalformedMessage),
        }
    }

    pub(super) fn passage(&mut self) -> Result<Passage, MalformedMessage> {
        let address = match self.byte()? {
            4 => Ipv4Addr::from(self.take::<4>()?).into(),
            6 => Ipv6Addr::from(self.take::<16>()?).into(),
            _ => return Err(MalformedMessage),
        };
        Ok(Passage { address, port: self.step()? })
    }

    fn step(&mut self) -> Result<Option<Step>, MalformedMessage> {
        let protocol = match self.byte()? {
            0 => return Ok(None),
            1 => Protocol::Tcp,
            2 => Protocol::Udp,
            _ => return Err(MalformedMessage),
        };
        let port = NonZeroU16::new(u16::from_le_bytes(self.take()?)).ok_or(MalformedMessage)?;
        Ok(Some(Step { protocol, port }))
    }

    pub(super) fn sequence(&mut self) -> Result<Sequence, MalformedMessage> {
        let mut sequence = Sequence::new();
        for _ in 0..self.byte()? {
            let step = self.step()?.ok_or(MalformedMessage)?;
            sequence.push(step).map_err(|_| MalformedMessage)?;
        }
        Ok(sequence)
    }

    pub(super) fn words(&mut self) -> Result<OutputPart, MalformedMessage> {
        let len = usize::from(self.byte()?);
        let (words, rest) = self.0.split_at_checked(len).ok_or(MalformedMessage)?;
        self.0 = rest;
        OutputPart::from_slice(words).map_err(|_| MalformedMessage)
    }

    /// The rest must be zero.
    pub(super) fn end(&self) -> Result<(), MalformedMessage> {
        if self.0.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(MalformedMessage) }
    }
}
