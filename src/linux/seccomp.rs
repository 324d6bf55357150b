//! The system calls that the daemon may make once it runs (seccomp(2)). The kernel kills it at any other.
//!
//! The list has the calls of the daemon, the standard library, musl and glibc, under every name that a call has had on the
//! kinds of processor of `MACHINE`. No call in it starts a program or makes a process.

use std::io;

use libc::{c_long, sock_filter};

use super::bpf::{Operand, Program, Test};
use super::cerr::cerr;

/// The offset of the call's number in `struct seccomp_data` (linux/seccomp.h), in bytes.
const NUMBER: u32 = 0;

/// The offset of the kind of processor, in bytes.
const ARCHITECTURE: u32 = 4;

/// The offset of the lower half of the third argument, in bytes. An argument has 64 bits.
const PROTECTION: u32 = 32 + if cfg!(target_endian = "big") { 4 } else { 0 };

/// The first number of this processor's system calls.
#[cfg(any(test, target_pointer_width = "32"))]
const FIRST: c_long = if cfg!(target_arch = "mips") { 4000 } else { 0 };

/// The machine's number in ELF; `None` if the list was not checked for this kind of processor.
const MACHINE: Option<u16> = if cfg!(target_arch = "x86_64") {
    Some(libc::EM_X86_64)
} else if cfg!(target_arch = "x86") {
    Some(libc::EM_386)
} else if cfg!(target_arch = "aarch64") {
    Some(libc::EM_AARCH64)
} else if cfg!(target_arch = "arm") {
    Some(libc::EM_ARM)
} else if cfg!(target_arch = "mips") {
    Some(libc::EM_MIPS)
} else {
    None
};

/// `pread64` and `pwrite64`, which the `libc` crate does not name for MIPS.
#[cfg(target_arch = "mips")]
const POSITIONED: [c_long; 2] = [FIRST + 200, FIRST + 201];
#[cfg(not(target_arch = "mips"))]
const POSITIONED: [c_long; 2] = [libc::SYS_pread64, libc::SYS_pwrite64];

/// Calls that all processors have under one name. The kernel compares them one after the other, so the calls for packets come
/// first.
const COMMON: [c_long; 55] = [
    libc::SYS_recvmmsg,
    libc::SYS_ppoll,
    libc::SYS_clock_gettime,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_readv,
    libc::SYS_close,
    // Files: the configuration, the time zone, the firewall's, /proc.
    libc::SYS_openat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_getdents64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    // Sockets: packets, netlink, the control socket, syslog.
    libc::SYS_socket,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_accept4,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Clocks.
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
    // The process itself.
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_geteuid,
    libc::SYS_getuid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_sched_yield,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Calls that newer processors do not have any more.
#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "arm", target_arch = "mips"))]
const OLD: &[c_long] =
    &[libc::SYS_poll, libc::SYS_open, libc::SYS_stat, libc::SYS_lstat, libc::SYS_unlink, libc::SYS_rename];
#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "arm", target_arch = "mips")))]
const OLD: &[c_long] = &[];

/// Calls that have other names on 64-bit processors.
#[cfg(target_pointer_width = "64")]
const WIDTH: &[c_long] = &[libc::SYS_fstat, libc::SYS_newfstatat];
/// Calls that have other names on 32-bit processors. The last six take times of 64 bits. Their numbers are the same on all
/// processors, but for MIPS's offset, and the `libc` crate does not name them: `clock_gettime64`, `clock_adjtime64`,
/// `clock_nanosleep_time64`, `ppoll_time64`, `recvmmsg_time64`, `futex_time64`.
#[cfg(target_pointer_width = "32")]
const WIDTH: &[c_long] = &[
    libc::SYS_fstat64,
    libc::SYS_stat64,
    libc::SYS_lstat64,
    libc::SYS_fcntl64,
    libc::SYS__llseek,
    libc::SYS_sigreturn,
    FIRST + 403,
    FIRST + 405,
    FIRST + 407,
    FIRST + 414,
    FIRST + 417,
    FIRST + 422,
];

/// Calls of one kind of processor. MIPS's last one is `fstatat64`, which the `libc` crate does not name.
#[cfg(target_arch = "x86")]
const OWN: &[c_long] = &[libc::SYS_socketcall, libc::SYS_fstatat64, libc::SYS_geteuid32, libc::SYS_getuid32];
#[cfg(target_arch = "arm")]
const OWN: &[c_long] = &[libc::SYS_fstatat64, libc::SYS_geteuid32, libc::SYS_getuid32];
#[cfg(target_arch = "mips")]
const OWN: &[c_long] = &[libc::SYS_socketcall, FIRST + 293];
#[cfg(not(any(target_arch = "x86", target_arch = "arm", target_arch = "mips")))]
const OWN: &[c_long] = &[];

/// Calls that map memory. They may not make memory executable.
#[cfg(target_pointer_width = "64")]
const MAPPING: [c_long; 2] = [libc::SYS_mmap, libc::SYS_mprotect];
#[cfg(target_pointer_width = "32")]
const MAPPING: [c_long; 2] = [libc::SYS_mmap2, libc::SYS_mprotect];

/// Kills this process at every system call that is not in the list, from now on and for ever. The process must have
/// `no_new_privs` or `CAP_SYS_ADMIN`.
///
/// # Errors
/// The kernel was built without seccomp, or the list was not checked for this kind of processor.
pub fn install() -> io::Result<()> {
    let mut filter = filter().ok_or(io::ErrorKind::Unsupported)?;
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the pointer is to a live value, and the program's own to `filter`, which outlives the call.
    cerr(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) })?;
    Ok(())
}

/// The program that the kernel asks about each call.
fn filter() -> Option<Vec<sock_filter>> {
    let word = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let mut program = Program::new();
    let (allow, kill, maps) = (program.label(), program.label(), program.label());
    program.op(word, ARCHITECTURE);
    program.unless(Test::Equal, Operand::K(architecture()?), kill);
    program.op(word, NUMBER);
    for calls in [&COMMON[..], &POSITIONED, OLD, WIDTH, OWN] {
        for call in calls {
            program.when(Test::Equal, number(*call), allow);
        }
    }
    for call in MAPPING {
        program.when(Test::Equal, number(call), maps);
    }
    program.jump(kill);
    program.place(maps);
    program.op(word, PROTECTION);
    program.unless(Test::AnyBit, Operand::K(libc::PROT_EXEC.cast_unsigned()), allow);
    program.place(kill);
    program.op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_KILL_PROCESS);
    program.place(allow);
    program.op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW);
    program.assemble()
}

/// The kind of processor as the kernel names it: `AUDIT_ARCH_*` of linux/audit.h.
fn architecture() -> Option<u32> {
    const WIDE: u32 = 0x8000_0000;
    const LITTLE: u32 = 0x4000_0000;
    let wide = if cfg!(target_pointer_width = "64") { WIDE } else { 0 };
    let little = if cfg!(target_endian = "little") { LITTLE } else { 0 };
    MACHINE.map(|machine| u32::from(machine) | wide | little)
}

fn number(call: c_long) -> Operand {
    Operand::K(u32::try_from(call).expect("the numbers of system calls are small"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    /// How a process ends that installs the filter and then does this.
    fn end(act: impl FnOnce()) -> WaitStatus {
        // SAFETY: the child calls nothing but system calls and the allocator, of which glibc and musl take care.
        match unsafe { fork() }.expect("a process") {
            ForkResult::Parent { child } => waitpid(child, None).expect("the child"),
            ForkResult::Child => {
                // SAFETY: these calls take no pointers.
                unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
                let installed = install();
                act();
                // SAFETY: it does not return.
                unsafe { libc::_exit(if installed.is_ok() { 7 } else { 8 }) }
            }
        }
    }

    fn call(number: c_long, arguments: [c_long; 3]) {
        let [first, second, third] = arguments;
        // SAFETY: no argument of the calls below is a pointer that the kernel writes through.
        unsafe { libc::syscall(number, first, second, third) };
    }

    fn map(protection: libc::c_int) {
        let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: the kernel chooses where; nobody uses it.
        unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, anonymous, -1, 0) };
    }

    #[test]
    fn what_is_in_the_list_goes_on() {
        let ended = end(|| {
            call(libc::SYS_getpid, [0; 3]);
            call(libc::SYS_close, [-1, 0, 0]);
            map(libc::PROT_READ | libc::PROT_WRITE);
        });
        assert!(matches!(ended, WaitStatus::Exited(_, 7)), "{ended:?}");
    }

    #[test]
    fn any_other_call_kills() {
        // Programs, processes, other processes' memory, privileges, modules, mounts, and a number that no call has.
        let calls = [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_clone,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_kill,
            libc::SYS_setuid,
            libc::SYS_init_module,
            libc::SYS_mount,
            libc::SYS_bpf,
            FIRST + 999,
        ];
        for number in calls {
            let ended = end(|| call(number, [-1, 0, 0]));
            assert!(matches!(ended, WaitStatus::Signaled(_, Signal::SIGSYS, _)), "{number}: {ended:?}");
        }
    }

    #[test]
    fn memory_to_execute_kills() {
        for protection in [libc::PROT_EXEC, libc::PROT_READ | libc::PROT_EXEC] {
            let ended = end(|| map(protection));
            assert!(matches!(ended, WaitStatus::Signaled(_, Signal::SIGSYS, _)), "{ended:?}");
        }
        let ended = end(|| call(libc::SYS_mprotect, [0, 0, libc::PROT_EXEC.into()]));
        assert!(matches!(ended, WaitStatus::Signaled(_, Signal::SIGSYS, _)), "{ended:?}");
    }
}
