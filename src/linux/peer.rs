//! The process at the other end of a Unix socket.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::cerr::cerr;

/// The most supplementary groups of a peer that are read.
const MAX_GROUPS: usize = 64;

/// A peer's identity when it connected, from the kernel (`SO_PEERCRED`, unix(7)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Effective user.
    pub(crate) user: u32,
    /// Effective and supplementary groups.
    pub(crate) groups: Vec<u32>,
}

/// The peer of a connected socket.
///
/// # Errors
/// Those of getsockopt(2).
pub fn peer(stream: &UnixStream) -> io::Result<Peer> {
    let credentials = getsockopt(stream, PeerCredentials)?;
    let mut groups = vec![0_u32; MAX_GROUPS];
    let mut len = libc::socklen_t::try_from(size_of_val(&groups[..])).expect("a few hundred bytes");
    // SAFETY: the pointers are to live, writable values of the sizes that go with them.
    let got = cerr(unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut len,
        )
    });
    // With more groups than fit (ERANGE), or before kernel 4.13, only the effective group counts.
    groups.truncate(got.map_or(0, |_| usize::try_from(len).unwrap_or(0) / size_of::<u32>()));
    groups.push(credentials.gid());
    Ok(Peer { user: credentials.uid(), groups })
}

/// The process at the other end of a connected socket; `None` if this process cannot see it.
///
/// # Errors
/// Those of getsockopt(2).
pub fn process(stream: &UnixStream) -> io::Result<Option<u32>> {
    let credentials = getsockopt(stream, PeerCredentials)?;
    Ok(u32::try_from(credentials.pid()).ok().filter(|process| *process > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_its_own_peer() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = peer(&one).unwrap();
        assert_eq!(peer.user, nix::unistd::geteuid().as_raw());
        assert!(peer.groups.contains(&nix::unistd::getegid().as_raw()));
        assert_eq!(process(&one).unwrap(), Some(std::process::id()));
    }
}
