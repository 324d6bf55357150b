//! The ports that doors name, and the ports that are traps.

pub use ketuk_protocol::PortRange;

use super::door::{Door, DoorId};
use super::sequence::{Protocol, Step};

/// Number of traps near steps that an ordinary configuration gets, roughly.
///
/// A scan in random order passes T traps between three right ports, one of them forgiven, with a probability of about
/// 3/T^2. With those that are [`Scattered`] T is about 1,000: one in 350,000.
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

/// Traps all over the range, by a hash of the port under a factor that is random for each start: nobody can know which
/// ports to leave out. They are TCP's alone, and only at doors that are knocked at with the first segment of a
/// connection: other segments and datagrams also come in answer to what this host asked, at any port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scattered {
    /// The hash of a port is its product with this, in 32 bits.
    pub factor: u32,
}

impl Scattered {
    /// Ports with at least this hash are traps: one in 128. The kernel filter wakes the daemon for each, so that a
    /// flood of 100,000 SYNs at random ports wakes it for 780 packets a second.
    pub const THRESHOLD: u32 = u32::MAX - u32::MAX / 128;

    /// Those that a random number chooses.
    pub const fn new(random: u32) -> Self {
        // Odd, so that the hashes of all ports differ.
        Self { factor: random | 1 }
    }

    /// Whether this port is one of them.
    pub fn contains(self, port: u16) -> bool {
        u32::from(port).wrapping_mul(self.factor) >= Self::THRESHOLD
    }
}

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
    scattered: Option<Scattered>,
    /// TCP ports that are no traps wherever they lie, sorted and disjoint.
    tcp_exempt: heapless::Vec<PortRange, MAX_TRAP_RANGES>,
}

impl PortMap {
    /// An empty map.
    pub const fn new() -> Self {
        Self {
            named: heapless::Vec::new(),
            tcp_traps: heapless::Vec::new(),
            udp_traps: heapless::Vec::new(),
            scattered: None,
            tcp_exempt: heapless::Vec::new(),
        }
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
        scattered: Option<Scattered>,
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
        let has_tcp = self.named.iter().any(|(step, _)| step.protocol == Protocol::Tcp);
        // Without room for what must be no trap there are none.
        self.scattered =
            scattered.filter(|_| has_tcp && draw_exempt(&mut self.tcp_exempt, &self.named, never));
        drawn
    }

    /// The doors whose sequences name this port.
    pub fn doors(&self, protocol: Protocol, port: u16) -> DoorSet {
        self.named
            .binary_search_by_key(&(protocol, port), |(step, _)| (step.protocol, step.port.get()))
            .map_or(DoorSet::default(), |at| self.named[at].1)
    }

    /// Whether this port is a trap near a step.
    pub fn is_trap(&self, protocol: Protocol, port: u16) -> bool {
        holds(self.traps(protocol), port)
    }

    /// Whether this TCP port is one of the scattered traps.
    pub fn is_scattered(&self, port: u16) -> bool {
        self.scattered.is_some_and(|scattered| scattered.contains(port)) && !holds(&self.tcp_exempt, port)
    }

    /// The scattered traps, and the ports that are none of them, sorted and disjoint.
    pub fn scattered(&self) -> Option<(Scattered, &[PortRange])> {
        Some((self.scattered?, &self.tcp_exempt))
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

/// Whether one of these sorted, disjoint ranges has the port.
fn holds(ranges: &[PortRange], port: u16) -> bool {
    let after = ranges.partition_point(|range| range.first() <= port);
    after.checked_sub(1).is_some_and(|at| port <= ranges[at].last())
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

    /// Writes the ports as ranges, lowest first; whether there was room for all.
    fn ranges(&self, ranges: &mut heapless::Vec<PortRange, MAX_TRAP_RANGES>) -> bool {
        ranges.clear();
        let mut begun = None;
        let mut push =
            |first, last| PortRange::new(first, last).is_none_or(|range| ranges.push(range).is_ok());
        for port in 1..=u16::MAX {
            match (self.get(port), begun) {
                (true, None) => begun = Some(port),
                (false, Some(first)) => {
                    begun = None;
                    if !push(first, port - 1) {
                        return false;
                    }
                }
                _ => {}
            }
        }
        begun.is_none_or(|first| push(first, u16::MAX))
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
    // Those that do not fit are no traps.
    let _ = bits.ranges(ranges);
}

/// The TCP ports that sequences name or that must not be traps; whether there was room for all.
fn draw_exempt(
    ranges: &mut heapless::Vec<PortRange, MAX_TRAP_RANGES>,
    named: &[(Step, DoorSet)],
    never: &[NeverTrap],
) -> bool {
    let mut bits = PortBits([0; 1024]);
    for (step, _) in named.iter().filter(|(step, _)| step.protocol == Protocol::Tcp) {
        bits.set(PortRange::one(step.port), true);
    }
    for except in never.iter().filter(|except| except.protocol == Protocol::Tcp) {
        bits.set(except.ports, true);
    }
    bits.ranges(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::MAX_DOORS;
    use crate::testing::{door, step};

    fn map(sequences: &[&[&str]], never: &[NeverTrap]) -> PortMap {
        let doors: Vec<_> = sequences.iter().map(|steps| door(steps)).collect();
        let mut map = PortMap::new();
        map.draw(
            doors.iter().enumerate().map(|(at, door)| (DoorId(u8::try_from(at).unwrap()), door)),
            never,
            None,
        )
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
    fn scattered_traps_lie_everywhere_but_where_they_must_not() {
        let doors = [door(&["7000", "8000:udp"])];
        let never = [NeverTrap { protocol: Protocol::Tcp, ports: PortRange::new(20_000, 40_000).unwrap() }];
        let mut total = 0;
        for random in 0..200_u32 {
            let scattered = Scattered::new(random.wrapping_mul(2_654_435_761));
            let mut map = PortMap::new();
            map.draw((0..).map(DoorId).zip(&doors), &never, Some(scattered)).unwrap();
            assert!((20_000..=40_000).chain([7000]).all(|port| !map.is_scattered(port)));
            let count = (1..=u16::MAX).filter(|port| map.is_scattered(*port)).count();
            total += count;
            let udp_only = [door(&["8000:udp"])];
            map.draw((0..).map(DoorId).zip(&udp_only), &[], Some(scattered)).unwrap();
            assert!(map.scattered().is_none());
        }
        // 45,000 ports, of which one in 128: 355.
        assert!((300..400).contains(&(total / 200)), "{total}");
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
        let draw = |doors: &[Door]| PortMap::new().draw((0..).map(DoorId).zip(doors), &[], None);
        assert_eq!(draw(&doors[..MAX_PORTS / 32]), Ok(()));
        assert_eq!(draw(&doors), Err(TooManyPorts));
    }
}
