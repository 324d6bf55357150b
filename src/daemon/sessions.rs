//! Doors that stay open while the knocker has a connection: the daemon counts connections for the core.

use super::gate::{FirewallAnswer, Occasion, connections};
use super::porter::Porter;
use crate::config::Door;
use crate::core::door::DoorId;
use crate::core::moment::Moment;
use crate::core::passage::Passage;

impl Porter<'_> {
    /// Counts connections when that is due, and extends the kernel's timer for sessions that go on.
    pub(super) fn count_connections(&mut self, moment: &Moment) {
        let Self { keeper, household, gate, .. } = self;
        let access = &mut keeper.access;
        if !access.is_count_due(moment.now) && !gate.connections.is_recount_due(moment.now) {
            return;
        }
        let counts = gate.connections.count(moment.now, access.grants(), &household.slots);
        access.count_connections(moment.now, counts.into_iter());
        while let Some((id, passage)) = self.keeper.access.lease_due(moment.now) {
            let Some(door) = self.household.slots.get(id).cloned() else { return };
            if self.put(moment, &door, id, passage, Occasion::First) == Some(FirewallAnswer::Done) {
                self.keeper.access.confirm(id, passage);
            }
        }
    }

    /// Starts a session after a door opened. If the address has no connection through the door yet, the end of each
    /// later one is announced.
    pub(super) fn begin_session(&mut self, door: &Door, id: DoorId, passage: Passage) {
        let access = &mut self.keeper.access;
        if access.grant(id, passage).is_some_and(|grant| grant.session().is_some()) {
            let announced = self.gate.connections.is_announced() && connections::are_none(door, passage);
            access.set_announced(id, passage, announced);
        }
    }

    /// Listens for the ends of connections while a session needs that.
    pub(super) fn watch_connections(&mut self, moment: &Moment) {
        let Self { keeper, household, gate, .. } = self;
        gate.connections.watch(moment.now, keeper.access.grants(), &household.slots);
    }
}
