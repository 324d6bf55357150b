//! What stands at the doors: the core, which decides, and what its decisions are carried out on.

use std::hash::RandomState;
use std::net::IpAddr;

use super::audience::Audience;
use super::clock_trust::ClockTrust;
use super::gate::Gate;
use super::household::Household;
use super::one_time::Lines;
use super::watch::Watch;
use crate::control::server::Client;
use crate::core::door::DoorId;
use crate::core::doorkeeper::Doorkeeper;

/// A client whose door a program is opening.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) client: Client,
    pub(super) door: DoorId,
    pub(super) address: IpAddr,
}

/// It judges each packet (`packets`), opens and shuts (`opening`), puts back what was lost (`restore`) and answers the
/// operator (`requests`).
#[derive(Debug)]
pub(super) struct Porter<'t> {
    pub(super) keeper: Doorkeeper<'t, RandomState>,
    pub(super) household: Household,
    pub(super) gate: Gate,
    pub(super) clock: ClockTrust,
    pub(super) lines: Lines,
    pub(super) audience: Audience,
    /// What the firewall makes of the doors.
    pub(super) watch: Watch,
    /// Clients whose door a program is opening.
    pub(super) waiting: Vec<Waiting>,
}

impl<'t> Porter<'t> {
    /// A porter without doors.
    pub(super) fn new(keeper: Doorkeeper<'t, RandomState>, gate: Gate, clock: ClockTrust) -> Self {
        Self {
            keeper,
            household: Household::default(),
            gate,
            clock,
            lines: Lines::default(),
            audience: Audience::new(),
            watch: Watch::default(),
            waiting: Vec::new(),
        }
    }
}
