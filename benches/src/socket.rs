//! System calls: the only unsafe code here.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use libc::{c_int, socklen_t};

fn cerr(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Nanoseconds on the monotonic clock.
pub fn now() -> u64 {
    // SAFETY: a plain C structure of integers; the pointer is to it.
    let time = unsafe {
        let mut time: libc::timespec = mem::zeroed();
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
        time
    };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Sleeps until this moment of the monotonic clock.
pub fn sleep_until(ns: u64) {
    let moment = libc::timespec {
        tv_sec: (ns / 1_000_000_000).cast_signed(),
        tv_nsec: (ns % 1_000_000_000).cast_signed(),
    };
    // SAFETY: the pointer is to a live value; no remainder is asked for.
    unsafe {
        libc::clock_nanosleep(
            libc::CLOCK_MONOTONIC,
            libc::TIMER_ABSTIME,
            &raw const moment,
            std::ptr::null_mut(),
        );
    }
}

/// Makes this thread's sleeps end on time, and not up to 50 microseconds later.
pub fn sleep_exactly() {
    // SAFETY: no pointers.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64) };
}

/// Moves this thread to the network namespace of this name.
pub fn enter(namespace: &str) -> io::Result<()> {
    let file = File::open(format!("/run/netns/{namespace}"))?;
    // SAFETY: no pointers; the descriptor is open.
    cerr(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) })?;
    Ok(())
}

/// A packet socket that only sends, and bypasses the device's queue (`PACKET_QDISC_BYPASS`).
pub fn packet_socket(device: &str) -> io::Result<OwnedFd> {
    let name = CString::new(device)?;
    // SAFETY: the name ends with a zero byte.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: no pointers; the descriptor is new and owned by nobody else.
    let fd = unsafe {
        OwnedFd::from_raw_fd(cerr(libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0))?)
    };
    set(&fd, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)?;
    // SAFETY: a plain C structure of integers, for which all zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).expect("a family");
    address.sll_ifindex = c_int::try_from(index).expect("an index");
    bind(&fd, &address)?;
    Ok(fd)
}

/// A netlink socket that receives the changes of nftables.
pub fn nftables_events() -> io::Result<OwnedFd> {
    /// `NFNLGRP_NFTABLES` of linux/netfilter/nfnetlink.h.
    const NFTABLES: c_int = 7;
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no pointers; the descriptor is new and owned by nobody else.
    let fd =
        unsafe { OwnedFd::from_raw_fd(cerr(libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_NETFILTER))?) };
    // SAFETY: a plain C structure of integers, for which all zero is a value.
    let mut address: libc::sockaddr_nl = unsafe { mem::zeroed() };
    address.nl_family = u16::try_from(libc::AF_NETLINK).expect("a family");
    bind(&fd, &address)?;
    set(&fd, libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, NFTABLES)?;
    set(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 4 << 20)?;
    Ok(fd)
}

/// Waits until there is something to read, or for `time`.
pub fn wait(fd: &OwnedFd, time: Duration) -> io::Result<()> {
    let mut polled = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let time =
        libc::timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: i64::from(time.subsec_nanos()) };
    // SAFETY: one live pollfd, one live timespec, no signal mask.
    cerr(unsafe { libc::ppoll(&raw mut polled, 1, &raw const time, std::ptr::null()) })?;
    Ok(())
}

/// Reads one datagram, if there is one.
pub fn receive<'b>(fd: &OwnedFd, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
    // SAFETY: the pointer is to as many writable bytes as are named.
    let len = unsafe { libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    match usize::try_from(len) {
        Ok(len) => Ok(Some(&buffer[..len])),
        Err(_) => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            error => Err(error),
        },
    }
}

/// Sends frames with one system call. Returns how many were sent.
pub fn send(fd: &OwnedFd, frames: &[Vec<u8>]) -> io::Result<usize> {
    let mut vectors: Vec<libc::iovec> = frames
        .iter()
        .map(|frame| libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() })
        .collect();
    let mut headers: Vec<libc::mmsghdr> = vectors
        .iter_mut()
        .map(|vector| {
            // SAFETY: a plain C structure of integers and pointers, for which all zero is a value.
            let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header
        })
        .collect();
    let count = u32::try_from(headers.len()).expect("a batch");
    // SAFETY: each header leads to one vector and that to one frame, which is only read; all outlive the call.
    let sent = cerr(unsafe { libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count, 0) })?;
    Ok(usize::try_from(sent).expect("cerr has seen the only negative value"))
}

fn bind<T>(fd: &OwnedFd, address: &T) -> io::Result<()> {
    // SAFETY: the pointer is to a live value of the size that goes with it.
    cerr(unsafe { libc::bind(fd.as_raw_fd(), (&raw const *address).cast(), size::<T>()) })?;
    Ok(())
}

fn set(fd: &OwnedFd, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    let pointer = (&raw const value).cast();
    // SAFETY: the pointer is to a live value of the size that goes with it.
    cerr(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, pointer, size::<c_int>()) })?;
    Ok(())
}

fn size<T>() -> socklen_t {
    socklen_t::try_from(size_of::<T>()).expect("a small structure")
}
