//! Notices from the kernel that the firewall was loaded, changed or flushed.
//!
//! When a table is loaded again, the open doors must be put back. But programs, ketukd among them, add set elements all the
//! time, and each change would wake the daemon. So a filter on the socket passes only notices about tables, chains, rules
//! and sets.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use libc::sock_filter;

use crate::linux::netlink::{Received, Socket};

use super::nft::{kind, message_type};

/// `NFNLGRP_NFTABLES`, the multicast group of `nf_tables`' notifications.
const GROUP: u32 = 7;

/// The message types that wake the daemon. The kernel sends the notifications of one transaction in datagrams of some 4 kB,
/// and the filter sees only the first notification of each. Chains and rules are included because a table that is loaded anew
/// may begin with them. The filter misses a transaction of one datagram that begins with an element.
const WATCHED: [u8; 8] = [
    kind::NEW_TABLE,
    kind::DEL_TABLE,
    kind::NEW_CHAIN,
    kind::DEL_CHAIN,
    kind::NEW_RULE,
    kind::DEL_RULE,
    kind::NEW_SET,
    kind::DEL_SET,
];

/// Most notifications that are read at once. If there are more, the descriptor stays readable.
const DRAIN: usize = 4096;

/// A socket that becomes readable when the firewall's tables, sets or rules change.
#[derive(Debug)]
pub struct Events {
    socket: Socket,
}

impl Events {
    /// Opens the socket.
    ///
    /// # Errors
    /// Those of [`Socket::open`]; `EPERM` without `CAP_NET_ADMIN`.
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: Socket::open(libc::NETLINK_NETFILTER, &[GROUP], &filter())? })
    }

    /// Empties the socket. Returns true if there was a notice, or if the kernel dropped one because the buffer was full. The
    /// caller must then check the sets.
    pub fn drain(&mut self) -> bool {
        let mut any = false;
        for _ in 0..DRAIN {
            match self.socket.recv(&mut []) {
                Ok(Received::Nothing) | Err(_) => break,
                Ok(_) => any = true,
            }
        }
        any
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Length of the filter in instructions: load the type, compare it with each watched type, drop or accept.
const FILTER: usize = WATCHED.len() + 3;

/// The filter, which accepts messages whose type is [`WATCHED`].
const fn filter() -> [sock_filter; FILTER] {
    const LOAD_HALF: u16 = 0x28; // BPF_LD | BPF_H | BPF_ABS
    const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const TYPE_OFFSET: u32 = 4;

    let mut program = [sock_filter { code: RETURN, jt: 0, jf: 0, k: 0 }; FILTER];
    program[0] = sock_filter { code: LOAD_HALF, jt: 0, jf: 0, k: TYPE_OFFSET };
    let mut i = 0;
    while i < WATCHED.len() {
        // BPF loads are big-endian, but the header is in the host's order. So the constant is byte-swapped too.
        let loaded = message_type(WATCHED[i]).to_be() as u32;
        #[expect(clippy::cast_possible_truncation, reason = "there are eight")]
        let to_accept = (WATCHED.len() - i) as u8;
        program[i + 1] = sock_filter { code: JUMP_EQUAL, jt: to_accept, jf: 0, k: loaded };
        i += 1;
    }
    program[WATCHED.len() + 2].k = u32::MAX;
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter on the first bytes of a message.
    fn accepts(kind: u16) -> bool {
        let mut header = [0_u8; 16];
        header[4..6].copy_from_slice(&kind.to_ne_bytes());
        let (mut at, mut a) = (0, 0);
        let program = filter();
        loop {
            let op = program[at];
            at += 1;
            match op.code {
                0x28 => {
                    let offset = op.k as usize;
                    a = u32::from(u16::from_be_bytes([header[offset], header[offset + 1]]));
                }
                0x15 => at += usize::from(if a == op.k { op.jt } else { op.jf }),
                0x06 => return op.k != 0,
                code => panic!("{code:#x}"),
            }
        }
    }

    #[test]
    fn only_what_is_watched_passes() {
        for kind in 0..=u8::MAX {
            assert_eq!(accepts(message_type(kind)), WATCHED.contains(&kind), "kind {kind}");
            assert!(!accepts(u16::from(kind)), "another subsystem");
        }
        assert!(!accepts(message_type(kind::NEW_ELEMENT)));
        assert!(!accepts(message_type(kind::NEW_GENERATION)));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn golden() {
        let program = filter().map(|op| (op.code, op.jt, op.jf, op.k));
        assert_eq!(program[..3], [(0x28, 0, 0, 4), (0x15, 8, 0, 0x000a), (0x15, 7, 0, 0x020a)]);
        assert_eq!(program[8..], [(0x15, 1, 0, 0x0b0a), (0x06, 0, 0, 0), (0x06, 0, 0, u32::MAX)]);
    }
}
