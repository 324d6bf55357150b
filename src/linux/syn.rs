//! A single SYN from an unprivileged socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc::linger;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, setsockopt, socket, sockopt,
};

/// Sends one SYN to `address` and forgets it.
///
/// The connection is begun without blocking, and its socket is closed at once: the kernel sends the SYN before
/// connect(2) returns (or keeps it until the next hop's link-layer address is known, socket or no socket), and
/// only a socket has a timer that would send it again. If the port answers, the kernel resets what nobody
/// began; with no linger time that also goes for a connection that was made before the close.
///
/// # Errors
/// As socket(2) and connect(2): `ENETUNREACH`, `EHOSTUNREACH` and the like if there is no route. Never an answer
/// from the other side, which would come too late.
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
