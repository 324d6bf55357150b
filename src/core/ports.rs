//! The ports that doors name, and the ports that are traps.

pub use ketuk_protocol::PortRange;

use super::door::{Door, DoorId};
use super::sequence::{Protocol, Step};

/// Number of traps that an ordinary configuration gets, roughly.
///
/// A scan in random order passes T traps between three right ports with probability 1/((T+2)(T+3)):
/// one in 260,000 for this many.
pub const TRAP_PORTS: usize = 512;

/// Fewest and most traps on either side of a step. The minimum stops an ascending or descending scan even where many doors
/// share [`TRAP_PORTS`].
const TRAPS_BESIDE: core::ops::RangeInclusive<usize> = 4..=256;

/// Most different ports that all sequences together may name. The kernel filter has at most 4,096 instructions, and needs a
/// few for each port.
pub const MAX_PORTS: usize = 512;

/// Most ranges of traps for one protocol: two beside each named port, and as many again for exceptions that split ranges.
/// Ranges beyond that are no traps.
pub const MAX_TRAP_RANGES: usize = 4 * MAX_PORTS;

/// A set of doors. Bit n stands for the door in slot n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DoorSet(pub u64);

impl DoorSet {
    /// The doors of the set, lowest slot first.
    pub fn iter(self) -> impl Iterator<Item = DoorId> {
        let mut left = self.0;
        core::iter::from_fn(move || {
            let slot = u8::try_from(left.trailing_zeros()).expect("at most 64");
            left &= left.checked_sub(1)?;
            Some(DoorId(slot))
        })
    }

    /// Adds a door.
    pub const fn add(&mut self, door: DoorId) {
        self.0 |= 1 << door.0;
    }

    /// Whether a door is in it.
    pub const fn contains(self, door: DoorId) -> bool {
        self.0 & 1 << door.0 != 0
    }

    /// Whether no door is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Ports of one protocol that must not be traps, beside those that a sequence names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeverTrap {
    /// The protocol.
    pub protocol: Protocol,
    /// The ports.
    pub ports: PortRange,
}

/// The sequences name more than [`MAX_PORTS`] different ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyPorts;

/// What each port means.
#[derive(Debug)]
pub struct PortMap {
    /// The ports that sequences name, sorted.
    named: heapless::Vec<(Step, DoorSet), MAX_PORTS>,
    /// Sorted and disjoint.
    tcp_traps: heapless::Vec<PortRange, MAX_TRAP_RANGES>,
    udp_traps: heapless::Vec<PortRange, MAX_TRAP_RANGES>,
}

impl PortMap {
    /// An empty map.
    pub const fn new() -> Self {
        Self { named: heapless::Vec::new(), tcp_traps: heapless::Vec::new(), udp_traps: heapless::Vec::new() }
    }

    /// Makes the map for these doors.
    ///
    /// # Errors
    /// The doors name too many ports. The ports beyond the limit are left out. The reader of the configuration refuses such
    /// a file before.
    pub fn draw<'a>(
        &mut self,
        doors: impl Iterator<Item = (DoorId, &'a Door)>,
        never: &[NeverTrap],
    ) -> Result<(), TooManyPorts> {
        let mut drawn = Ok(());
        self.named.clear();
        for (id, door) in doors {
            for step in &door.sequence {
                match self.named.binary_search_by_key(step, |(named, _)| *named) {
                    Ok(at) => self.named[at].1.add(id),
                    Err(at) => {
                        let only = DoorSet(1 << id.0);
                        drawn = drawn.and(self.named.insert(at, (*step, only)).map_err(|_| TooManyPorts));
                    }
                }
            }
        }
        let beside = TRAP_PORTS / (2 * self.named.len()).max(1);
        let beside = beside.clamp(*TRAPS_BESIDE.start(), *TRAPS_BESIDE.end());
        draw_traps(&mut self.tcp_traps, Protocol::Tcp, &self.named, never, beside);
        draw_traps(&mut self.udp_traps, Protocol::Udp, &self.named, never, beside);
        drawn
    }

    /// The doors whose sequences name this port.
    pub fn doors(&self, protocol: Protocol, port: u16) -> DoorSet {
        self.named
            .binary_search_by_key(&(protocol, port), |(step, _)| (step.protocol, step.port.get()))
            .map_or(DoorSet::default(), |at| self.named[at].1)
    }

    /// Whether this port is a trap.
    pub fn is_trap(&self, protocol: Protocol, port: u16) -> bool {
        let traps = self.traps(protocol);
        let after = traps.partition_point(|range| range.first() <= port);
        after.checked_sub(1).is_some_and(|at| port <= traps[at].last())
    }

    /// The traps of a protocol, sorted and disjoint.
    pub fn traps(&self, protocol: Protocol) -> &[PortRange] {
        match protocol {
            Protocol::Tcp => &self.tcp_traps,
            Protocol::Udp => &self.udp_traps,
        }
    }
}

impl Default for PortMap {
    fn default() -> Self {
        Self::new()
    }
}

/// One bit for each port there is.
struct PortBits([u64; 1024]);

impl PortBits {
    fn set(&mut self, ports: PortRange, value: bool) {
        for port in ports.first()..=ports.last() {
            let (word, bit) = (usize::from(port / 64), 1 << (port % 64));
            if value {
                self.0[word] |= bit;
            } else {
                self.0[word] &= !bit;
            }
        }
    }

    fn get(&self, port: u16) -> bool {
        self.0[usize::from(port / 64)] & 1 << (port % 64) != 0
    }
}

/// Writes the traps into `ranges`: the ports within `beside` of a step, without steps and exceptions. They are written in
/// place, because a returned value would pass over the stack, whose pages stay resident once they are used.
fn draw_traps(
    ranges: &mut heapless::Vec<PortRange, MAX_TRAP_RANGES>,
    protocol: Protocol,
    named: &[(Step, DoorSet)],
    never: &[NeverTrap],
    beside: usize,
) {
    let beside = u16::try_from(beside).expect("at most TRAPS_BESIDE");
    let mut bits = PortBits([0; 1024]);
    let steps = || named.iter().map(|(step, _)| step).filter(|step| step.protocol == protocol);
    for step in steps() {
        let port = step.port.get();
        bits.set(
            PortRange::new(port.saturating_sub(beside).max(1), port.saturating_add(beside))
                .expect("around a port"),
            true,
        );
    }
    for step in steps() {
        bits.set(PortRange::one(step.port), false);
    }
    for except in never.iter().filter(|except| except.protocol == protocol) {
        bits.set(except.ports, false);
    }
    ranges.clear();
    let mut first = None;
    for port in 1..=u16::MAX {
        match (bits.get(port), first) {
            (true, None) => first = Some(port),
            (false, Some(start)) => {
                first = None;
                if ranges.extend_from_slice(PortRange::new(start, port - 1).as_slice()).is_err() {
                    return;
                }
            }
            _ => {}
        }
    }
    if let Some(start) = first {
        // If the list is full, this range is no trap.
        let _ = ranges.extend_from_slice(PortRange::new(start, u16::MAX).as_slice());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::MAX_DOORS;
    use crate::testing::{door, step};

    fn map(sequences: &[&[&str]], never: &[NeverTrap]) -> PortMap {
        let doors: Vec<_> = sequences.iter().map(|steps| door(steps)).collect();
        let mut map = PortMap::new();
        map.draw(doors.iter().enumerate().map(|(at, door)| (DoorId(u8::try_from(at).unwrap()), door)), never)
            .unwrap();
        map
    }

    fn count(map: &PortMap, protocol: Protocol) -> usize {
        (0..=u16::MAX).filter(|port| map.is_trap(protocol, *port)).count()
    }

    #[test]
    fn a_port_leads_to_every_door_that_names_it() {
        let map = map(&[&["7000", "8000:udp"], &["9000", "7000"]], &[]);
        assert_eq!(map.doors(Protocol::Tcp, 7000), DoorSet(0b11));
        assert_eq!(map.doors(Protocol::Udp, 7000), DoorSet(0));
        assert_eq!(map.doors(Protocol::Udp, 8000), DoorSet(0b01));
        assert_eq!(DoorSet(1 << 63 | 0b101).iter().collect::<Vec<_>>(), [DoorId(0), DoorId(2), DoorId(63)]);
    }

    #[test]
    fn traps_lie_on_both_sides_of_each_step_of_their_protocol() {
        let map = map(&[&["7000", "8000", "9000:udp"]], &[]);
        for (protocol, port) in [(Protocol::Tcp, 7000), (Protocol::Tcp, 8000), (Protocol::Udp, 9000)] {
            assert!(map.is_trap(protocol, port - 1) && map.is_trap(protocol, port + 1));
            assert!(!map.is_trap(protocol, port));
        }
        assert!(!map.is_trap(Protocol::Udp, 7001) && !map.is_trap(Protocol::Tcp, 9001));
        let total = count(&map, Protocol::Tcp) + count(&map, Protocol::Udp);
        assert!((400..=TRAP_PORTS).contains(&total), "{total}");
        assert_eq!(map.traps(Protocol::Tcp).len(), 4, "ranges stay few: cheap in the kernel filter");
    }

    #[test]
    fn steps_and_excepted_ports_are_no_traps() {
        let never = [
            NeverTrap { protocol: Protocol::Tcp, ports: PortRange::new(7010, 7020).unwrap() },
            NeverTrap { protocol: Protocol::Udp, ports: PortRange::new(7001, 7001).unwrap() },
        ];
        let map = map(&[&["7000", "7001"], &["7002"]], &never);
        for port in [7000, 7001, 7002, 7010, 7015, 7020] {
            assert!(!map.is_trap(Protocol::Tcp, port), "{port}");
        }
        for port in [6999, 7003, 7009, 7021] {
            assert!(map.is_trap(Protocol::Tcp, port), "{port}");
        }
    }

    #[test]
    fn the_ends_of_the_port_range() {
        let map = map(&[&["1", "65535"]], &[]);
        assert!(!map.is_trap(Protocol::Tcp, 0) && !map.is_trap(Protocol::Tcp, 1));
        assert!(map.is_trap(Protocol::Tcp, 2) && map.is_trap(Protocol::Tcp, 65534));
        assert_eq!(step("65535").port.get(), u16::MAX);
    }

    #[test]
    fn the_fullest_configuration_still_has_traps_everywhere() {
        let port = |n: usize| (100 + n * 120).to_string();
        let names: Vec<String> = (0..MAX_PORTS).map(port).collect();
        let doors: Vec<Vec<&str>> = names
            .chunks(MAX_PORTS / MAX_DOORS)
            .map(|chunk| chunk.iter().map(String::as_str).collect())
            .collect();
        let sequences: Vec<&[&str]> = doors.iter().map(Vec::as_slice).collect();
        let map = map(&sequences, &[]);
        for name in &names {
            let port: u16 = name.parse().unwrap();
            assert!(map.is_trap(Protocol::Tcp, port - 1) && map.is_trap(Protocol::Tcp, port + 1), "{port}");
        }
    }

    #[test]
    fn one_port_too_many_is_an_error() {
        let steps: Vec<Vec<String>> = (0..=MAX_PORTS / 32)
            .map(|door| (0..32).map(|n| (1 + door * 32 + n).to_string()).collect())
            .collect();
        let doors: Vec<_> =
            steps.iter().map(|steps| door(&steps.iter().map(String::as_str).collect::<Vec<_>>())).collect();
        let draw = |doors: &[Door]| PortMap::new().draw((0..).map(DoorId).zip(doors), &[]);
        assert_eq!(draw(&doors[..MAX_PORTS / 32]), Ok(()));
        assert_eq!(draw(&doors), Err(TooManyPorts));
    }
}
