//! The kinds of faults and of knocks, and the knocks that each fault may cost.

use std::time::Duration;

/// A fault that the soak causes at a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Killed,
    Restarted,
    Frozen,
    Reloaded,
    ReloadedWrong,
    ClockJump,
    DiskFull,
    FirewallReplaced,
    FirewallDeleted,
    FirewallFlushed,
    CarrierLost,
    DeviceDown,
    ConnectionsFull,
    OthersSets,
}

/// The kind of a knock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Packet,
    Changing,
    Plain,
    Renewal,
}

impl Fault {
    /// The name of the fault in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Killed => "daemon killed (SIGKILL) and started again",
            Self::Restarted => "daemon stopped (SIGTERM) and started again",
            Self::Frozen => "daemon stopped (SIGSTOP) while netlink's queue overflows",
            Self::Reloaded => "configuration changed and reloaded",
            Self::ReloadedWrong => "wrong configuration reloaded",
            Self::ClockJump => "wall clock years off",
            Self::DiskFull => "disk full",
            Self::FirewallReplaced => "firewall replaced in one transaction",
            Self::FirewallDeleted => "firewall's table deleted, and loaded later",
            Self::FirewallFlushed => "ruleset flushed, and loaded later",
            Self::CarrierLost => "carrier of the WAN lost",
            Self::DeviceDown => "device of the WAN down",
            Self::ConnectionsFull => "table of connections full",
            Self::OthersSets => "flood of other programs' changes, and reloads meanwhile",
        }
    }

    /// Whether it may cost a right knock of this kind. A renewal is a packet.
    pub(crate) const fn loses(self, kind: Kind) -> bool {
        match self {
            Self::Killed | Self::Restarted | Self::CarrierLost | Self::DeviceDown => true,
            // Users' knocks carry a time, and are taken only when that can be remembered.
            Self::ClockJump | Self::DiskFull => !matches!(kind, Kind::Plain),
            _ => false,
        }
    }

    /// Whether it may keep a grant out of the firewall for some time, without the loss of a knock.
    pub(crate) const fn delays(self) -> bool {
        self.touches_firewall() || matches!(self, Self::Frozen)
    }

    /// Whether elements may be missing from the firewall while the fault lasts.
    pub(crate) const fn touches_firewall(self) -> bool {
        matches!(self, Self::FirewallReplaced | Self::FirewallDeleted | Self::FirewallFlushed)
    }

    /// The time after its end in which the fault may still have effects.
    pub(crate) const fn settles(self) -> Duration {
        Duration::from_millis(match self {
            // A packet counts only if its second is after the second of the start.
            Self::Killed | Self::Restarted => 2500,
            // The neighbours' addresses are looked up again.
            Self::CarrierLost | Self::DeviceDown => 2000,
            // Elements are back within a second.
            _ => 1000,
        })
    }
}

impl Kind {
    /// The kind of knockers, for the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Packet => "users' packets",
            Self::Changing => "users' changing sequences",
            Self::Plain => "plain sequences",
            Self::Renewal => "renewals",
        }
    }
}
