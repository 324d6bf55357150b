//! The doors by their numbers in the core.

use std::rc::Rc;

use crate::config::{self, Config};
use crate::core::door::{DoorId, MAX_DOORS};
use crate::core::ports::{PortRange, ProtocolPorts};
use crate::core::sequence::Protocol;

/// The enabled doors by slot. A door keeps its slot through a reload, because the core keeps its attempts and grants
/// under that number.
#[derive(Clone, Debug, Default)]
pub struct Slots(Vec<Option<Rc<config::Door>>>);

impl Slots {
    /// The slots of a new configuration. Doors that exist already keep their places.
    #[must_use]
    pub fn with(&self, config: &Config) -> Self {
        let enabled = || config.doors.iter().filter(|door| door.enabled);
        let mut slots: Vec<_> = (0..MAX_DOORS)
            .map(|slot| {
                let name = &self.0.get(slot)?.as_ref()?.name;
                enabled().find(|door| door.name == *name).cloned().map(Rc::new)
            })
            .collect();
        for door in enabled() {
            if !slots.iter().flatten().any(|placed| placed.name == door.name) {
                let free = slots.iter_mut().find(|slot| slot.is_none());
                *free.expect("a configuration has at most MAX_DOORS doors") = Some(Rc::new(door.clone()));
            }
        }
        Self(slots)
    }

    /// The door in a slot.
    pub fn get(&self, id: DoorId) -> Option<&Rc<config::Door>> {
        self.0.get(id.index())?.as_ref()
    }

    /// The slot of a door.
    pub fn find(&self, name: &str) -> Option<DoorId> {
        self.iter().find(|(_, door)| door.name == name).map(|(id, _)| id)
    }

    /// Every door with its slot.
    pub fn iter(&self) -> impl Iterator<Item = (DoorId, &Rc<config::Door>)> {
        (0..).zip(&self.0).filter_map(|(slot, door)| Some((DoorId(slot), door.as_ref()?)))
    }

    /// The doors' sequences and flags for the core.
    pub fn knocks(&self) -> Vec<Option<crate::core::door::DoorKnock>> {
        self.0.iter().map(|door| door.as_ref().map(|door| door.knock.clone())).collect()
    }
}

/// The ports that must not be traps: ports that doors open, users' ports, the configuration's exceptions, and ports
/// that the firewall opens to everybody (`exposed`).
pub fn never_traps(config: &Config, exposed: Vec<ProtocolPorts>) -> Vec<ProtocolPorts> {
    let mut never = exposed;
    let excepted = config
        .globals
        .trap_except
        .iter()
        .map(|step| ProtocolPorts { protocol: step.protocol, ports: PortRange::one(step.port) });
    never.extend(excepted);
    never
        .push(ProtocolPorts { protocol: Protocol::Udp, ports: PortRange::one(config.globals.auth.spa_port) });
    for opening in config.doors.iter().filter(|door| door.enabled).filter_map(|door| door.opening.as_ref()) {
        let outer = opening.forward.as_ref().map_or(&opening.dest_port, |forward| &forward.src_dport);
        for protocol in &opening.protocols {
            never.extend(outer.iter().map(|range| ProtocolPorts { protocol: *protocol, ports: *range }));
        }
    }
    never
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(doors: &[&str]) -> Config {
        let door =
            |name| ["config door '", name, "'\n\tlist sequence '1'\n\toption dest_port '22'\n"].concat();
        let text: String = doors.iter().map(|name| door(name)).collect();
        config::parse("test", text.as_bytes()).unwrap()
    }

    fn names(slots: &Slots) -> Vec<(u8, String)> {
        slots.iter().map(|(id, door)| (id.0, door.name.clone())).collect()
    }

    #[test]
    fn a_door_keeps_its_slot_and_a_new_one_takes_a_free_one() {
        let slots = Slots::default().with(&config(&["a", "b", "c"]));
        let slots = slots.with(&config(&["d", "c", "e", "a"]));
        let expected = [(0, "a"), (1, "d"), (2, "c"), (3, "e")].map(|(id, name)| (id, name.to_owned()));
        assert_eq!(names(&slots), expected);
        assert_eq!((slots.find("c"), slots.find("b")), (Some(DoorId(2)), None));
    }

    #[test]
    fn what_a_door_opens_is_no_trap() {
        let never = never_traps(&config(&["a"]), Vec::new());
        assert!(never.iter().any(|never| never.ports == PortRange::new(22, 22).unwrap()));
    }
}
