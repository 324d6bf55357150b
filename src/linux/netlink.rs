//! Netlink: how the kernel's firewall, connection tracking and network tables are asked and heard.
//!
//! A [`Socket`] hears events. A [`Dialogue`] asks and reads the answers. What both say is in [`message`].

pub mod dialogue;
pub mod message;

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, sock_filter};

use super::cerr::cerr;
use super::socket::{set, set_filter, size_of_val};

pub use dialogue::{Dialogue, DialogueError};

/// A nonblocking, close-on-exec netlink socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
}

/// What [`Socket::recv`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A datagram of so many bytes, whole.
    Message(usize),
    /// A datagram that did not fit: its end is gone.
    Truncated,
    /// Nothing for now.
    Nothing,
    /// The socket's queue was full and the kernel dropped something (`ENOBUFS`), so whoever follows
    /// events must look for himself.
    Lost,
}

impl Socket {
    /// Opens a socket of a netlink protocol (`libc::NETLINK_*`), which hears the multicast `groups` (numbers,
    /// not a mask). A `filter` that is not empty is attached before the first group is joined, so that
    /// nothing it would refuse is ever queued.
    ///
    /// # Errors
    /// The failing call's: `EPROTONOSUPPORT` when the kernel lacks the protocol, `EINVAL` for a bad filter.
    pub fn open(protocol: c_int, groups: &[u32], filter: &[sock_filter]) -> io::Result<Self> {
        let flags = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: no pointers; the descriptor is new and owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(cerr(libc::socket(libc::AF_NETLINK, flags, protocol))?) };
        let socket = Self { fd };
        if !filter.is_empty() {
            set_filter(socket.as_fd(), filter)?;
        }
        socket.bind()?;
        for group in groups {
            set(socket.as_fd(), libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, group)?;
        }
        Ok(socket)
    }

    /// Sends one datagram, of one or more messages, to the kernel.
    ///
    /// # Errors
    /// As `sendto(2)`.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        let kernel = address();
        // SAFETY: both pointers are to live values of the sizes that go with them.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                message.as_ptr().cast(),
                message.len(),
                0,
                (&raw const kernel).cast(),
                size_of_val(&kernel),
            )
        };
        cerr(sent).map(drop)
    }

    /// Receives one datagram, if there is one. What does not come from the kernel is thrown away.
    ///
    /// # Errors
    /// As `recvfrom(2)`, but for those that [`Received`] names.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<Received> {
        loop {
            let mut sender = address();
            let mut sender_len = size_of_val(&sender);
            // SAFETY: the pointers are to live, writable values of the sizes that go with them.
            let received = unsafe {
                libc::recvfrom(
                    self.fd.as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    libc::MSG_TRUNC, // return the datagram's own length
                    (&raw mut sender).cast(),
                    &raw mut sender_len,
                )
            };
            match cerr(received) {
                Ok(_) if sender.nl_pid != 0 => {}
                Ok(len) => {
                    let len = usize::try_from(len).expect("cerr has seen the only negative value");
                    return Ok(if len > buffer.len() { Received::Truncated } else { Received::Message(len) });
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return Ok(Received::Nothing),
                    Some(libc::ENOBUFS) => return Ok(Received::Lost),
                    Some(libc::EINTR) => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// Makes room for a datagram of `len` bytes on its way to the kernel, where the default has too little.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_ADMIN`.
    fn make_room(&self, len: usize) -> io::Result<()> {
        let len = c_int::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        set(self.as_fd(), libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &len)
    }

    /// Binds to a port that the kernel chooses.
    fn bind(&self) -> io::Result<()> {
        let any = address();
        // SAFETY: the pointer is to a live value of the size that goes with it.
        cerr(unsafe { libc::bind(self.fd.as_raw_fd(), (&raw const any).cast(), size_of_val(&any)) }).map(drop)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The kernel's address, and the one that asks for any: port 0, no groups.
fn address() -> libc::sockaddr_nl {
    // SAFETY: a plain C structure of integers, for which all zero is a value.
    let mut address: libc::sockaddr_nl = unsafe { mem::zeroed() };
    address.nl_family = libc::sa_family_t::try_from(libc::AF_NETLINK).expect("a family fits its own type");
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_socket_has_nothing() {
        let socket = Socket::open(libc::NETLINK_ROUTE, &[], &[]).expect("rtnetlink");
        assert_eq!(socket.recv(&mut [0; 16]).expect("recv"), Received::Nothing);
    }

    #[test]
    fn a_datagram_that_does_not_fit_is_told_apart() {
        let socket = Socket::open(libc::NETLINK_ROUTE, &[], &[]).expect("rtnetlink");
        // A type that rtnetlink does not know: an error comes back at once, with the request in it.
        let mut request = [0_u8; 16];
        request[..4].copy_from_slice(&16_u32.to_ne_bytes());
        request[4..6].copy_from_slice(&0x0fff_u16.to_ne_bytes());
        request[6..8].copy_from_slice(&5_u16.to_ne_bytes());
        socket.send(&request).expect("send");
        assert_eq!(socket.recv(&mut [0; 8]).expect("recv"), Received::Truncated);
        socket.send(&request).expect("send");
        assert_eq!(socket.recv(&mut [0; 256]).expect("recv"), Received::Message(36));
    }
}
