//! The configuration: UCI text in, a typed and bounded [`Config`] out.
//!
//! Values are checked here once. The rest of the daemon works with types that cannot hold a wrong value.

pub mod device;
mod error;
mod exposed;
mod load;
mod secret;
pub mod uci;
mod user;

pub use error::{Diagnostic, Error};
pub use exposed::FirewallFile;
pub(crate) use load::is_page;
pub use load::{load, load_opened, nearest, parse};
pub use user::{AuthOptions, User, sequence_warnings, warnings};

pub use crate::protocol::{MAX_NAME, PortRange};

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use crate::core::access::{Close, GrantPrefix};
use crate::core::door;
use crate::core::hours::Hours;
use crate::core::network::{AddressFamily, Network};
use crate::core::ports::ProtocolPorts;
use crate::core::sequence::{Protocol, Step};

/// Most devices to listen on. Each device costs two sockets.
pub const MAX_DEVICES: usize = 8;
/// Most port ranges in one list of a door.
pub const MAX_PORT_RANGES: usize = 16;
/// Most values in a door's `allow_port`.
pub const MAX_ALLOW_PORT: usize = 64;
/// Most networks in a door's `src`.
pub const MAX_SRC: usize = 64;
/// Longest command, in bytes.
pub const MAX_COMMAND: usize = 1024;
/// Most ports in all `trap_except` lists together. There are only some hundreds of traps.
pub const MAX_TRAP_EXCEPT: usize = 4096;
/// Longest `open_time` and `max_time`, in seconds: 31 days. Their milliseconds fit into 32 bits. A port that must be
/// open for longer needs a rule of the firewall, not a door.
pub const MAX_OPEN_TIME_S: u32 = 31 * 24 * 3600;
/// The default of `open_time`.
pub const OPEN_TIME: Duration = Duration::from_secs(30);
/// Largest configuration file, in bytes: 64 doors with long commands fit.
pub const MAX_FILE: usize = 256 * 1024;

/// A whole configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `config globals`.
    pub globals: Globals,
    /// `config door`, in the file's order, disabled ones too. At most [`door::MAX_DOORS`].
    pub doors: Vec<Door>,
    /// `config user`, in the file's order, disabled ones too. At most [`crate::core::user::MAX_USERS`].
    pub users: Vec<User>,
}

/// Whether this build has the backend `iptables`, which is one of Cargo's features. Code behind this test is left out of a build
/// without it.
pub const HAS_IPTABLES: bool = cfg!(feature = "iptables");

/// `config globals 'globals'`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Globals {
    /// `enabled`, for the init script. `ketukd run` ignores it.
    pub enabled: bool,
    /// `list network`: logical networks. The init script finds their devices.
    pub networks: Vec<String>,
    /// `list device`: devices to listen on; `any` is all of them.
    pub devices: Vec<String>,
    /// `backend`.
    pub backend: BackendOption,
    /// `nft_table`, for example `inet fw4`; a name alone means family inet.
    pub nft_table: Option<NftTable>,
    /// `log_level`.
    pub log_level: LogLevel,
    /// `log_file`, beside syslog.
    pub log_file: Option<PathBuf>,
    /// `list trap_except`, of the globals and of every door: ports that are never traps. No duplicates, at most
    /// [`MAX_TRAP_EXCEPT`].
    pub trap_except: Vec<Step>,
    /// `command_timeout`: the longest time that a door's command may run; `None` means no limit.
    pub command_timeout: Option<Duration>,
    /// The rules for all users.
    pub auth: AuthOptions,
    /// `page`: the address of the knock page, for invitations.
    pub page: Option<String>,
}

/// The backend, which opens doors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendOption {
    /// The one that fits this host, found at the start.
    #[default]
    Auto,
    /// Sets of `table inet fw4`.
    Fw4,
    /// Sets of the table that `nft_table` names.
    Nft,
    /// A table of the daemon's own, which shuts the doors' ports.
    Own,
    /// `iptables` and `ip6tables`.
    Iptables,
    /// Only the doors' own commands.
    None,
}

/// An nftables table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NftTable {
    /// Its family.
    pub family: TableFamily,
    /// Its name, an nftables identifier of at most 255 bytes.
    pub name: String,
}

/// The families of tables whose sets can hold addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFamily {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
}

impl TableFamily {
    /// The family's name in nft's syntax.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
        }
    }

    /// Whether sets of such a table can hold addresses of this family.
    pub const fn holds(self, family: AddressFamily) -> bool {
        matches!(
            (self, family),
            (Self::Inet, _) | (Self::Ip, AddressFamily::V4) | (Self::Ip6, AddressFamily::V6)
        )
    }
}

/// `log_level`: the least severe messages that are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something does not work.
    Error,
    /// Something may not work.
    Warn,
    /// The events that knockd logs: stages, opens, commands.
    #[default]
    Notice,
    /// Refusals and resets too.
    Info,
    /// Everything.
    Debug,
}

/// What a clean stop of the daemon does to open doors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStop {
    /// They are shut.
    Shut,
    /// They stay open until the kernel's timer ends.
    Keep,
}

/// `config door 'NAME'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// The section's name: 1 to [`MAX_NAME`] of `[A-Za-z0-9_]`.
    pub name: String,
    /// `enabled`, on by default.
    pub enabled: bool,
    /// The knock.
    pub knock: door::DoorKnock,
    /// `list src`: the networks that may knock; empty if all may.
    pub src: Vec<Network>,
    /// `start_time`, `stop_time`, `weekdays`: when the door may be opened; `None` means always.
    pub hours: Option<Hours>,
    /// `list door` of a door with `action 'close'`: the doors that its knock shuts for the knocker. Empty for a door
    /// that opens. Each one exists in this configuration and opens something.
    pub closes: Vec<String>,
    /// `grant_prefix_4`, `grant_prefix_6`: the network that is let in with the knocker.
    pub grant_prefix: GrantPrefix,
    /// The ports that the door opens; `None` for a door that only runs commands.
    pub opening: Option<DoorPorts>,
    /// `any_port`, within `allow_port`: the ports of which a user may open any that the user asks for. Empty for a door whose
    /// ports are fixed.
    pub any_port: Vec<ProtocolPorts>,
    /// How long it stays open. `None` (`open_time '0'`) means until it is shut.
    pub open_time: Option<Duration>,
    /// `fwknop_port`: the port that an fwknop client asks for to get this door, for a door that opens no port.
    pub fwknop_port: Option<Step>,
    /// `one_time_sequences`: absolute path of a file with sequences that open the door once each.
    pub one_time: Option<PathBuf>,
    /// `max_time`: the longest time that a client may ask for; `None` means no limit. Never less than `open_time`.
    pub max_time: Option<Duration>,
    /// `close`: when the door shuts.
    pub close: Close,
    /// `kill`: whether the connections through the door are cut when it shuts.
    pub kill: bool,
    /// Commands to run, beside the firewall or instead of it.
    pub commands: Commands,
    /// `on_stop` of the door, or of the globals if the door has none.
    pub on_stop: OnStop,
}

impl Door {
    /// A door with every option at its default. It opens nothing and has no sequence.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            enabled: true,
            knock: door::DoorKnock::default(),
            src: Vec::new(),
            hours: None,
            closes: Vec::new(),
            grant_prefix: GrantPrefix::default(),
            opening: None,
            any_port: Vec::new(),
            fwknop_port: None,
            open_time: Some(OPEN_TIME),
            one_time: None,
            max_time: Some(OPEN_TIME),
            close: Close::Timeout,
            kill: false,
            commands: Commands::default(),
            on_stop: OnStop::Shut,
        }
    }

    /// Whether it opens ports in the firewall.
    pub fn opens_ports(&self) -> bool {
        self.opening.is_some() || !self.any_port.is_empty()
    }

    /// Whether a user may open every port, because no `allow_port` limits them.
    pub fn opens_every_port(&self) -> bool {
        let opens = |protocol, port| {
            self.any_port.iter().any(|any| {
                any.protocol == protocol && any.ports.contains(port) && any.ports.contains(u16::MAX)
            })
        };
        opens(Protocol::Tcp, 1) && opens(Protocol::Udp, 547)
    }

    /// A step of its own sequence whose port the door also opens.
    pub fn opens_own_step(&self) -> Option<Step> {
        let opening = self.opening.as_ref()?;
        let ports = opening.forward.as_ref().map_or(&opening.dest_port, |forward| &forward.src_dport);
        let opens = |step: &Step| {
            opening.protocols.contains(&step.protocol)
                && ports.iter().any(|range| range.contains(step.port.get()))
        };
        self.knock.sequence.iter().copied().find(opens)
    }

    /// Whether the door has a sequence, so that it opens without a secret.
    pub fn has_sequence(&self) -> bool {
        !self.knock.sequence.is_empty() || self.one_time.is_some()
    }
}

/// The ports that a door opens, in the terms of /etc/config/firewall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorPorts {
    /// `proto`: tcp and udp by default, as in fw4. Never empty.
    pub protocols: Vec<Protocol>,
    /// `dest_port`: ports on the router, or on the host behind it. Never empty, no duplicates. A forward has either
    /// one port here, or the same ports as in [`Forward::src_dport`], each of which keeps its number.
    pub dest_port: Vec<PortRange>,
    /// Set for a port forward.
    pub forward: Option<Forward>,
}

impl fmt::Display for DoorPorts {
    /// Writes the ports that strangers see: `tcp port 22`, `tcp and udp ports 53, 8000-8010`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = self.forward.as_ref().map_or(&self.dest_port, |forward| &forward.src_dport);
        for (index, protocol) in self.protocols.iter().enumerate() {
            write!(f, "{}{protocol}", if index == 0 { "" } else { " and " })?;
        }
        f.write_str(if matches!(ports[..], [one] if one.is_one()) { " port" } else { " ports" })?;
        for (index, range) in ports.iter().enumerate() {
            write!(f, "{} {}", if index == 0 { "" } else { "," }, range.first())?;
            if !range.is_one() {
                write!(f, "-{}", range.last())?;
            }
        }
        Ok(())
    }
}

/// The ports of a door with `any_port`: `tcp ports 22, 8000-8010`.
#[derive(Clone, Copy, Debug)]
pub struct AllowedPorts<'a>(pub &'a [ProtocolPorts]);

impl fmt::Display for AllowedPorts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ports")?;
        for (n, ProtocolPorts { protocol, ports }) in self.0.iter().enumerate() {
            write!(f, "{} {protocol}/{ports}", if n == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// The outside of a port forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// `src_dport`: the ports on the router, by default those of `dest_port`. Never empty.
    pub src_dport: Vec<PortRange>,
    /// `dest_ip`: the hosts on the LAN, at most one of each family. Never empty.
    pub dest_ip: Vec<IpAddr>,
}

/// Commands with `%IP%` in them, for `sh -c`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Commands {
    /// `start_command`, when the door opens.
    pub start: Option<String>,
    /// `start_command_6`, for IPv6. `None` means the same as `start`; an empty text (`'none'` in the file) means none.
    pub start_6: Option<String>,
    /// `stop_command`, when the door shuts.
    pub stop: Option<String>,
    /// `stop_command_6`, for IPv6, with the same rules as `start_6`.
    pub stop_6: Option<String>,
}

impl Commands {
    /// Whether any command is set, for either family.
    pub fn any(&self) -> bool {
        [&self.start, &self.start_6, &self.stop, &self.stop_6]
            .into_iter()
            .flatten()
            .any(|command| !command.trim().is_empty())
    }
}
