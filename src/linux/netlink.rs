//! Netlink: queries and notifications of the kernel's firewall, connection tracking and network tables.
//!
//! A [`Socket`] receives notifications. A [`Dialogue`] sends requests and reads the answers. [`message`] reads and
//! writes the messages.

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

/// The result of [`Socket::recv`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A whole datagram, of this many bytes.
    Message(usize),
    /// A datagram that did not fit the buffer. Its end is lost.
    Truncated,
    /// No datagram waits.
    Nothing,
    /// The socket's queue was full and the kernel dropped notifications (`ENOBUFS`). The caller must read the state
    /// anew.
    Lost,
}

impl Socket {
    /// Opens a socket of a netlink protocol (`libc::NETLINK_*`) that joins the multicast `groups` (numbers, not a
    /// mask). A `filter` that is not empty is attached before the socket joins a group, so the kernel never queues a message
    /// that the filter refuses.
    ///
    /// # Errors
    /// Those of the failing call: `EPROTONOSUPPORT` if the kernel lacks the protocol, `EINVAL` for a bad filter.
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
    /// Those of `sendto(2)`.
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

    /// Receives one datagram, if one waits. A datagram that does not come from the kernel is discarded.
    ///
    /// # Errors
    /// Those of `recvfrom(2)`, except those that [`Received`] names.
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

    /// Makes room for sending a datagram of `len` bytes. Only large datagrams need it.
    ///
    /// # Errors
    /// As `setsockopt(2)`.
    fn make_room(&self, len: usize) -> io::Result<()> {
        let len = c_int::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        let set_room = |option| set(self.as_fd(), libc::SOL_SOCKET, option, &len);
        set_room(libc::SO_SNDBUFFORCE).or_else(|_| set_room(libc::SO_SNDBUF))
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

/// The kernel's address. It also stands for any own port: port 0, no groups.
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
    fn room_is_made_as_far_as_this_process_may() {
        let socket = Socket::open(libc::NETLINK_ROUTE, &[], &[]).expect("rtnetlink");
        let read = |name: &str| -> usize {
            let text = std::fs::read_to_string(format!("/proc/sys/net/core/{name}")).expect("a sysctl");
            text.trim().parse().expect("a number")
        };
        // The kernel ignores messages of type NLMSG_NOOP (1), whatever their length is.
        let mut request = vec![0_u8; read("wmem_default").max(read("wmem_max")) + 4096];
        let len = u32::try_from(request.len()).expect("a few megabytes");
        request[..4].copy_from_slice(&len.to_ne_bytes());
        request[4] = 1;
        socket.make_room(request.len()).expect("room");
        socket.send(&request).expect("send");
    }

    #[test]
    fn a_datagram_that_does_not_fit_is_told_apart() {
        let socket = Socket::open(libc::NETLINK_ROUTE, &[], &[]).expect("rtnetlink");
        // rtnetlink does not know this type. It answers an error at once, with the request in it.
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
