//! The user that the packet side becomes if the program was started as root.

use std::env;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, lchown};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, Gid, Uid, eaccess, geteuid};

use crate::linux::privileges::Account;

/// The file of users (passwd(5)).
const USERS: &str = "/etc/passwd";

/// The variables that hold the folders of a unit's `RuntimeDirectory=` and `StateDirectory=` (systemd.exec(5)).
const OWN_FOLDERS: [&str; 2] = ["RUNTIME_DIRECTORY", "STATE_DIRECTORY"];

/// The most bytes of [`USERS`] that are read.
const MAX_USERS: u64 = 256 * 1024;

/// The access to a file that the daemon needs when it runs as this user.
#[derive(Clone, Copy, Debug)]
pub(super) enum Use<'a> {
    /// Read it, at each reload.
    Read(&'a Path),
    /// Write it.
    Write(&'a Path),
    /// Make files in this folder.
    Fill(&'a Path),
}

/// Why a daemon that root has started stays root.
#[derive(Debug)]
pub(super) enum StaysRoot {
    /// There is no such user.
    NoUser,
    /// The user could not do what the daemon has to.
    Refused(PathBuf, io::Error),
    /// The user could not fill this folder.
    CannotFill(PathBuf, io::Error),
    /// The rights of the user could not be tried.
    Failed(io::Error),
}

/// The user to become. `None` if this process is not root.
///
/// # Errors
/// There is no such user, or that user could not do what the daemon has to.
pub(super) fn to_become(uses: &[Use<'_>]) -> Result<Option<Account>, StaysRoot> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let account = find().ok_or(StaysRoot::NoUser)?;
    own(account, uses);
    let refused =
        account.act(|| uses.iter().find_map(|needed| needed.check().err().map(|error| (*needed, error))));
    match refused {
        Ok(None) => Ok(Some(account)),
        Ok(Some((Use::Fill(path), error))) => Err(StaysRoot::CannotFill(path.to_owned(), error)),
        Ok(Some((Use::Read(path) | Use::Write(path), error))) => {
            Err(StaysRoot::Refused(path.to_owned(), error))
        }
        // The daemon has given up nothing yet. It goes on as root.
        Err(error) => Err(StaysRoot::Failed(error)),
    }
}

/// Whether this process is root, there is a user to become, and that user has each access in `done`, but not each in
/// `not_done`.
pub(super) fn can_do_one_and_not_the_other(done: &[Use<'_>], not_done: &[Use<'_>]) -> bool {
    let Some(account) = Some(()).filter(|()| geteuid().is_root()).and_then(|()| find()) else { return false };
    own(account, done);
    let can = |uses: &[Use<'_>]| uses.iter().all(|needed| needed.check().is_ok());
    account.act(|| can(done) && !can(not_done)).unwrap_or(false)
}

/// Gives the user the folders that systemd has made for the daemon.
fn own(account: Account, uses: &[Use<'_>]) {
    // systemd has made these folders for the daemon alone. They belong to root if the unit says `User=root`.
    for own in OWN_FOLDERS.iter().filter_map(env::var_os) {
        for path in uses.iter().map(|needed| needed.path()).filter(|path| path.starts_with(&own)) {
            // Where this fails, the user cannot use the file.
            let _ = lchown(path, Some(account.user.as_raw()), Some(account.group.as_raw()));
        }
    }
}

impl<'a> Use<'a> {
    const fn path(self) -> &'a Path {
        match self {
            Self::Read(path) | Self::Write(path) | Self::Fill(path) => path,
        }
    }

    fn check(self) -> io::Result<()> {
        match self {
            Self::Read(path) => File::open(path).map(|_| ()),
            Self::Write(path) => {
                let mut options = OpenOptions::new();
                let options = options.append(true).custom_flags(libc::O_NONBLOCK);
                options.open(path).map(|_| ())
            }
            // The effective user counts, not the real one.
            Self::Fill(path) => Ok(eaccess(path, AccessFlags::W_OK | AccessFlags::X_OK)?),
        }
    }
}

impl fmt::Display for StaysRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUser => f.write_str(
                "the process that reads packets is root, since there is no user ketuk: make one ('useradd --system ketuk'), and restart \
                 ketukd with --socket in a folder of that user",
            ),
            Self::CannotFill(folder, error) => write!(
                f,
                "the process that reads packets is root, since user ketuk cannot make files in {}: {error}: restart ketukd with --socket \
                 in a folder of that user",
                folder.display()
            ),
            Self::Refused(file, error) => write!(
                f,
                "the process that reads packets is root, since user ketuk cannot use {}: {error}: let it, and restart ketukd",
                file.display()
            ),
            Self::Failed(error) => {
                write!(f, "the process that reads packets is root, since it cannot become user ketuk: {error}")
            }
        }
    }
}

/// The user on this host; `None` if there is none. The file is read directly, as the file of groups is.
pub(super) fn find() -> Option<Account> {
    let mut text = Vec::new();
    File::open(USERS).ok()?.take(MAX_USERS).read_to_end(&mut text).ok()?;
    account(&text)
}

fn account(text: &[u8]) -> Option<Account> {
    let line = text.split(|&byte| byte == b'\n').find(|line| line.starts_with(b"ketuk:"))?;
    let mut numbers =
        line.split(|&byte| byte == b':').skip(2).map(|field| str::from_utf8(field).ok()?.parse().ok());
    let (user, group) = (numbers.next()??, numbers.next()??);
    // A user with root's number would be root.
    (user != 0).then(|| Account { user: Uid::from_raw(user), group: Gid::from_raw(group) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_found_by_the_whole_name_and_is_not_root() {
        let found = |text: &str| account(text.as_bytes()).map(|it| (it.user.as_raw(), it.group.as_raw()));
        assert_eq!(
            found("root:x:0:0::/:\nketuk2:x:1:1::/:\nketuk:x:453:454:k:/:/bin/false\n"),
            Some((453, 454))
        );
        for none in ["", "ketuk", "ketuk:x:a:1:", "ketuk:x:1:", "ketuk:x:0:0:::", "aketuk:x:1:1:"] {
            assert_eq!(found(none), None, "{none}");
        }
    }
}
