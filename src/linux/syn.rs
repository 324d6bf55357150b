//! A single SYN from an unprivileged socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc::linger;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, setsockopt, socket, sockopt,
};

/// Sends one SYN to `address` and does not wait for an answer.
///
/// The connection is begun without blocking, and its socket is closed at once. The kernel sends the SYN before connect(2)
/// returns, or as soon as it knows the link-layer address of the next hop, even if the socket is closed by then. Without a
/// socket no timer sends the SYN again. If the port answers, the kernel sends a reset. A linger time of zero makes it do so
/// also for a connection that was complete before the close.
///
/// # Errors
/// As socket(2) and connect(2): `ENETUNREACH`, `EHOSTUNREACH` and the like if there is no route. Answers from the
/// other side come too late to be errors here.
pub fn send(address: SocketAddr) -> io::Result<()> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(family, SockType::Stream, flags, None)?;
    setsockopt(&socket, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 })?;
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
