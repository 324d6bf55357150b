//! The folders in which the daemon may still write (landlock(7), Linux 5.13 and later). It may read everywhere, as the
//! modes of files allow.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use libc::{c_int, c_long};

use super::cerr::cerr;

/// Rights over files, `LANDLOCK_ACCESS_FS_*` of linux/landlock.h.
const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
/// Removing folders and files; making devices, folders, files, sockets, pipes, and links.
const CHANGE_FOLDER: u64 = 0x1ff << 4;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_FILE: u64 = 1 << 8;
/// Moving files to another folder, since version 2.
const MOVE: u64 = 1 << 13;
/// Cutting files short, since version 3.
const TRUNCATE: u64 = 1 << 14;

/// The rights that are left to the daemon in the folders where it may write.
const LEFT: u64 = WRITE_FILE | REMOVE_FILE | MAKE_FILE;

/// `LANDLOCK_CREATE_RULESET_VERSION`
const ASK_VERSION: c_long = 1;
/// `LANDLOCK_RULE_PATH_BENEATH`
const BENEATH: c_long = 1;

/// `struct landlock_path_beneath_attr`
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    folder: c_int,
}

/// From now on and for ever, this process may execute no file, and may write, make and remove files only below `folders`.
/// Open files stay open. The process must have `no_new_privs`.
///
/// # Errors
/// `ENOSYS` or `EOPNOTSUPP`: the kernel has no Landlock. A folder cannot be opened.
pub fn write_only_below<'a>(folders: impl Iterator<Item = &'a Path>) -> io::Result<()> {
    let handled = handled(version()?);
    // SAFETY: the pointer is to a live value of the size that goes with it; the descriptor is new and owned by nobody
    // else.
    let ruleset = unsafe {
        let created =
            libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, size_of_val(&handled), 0);
        descriptor(cerr::<c_long>(created)?)?
    };
    for folder in folders {
        let folder = File::options().read(true).custom_flags(libc::O_PATH).open(folder)?;
        let rule = PathBeneath { allowed: LEFT, folder: folder.as_raw_fd() };
        // SAFETY: the pointer is to a live value of the form that goes with this kind of rule.
        cerr::<c_long>(unsafe {
            libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), BENEATH, &raw const rule, 0)
        })?;
    }
    // SAFETY: no pointers.
    cerr::<c_long>(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) })?;
    Ok(())
}

/// The version of the kernel's Landlock.
fn version() -> io::Result<c_long> {
    // SAFETY: with this flag the call takes no ruleset.
    cerr(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0 as c_long, 0 as c_long, ASK_VERSION) })
}

/// The rights that this version of Landlock can take away.
const fn handled(version: c_long) -> u64 {
    let newer = match version {
        1 => 0,
        2 => MOVE,
        _ => MOVE | TRUNCATE,
    };
    EXECUTE | WRITE_FILE | CHANGE_FOLDER | newer
}

/// # Safety
/// The descriptor is new and owned by nobody else.
unsafe fn descriptor(number: c_long) -> io::Result<OwnedFd> {
    let number = c_int::try_from(number).map_err(io::Error::other)?;
    // SAFETY: as this function's own condition.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::privileges::forbid_new_privileges;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};
    use std::io::Write as _;

    #[test]
    fn files_are_written_in_the_folders_alone() {
        if let Err(error) = version() {
            // Not `eprintln!`, whose output the test runner drops.
            let _ = writeln!(io::stderr(), "NOT TESTED: this kernel has no Landlock: {error}");
            return;
        }
        let base = std::env::temp_dir().join(format!("ketuk-landlock-{}", std::process::id()));
        let [inside, outside] = ["inside", "outside"].map(|name| base.join(name));
        for folder in [&inside, &outside] {
            std::fs::create_dir_all(folder).expect("a folder");
            std::fs::write(folder.join("old"), "old").expect("a file");
        }
        let try_all = |folder: &Path| {
            let [old, new, moved] = ["old", "new", "moved"].map(|name| folder.join(name));
            let written = File::options().append(true).open(&old).is_ok();
            let made = std::fs::write(&new, "new").is_ok() && std::fs::rename(&new, &moved).is_ok();
            let removed = std::fs::remove_file(&moved).is_ok() || std::fs::remove_file(&old).is_ok();
            [written, made, removed, std::fs::read(&old).is_ok()]
        };
        // SAFETY: the child calls nothing but system calls and the allocator, of which glibc and musl take care.
        let ended = match unsafe { fork() }.expect("a process") {
            ForkResult::Parent { child } => waitpid(child, None).expect("the child"),
            ForkResult::Child => {
                let bound = forbid_new_privileges().and_then(|()| write_only_below([&*inside].into_iter()));
                let is_right = bound.is_ok()
                    && try_all(&inside) == [true; 4]
                    && try_all(&outside) == [false, false, false, true];
                // SAFETY: it does not return.
                unsafe { libc::_exit(if is_right { 7 } else { 8 }) }
            }
        };
        std::fs::remove_dir_all(&base).expect("the folder");
        assert!(matches!(ended, WaitStatus::Exited(_, 7)), "{ended:?}");
    }
}
