//! The engine's tables, and the doors that they name for a probe.

use crate::attempts::Attempts;
use crate::counters::Judged;
use crate::door::{DoorId, DoorKnock, MAX_DOORS};
use crate::listening::Listening;
use crate::packet::{Probe, Transport};
use crate::place::Place;
use crate::ports::{DoorSet, PortMap};
use crate::reason::KnockReport;
use crate::sequence::Protocol;

/// The large, fixed tables. They are separate from the engine so that they can be a `static`, which takes no memory until it
/// is used.
#[derive(Debug)]
pub struct EngineTables {
    pub(super) attempts: Attempts,
    pub(super) ports: PortMap,
    pub(super) doors: heapless::Vec<Option<DoorKnock>, MAX_DOORS>,
    pub(super) place: Place,
    pub(super) listening: Listening,
}

impl EngineTables {
    /// No doors, no addresses, no attempts.
    pub const fn new() -> Self {
        Self {
            attempts: Attempts::new(),
            ports: PortMap::new(),
            doors: heapless::Vec::new(),
            place: Place::new(),
            listening: Listening { packets: None, changing: None },
        }
    }

    /// The doors that the probe is for, or the reason why it is for none.
    pub(super) fn concerned(&self, probe: &Probe) -> Result<Concerned, Judged> {
        let own = self.place.is_own(probe.destination);
        let addressed = self.select(|door| door.target.map_or(own, |target| target == probe.destination));
        if addressed.0 == 0 {
            return Err(Judged::NotOurs);
        }
        let flags = match probe.transport {
            Transport::Tcp { flags, .. } => self.select(|door| door.tcp_flags.matches(flags)),
            Transport::Udp { .. } => DoorSet(u64::MAX),
        };
        let doors = addressed.0 & flags.0;
        if doors == 0 {
            return Err(Judged::Flags);
        }
        let (protocol, port) = (probe.transport.protocol(), probe.transport.port());
        let named = DoorSet(doors & self.ports.doors(protocol, port).0);
        if named.0 != 0 {
            Ok(Concerned { named, ..Concerned::default() })
        } else if self.ports.is_trap(protocol, port) {
            Ok(Concerned { trapped: DoorSet(doors), ..Concerned::default() })
        } else if protocol == Protocol::Tcp && self.ports.is_scattered(port) {
            let trapped = DoorSet(doors & self.select(|door| door.tcp_flags.is_first_segment()).0);
            let concerned = Concerned { trapped, ..Concerned::default() };
            if trapped.is_empty() { Err(Judged::NoDoor) } else { Ok(concerned) }
        } else {
            Err(Judged::NoDoor)
        }
    }

    fn select(&self, wanted: impl Fn(&DoorKnock) -> bool) -> DoorSet {
        DoorSet(
            doors_of(&self.doors).filter(|(_, door)| wanted(door)).fold(0, |set, (id, _)| set | 1 << id.0),
        )
    }
}

impl Default for EngineTables {
    fn default() -> Self {
        Self::new()
    }
}

/// The doors that a probe is for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Concerned {
    /// The doors at which it is a step.
    pub(super) named: DoorSet,
    /// The doors at which it is a trap.
    pub(super) trapped: DoorSet,
}

/// Adds the number of the door's steps, and the step that is due after `taken` steps.
pub(super) fn report(doors: &[Option<DoorKnock>], id: DoorId, taken: u8, report: KnockReport) -> KnockReport {
    let Some(door) = doors.get(id.index()).and_then(Option::as_ref) else { return report };
    let steps = u8::try_from(door.sequence.len()).expect("at most MAX_STEPS");
    KnockReport { steps, due: door.sequence.get(usize::from(taken)).copied(), ..report }
}

/// The doors, with their slots.
pub(super) fn doors_of(doors: &[Option<DoorKnock>]) -> impl Iterator<Item = (DoorId, &DoorKnock)> {
    (0..).zip(doors).filter_map(|(slot, door)| Some((DoorId(slot), door.as_ref()?)))
}
