//! Standard output, without the buffer and the lock of the standard library, which take 5 kB on MIPS.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

/// The descriptor of standard output.
pub fn descriptor() -> BorrowedFd<'static> {
    // SAFETY: it is open for as long as the program runs. The standard library opens it at the start if it was closed, and
    // nothing closes it.
    unsafe { BorrowedFd::borrow_raw(libc::STDOUT_FILENO) }
}

/// Writes the whole text.
///
/// # Errors
/// Those of write(2); `BrokenPipe` if the reader is gone.
pub fn write(text: &str) -> io::Result<()> {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match nix::unistd::write(descriptor(), rest) {
            Err(Errno::EINTR) => {}
            written => rest = &rest[written?..],
        }
    }
    Ok(())
}
