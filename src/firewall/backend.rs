//! The way to open doors on this host, found at the start.

use std::fmt;
use std::io;

use super::{own, sweep};
use crate::config::{self, Config, Table, TableFamily};
use crate::firewall::events::Events;
use crate::firewall::iptables::Iptables;
use crate::firewall::sets::Sets;
use crate::linux::process::find_program;

/// How doors are opened.
#[derive(Debug)]
pub enum Backend {
    /// Elements of nftables sets.
    Nft {
        /// `fw4`, `nft` or `own`.
        name: &'static str,
        /// The sets.
        sets: Box<Sets>,
        /// The notices that tables and sets changed.
        events: Events,
    },
    /// Rules by `iptables` and `ip6tables`.
    Iptables(Iptables),
    /// Only the doors' own commands.
    None,
}

/// Why there is no way to open doors.
#[derive(Debug)]
pub enum BackendError {
    /// The kernel's firewall cannot be reached.
    Nft(io::Error),
    /// The backend is `iptables`, and there is none.
    NoIptables,
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nft(error) => {
                write!(
                    f,
                    "cannot reach the kernel's firewall: {error} (nf_tables and CAP_NET_ADMIN are needed)"
                )
            }
            Self::NoIptables => f.write_str("backend 'iptables': there is no iptables program"),
        }
    }
}

/// The backend that the configuration names; for `auto` the one that fits this host, which is never `auto`.
pub fn resolve(config: &Config) -> config::Backend {
    if config.globals.backend != config::Backend::Auto {
        return config.globals.backend;
    }
    // An older router may have neither nf_tables nor its netlink family.
    let has_fw4 = Sets::connect(fw4()).map(|mut sets| sets.table_exists());
    // Where fw4 is installed, it will make its table if that is missing now.
    if matches!(has_fw4, Ok(Ok(true))) || find_program("fw4").is_some() {
        config::Backend::Fw4
    } else if config.globals.nft_table.is_some() {
        config::Backend::Nft
    } else if find_program("fw3").is_some() || !matches!(has_fw4, Ok(Ok(_))) {
        config::Backend::Iptables
    } else {
        config::Backend::Own
    }
}

fn fw4() -> Table {
    Table { family: TableFamily::Inet, name: "fw4".to_owned() }
}

impl Backend {
    /// The backend that the configuration names, or that fits this host.
    ///
    /// # Errors
    /// It cannot work here.
    pub fn find(config: &Config) -> Result<Self, BackendError> {
        let named = || config.globals.nft_table.clone().unwrap_or_else(fw4);
        match resolve(config) {
            config::Backend::Fw4 => Self::nft("fw4", named()),
            config::Backend::Nft => Self::nft("nft", named()),
            config::Backend::Own | config::Backend::Auto => Self::nft("own", own::table()),
            config::Backend::Iptables => Self::by_iptables(),
            config::Backend::None => Ok(Self::None),
        }
    }

    /// `fw4`, `nft`, `own`, `iptables` or `none`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Nft { name, .. } => name,
            Self::Iptables(_) => "iptables",
            Self::None => "none",
        }
    }

    /// Which it is.
    pub fn kind(&self) -> config::Backend {
        match self {
            Self::Nft { name: "own", .. } => config::Backend::Own,
            Self::Nft { name: "fw4", .. } => config::Backend::Fw4,
            Self::Nft { .. } => config::Backend::Nft,
            Self::Iptables(_) => config::Backend::Iptables,
            Self::None => config::Backend::None,
        }
    }

    /// Whether the daemon's own table shuts the doors' ports.
    pub fn is_own(&self) -> bool {
        self.name() == "own"
    }

    /// The table's family and name; empty for other backends.
    pub fn table_name(&self) -> String {
        match self {
            Self::Nft { sets, .. } => {
                let Table { family, name } = sets.table();
                format!("{} {name}", family.name())
            }
            _ => String::new(),
        }
    }

    /// The sets, for nftables.
    pub fn sets(&mut self) -> Option<&mut Sets> {
        match self {
            Self::Nft { sets, .. } => Some(sets),
            _ => None,
        }
    }

    /// The notices of the firewall, for nftables.
    pub fn events(&self) -> Option<&Events> {
        match self {
            Self::Nft { events, .. } => Some(events),
            _ => None,
        }
    }

    /// Whether the firewall's tables or sets changed since this was last asked.
    pub fn changed(&mut self) -> bool {
        match self {
            Self::Nft { events, .. } => events.drain(),
            _ => false,
        }
    }

    /// The programs, for iptables.
    pub fn iptables(&self) -> Option<&Iptables> {
        match self {
            Self::Iptables(iptables) => Some(iptables),
            _ => None,
        }
    }

    fn nft(name: &'static str, table: Table) -> Result<Self, BackendError> {
        let sets = Box::new(Sets::connect(table).map_err(BackendError::Nft)?);
        Ok(Self::Nft { name, sets, events: Events::open().map_err(BackendError::Nft)? })
    }

    fn by_iptables() -> Result<Self, BackendError> {
        if find_program("iptables").is_none() {
            return Err(BackendError::NoIptables);
        }
        // On OpenWrt the chain of the WAN's zone, since INPUT is made anew by each reload.
        let fw3 = Iptables::fw3();
        let iptables = if sweep::has_chain(&fw3, fw3.input()) { fw3 } else { Iptables::default() };
        Ok(Self::Iptables(Iptables { sets: sweep::has_sets(&iptables), ..iptables }))
    }
}
