//! Carries the packet side's lines to the monitor, which writes them into the log file.

use std::io;

use nix::errno::Errno;

use super::link::Link;
use super::message::{MAX_WORDS, MonitorRequest, OutputPart, is_printable};
use crate::log::Courier;

/// The longest line, in bytes. The rest of a longer line is left out. The line of a knock has about 100.
pub(super) const MAX_LINE: usize = 1000;

/// The longest time that a line waits for room in the socket, in milliseconds. The monitor may wait for a slow disk, and
/// knocks matter more than lines.
const PATIENCE: u16 = 100;

/// The courier.
#[derive(Debug)]
pub(super) struct LogCourier {
    link: Link,
    /// Whether the last line found no room in time. Then the next one does not wait.
    is_late: bool,
}

impl LogCourier {
    /// A courier over this end of the socket.
    pub(super) const fn new(link: Link) -> Self {
        Self { link, is_late: false }
    }
}

impl Courier for LogCourier {
    fn carry(&mut self, line: &str) -> io::Result<()> {
        let mut rest = line.len().min(MAX_LINE);
        let mut bytes = line.bytes().take(rest).map(|byte| match byte {
            byte if is_printable(byte) => byte,
            b'\t' => b' ',
            _ => b'?',
        });
        let mut begins = true;
        loop {
            let words: OutputPart = bytes.by_ref().take(MAX_WORDS).collect();
            rest -= words.len();
            let part = MonitorRequest::Log { begins, ends: rest == 0, words };
            let patience = if self.is_late { 0 } else { PATIENCE };
            let sent = self.link.send_within(&part.encode(), patience);
            self.is_late =
                sent.as_ref().is_err_and(|error| error.raw_os_error() == Some(Errno::ETIMEDOUT as i32));
            sent?;
            if rest == 0 {
                return Ok(());
            }
            begins = false;
        }
    }
}

/// The parts of a line that have come so far.
#[derive(Debug, Default)]
pub(super) struct Unfinished(Option<String>);

impl Unfinished {
    /// Adds a part. Returns the line if it ends.
    ///
    /// # Errors
    /// `EMSGSIZE`: it is longer than a line may be.
    pub(super) fn add(&mut self, begins: bool, ends: bool, words: &[u8]) -> Result<Option<String>, Errno> {
        if begins {
            self.0 = Some(String::new());
        }
        // If the beginning of a line found no room, the rest of the line is left out too.
        let Some(line) = &mut self.0 else { return Ok(None) };
        if line.len() + words.len() > MAX_LINE {
            return Err(Errno::EMSGSIZE);
        }
        line.extend(words.iter().copied().map(char::from));
        Ok(if ends { self.0.take() } else { None })
    }
}

#[cfg(test)]
mod tests {
    use super::super::link::ReceivedMessage;
    use super::*;

    /// The lines that arrive.
    fn arrived(link: &Link) -> Vec<String> {
        let mut unfinished = Unfinished::default();
        let mut lines = Vec::new();
        while let ReceivedMessage::Message(bytes) = link.receive() {
            let request = MonitorRequest::decode(&bytes).expect("a request");
            let MonitorRequest::Log { begins, ends, words } = request else { panic!("{request:?}") };
            lines.extend(unfinished.add(begins, ends, &words).expect("a line"));
        }
        lines
    }

    #[test]
    fn lines_arrive_whole_and_in_printable_characters() {
        let (ours, theirs) = Link::pair().expect("a pair of sockets");
        let mut courier = LogCourier::new(ours);
        let long = "x".repeat(MAX_LINE + 1);
        for line in ["", "\tknock\x1b[2J\n", "ü", &long[..MAX_WORDS], &long[..=MAX_WORDS], &long] {
            courier.carry(line).expect("sent");
        }
        let [exact, more, most] = [MAX_WORDS, MAX_WORDS + 1, MAX_LINE].map(|len| &long[..len]);
        assert_eq!(arrived(&theirs), ["", " knock?[2J?", "??", exact, more, most]);
    }

    #[test]
    fn lines_that_find_no_room_are_lost_and_the_next_ones_do_not_wait() {
        let (ours, theirs) = Link::pair().expect("a pair of sockets");
        let mut courier = LogCourier::new(ours);
        let line = "x".repeat(MAX_LINE);
        while courier.carry(&line).is_ok() {}
        let before = std::time::Instant::now();
        for _ in 0..100 {
            courier.carry("more").expect_err("there is no room");
        }
        assert!(before.elapsed().as_millis() < 10 * u128::from(PATIENCE), "{:?}", before.elapsed());
        let whole = arrived(&theirs);
        assert!(whole.len() > 10 && whole.iter().all(|whole| *whole == line), "the last one is not whole");
        courier.carry("again").expect("there is room");
        assert_eq!(arrived(&theirs), ["again"]);
    }

    #[test]
    fn a_line_without_its_beginning_and_one_that_is_too_long_are_not_taken() {
        let mut unfinished = Unfinished::default();
        assert_eq!(unfinished.add(false, true, b"end"), Ok(None));
        assert_eq!(unfinished.add(true, false, b"lost"), Ok(None));
        assert_eq!(unfinished.add(true, false, &[b'x'; MAX_LINE]), Ok(None));
        assert_eq!(unfinished.add(false, true, b"x"), Err(Errno::EMSGSIZE));
    }
}
