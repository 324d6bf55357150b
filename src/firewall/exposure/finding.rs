//! The faults of doors that the check of the loaded rules finds, with their sentences.

use std::fmt;

use crate::config::{HAS_IPTABLES, NftTable};
use crate::core::sequence::Protocol;
use crate::firewall::loaded::ChainName;

/// A fault of a door, found in the loaded rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorFinding {
    /// The door's name.
    pub(crate) door: String,
    /// The protocol of the packet that showed the fault.
    pub(crate) protocol: Protocol,
    /// The port that strangers see.
    pub(crate) port: u16,
    /// The device that the packet came in by.
    pub(crate) device: String,
    /// The fault.
    pub(crate) fault: DoorFault,
}

/// The kinds of faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DoorFault {
    /// Everybody can reach the door's port without a knock.
    Open {
        /// Whether a program listens on the port now.
        answered: bool,
        /// What should shut the port.
        shutting: PortShutter,
    },
    /// It is not known whether everybody can reach the door's port without a knock.
    Unknown(Obstacle),
    /// A knocker cannot reach the port, because this chain drops the packets.
    Blocked {
        /// The chain.
        by: ChainName,
        /// The program that made the rules.
        maker: Maker,
    },
}

/// What should shut a door's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortShutter {
    /// The host's firewall.
    Firewall,
    /// The daemon's own table.
    OwnTable,
    /// The daemon's own chains of iptables.
    OwnChain,
}

/// Why it is not known whether the loaded rules pass a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A rule depends on something that the daemon does not know.
    Rule,
    /// The rules of iptables-legacy cannot be read.
    Unread,
}

/// A program that manages the firewall, or the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// `ufw`
    Ufw,
    /// `firewalld`
    Firewalld,
    /// Docker
    Docker,
    /// OpenWrt's firewall.
    Fw4,
    /// Another program.
    Other,
    /// The operator, who loads the doors' rules into this table.
    Operator,
}

impl DoorFault {
    /// Notes that the daemon's own table shuts the doors' ports.
    pub(super) const fn note_own_table(&mut self) {
        if let Self::Open { shutting, .. } = self {
            *shutting = PortShutter::OwnTable;
        }
    }

    /// Notes that the operator loads the doors' rules into this table, where nothing else keeps the ports shut for strangers.
    pub(super) fn note_table_of_doors(&mut self, table: &NftTable) {
        if let Self::Blocked { by, maker } = self
            && by.is_in(table)
            && *maker != Maker::Fw4
        {
            *maker = Maker::Operator;
        }
    }
}

impl DoorFinding {
    /// Whether the door's rule may be about to be loaded, by OpenWrt's firewall or by the operator.
    pub const fn may_be_loading(&self) -> bool {
        matches!(self.fault, DoorFault::Blocked { maker: Maker::Fw4 | Maker::Operator, .. })
    }

    /// The fault.
    pub fn what(&self) -> String {
        let Self { door, protocol, port, device, fault } = self;
        match fault {
            DoorFault::Unknown(_) => format!(
                "door '{door}': {protocol} port {port} may be open to everybody: it is not known whether it can be \
                 reached without a knock on {device}"
            ),
            DoorFault::Open { answered: true, .. } => {
                format!("door '{door}': {protocol} port {port} can be reached without a knock on {device}")
            }
            DoorFault::Open { answered: false, .. } => format!(
                "door '{door}': {protocol} port {port} can be reached without a knock on {device} (nothing listens on \
                 it now)"
            ),
            DoorFault::Blocked { by, .. } => format!(
                "door '{door}': {protocol} port {port} stays shut on {device} even after a knock: {by} drops the \
                 packets that the door lets in"
            ),
        }
    }

    /// The advice, or the reason why nothing is known.
    pub fn advice(&self) -> String {
        let Self { protocol, port, device, fault, .. } = self;
        match fault {
            DoorFault::Unknown(Obstacle::Rule) => "it depends on a rule that ketukd cannot follow".to_owned(),
            DoorFault::Unknown(Obstacle::Unread) if !HAS_IPTABLES => {
                "this ketukd was built without the reader of iptables-legacy's rules".to_owned()
            }
            DoorFault::Unknown(Obstacle::Unread) => {
                "only root can read the rules of iptables-legacy: run 'ketukd check' as root".to_owned()
            }
            DoorFault::Open { shutting: PortShutter::OwnTable, .. } => {
                format!("if ketukd listens on {device}, a reload shuts it; the log says so if that fails")
            }
            DoorFault::Open { shutting: PortShutter::Firewall, .. } => {
                "close it in the firewall, or let ketuk do so with backend 'own'".to_owned()
            }
            DoorFault::Open { shutting: PortShutter::OwnChain, .. } => {
                "ketukd makes chain ketuk_input at its start, and logs the reason if it cannot".to_owned()
            }
            DoorFault::Blocked { maker, .. } => match maker {
                Maker::Ufw => {
                    format!("run 'ufw allow {port}/{protocol}', because the door keeps it shut for strangers")
                }
                Maker::Firewalld => format!(
                    "run 'firewall-cmd --permanent --add-port={port}/{protocol}' and 'firewall-cmd --reload', \
                     because the door keeps it shut for strangers"
                ),
                Maker::Docker => format!(
                    "run 'iptables -I DOCKER-USER -i {device} -p {protocol} --dport {port} -j ACCEPT', \
                     because the door keeps it shut for strangers"
                ),
                Maker::Fw4 => "reload the firewall, so that it loads the rules of the doors".to_owned(),
                Maker::Operator => "load the rules of the doors: 'ketukd ruleset | nft -f -'".to_owned(),
                Maker::Other => {
                    "accept the port there, because the door keeps it shut for strangers".to_owned()
                }
            },
        }
    }
}

impl fmt::Display for DoorFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = match self.fault {
            DoorFault::Unknown(_) | DoorFault::Open { .. } => ": ",
            DoorFault::Blocked { .. } => "; ",
        };
        write!(f, "{}{separator}{}", self.what(), self.advice())
    }
}
