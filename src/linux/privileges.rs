//! Gives up privileges: capabilities (capabilities(7)), the privileges of set-user-ID programs, and core dumps.

use std::io;

use libc::{c_int, c_long, c_ulong};
use nix::unistd::{Gid, Uid, getgid, getgroups, setegid, seteuid, setgroups, setresgid, setresuid};

use super::cerr::cerr;

/// A privilege that is kept, by its number in linux/capability.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Capability {
    /// Reads and writes files whatever their modes say: `CAP_DAC_OVERRIDE`.
    Files = 1,
    /// Changes the firewall: `CAP_NET_ADMIN`.
    NetAdmin = 12,
    /// Opens packet sockets: `CAP_NET_RAW`.
    NetRaw = 13,
}

/// A user of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user's number.
    pub(crate) user: Uid,
    /// The number of the user's group.
    pub(crate) group: Gid,
}

impl Account {
    /// Runs `act` with the rights that this user has over files. Only root can do this.
    ///
    /// # Errors
    /// As seteuid(2). The process may then be neither this user nor root, and should end.
    pub fn act<T>(self, act: impl FnOnce() -> T) -> io::Result<T> {
        let groups = getgroups()?;
        setgroups(&[self.group])?;
        setegid(self.group)?;
        seteuid(self.user)?;
        let done = act();
        seteuid(Uid::from_raw(0))?;
        setegid(getgid())?;
        setgroups(&groups)?;
        Ok(done)
    }
}

/// The version of capget(2) with 64 capabilities (`_LINUX_CAPABILITY_VERSION_3`).
const VERSION: u32 = 0x2008_0522;

/// Numbers of capabilities are below this, because a set of them has 64 bits.
const MOST: c_ulong = 64;

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    /// 0: this process.
    pid: c_int,
}

/// `struct __user_cap_data_struct`, for 32 capabilities.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilitySets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// No core dump writes this process's memory, and with it secrets, to a disk. Other processes of the same user cannot read
/// the memory.
///
/// # Errors
/// As prctl(2); Linux has had this call since 2.4.
pub fn forbid_core_dumps() -> io::Result<()> {
    control(libc::PR_SET_DUMPABLE, 0)
}

/// From now on, no program that this process starts gets more privileges than the process has.
///
/// # Errors
/// As prctl(2); Linux has had this call since 3.5.
pub fn forbid_new_privileges() -> io::Result<()> {
    control(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// Gives up all capabilities except those in `kept`, for ever, and becomes `account` if there is one. Capabilities that the
/// process does not have are not added.
///
/// # Errors
/// As capset(2), where giving up is always allowed, and as setresuid(2).
pub fn keep_capabilities(kept: &[Capability], account: Option<Account>) -> io::Result<()> {
    let mask = kept.iter().fold(0_u32, |mask, capability| mask | 1 << *capability as u8);
    // The bounding set limits the capabilities of programs that are started. Changing it takes CAP_SETPCAP, which only root's
    // processes have. Without it the next step is the limit.
    for capability in (0..MOST).filter(|number| *number >= 32 || mask & 1 << number == 0) {
        let _ = control(libc::PR_CAPBSET_DROP, capability);
    }
    if let Some(Account { user, group }) = account {
        // Without this the next calls take all capabilities.
        control(libc::PR_SET_KEEPCAPS, 1)?;
        setgroups(&[group])?;
        setresgid(group, group, group)?;
        setresuid(user, user, user)?;
    }
    let mut header = Header { version: VERSION, pid: 0 };
    let mut sets = [CapabilitySets::default(); 2];
    // SAFETY: the pointers are to live values of the form that this version of the call has.
    cerr(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) })?;
    let left = sets[0].permitted & mask;
    if (sets[0].permitted, sets[0].effective, sets[1].permitted) == (left, left, 0) {
        // systemd's unit and procd's jail have taken the others, and may forbid the next call.
        return Ok(());
    }
    // Without inheritable ones there are no ambient ones.
    let sets =
        [CapabilitySets { effective: left, permitted: left, inheritable: 0 }, CapabilitySets::default()];
    // SAFETY: likewise; the kernel only reads the sets.
    cerr::<c_long>(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) })?;
    Ok(())
}

fn control(option: c_int, value: c_ulong) -> io::Result<()> {
    let none: c_ulong = 0;
    // SAFETY: these options take no pointers.
    cerr(unsafe { libc::prctl(option, value, none, none, none) })?;
    Ok(())
}
