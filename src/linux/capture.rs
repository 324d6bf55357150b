//! Stage one of the packet's way: packet sockets, one for each family and device.
//!
//! The sockets are `SOCK_DGRAM`: packets begin at their IP header on every kind of link, without VLAN tags and PPPoE.
//! They are bound to `ETH_P_IP` and `ETH_P_IPV6` instead of `ETH_P_ALL`: such a socket receives each incoming packet
//! once, and costs outgoing traffic nothing. See packet(7).

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, sock_filter};

use super::cerr::cerr;
use super::filter;
use super::socket::{set, set_filter, size_of_val};
use crate::core::network::AddressFamily;
use crate::core::packet::{MAX_HEADERS, MAX_PACKET};

/// Packets read with one system call. Even in a flood of 100,000 a second few packets wait at a time.
pub const BATCH: usize = 16;

/// Receive buffer of a socket, in bytes. The kernel doubles it (socket(7)) and counts 768 bytes for a small packet. So a flood
/// of 100,000 packets a second fits for a tenth of a second in which the daemon does not run. The kernel uses the memory only
/// while packets wait.
pub const RECEIVE_BUFFER: c_int = 4 << 20;

/// A packet socket for one family on one device.
#[derive(Debug)]
pub struct Capture {
    fd: OwnedFd,
    family: AddressFamily,
}

/// The result of [`Capture::receive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueState {
    /// The batch is full, and more packets may wait.
    Full,
    /// No packet waits any more.
    Drained,
    /// The device went down or vanished (`ENETDOWN`). The socket receives nothing until it is bound again.
    Down,
}

impl Capture {
    /// Opens a socket that receives nothing yet. It has protocol 0 and a filter that passes nothing, so the daemon reads no
    /// packet that came before the real filter.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_RAW`.
    pub fn open(family: AddressFamily) -> io::Result<Self> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: no pointers; the descriptor is new and owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(cerr(libc::socket(libc::AF_PACKET, kind, 0))?) };
        let capture = Self { fd, family };
        capture.filter(&filter::nothing())?;
        // SO_RCVBUFFORCE needs CAP_NET_ADMIN. Without it the default size stays.
        let _ = set(capture.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &RECEIVE_BUFFER);
        Ok(capture)
    }

    /// The address family that the socket receives.
    pub fn family(&self) -> AddressFamily {
        self.family
    }

    /// Replaces the filter. The kernel does it in one step.
    ///
    /// # Errors
    /// `EINVAL` for a program that the kernel refuses, `ENOMEM`.
    pub fn filter(&self, program: &[sock_filter]) -> io::Result<()> {
        set_filter(self.as_fd(), program)
    }

    /// Listens on the device with this index, or on all devices (0).
    ///
    /// # Errors
    /// `ENODEV` if the device does not exist. `ENETDOWN` is no error: the socket receives when the device comes up.
    pub fn bind(&self, index: u32) -> io::Result<()> {
        let protocol = match self.family {
            AddressFamily::V4 => libc::ETH_P_IP,
            AddressFamily::V6 => libc::ETH_P_IPV6,
        };
        // SAFETY: a plain C structure of integers, for which all zero is a value.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family =
            libc::sa_family_t::try_from(libc::AF_PACKET).expect("a family fits its own type");
        address.sll_protocol = u16::try_from(protocol).expect("an EtherType has 16 bits").to_be();
        address.sll_ifindex = c_int::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the pointer is to a live value of the size that goes with it.
        cerr(unsafe { libc::bind(self.fd.as_raw_fd(), (&raw const address).cast(), size_of_val(&address)) })?;
        Ok(())
    }

    /// Reads one batch, and calls `each` with its packets, the oldest first.
    ///
    /// # Errors
    /// Those of recvmmsg(2).
    pub fn receive(&self, batch: &mut PacketBuffers, mut each: impl FnMut(&[u8])) -> io::Result<QueueState> {
        let count = match batch.fill(&self.fd) {
            Ok(count) => count,
            Err(error) => {
                return match error.raw_os_error() {
                    Some(libc::EAGAIN | libc::EINTR) => Ok(QueueState::Drained),
                    Some(libc::ENETDOWN) => Ok(QueueState::Down),
                    _ => Err(error),
                };
            }
        };
        for at in 0..count {
            each(batch.packet(at));
        }
        Ok(if count == BATCH { QueueState::Full } else { QueueState::Drained })
    }

    /// The number of packets since the last call that passed the filter but were lost because the buffer was full.
    pub fn dropped(&self) -> u32 {
        let mut statistics = [0_u32; 2]; // struct tpacket_stats: packets, drops
        let mut len = size_of_val(&statistics);
        // SAFETY: the pointers are to live, writable values of the sizes that go with them.
        let got = unsafe {
            libc::getsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                statistics.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        if got == 0 { statistics[1] } else { 0 }
    }
}

impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The buffers that packets are read into. All zero bytes when new.
///
/// The filter passes only the headers of most packets. The headers lie side by side, so that the pages for longer packets
/// stay untouched.
#[derive(Debug)]
pub struct PacketBuffers {
    headers: [[u8; MAX_HEADERS]; BATCH],
    rests: [[u8; MAX_PACKET - MAX_HEADERS]; BATCH],
    lengths: [usize; BATCH],
    /// The buffer for a packet that is longer than the headers, joined from both parts.
    whole: [u8; MAX_PACKET],
}

impl PacketBuffers {
    /// An empty batch.
    #[expect(clippy::large_stack_arrays, reason = "the daemon's is a static")]
    pub const fn new() -> Self {
        Self {
            headers: [[0; MAX_HEADERS]; BATCH],
            rests: [[0; MAX_PACKET - MAX_HEADERS]; BATCH],
            lengths: [0; BATCH],
            whole: [0; MAX_PACKET],
        }
    }

    /// The packet that was read to place `at`.
    fn packet(&mut self, at: usize) -> &[u8] {
        let (headers, len) = (&self.headers[at], self.lengths[at]);
        let Some(rest) = len.checked_sub(MAX_HEADERS) else { return &headers[..len] };
        self.whole[..MAX_HEADERS].copy_from_slice(headers);
        self.whole[MAX_HEADERS..len].copy_from_slice(&self.rests[at][..rest]);
        &self.whole[..len]
    }

    /// Reads up to [`BATCH`] packets. Returns how many.
    fn fill(&mut self, fd: &OwnedFd) -> io::Result<usize> {
        let vector =
            |place: &mut [u8]| libc::iovec { iov_base: place.as_mut_ptr().cast(), iov_len: place.len() };
        let mut rests = self.rests.iter_mut();
        let mut vectors = self.headers.each_mut().map(|headers| {
            let rest = rests.next().expect("BATCH places");
            [vector(headers), vector(rest)]
        });
        let mut messages = vectors.each_mut().map(|vectors| {
            // SAFETY: a plain C structure of integers and pointers, for which all zero is a value.
            let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
            message.msg_hdr.msg_iov = vectors.as_mut_ptr();
            message.msg_hdr.msg_iovlen = 2;
            message
        });
        // SAFETY: each message leads to two vectors and each of those to a buffer; all outlive the call, and none
        // is used by anything else during it.
        let count = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                messages.as_mut_ptr(),
                u32::try_from(BATCH).expect("a few dozen"),
                0,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(cerr(count)?).expect("cerr has seen the only negative value");
        for (len, message) in self.lengths.iter_mut().zip(&messages[..count]) {
            *len = usize::try_from(message.msg_len).map_or(MAX_PACKET, |len| len.min(MAX_PACKET));
        }
        Ok(count)
    }
}

impl Default for PacketBuffers {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// Short and long packets take turns, so each place has held something else before.
    #[test]
    fn packets_of_every_length_are_whole() {
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        receiver.set_nonblocking(true).unwrap();
        let receiver = OwnedFd::from(receiver);
        let mut batch = Box::new(PacketBuffers::new());
        let lengths =
            [1, 40, MAX_HEADERS - 1, MAX_HEADERS, MAX_HEADERS + 1, 1000, MAX_PACKET - 1, MAX_PACKET];
        let mut next = 0_u8;
        for round in 0..8 {
            let sent: Vec<Vec<u8>> = (0..8)
                .map(|n| {
                    (0..lengths[(n + round) % 8])
                        .map(|_| {
                            next = next.wrapping_mul(5).wrapping_add(1);
                            next
                        })
                        .collect()
                })
                .collect();
            for packet in &sent {
                sender.send(packet).unwrap();
            }
            assert_eq!(batch.fill(&receiver).unwrap(), sent.len());
            for (at, packet) in sent.iter().enumerate() {
                assert_eq!(batch.packet(at), packet, "{} bytes", packet.len());
            }
        }
    }

    #[test]
    fn what_is_too_long_is_cut_off() {
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        receiver.set_nonblocking(true).unwrap();
        sender.send(&[7; MAX_PACKET + 1]).unwrap();
        let mut batch = Box::new(PacketBuffers::new());
        assert_eq!(batch.fill(&receiver.into()).unwrap(), 1);
        assert_eq!(batch.packet(0), [7; MAX_PACKET]);
    }
}
