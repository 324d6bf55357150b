//! The porter: the core, which decides, and the parts that carry out its decisions.

use std::hash::RandomState;
use std::net::IpAddr;

use super::audience::Audience;
use super::clock_trust::ClockTrust;
use super::gate::Gate;
use super::household::Household;
use super::lines::OneTimeLines;
use super::monitor::Monitor;
use super::watch::Watch;
use crate::control::server::Client;
use crate::core::door::DoorId;
use crate::core::doorkeeper::Doorkeeper;

/// A client that waits for a program to open its door.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) client: Client,
    pub(super) door: DoorId,
    pub(super) address: IpAddr,
}

/// The porter judges each packet (`packets`), opens and shuts doors (`opening`), restores lost grants (`restore`) and
/// answers the operator (`requests`).
#[derive(Debug)]
pub(super) struct Porter<'t> {
    pub(super) keeper: Doorkeeper<'t, RandomState>,
    pub(super) household: Household,
    pub(super) gate: Gate,
    pub(super) clock: ClockTrust,
    pub(super) lines: OneTimeLines,
    pub(super) audience: Audience,
    /// Findings about the doors in the loaded firewall.
    pub(super) watch: Watch,
    /// Clients that wait for a program to open their door.
    pub(super) waiting: Vec<Waiting>,
}

impl<'t> Porter<'t> {
    /// A porter without doors.
    pub(super) fn new(keeper: Doorkeeper<'t, RandomState>, gate: Gate, clock: ClockTrust) -> Self {
        let mut audience = Audience::new();
        audience.hotplug.set_caller(gate.monitor().map(Monitor::caller));
        Self {
            keeper,
            household: Household::default(),
            gate,
            clock,
            lines: OneTimeLines::default(),
            audience,
            watch: Watch::default(),
            waiting: Vec::new(),
        }
    }
}
