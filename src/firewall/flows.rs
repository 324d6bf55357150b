//! The connections that the kernel tracks: lists them, listens for their ends, and deletes them.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use libc::sock_filter;

use crate::core::flow::Flow;
use crate::linux::line_reader::LineReader;
use crate::linux::netlink::message::{HEADER, Messages};
use crate::linux::netlink::{Dialogue, Received, Socket};

use super::conntrack::{self, FAMILY_HEADER, TUPLE_IP, TUPLE_ORIGINAL, V4_SOURCE, V6_SOURCE};

/// The kernel's list of connections, for kernels without `ctnetlink`.
const PROC: &str = "/proc/net/nf_conntrack";

/// Whether the kernel announces connections; 0 means no.
const PROC_EVENTS: &str = "/proc/sys/net/netfilter/nf_conntrack_events";

/// `NFNLGRP_CONNTRACK_UPDATE` and `NFNLGRP_CONNTRACK_DESTROY`.
const GROUPS: [u32; 2] = [2, 3];

/// Most announcements that are read at once. If there are more, the descriptor stays readable.
const ANNOUNCEMENTS: usize = 256;

/// Most addresses in the kernel's filter of announcements. With more addresses, all announcements are read.
const MAX_WATCHED: usize = 64;

/// The source of the list of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowSource {
    /// `ctnetlink`.
    Netlink,
    /// `/proc/net/nf_conntrack`.
    Proc,
}

/// Calls `each` with every TCP and UDP connection that the kernel tracks.
///
/// # Errors
/// The kernel tracks no connections, or does not list them.
pub fn each(each: &mut dyn FnMut(&Flow)) -> io::Result<FlowSource> {
    match each_from(FlowSource::Netlink, each) {
        Ok(()) => Ok(FlowSource::Netlink),
        Err(_) => each_from(FlowSource::Proc, each).map(|()| FlowSource::Proc),
    }
}

/// Does the same as [`each`], from one source.
///
/// # Errors
/// The source does not exist.
pub fn each_from(source: FlowSource, each: &mut dyn FnMut(&Flow)) -> io::Result<()> {
    match source {
        FlowSource::Netlink => {
            let mut dialogue = Dialogue::open(libc::NETLINK_NETFILTER)?;
            let (request, sequence) = dialogue.begin(1);
            conntrack::dump(request, sequence);
            match dialogue.ask(sequence, &mut |m| conntrack::flow(m).iter().for_each(&mut *each))? {
                0 => Ok(()),
                errno => Err(io::Error::from_raw_os_error(errno)),
            }
        }
        FlowSource::Proc => {
            for line in LineReader::new(File::open(PROC)?.into()) {
                conntrack::line(&line?).iter().for_each(&mut *each);
            }
            Ok(())
        }
    }
}

/// Makes the kernel forget connections. Returns how many it forgot. A connection that is gone already counts as forgotten.
///
/// # Errors
/// The kernel has no `ctnetlink`.
pub fn forget(flows: &[Flow]) -> io::Result<usize> {
    let mut dialogue = Dialogue::open(libc::NETLINK_NETFILTER)?;
    let mut forgotten = 0;
    for flow in flows {
        let (request, sequence) = dialogue.begin(1);
        conntrack::delete(request, flow, sequence);
        forgotten += usize::from(matches!(dialogue.ask(sequence, &mut |_| {})?, 0 | libc::ENOENT));
    }
    Ok(forgotten)
}

/// A socket that becomes readable when a connection of a watched address changes.
#[derive(Debug)]
pub struct Announcements(Socket);

impl Announcements {
    /// Listens for the connections that these addresses begin, or for all.
    ///
    /// # Errors
    /// The kernel does not announce connections: it has no `ctnetlink`, or announcements are off.
    pub fn open(addresses: Option<&[IpAddr]>) -> io::Result<Self> {
        if std::fs::read_to_string(PROC_EVENTS)?.trim() == "0" {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self(Socket::open(libc::NETLINK_NETFILTER, &GROUPS, &addresses.map(filter).unwrap_or_default())?))
    }

    /// Reads announcements. Returns whether a connection has ended or may have ended.
    pub fn drain(&self) -> bool {
        let mut buffer = [0; 2048];
        let mut ended = false;
        for _ in 0..ANNOUNCEMENTS {
            match self.0.recv(&mut buffer) {
                Ok(Received::Message(len)) => {
                    ended |= Messages::new(&buffer[..len]).any(|message| {
                        message.kind == conntrack::DELETE
                            || conntrack::flow(&message).is_some_and(|flow| !flow.is_live())
                    });
                }
                Ok(Received::Lost | Received::Truncated) => ended = true,
                Ok(Received::Nothing) | Err(_) => break,
            }
        }
        ended
    }
}

impl AsFd for Announcements {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Accepts notifications about connections that one of these addresses began.
fn filter(addresses: &[IpAddr]) -> Vec<sock_filter> {
    const LOAD_IMMEDIATE: u16 = 0x00; // BPF_LD | BPF_IMM
    const LOAD_X_IMMEDIATE: u16 = 0x01; // BPF_LDX | BPF_IMM
    const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const LOAD_WORD_AT_X: u16 = 0x40; // BPF_LD | BPF_W | BPF_IND
    const TO_X: u16 = 0x07; // BPF_MISC | BPF_TAX
    const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    /// `SKF_AD_OFF + SKF_AD_NLATTR`: A becomes the place of the attribute of type X at or behind A, or 0.
    const FIND: u32 = 0xffff_f000 + 12;
    /// `SKF_AD_OFF + SKF_AD_NLATTR_NEST`: the same, inside the attribute at A.
    const FIND_INSIDE: u32 = 0xffff_f000 + 16;

    let op = |code, k| sock_filter { code, jt: 0, jf: 0, k };
    let all = op(RETURN, u32::MAX);
    if addresses.len() > MAX_WATCHED {
        return vec![all];
    }
    #[expect(clippy::cast_possible_truncation, reason = "two small constants")]
    let attributes = (HEADER + FAMILY_HEADER) as u32;
    let mut program = Vec::new();
    for (source, v4) in [(V4_SOURCE, true), (V6_SOURCE, false)] {
        // The offset of the address goes into X.
        program.push(op(LOAD_IMMEDIATE, attributes));
        for (kind, find) in [(TUPLE_ORIGINAL, FIND), (TUPLE_IP, FIND_INSIDE), (source, FIND_INSIDE)] {
            program.push(op(LOAD_X_IMMEDIATE, kind.into()));
            program.push(op(LOAD_WORD, find));
            // If the attribute is absent, every later search starts at 0, in the header, and finds nothing either.
        }
        program.push(op(TO_X, 0));
        for address in addresses.iter().filter(|address| address.is_ipv4() == v4) {
            let words: Vec<u32> = match address {
                IpAddr::V4(address) => vec![address.to_bits()],
                IpAddr::V6(address) => address
                    .octets()
                    .chunks(4)
                    .map(|word| u32::from_be_bytes(word.try_into().expect("four bytes")))
                    .collect(),
            };
            let mut to_next = 2 * words.len();
            for (offset, word) in (4..).step_by(4).zip(words) {
                program.push(op(LOAD_WORD_AT_X, offset));
                to_next -= 2;
                let jf = u8::try_from(to_next + 1).expect("at most seven");
                program.push(sock_filter { code: JUMP_EQUAL, jt: 0, jf, k: word });
            }
            program.push(all);
        }
    }
    program.push(op(RETURN, 0));
    program
}
