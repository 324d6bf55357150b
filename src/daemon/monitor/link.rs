//! The socket between the two processes. It keeps messages apart, and shows when the other end is gone.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use super::message::{Bytes, LEN};
use crate::linux::handover;

/// The longest time that one process waits for the other, in milliseconds. The monitor may wait for a slow disk.
const PATIENCE: u16 = 30_000;

/// One end of the socket.
#[derive(Debug)]
pub(super) struct Link(OwnedFd);

/// The result of a read.
#[derive(Debug)]
pub(super) enum ReceivedMessage {
    /// A message, not decoded yet.
    Message(Bytes),
    /// Nothing yet.
    Nothing,
    /// A datagram that is not as long as a message.
    Malformed,
    /// The other process is gone.
    Gone,
}

impl Link {
    /// Both ends.
    ///
    /// # Errors
    /// Those of socketpair(2).
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(one), Self(other)))
    }

    /// Sends a message. If the socket holds as many as it can, waits until the other process has read some.
    ///
    /// # Errors
    /// The other process is gone, or has read nothing for [`PATIENCE`].
    pub(super) fn send(&self, message: &Bytes) -> io::Result<()> {
        self.send_within(message, PATIENCE)
    }

    /// The same, but waits this many milliseconds.
    ///
    /// # Errors
    /// The other process is gone, or has read nothing for this long (`ETIMEDOUT`).
    pub(super) fn send_within(&self, message: &Bytes, patience: u16) -> io::Result<()> {
        loop {
            match send(self.0.as_raw_fd(), message, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EAGAIN) => self.wait(PollFlags::POLLOUT, patience)?,
                Err(Errno::EINTR) => {}
                sent => return sent.map(|_| ()).map_err(io::Error::from),
            }
        }
    }

    /// Waits until there is something to read.
    ///
    /// # Errors
    /// Nothing came for [`PATIENCE`].
    pub(super) fn wait_for_message(&self) -> io::Result<()> {
        self.wait(PollFlags::POLLIN, PATIENCE)
    }

    fn wait(&self, event: PollFlags, patience: u16) -> io::Result<()> {
        match poll(&mut [PollFd::new(self.0.as_fd(), event)], PollTimeout::from(patience)) {
            Ok(0) => Err(Errno::ETIMEDOUT.into()),
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Another descriptor of this end.
    ///
    /// # Errors
    /// The process has too many descriptors.
    pub(super) fn duplicate(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Sends a message with an open file.
    ///
    /// # Errors
    /// The other process is gone.
    pub(super) fn send_file(&self, message: &Bytes, file: &File) -> io::Result<()> {
        handover::send(self.0.as_fd(), message, file.as_fd())
    }

    /// Reads the next message and the file that came with it. Does not wait.
    pub(super) fn receive_file(&self, file: &mut Option<File>) -> ReceivedMessage {
        let mut bytes = [0; LEN + 1];
        let received = handover::receive(self.0.as_fd(), &mut bytes);
        let len = received.map(|(len, handed)| {
            *file = handed.or(file.take());
            len
        });
        let len = len.map_err(|error| error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw));
        Self::received(len, &bytes)
    }

    /// Reads the next message. Does not wait. The kernel closes a file that came with it.
    pub(super) fn receive(&self) -> ReceivedMessage {
        // The buffer has one byte more than a message, so that a longer message is noticed.
        let mut bytes = [0; LEN + 1];
        let len = recv(self.0.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT);
        Self::received(len, &bytes)
    }

    fn received(len: Result<usize, Errno>, bytes: &[u8]) -> ReceivedMessage {
        match len {
            // A message without bytes, which nobody sends, looks the same.
            Ok(0) => ReceivedMessage::Gone,
            Ok(LEN) => bytes
                .first_chunk()
                .map_or(ReceivedMessage::Malformed, |message| ReceivedMessage::Message(*message)),
            Ok(_) => ReceivedMessage::Malformed,
            Err(Errno::EAGAIN | Errno::EINTR) => ReceivedMessage::Nothing,
            Err(_) => ReceivedMessage::Gone,
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
