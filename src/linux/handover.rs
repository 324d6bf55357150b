//! Hands open files from one process to another over a socket (`SCM_RIGHTS`, unix(7)).

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use libc::{c_int, c_void, iovec, msghdr};

use super::cerr::cerr;

/// The size of one descriptor in a control message.
const DESCRIPTOR: u32 = 4;
const _: () = assert!(size_of::<c_int>() == 4);

/// Room for a control message with one descriptor, and for the padding after it: 24 bytes on 64-bit systems, 16 on 32-bit ones.
type Control = [u64; 3];

/// Sends a message, and an open file with it.
///
/// # Errors
/// As sendmsg(2).
pub fn send(socket: BorrowedFd<'_>, message: &[u8], file: BorrowedFd<'_>) -> io::Result<()> {
    let mut control: Control = [0; 3];
    // The kernel only reads the message.
    let mut part = iovec { iov_base: message.as_ptr().cast_mut().cast::<c_void>(), iov_len: message.len() };
    let mut header = header(&mut part, &mut control);
    // SAFETY: `control` has room for one header with one descriptor behind it, so both pointers are into it; the value is
    // written with the alignment that it has there.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(DESCRIPTOR) as _;
        let first = libc::CMSG_FIRSTHDR(&raw const header);
        (*first).cmsg_level = libc::SOL_SOCKET;
        (*first).cmsg_type = libc::SCM_RIGHTS;
        (*first).cmsg_len = libc::CMSG_LEN(DESCRIPTOR) as _;
        libc::CMSG_DATA(first).cast::<c_int>().write_unaligned(file.as_raw_fd());
    }
    // SAFETY: `header` points to live values of the sizes that it says.
    cerr(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) })?;
    Ok(())
}

/// Receives a message without waiting for one, and the file that came with it. Returns the message's length. If more than one file
/// came, all are closed.
///
/// # Errors
/// As recvmsg(2).
pub fn receive(socket: BorrowedFd<'_>, message: &mut [u8]) -> io::Result<(usize, Option<File>)> {
    let mut control: Control = [0; 3];
    let mut part = iovec { iov_base: message.as_mut_ptr().cast(), iov_len: message.len() };
    let mut header = header(&mut part, &mut control);
    // The room ends after one descriptor. With the padding (`CMSG_SPACE`) or all of `control` there would be room for two or three,
    // and nobody would own the others. The kernel closes those for which there is no room, and sets MSG_CTRUNC.
    // SAFETY: the function only adds sizes.
    header.msg_controllen = unsafe { libc::CMSG_LEN(DESCRIPTOR) } as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: `header` points to live values of the sizes that it says.
    let len = cerr(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) })?;
    // SAFETY: the kernel has filled `control` as far as the header says now. A header of this length and type is followed by
    // one descriptor, which is new and owned by nobody else.
    let file = unsafe {
        let first = libc::CMSG_FIRSTHDR(&raw const header);
        if first.is_null()
            || ((*first).cmsg_level, (*first).cmsg_type) != (libc::SOL_SOCKET, libc::SCM_RIGHTS)
            || (*first).cmsg_len as usize != libc::CMSG_LEN(DESCRIPTOR) as usize
        {
            None
        } else {
            let number: RawFd = libc::CMSG_DATA(first).cast::<c_int>().read_unaligned();
            Some(File::from(OwnedFd::from_raw_fd(number)))
        }
    };
    let file = file.filter(|_| header.msg_flags & libc::MSG_CTRUNC == 0);
    Ok((usize::try_from(len).unwrap_or_default(), file))
}

/// A header for these buffers, which must live as long as it is used.
fn header(part: &mut iovec, control: &mut Control) -> msghdr {
    // SAFETY: all zero is a header without buffers. Some C libraries have padding in it that has no name.
    let mut header: msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut *part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of::<Control>() as _;
    header
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Read as _, Seek as _, Write as _, pipe};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixDatagram;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

    use super::*;

    #[test]
    fn a_file_goes_with_its_message_and_with_no_other() {
        let (one, other) = UnixDatagram::pair().expect("a pair of sockets");
        let path = std::env::temp_dir().join(format!("ketuk-handed-{}", std::process::id()));
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).expect("a file");
        std::fs::remove_file(&path).expect("it is there");
        file.write_all(b"contents").expect("written");
        file.rewind().expect("a file");
        send(one.as_fd(), b"here", file.as_fd()).expect("sent");
        drop(file);
        one.send(b"nothing").expect("sent");
        let mut message = [0; 16];
        let (len, handed) = receive(other.as_fd(), &mut message).expect("received");
        let mut text = String::new();
        handed.expect("a file").read_to_string(&mut text).expect("read");
        assert_eq!((&message[..len], text.as_str()), (&b"here"[..], "contents"));
        let (len, handed) = receive(other.as_fd(), &mut message).expect("received");
        assert_eq!((&message[..len], handed.is_none()), (&b"nothing"[..], true));
        let nothing = receive(other.as_fd(), &mut message).expect_err("there is nothing more");
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    }
    /// Two and three descriptors would fit into the padding on 64-bit and 32-bit systems.
    #[test]
    fn files_that_nobody_expects_are_closed() {
        let (one, other) = UnixDatagram::pair().expect("a pair of sockets");
        for count in 2..6 {
            let (reader, writer) = pipe().expect("a pipe");
            let files = vec![writer.as_raw_fd(); count];
            let rights = [ControlMessage::ScmRights(&files)];
            sendmsg::<()>(one.as_raw_fd(), &[IoSlice::new(b"here")], &rights, MsgFlags::empty(), None)
                .expect("sent");
            drop(writer);
            let mut message = [0; 16];
            let (len, handed) = receive(other.as_fd(), &mut message).expect("received");
            assert_eq!((&message[..len], handed.is_none()), (&b"here"[..], true));
            // A pipe that nobody can write to any more has hung up. A process that another test has just forked may still have it.
            let mut polled = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
            poll(&mut polled, PollTimeout::from(30_000_u16)).expect("polled");
            assert_eq!(polled[0].revents(), Some(PollFlags::POLLHUP), "{count} files");
        }
    }
}
