//! The reasons why the kernel's firewall was not changed or read, with advice.

use core::fmt;
use std::sync::Arc;

use nix::errno::Errno;

use crate::config::MAX_NAME;

use super::set_name::SetName;
use crate::linux::netlink::DialogueError;

/// Why the firewall was not changed or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NftError {
    /// The table does not exist.
    MissingTable {
        /// The table's family and name.
        table: Arc<str>,
    },
    /// The table exists, but the set does not.
    MissingSet {
        /// Family and name of the table.
        table: Arc<str>,
        /// The set's name.
        set: Box<SetName>,
    },
    /// This process lacks the right to change the firewall.
    Denied,
    /// The kernel has no `nf_tables`.
    Unsupported,
    /// A door's name is longer than [`MAX_NAME`].
    DoorName,
    /// Another error of the kernel.
    Kernel {
        /// The operation that failed.
        operation: Operation,
        /// The table's family and name.
        table: Arc<str>,
        /// The error.
        errno: Errno,
    },
    /// An answer did not fit its buffer.
    Truncated,
    /// The kernel did not answer in time.
    Silent,
    /// The firewall changed so often that its sets could not be listed.
    Busy,
}

/// The operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Looking for a table.
    FindTable,
    /// Looking for a set.
    FindSet,
    /// Adding an element.
    Add,
    /// Deleting an element.
    Delete,
    /// Committing a batch.
    Commit,
    /// Listing elements or the objects of a table.
    List,
    /// Loading the table with its rules.
    Load,
    /// Deleting the table.
    Unload,
}

impl NftError {
    /// The error for a request without a result.
    pub(super) fn of_dialogue(operation: Operation, table: &Arc<str>, error: DialogueError) -> Self {
        match error {
            DialogueError::Socket(error) => {
                Self::of(operation, table, Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
            }
            DialogueError::Truncated => Self::Truncated,
            DialogueError::Silent => Self::Silent,
        }
    }

    /// The error for the kernel's `errno`.
    pub(super) fn of(operation: Operation, table: &Arc<str>, errno: Errno) -> Self {
        use Operation::{FindSet, FindTable, List};
        match (operation, errno) {
            (_, Errno::EPERM | Errno::EACCES) => Self::Denied,
            // nfnetlink's errors for a missing subsystem: the first for a batch, the second for a query.
            (_, Errno::EOPNOTSUPP) | (FindTable | FindSet | List, Errno::EINVAL) => Self::Unsupported,
            _ => Self::Kernel { operation, table: table.clone(), errno },
        }
    }
}

/// Whether the set's address family cannot occur in the table's family.
fn is_other_family(table: &str, set: &str) -> bool {
    table.starts_with("ip ") && set.ends_with("_6") || table.starts_with("ip6 ") && set.ends_with("_4")
}

impl fmt::Display for NftError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingTable { table } => write!(
                f,
                "the firewall has no table {table}: start the firewall, or name its table with nft_table"
            ),
            Self::MissingSet { table, set } if is_other_family(table, set.as_str()) => write!(
                f,
                "table {table} cannot hold set {set}: only a table of family inet is for IPv4 and IPv6"
            ),
            Self::MissingSet { table, set } => write!(
                f,
                "table {table} has no set {set}: reload the firewall, or load the output of 'ketukd ruleset'"
            ),
            Self::Denied => f.write_str("only root may change the kernel's firewall: run ketukd as root"),
            Self::Unsupported => f.write_str(
                "the kernel has no nf_tables: load the module nf_tables, or set backend to iptables",
            ),
            Self::DoorName => write!(f, "a door's name has at most {MAX_NAME} bytes"),
            Self::Kernel { operation, table, errno } => {
                write!(
                    f,
                    "table {table}: {operation}: {}{}",
                    std::io::Error::from(*errno),
                    advice(*operation, *errno)
                )
            }
            Self::Truncated => f.write_str("the kernel's answer was longer than expected"),
            Self::Silent => f.write_str("the kernel did not answer"),
            Self::Busy => f.write_str("the firewall changed too often meanwhile: try again"),
        }
    }
}

impl std::error::Error for NftError {}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FindTable => "looking for the table",
            Self::FindSet => "looking for a set",
            Self::Add => "adding an address to a set",
            Self::Delete => "deleting an address from a set",
            Self::Commit => "changing a set",
            Self::List => "listing a set",
            Self::Load => "making the table",
            Self::Unload => "deleting the table",
        })
    }
}

/// Advice for an error that a wrong declaration of the set can cause.
fn advice(operation: Operation, errno: Errno) -> &'static str {
    match (operation, errno) {
        (Operation::Load, Errno::ENOENT | Errno::EINVAL | Errno::EOPNOTSUPP) => {
            ": a part of nf_tables is missing (nft_ct, nft_nat, nft_reject_inet)"
        }
        (_, Errno::EINVAL) => {
            ": the set must be declared with `type ipv4_addr` or `ipv6_addr` and `flags timeout`"
        }
        (_, Errno::ENFILE) => ": the set is full, give it a larger `size`",
        (_, Errno::EMSGSIZE) => {
            ": the rules of so many doors and ports do not fit into one message here; raise net.core.wmem_max on the \
             machine, or name fewer ports"
        }
        _ => "",
    }
}
