//! The socket calls that packet sockets and netlink sockets share.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_void, sock_filter, socklen_t};

use super::cerr::cerr;

/// Sets a socket's option. `value` is the plain C value that the option takes: an integer or a C structure.
///
/// # Errors
/// As setsockopt(2).
pub(super) fn set<T: Copy>(socket: BorrowedFd<'_>, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    let pointer: *const c_void = (&raw const *value).cast();
    // SAFETY: the pointer is to a live value of the size that goes with it.
    cerr(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, pointer, size_of_val(value)) })?;
    Ok(())
}

/// Puts a filter on a socket, in the place of the one before. The kernel changes them in one step.
///
/// # Errors
/// `EINVAL` for a program that the kernel refuses, `ENOMEM`.
pub(super) fn set_filter(socket: BorrowedFd<'_>, filter: &[sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: filter.as_ptr().cast_mut(), // the kernel only reads it
    };
    // The program's own pointer leads to `filter`, which outlives the call.
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// `size_of_val` as the socket calls want it.
pub(super) fn size_of_val<T>(value: &T) -> socklen_t {
    socklen_t::try_from(mem::size_of_val(value)).expect("a socket address or option is small")
}
