//! The socket calls that packet sockets and netlink sockets share.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_void, sock_filter, socklen_t};

use super::cerr::cerr;

/// Sets a socket's option. `value` is the plain C value that the option takes: an integer or a C structure.
///
/// # Errors
/// Those of setsockopt(2).
pub(super) fn set<T: Copy>(socket: BorrowedFd<'_>, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    let pointer: *const c_void = (&raw const *value).cast();
    // SAFETY: the pointer is to a live value of the size that goes with it.
    cerr(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, pointer, size_of_val(value)) })?;
    Ok(())
}

/// Reads a socket's option into `value`. Some options read a request from the beginning of `value` first.
///
/// # Errors
/// Those of getsockopt(2).
pub(super) fn get(socket: BorrowedFd<'_>, level: c_int, option: c_int, value: &mut [u8]) -> io::Result<()> {
    let mut len = socklen_t::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let pointer: *mut c_void = value.as_mut_ptr().cast();
    // SAFETY: the pointer is to `len` live bytes, and the kernel writes no more than that.
    cerr(unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, pointer, &raw mut len) })?;
    Ok(())
}

/// Attaches a filter to a socket, or replaces it. The kernel does this in one step.
///
/// # Errors
/// `EINVAL` for a program that the kernel refuses, `ENOMEM`.
pub(super) fn set_filter(socket: BorrowedFd<'_>, filter: &[sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: filter.as_ptr().cast_mut(), // the kernel only reads it
    };
    // The program points to `filter`, which outlives the call.
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// `size_of_val` in the type of the socket calls.
pub(super) fn size_of_val<T>(value: &T) -> socklen_t {
    socklen_t::try_from(mem::size_of_val(value)).expect("a socket address or option is small")
}
