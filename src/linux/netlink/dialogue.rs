//! Sends requests to the kernel, one at a time, and reads the answers.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use libc::c_int;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::message::{Datagram, Message, Messages};
use super::{Received, Socket};

/// Size of the receive buffer, in bytes. The kernel fills each part of a listing up to the page size, at most 8 kB, or
/// to the size of the buffer.
const RECEIVE: usize = 8192;

/// Longest wait for the next part of an answer. The kernel answers before `send` returns, so this only prevents a
/// hang.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes that fit into the smallest default of `net.core.wmem_default`. The kernel takes some of it for itself.
const ROOM: usize = 64 * 1024;

/// A dialogue with one of the kernel's netlink families.
#[derive(Debug)]
pub struct Dialogue {
    protocol: c_int,
    socket: Socket,
    /// The next request's sequence number.
    sequence: u32,
    request: Datagram,
    received: Box<[u8]>,
}

/// Why a request has no result.
#[derive(Debug)]
pub enum DialogueError {
    /// The socket's error.
    Socket(io::Error),
    /// A part of the answer did not fit the buffer.
    Truncated,
    /// The kernel did not answer in time.
    Silent,
}

impl Dialogue {
    /// Connects to a netlink family (`libc::NETLINK_*`).
    ///
    /// # Errors
    /// Those of [`Socket::open`].
    pub fn open(protocol: c_int) -> io::Result<Self> {
        Ok(Self {
            protocol,
            socket: Socket::open(protocol, &[], &[])?,
            sequence: 1,
            request: Datagram::new(),
            received: vec![0; RECEIVE].into_boxed_slice(),
        })
    }

    /// Begins a request of `count` messages. Returns an empty request, and the sequence number of the first message.
    pub fn begin(&mut self, count: u32) -> (&mut Datagram, u32) {
        let first = self.sequence;
        self.sequence = first.wrapping_add(count);
        self.request.clear();
        (&mut self.request, first)
    }

    /// The request under construction.
    pub fn request(&mut self) -> &mut Datagram {
        &mut self.request
    }

    /// Sends the request. Calls `take` with each message of the answer until it returns the result, an errno or 0.
    /// `take` must skip messages that belong to an earlier request, by their sequence number.
    ///
    /// # Errors
    /// There is no result. Whether the kernel did what was asked is unknown.
    pub fn exchange(
        &mut self,
        take: &mut dyn FnMut(&Message<'_>) -> Option<i32>,
    ) -> Result<i32, DialogueError> {
        let result = self.try_exchange(take);
        if result.is_err()
            // After a listing that was read only in part, the kernel would refuse the next one, so a new socket is
            // opened. If none can be opened, the old one is kept.
            && let Ok(socket) = Socket::open(self.protocol, &[], &[])
        {
            self.socket = socket;
        }
        result
    }

    /// Sends a request of a single message with sequence number `sequence`. Calls `each` with the messages of the
    /// answer. Returns the result, an errno or 0.
    ///
    /// # Errors
    /// Those of [`Self::exchange`].
    pub fn ask(&mut self, sequence: u32, each: &mut dyn FnMut(&Message<'_>)) -> Result<i32, DialogueError> {
        self.exchange(&mut |message| {
            if message.sequence != sequence {
                return None;
            }
            let outcome = message.outcome();
            if outcome.is_none() {
                each(message);
            }
            outcome
        })
    }

    fn try_exchange(
        &mut self,
        take: &mut dyn FnMut(&Message<'_>) -> Option<i32>,
    ) -> Result<i32, DialogueError> {
        let request = self.request.bytes();
        if request.len() > ROOM {
            // If the room stays too small, `send` fails.
            let _ = self.socket.make_room(request.len() + ROOM);
        }
        self.socket.send(request).map_err(DialogueError::Socket)?;
        let mut deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            match self.socket.recv(&mut self.received).map_err(DialogueError::Socket)? {
                Received::Message(len) => {
                    if let Some(taken) = Messages::new(&self.received[..len]).find_map(|m| take(&m)) {
                        return Ok(taken);
                    }
                    deadline = Instant::now() + ANSWER_TIMEOUT;
                }
                Received::Truncated => return Err(DialogueError::Truncated),
                Received::Lost => {
                    return Err(DialogueError::Socket(io::Error::from_raw_os_error(libc::ENOBUFS)));
                }
                Received::Nothing => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(DialogueError::Silent);
                    }
                    // An interrupted poll only checks earlier.
                    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
                    let _ = poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], timeout);
                }
            }
        }
    }
}

impl fmt::Display for DialogueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(error) => error.fmt(f),
            Self::Truncated => f.write_str("the kernel's answer was longer than expected"),
            Self::Silent => f.write_str("the kernel did not answer"),
        }
    }
}

impl std::error::Error for DialogueError {}

impl From<DialogueError> for io::Error {
    fn from(error: DialogueError) -> Self {
        match error {
            DialogueError::Socket(error) => error,
            DialogueError::Truncated => Self::new(io::ErrorKind::InvalidData, error),
            DialogueError::Silent => Self::new(io::ErrorKind::TimedOut, error),
        }
    }
}
