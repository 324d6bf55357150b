//! The backend, which opens and shuts doors on this host. The daemon chooses it at the start.

use std::fmt;
use std::io;

use super::error::NftError;
use super::{own, sweep};
use crate::config::{self, Config, HAS_IPTABLES, NftTable, TableFamily};
use crate::firewall::events::Events;
use crate::firewall::iptables::{Iptables, Shutting};
use crate::firewall::sets::Sets;
use crate::linux::process::find_program;

/// The means by which doors open.
#[derive(Debug)]
pub enum Backend {
    /// Elements of nftables sets.
    Nft {
        /// `fw4`, `nft` or `own`.
        name: &'static str,
        /// The doors' sets.
        sets: Box<Sets>,
        /// Notifications of changed tables and sets.
        events: Events,
    },
    /// Rules, made by `iptables` and `ip6tables`.
    Iptables(Iptables),
    /// No firewall: only the doors' own commands run.
    None,
}

/// Why no backend works on this host.
#[derive(Debug)]
pub enum BackendError {
    /// The kernel's firewall cannot be reached.
    Nft(io::Error),
    /// The backend is `iptables`, but the program was not found.
    NoIptables,
    /// This host needs backend `iptables`, which this build lacks.
    NotBuilt,
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nft(error) => {
                let what_to_do = match error.raw_os_error() {
                    Some(libc::EPERM | libc::EACCES) => "run ketukd as root, or with CAP_NET_ADMIN",
                    _ => "load the module nf_tables, or set backend to iptables",
                };
                write!(f, "cannot reach the kernel's firewall: {error}: {what_to_do}")
            }
            Self::NoIptables => f.write_str("backend 'iptables': there is no iptables program"),
            Self::NotBuilt => f.write_str(
                "this host needs backend 'iptables', and this ketukd was built without it: no door can open, and ketukd shuts \
                 no port: install the whole ketukd",
            ),
        }
    }
}

/// The kinds of backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// The sets of OpenWrt's `table inet fw4`.
    Fw4,
    /// The sets of a table that the configuration names.
    Nft,
    /// The daemon's own table.
    Own,
    /// Rules of iptables.
    Iptables(Shutting),
    /// Commands alone.
    None,
}

impl BackendKind {
    /// Whether the daemon itself shuts the doors' ports.
    pub const fn shuts(self) -> bool {
        matches!(self, Self::Own | Self::Iptables(Shutting::OwnChain))
    }
}

/// The backend that the configuration names, or else the one that fits this host.
pub fn resolve(config: &Config) -> BackendKind {
    match config.globals.backend {
        config::BackendOption::Auto => {}
        config::BackendOption::Fw4 => return BackendKind::Fw4,
        config::BackendOption::Nft => return BackendKind::Nft,
        config::BackendOption::Own => return BackendKind::Own,
        config::BackendOption::Iptables => return BackendKind::Iptables(Shutting::Firewall),
        config::BackendOption::None => return BackendKind::None,
    }
    // An older router may have neither nf_tables nor its netlink family.
    let has_fw4 = Sets::connect(fw4()).map(|mut sets| sets.table_exists());
    // If fw4 is installed but its table is missing, fw4 will make the table.
    if matches!(has_fw4, Ok(Ok(true))) || find_program("fw4").is_some() {
        BackendKind::Fw4
    } else if config.globals.nft_table.is_some() {
        BackendKind::Nft
    } else if find_program("fw3").is_some() {
        BackendKind::Iptables(Shutting::Firewall)
    } else if matches!(has_fw4, Ok(Ok(_) | Err(NftError::Denied))) {
        BackendKind::Own
    } else {
        BackendKind::Iptables(Shutting::OwnChain)
    }
}

/// OpenWrt's table.
pub fn fw4() -> NftTable {
    NftTable { family: TableFamily::Inet, name: "fw4".to_owned() }
}

impl Backend {
    /// Sets up the backend that the configuration names or that fits this host.
    ///
    /// # Errors
    /// The backend does not work on this host.
    pub fn find(config: &Config) -> Result<Self, BackendError> {
        let named = || config.globals.nft_table.clone().unwrap_or_else(fw4);
        match resolve(config) {
            BackendKind::Fw4 => Self::nft("fw4", named()),
            BackendKind::Nft => Self::nft("nft", named()),
            BackendKind::Own => Self::nft("own", own::table()),
            BackendKind::Iptables(shutting) => Self::by_iptables(shutting),
            BackendKind::None => Ok(Self::None),
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

    /// The backend's kind.
    pub fn kind(&self) -> BackendKind {
        match self {
            Self::Nft { name: "own", .. } => BackendKind::Own,
            Self::Nft { name: "fw4", .. } => BackendKind::Fw4,
            Self::Nft { .. } => BackendKind::Nft,
            Self::Iptables(iptables) => BackendKind::Iptables(iptables.shutting),
            Self::None => BackendKind::None,
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
                let NftTable { family, name } = sets.table();
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

    /// The notifications of the firewall, for nftables.
    pub fn events(&self) -> Option<&Events> {
        match self {
            Self::Nft { events, .. } => Some(events),
            _ => None,
        }
    }

    /// Whether the firewall's tables or sets have changed since the last call.
    pub fn changed(&mut self) -> bool {
        match self {
            Self::Nft { events, .. } => events.drain(),
            _ => false,
        }
    }

    /// The programs and chains, for iptables.
    pub fn iptables(&self) -> Option<&Iptables> {
        match self {
            Self::Iptables(iptables) if HAS_IPTABLES => Some(iptables),
            _ => None,
        }
    }

    fn nft(name: &'static str, table: NftTable) -> Result<Self, BackendError> {
        let sets = Box::new(Sets::connect(table).map_err(BackendError::Nft)?);
        Ok(Self::Nft { name, sets, events: Events::open().map_err(BackendError::Nft)? })
    }

    fn by_iptables(shutting: Shutting) -> Result<Self, BackendError> {
        if !HAS_IPTABLES {
            return Err(BackendError::NotBuilt);
        }
        if find_program("iptables").is_none() {
            return Err(BackendError::NoIptables);
        }
        if shutting == Shutting::OwnChain {
            let iptables = sweep::working();
            return Ok(Self::Iptables(Iptables { sets: sweep::has_sets(&iptables), ..iptables.own_chain() }));
        }
        // On OpenWrt the rules go into the chain of the WAN zone, because fw3 makes INPUT anew at each reload.
        let fw3 = Iptables::fw3();
        let iptables = if sweep::has_chain(&fw3, fw3.input()) { fw3 } else { Iptables::default() };
        Ok(Self::Iptables(Iptables { sets: sweep::has_sets(&iptables), ..iptables }))
    }
}

#[cfg(all(test, not(feature = "iptables")))]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_was_left_out_is_never_taken() {
        let mut config = config::parse("file", b"").expect("a configuration");
        config.globals.backend = config::BackendOption::Iptables;
        let error = Backend::find(&config).expect_err("it is not there");
        assert!(error.to_string().starts_with("this host needs backend 'iptables'"), "{error}");
        let backend = Backend::Iptables(Iptables::default());
        assert!(backend.iptables().is_none());
    }
}
