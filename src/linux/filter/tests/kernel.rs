//! The kernel's interpreter. A filter can be attached to any socket, so a pair of Unix datagram sockets runs it on any
//! bytes, without privilege.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

use crate::linux::filter::*;

/// Runs a filter on packets.
pub(super) struct Kernel {
    to: UnixDatagram,
    from: UnixDatagram,
}

impl Kernel {
    pub(super) fn load(program: &[sock_filter]) -> Self {
        let (to, from) = UnixDatagram::pair().unwrap();
        let program = libc::sock_fprog {
            len: u16::try_from(program.len()).unwrap(),
            filter: program.as_ptr().cast_mut(),
        };
        // SAFETY: the pointer is to a live value of the size that goes with it.
        let attached = unsafe {
            libc::setsockopt(
                from.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const program).cast(),
                u32::try_from(size_of_val(&program)).unwrap(),
            )
        };
        assert_eq!(attached, 0, "{}", std::io::Error::last_os_error());
        from.set_nonblocking(true).unwrap();
        Self { to, from }
    }

    pub(super) fn passes(&self, packet: &[u8]) -> bool {
        self.receive(packet).is_some()
    }

    /// The number of bytes of a packet that pass the filter; `None` if it drops the packet.
    pub(super) fn receive(&self, packet: &[u8]) -> Option<usize> {
        // An empty datagram could not be told from a dropped one, and no IP packet is empty.
        if packet.is_empty() {
            return None;
        }
        let sent = self.to.send(packet);
        let received = self.from.recv(&mut [0; 4096]).ok();
        assert!(
            received.is_some()
                || sent.is_ok()
                || sent.unwrap_err().kind() == std::io::ErrorKind::PermissionDenied
        );
        received
    }
}
