//! The rules of doors and users: the part of the configuration that decisions depend on.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use crate::door::DoorId;
use crate::hours::Hours;
use crate::network::Network;
use crate::ports::{DoorSet, PortRange, ProtocolPorts};
use crate::sequence::{Protocol, Step};
use crate::user::UserId;

/// The configuration, as the deciding code reads it.
pub trait Policy {
    /// A door that is there and enabled.
    fn door(&self, id: DoorId) -> Option<DoorRules<'_>>;
    /// The name of a door that is there.
    fn name(&self, id: DoorId) -> Option<&str>;
    /// The door of this name.
    fn find(&self, name: &str) -> Option<DoorId>;
    /// A user who is there and enabled.
    fn user(&self, id: UserId) -> Option<UserRules<'_>>;
}

/// The rules of one door: who may open it, when, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct DoorRules<'a> {
    /// The networks that may knock; empty for all.
    pub src: &'a [Network],
    /// When it may be opened; none for always.
    pub hours: Option<Hours>,
    /// The doors that its knock shuts. Such a door opens nothing itself.
    pub closes: Option<DoorSet>,
    /// The network around the knocker's address that it opens for.
    pub prefix: GrantPrefix,
    /// The time that it stays open; `None` means until somebody shuts it.
    pub open_time: Option<Duration>,
    /// The longest time that a user may ask for; `None` means no bound.
    pub max_time: Option<Duration>,
    /// When it shuts.
    pub close: Close,
    /// Whether each knock runs a command that is never undone. Such a door is never open.
    pub is_momentary: bool,
    /// Whether each of its sequences opens it only once.
    pub is_one_time: bool,
    /// The ports that open; none for a door that only runs commands.
    pub opening: Option<OpeningRules<'a>>,
    /// The ports of which a user may open any that the user asks for; empty for a door whose ports are fixed.
    pub any_port: &'a [ProtocolPorts],
    /// For a door that only runs commands: the port that fwknop's clients ask for.
    pub fwknop_port: Option<Step>,
}

/// The ports that a door opens.
#[derive(Clone, Copy, Debug)]
pub struct OpeningRules<'a> {
    /// The protocols.
    pub protocols: &'a [Protocol],
    /// The ports, on the router or on the hosts behind it.
    pub dest_port: &'a [PortRange],
    /// For a port forward: the ports on the router, and the hosts behind it.
    pub forward: Option<(&'a [PortRange], &'a [IpAddr])>,
}

/// The rules of one user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserRules<'a> {
    /// The doors that the user may open.
    pub doors: DoorSet,
    /// The networks that the user may knock from, and for; empty for all.
    pub src: &'a [Network],
    /// Whether the user's packets must name the address to open for.
    pub require_address: bool,
    /// Whether the user may open for an address other than the one that the knock comes from.
    pub other_address: bool,
    /// From this time on the user may not open anything, in seconds since 1970.
    pub expires: Option<u64>,
}

impl UserRules<'_> {
    /// Whether the user has expired.
    pub fn is_expired(&self, wall_s: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= wall_s)
    }

    /// Whether the user may open this door.
    pub const fn may_open(&self, door: DoorId) -> bool {
        self.doors.contains(door)
    }
}

/// The prefix of the network that is let in with the knocker's address, in bits; `None` lets in this address alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrantPrefix {
    /// `grant_prefix_4`.
    pub v4: Option<u8>,
    /// `grant_prefix_6`.
    pub v6: Option<u8>,
}

impl GrantPrefix {
    /// The prefix for this address's family.
    pub const fn of(self, address: IpAddr) -> Option<u8> {
        match address {
            IpAddr::V4(_) => self.v4,
            IpAddr::V6(_) => self.v6,
        }
    }

    /// The network that is let in with `address`; none if it is let in alone.
    pub fn network(self, address: IpAddr) -> Option<Network> {
        Network::of(address, self.of(address)?)
    }

    /// The address or the network that is let in for `address`, as it is written in messages.
    pub fn shown(self, address: IpAddr) -> Shown {
        self.network(address).map_or(Shown::Alone(address), Shown::Together)
    }

    /// The address under which a grant for `address` is kept: the first of its network, or itself.
    pub fn group(self, address: IpAddr) -> IpAddr {
        self.network(address).map_or(address, |network| network.address())
    }
}

/// The address or the network that a door is open for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// One address.
    Alone(IpAddr),
    /// A network.
    Together(Network),
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alone(address) => address.fmt(f),
            Self::Together(network) => network.fmt(f),
        }
    }
}

/// When a door shuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// After `open_time`. Connections that exist then go on.
    Timeout,
    /// After `open_time`, but not while the knocker has a connection through it.
    Session {
        /// `max_time`, if it is given. The door shuts then, even if connections remain.
        max: Option<Duration>,
    },
}
