//! Reads iptables-legacy's tables from the kernel, as the C structures of `linux/netfilter/x_tables.h`. It starts no program,
//! so a daemon that may not start programs can read them too.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use nix::sys::socket::{AddressFamily as Domain, SockFlag, SockProtocol, SockType, socket as open_socket};

use super::socket;
use crate::core::network::AddressFamily;

/// `IPT_SO_GET_INFO` and `IPT_SO_GET_ENTRIES`, which are the same numbers for IPv6.
const GET_INFO: libc::c_int = 64;
const GET_ENTRIES: libc::c_int = 65;

/// The length of a table's name, `XT_TABLE_MAXNAMELEN`.
const NAME_LEN: usize = 32;

/// The most tries to read a table whose size changes meanwhile.
const TRIES: usize = 3;

/// The number of hooks, `NF_INET_NUMHOOKS`.
pub const HOOKS: usize = 5;

/// The offsets in `struct ipt_getinfo`, and its size, in bytes. The table's name comes first.
mod info {
    pub(super) const VALID_HOOKS: usize = 32;
    pub(super) const HOOK_ENTRY: usize = 36;
    pub(super) const UNDERFLOW: usize = 56;
    pub(super) const SIZE: usize = 80;
    pub(super) const LEN: usize = 84;
}

/// The place of the first rule in `struct ipt_get_entries`: after the table's name and a size.
const ENTRIES: usize = aligned(NAME_LEN + 4);

/// The next place where C has a 64-bit counter on this machine.
const fn aligned(len: usize) -> usize {
    len.next_multiple_of(align_of::<u64>())
}

/// The sizes of the conditions, `struct ipt_ip` and `struct ip6t_ip6`.
const fn conditions_len(family: AddressFamily) -> usize {
    match family {
        AddressFamily::V4 => 84,
        AddressFamily::V6 => 136,
    }
}

/// A table.
#[derive(Debug)]
pub struct Table {
    family: AddressFamily,
    valid_hooks: u32,
    hook_entry: [u32; HOOKS],
    underflow: [u32; HOOKS],
    entries: Vec<u8>,
}

/// A rule, or the head of a chain.
///
/// Its parts leave out the counters, which change with each packet.
#[derive(Clone, Copy, Debug)]
pub struct RawRule<'t> {
    /// The rule's place in the table, by which jumps name it.
    pub(crate) offset: usize,
    /// `struct ipt_ip` or `struct ip6t_ip6`.
    pub(crate) conditions: &'t [u8],
    /// The matches and the target, in the kernel's bytes.
    pub(crate) extensions: &'t [u8],
    matches_len: usize,
    /// The place of the next rule.
    pub(crate) next: usize,
}

/// A match or a target.
#[derive(Clone, Copy, Debug)]
pub struct Extension<'t> {
    /// The name; empty for iptables' own verdicts.
    pub(crate) name: &'t str,
    /// The revision of its structure.
    pub(crate) revision: u8,
    /// Its structure.
    pub(crate) data: &'t [u8],
}

/// The head of a match or a target, `struct xt_entry_match`: its size, name and revision.
const HEAD_LEN: usize = 32;

impl Table {
    /// Reads a table. The kernel makes a table that is asked for and does not exist, so ask only for tables that
    /// `ip_tables_names` or `ip6_tables_names` in `/proc/net` lists.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_ADMIN`; more than `max_len` bytes.
    pub fn read(family: AddressFamily, name: &str, max_len: usize) -> io::Result<Self> {
        let (domain, level) = match family {
            AddressFamily::V4 => (Domain::Inet, libc::IPPROTO_IP),
            AddressFamily::V6 => (Domain::Inet6, libc::IPPROTO_IPV6),
        };
        let asked: OwnedFd = open_socket(domain, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)?;
        let mut named = [0; NAME_LEN];
        let name = name.as_bytes().get(..NAME_LEN - 1).unwrap_or(name.as_bytes());
        named[..name.len()].copy_from_slice(name);
        for _ in 0..TRIES {
            let mut answer = [0; info::LEN];
            answer[..NAME_LEN].copy_from_slice(&named);
            socket::get(asked.as_fd(), level, GET_INFO, &mut answer)?;
            let number = |at: usize| number(&answer, at).unwrap_or(0);
            let numbers = |at: usize| std::array::from_fn(|hook| number(at + 4 * hook));
            let size = number(info::SIZE);
            let len = usize::try_from(size).unwrap_or(usize::MAX);
            if len > max_len {
                return Err(io::Error::other("iptables has too many rules to be read"));
            }
            let mut entries = vec![0; ENTRIES + len];
            entries[..NAME_LEN].copy_from_slice(&named);
            entries[NAME_LEN..NAME_LEN + 4].copy_from_slice(&size.to_ne_bytes());
            match socket::get(asked.as_fd(), level, GET_ENTRIES, &mut entries) {
                // The table has another size by now.
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => continue,
                read => read?,
            }
            entries.drain(..ENTRIES);
            return Ok(Self {
                family,
                valid_hooks: number(info::VALID_HOOKS),
                hook_entry: numbers(info::HOOK_ENTRY),
                underflow: numbers(info::UNDERFLOW),
                entries,
            });
        }
        Err(io::Error::from_raw_os_error(libc::EAGAIN))
    }

    /// The places of a built-in chain's first rule and of its policy, by the number of its hook.
    pub fn hook(&self, number: u32) -> Option<(usize, usize)> {
        let at = usize::try_from(number).ok()?;
        let offset = |offsets: &[u32; HOOKS]| usize::try_from(*offsets.get(at)?).ok();
        let is_valid = self.valid_hooks.checked_shr(number)? & 1 == 1;
        is_valid.then_some((offset(&self.hook_entry)?, offset(&self.underflow)?))
    }

    /// The rules of all chains, in the kernel's order.
    pub fn rules(&self) -> impl Iterator<Item = RawRule<'_>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let rule = self.rule(at)?;
            at = rule.next;
            Some(rule)
        })
    }

    /// `struct ipt_entry`: the conditions, a word, the offsets of the target and of the next rule, a word, two counters,
    /// then the matches.
    fn rule(&self, offset: usize) -> Option<RawRule<'_>> {
        let conditions = conditions_len(self.family);
        let head = aligned(conditions + 12) + 16;
        let entry = self.entries.get(offset..)?;
        let length = |at: usize| Some(usize::from(u16::from_ne_bytes(*entry.get(at..)?.first_chunk()?)));
        let (target, next) = (length(conditions + 4)?, length(conditions + 6)?);
        Some(RawRule {
            offset,
            conditions: entry.get(..conditions)?,
            extensions: entry.get(head..next)?,
            matches_len: target.checked_sub(head)?,
            next: offset + next,
        })
    }
}

impl<'t> RawRule<'t> {
    /// The rule's matches.
    pub fn matches(&self) -> impl Iterator<Item = Extension<'t>> + use<'t> {
        let mut rest = self.extensions.get(..self.matches_len).unwrap_or(&[]);
        std::iter::from_fn(move || {
            let (extension, after) = extension(rest)?;
            rest = after;
            Some(extension)
        })
    }

    /// The rule's target.
    pub fn target(&self) -> Option<Extension<'t>> {
        extension(self.extensions.get(self.matches_len..)?).map(|(target, _)| target)
    }
}

/// The first match or target, and the bytes after it.
fn extension(bytes: &[u8]) -> Option<(Extension<'_>, &[u8])> {
    let size = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
    let (this, after) = bytes.split_at_checked(size)?;
    let name = this.get(2..HEAD_LEN - 1)?.split(|byte| *byte == 0).next()?;
    let (revision, data) = (*this.get(HEAD_LEN - 1)?, this.get(HEAD_LEN..)?);
    Some((Extension { name: std::str::from_utf8(name).ok()?, revision, data }, after))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}
