//! The faults of doors that the check of the loaded rules finds, with their sentences.

use std::fmt;

use crate::core::sequence::Protocol;
use crate::firewall::iptables::Shutting;
use crate::firewall::loaded::ChainName;

/// A fault of a door, found in the loaded rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The door's name.
    pub(crate) door: String,
    /// The protocol of the packet that showed the fault.
    pub(crate) protocol: Protocol,
    /// The port that strangers see.
    pub(crate) port: u16,
    /// The device that the packet came in by.
    pub(crate) device: String,
    /// The fault.
    pub(crate) fault: Fault,
}

/// The kinds of faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Everybody can reach the door's port without a knock.
    Open {
        /// Whether a program listens on the port now.
        answered: bool,
        /// The firewall that should shut the port.
        shutting: Shutting,
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

/// Why it is not known whether the loaded rules pass a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A rule depends on something that the daemon does not know.
    Rule,
    /// The rules of iptables-legacy cannot be read.
    Unread,
}

/// A program that manages the firewall.
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
}

impl Finding {
    /// The fault.
    pub fn what(&self) -> String {
        let Self { door, protocol, port, device, fault } = self;
        match fault {
            Fault::Unknown(_) => format!(
                "door '{door}': {protocol} port {port} may be open to everybody: it is not known whether it can be \
                 reached without a knock on {device}"
            ),
            Fault::Open { answered: true, .. } => {
                format!("door '{door}': {protocol} port {port} can be reached without a knock on {device}")
            }
            Fault::Open { answered: false, .. } => format!(
                "door '{door}': {protocol} port {port} can be reached without a knock on {device} (nothing listens on \
                 it now)"
            ),
            Fault::Blocked { by, .. } => format!(
                "door '{door}': {protocol} port {port} stays shut on {device} even after a knock: {by} drops the \
                 packets that the door lets in"
            ),
        }
    }

    /// The advice, or the reason why nothing is known.
    pub fn advice(&self) -> String {
        let Self { protocol, port, device, fault, .. } = self;
        match fault {
            Fault::Unknown(Obstacle::Rule) => "it depends on a rule that ketukd cannot follow".to_owned(),
            Fault::Unknown(Obstacle::Unread) => {
                "only root can read the rules of iptables-legacy: run 'ketukd check' as root".to_owned()
            }
            Fault::Open { shutting: Shutting::Firewall, .. } => {
                "close it in the firewall, or let ketuk do so with backend 'own'".to_owned()
            }
            Fault::Open { shutting: Shutting::OwnChain, .. } => {
                "ketukd makes chain ketuk_input at its start, and logs the reason if it cannot".to_owned()
            }
            Fault::Blocked { maker, .. } => match maker {
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
                Maker::Other => {
                    "accept the port there, because the door keeps it shut for strangers".to_owned()
                }
            },
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = match self.fault {
            Fault::Unknown(_) | Fault::Open { .. } => ": ",
            Fault::Blocked { .. } => "; ",
        };
        write!(f, "{}{separator}{}", self.what(), self.advice())
    }
}
