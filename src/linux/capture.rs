//! Stage one of the packet's way: packet sockets, one a family and device.
//!
//! `SOCK_DGRAM`: packets begin at their IP header on every kind of link, with VLAN tags and PPPoE already
//! taken off. Bound to `ETH_P_IP` and `ETH_P_IPV6` rather than `ETH_P_ALL`: such a socket sees what comes
//! in, each packet once, and costs outgoing traffic nothing. See packet(7).

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_void, sock_filter, socklen_t};

use super::cerr::cerr;
use super::filter::{self, Family};
use crate::core::packet::MAX_PACKET;

/// Packets read with one system call. Few wait at a time even in a flood of 100,000 a second, and each has
/// room for a whole packet, which stays in memory once it was used.
pub const BATCH: usize = 16;

/// Bytes of packets that may wait in a socket, half of what they take: the kernel doubles it (socket(7)), and counts
/// 768 for a small packet. That is 100,000 packets a second for a tenth of a second, should the daemon not get the
/// processor for so long.
/// It is kernel memory, used only while packets wait.
pub const RECEIVE_BUFFER: c_int = 4 << 20;

/// A packet socket for one family on one device.
#[derive(Debug)]
pub struct Capture {
    fd: OwnedFd,
    family: Family,
}

/// What [`Capture::receive`] ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// There may be more.
    Full,
    /// There is no more for now.
    Drained,
    /// The device went down or away (`ENETDOWN`): the socket is silent until it is bound again.
    Down,
}

impl Capture {
    /// A socket that receives nothing yet: it has protocol 0 and a filter that passes nothing, so that no
    /// packet from before the filter is ever seen.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_RAW`.
    pub fn open(family: Family) -> io::Result<Self> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: no pointers; the descriptor is new and owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(cerr(libc::socket(libc::AF_PACKET, kind, 0))?) };
        let capture = Self { fd, family };
        capture.filter(&filter::nothing())?;
        // Forcing needs CAP_NET_ADMIN, which opening doors needs too; without it the default stays.
        let _ = capture.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &RECEIVE_BUFFER);
        Ok(capture)
    }

    /// The family it receives.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Puts a filter in the place of the one before; the kernel changes them in one step.
    ///
    /// # Errors
    /// `EINVAL` for a program that the kernel refuses, `ENOMEM`.
    pub fn filter(&self, program: &[sock_filter]) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
            filter: program.as_ptr().cast_mut(), // the kernel only reads it
        };
        self.set(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
    }

    /// Listens on the device with this index, or on all (0).
    ///
    /// # Errors
    /// `ENODEV` if there is none; `ENETDOWN` is none: a device that is down is listened on when it comes up.
    pub fn bind(&self, index: u32) -> io::Result<()> {
        let protocol = match self.family {
            Family::V4 => libc::ETH_P_IP,
            Family::V6 => libc::ETH_P_IPV6,
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

    /// Reads one batch, oldest packet first.
    ///
    /// # Errors
    /// As recvmmsg(2).
    pub fn receive(&self, batch: &mut Batch, mut each: impl FnMut(&[u8])) -> io::Result<Received> {
        let count = match batch.fill(&self.fd) {
            Ok(count) => count,
            Err(error) => {
                return match error.raw_os_error() {
                    Some(libc::EAGAIN | libc::EINTR) => Ok(Received::Drained),
                    Some(libc::ENETDOWN) => Ok(Received::Down),
                    _ => Err(error),
                };
            }
        };
        for (packet, len) in batch.packets.iter().zip(&batch.lengths[..count]) {
            each(&packet[..*len]);
        }
        Ok(if count == BATCH { Received::Full } else { Received::Drained })
    }

    /// How many packets the filter passed and the socket had no room for, since this was last asked.
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

    fn set<T>(&self, level: c_int, option: c_int, value: &T) -> io::Result<()> {
        let pointer: *const c_void = (&raw const *value).cast();
        // SAFETY: the pointer is to a live value of the size that goes with it, and what a program's
        // own pointer leads to outlives the call too.
        cerr(unsafe { libc::setsockopt(self.fd.as_raw_fd(), level, option, pointer, size_of_val(value)) })?;
        Ok(())
    }
}

impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Where packets are read to, made once. Of most the filter hands over the headers alone, so that their
/// places' other pages stay untouched.
#[derive(Debug)]
pub struct Batch {
    packets: Box<[[u8; MAX_PACKET]]>,
    lengths: [usize; BATCH],
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self { packets: vec![[0; MAX_PACKET]; BATCH].into_boxed_slice(), lengths: [0; BATCH] }
    }

    /// Reads what is there, up to [`BATCH`] packets; how many.
    fn fill(&mut self, fd: &OwnedFd) -> io::Result<usize> {
        let mut places = self.packets.iter_mut();
        let mut vectors: [libc::iovec; BATCH] = std::array::from_fn(|_| {
            let place = places.next().expect("BATCH places");
            libc::iovec { iov_base: place.as_mut_ptr().cast(), iov_len: place.len() }
        });
        let mut headers = vectors.each_mut().map(|vector| {
            // SAFETY: a plain C structure of integers and pointers, for which all zero is a value.
            let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header
        });
        // SAFETY: each header leads to one vector and that to one buffer; all outlive the call, and none
        // is used by anything else during it.
        let count = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                headers.as_mut_ptr(),
                u32::try_from(BATCH).expect("a few dozen"),
                0,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(cerr(count)?).expect("cerr has seen the only negative value");
        for (len, header) in self.lengths.iter_mut().zip(&headers[..count]) {
            *len = usize::try_from(header.msg_len).map_or(MAX_PACKET, |len| len.min(MAX_PACKET));
        }
        Ok(count)
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

/// `size_of_val` as the socket calls want it.
fn size_of_val<T>(value: &T) -> socklen_t {
    socklen_t::try_from(mem::size_of_val(value)).expect("a socket address or option is small")
}
