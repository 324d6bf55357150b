//! Sends frames at a given rate.

use std::io;
use std::os::fd::OwnedFd;

use crate::socket::{self, now, sleep_until};

/// Most frames in one system call.
const BATCH: u64 = 64;

/// How often a batch is sent, in Hz, while batches are smaller than [`BATCH`]: bursts of 25 frames at 100,000 a second.
/// A higher value would take processor time from the measured daemon.
const TICKS: u64 = 4_000;

/// A device to send through.
pub struct Sender {
    fd: OwnedFd,
}

impl Sender {
    /// Sends through this device of the thread's network namespace.
    pub fn open(device: &str) -> io::Result<Self> {
        Ok(Self { fd: socket::packet_socket(device)? })
    }

    /// Sends every frame.
    pub fn send(&mut self, mut frames: &[Vec<u8>]) -> io::Result<()> {
        while !frames.is_empty() {
            match socket::send(&self.fd, frames) {
                Ok(sent) => frames = &frames[sent..],
                // The device is full. The sender tries again, and the reported rate shows the delay.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The number of packets that were sent, and the time.
pub struct Paced {
    count: u64,
    ns: u64,
}

impl Paced {
    /// Sends `count` frames, `rate` a second. `write` writes each frame, and gets the frame's number.
    ///
    /// A late sender catches up, so that the mean is right. [`Self::json`] reports the reached rate.
    pub fn run(
        sender: &mut Sender,
        rate: u64,
        count: u64,
        mut write: impl FnMut(&mut Vec<u8>, u64),
    ) -> io::Result<Self> {
        socket::sleep_exactly();
        let batch = (rate / TICKS).clamp(1, BATCH);
        let mut frames =
            vec![Vec::with_capacity(crate::frame::MAX_FRAME); usize::try_from(batch).expect("a batch")];
        let start = now();
        let mut sent = 0;
        while sent < count {
            let size = usize::try_from(batch.min(count - sent)).expect("a batch");
            for (frame, index) in frames[..size].iter_mut().zip(sent..) {
                write(frame, index);
            }
            let due =
                start + u64::try_from(u128::from(sent) * 1_000_000_000 / u128::from(rate)).expect("hours");
            if now() < due {
                sleep_until(due);
            }
            sender.send(&frames[..size])?;
            sent += size as u64;
        }
        Ok(Self { count, ns: now() - start })
    }

    /// As `{"sent": N, "seconds": S, "rate": R}`.
    pub fn json(&self) -> String {
        let seconds = std::time::Duration::from_nanos(self.ns).as_secs_f64();
        let rate = u128::from(self.count) * 1_000_000_000 / u128::from(self.ns.max(1));
        format!(r#"{{"sent": {}, "seconds": {seconds:.3}, "rate": {rate}}}"#, self.count)
    }
}
