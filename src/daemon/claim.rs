//! The daemon's claim to the firewall of its network namespace. Two daemons would delete each other's rules and elements.
//!
//! The claim is a Unix socket with an abstract name. The kernel keeps such names for each network namespace, as it keeps the
//! firewall. It gives a name to one socket only, and frees it when the process ends, however it ends.

use std::fmt;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use log::warn;
use nix::unistd::geteuid;

use super::account;
use crate::config::Config;
use crate::firewall::backend::BackendKind;
use crate::linux::unix_sockets::user_of;

/// The abstract name.
const NAME: &str = "ketukd firewall";

/// The claim. It ends when this value is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    /// `None` if the claim could not be made. The daemon goes on without it, because its doors matter more to its user.
    _socket: Option<UnixDatagram>,
}

/// Another daemon has the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed;

/// Whether this configuration changes the firewall with such a backend.
pub(super) fn is_needed(backend: BackendKind, config: &Config) -> bool {
    let cuts = || config.doors.iter().any(|door| door.enabled && door.kill);
    backend != BackendKind::None || cuts()
}

impl Claim {
    /// Claims the firewall.
    ///
    /// # Errors
    /// Another daemon has claimed it.
    pub(super) fn take() -> Result<Self, Claimed> {
        let bind = || SocketAddr::from_abstract_name(NAME).and_then(|name| UnixDatagram::bind_addr(&name));
        let socket = match bind() {
            Err(error) if error.kind() == ErrorKind::AddrInUse => match user_of(NAME.as_bytes()) {
                // Any program may take the name, but it must not keep the daemon from starting.
                Ok(Some(user)) if !is_daemons(user) => {
                    warn!(
                        "a program of user {user} has taken the name '@{NAME}': a second ketukd would not be noticed"
                    );
                    return Ok(Self { _socket: None });
                }
                // The other daemon may have ended just now. Before Linux 5.3, and without its module unix_diag, the kernel does not
                // tell the user.
                Ok(_) | Err(_) => bind(),
            },
            bound => bound,
        };
        match socket {
            Ok(socket) => Ok(Self { _socket: Some(socket) }),
            Err(error) if error.kind() == ErrorKind::AddrInUse => Err(Claimed),
            Err(error) => {
                warn!("a second ketukd would not be noticed: {error}");
                Ok(Self { _socket: None })
            }
        }
    }
}

/// Whether a daemon may run as this user. Root's daemon becomes user `ketuk`.
fn is_daemons(user: u32) -> bool {
    let ketuk = || account::find().is_some_and(|account| account.user.as_raw() == user);
    user == 0 || user == geteuid().as_raw() || ketuk()
}

impl fmt::Display for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "another ketukd changes this firewall: stop it, and let one daemon have the doors of both. Two may run at once in two \
             network namespaces only",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For a daemon that a service manager has started as another user, too.
    #[test]
    fn a_daemon_of_root_or_of_the_same_user_has_the_firewall() {
        let own = geteuid().as_raw();
        assert!(is_daemons(0));
        assert!(is_daemons(own));
        assert!(!is_daemons(u32::MAX));
    }
}
