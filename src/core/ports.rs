//! The ports that doors name, and the ports that are traps.

pub use ketuk_protocol::PortRange;

use super::door::{DoorId, DoorKnock};
use super::sequence::{Protocol, Step};

/// About as many traps lie near the steps of an ordinary configuration.
///
/// A scan in random order passes T traps between three right ports, one trap forgiven, with a probability of about
/// 3/T^2. Together with the traps that are [`Scattered`] T is about 1,000, so the chance is one in 350,000.
pub const TRAP_PORTS: usize = 512;

/// Fewest and most traps on either side of a step. The minimum stops an ascending or descending scan even where many doors
/// share [`TRAP_PORTS`].
const TRAPS_BESIDE: core::ops::RangeInclusive<usize> = 4..=256;

/// Most different ports that all sequences together may name. The kernel filter has at most 4,096 instructions
/// (`BPF_MAXINSNS`), and needs a few for each port.
pub const MAX_PORTS: usize = 512;

/// Most ranges of traps for one protocol: two beside each named port, and as many again for exceptions that split ranges.
/// Ranges beyond that are no traps.
pub const MAX_TRAP_RANGES: usize = 4 * MAX_PORTS;

/// Traps over the whole range of ports, chosen by a hash of the port under a factor that is random for each start. So nobody
/// can know which ports to leave out. They exist for TCP only, at doors that are knocked at with SYNs: other segments, and
/// datagrams, may be answers to this host, and answers come at any port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scattered {
    /// The hash of a port is the product of the port and this factor, in 32 bits.
    pub factor: u32,
}

impl Scattered {
    /// A port whose hash is at least this is a trap: one port in 128. The kernel filter passes packets at traps, so a flood
    /// of 100,000 SYNs a second at random ports wakes the daemon for 780 packets a second.
    pub const THRESHOLD: u32 = u32::MAX - u32::MAX / 128;

    /// The traps that a random number chooses.
    pub const fn new(random: u32) -> Self {
        // An odd factor gives each port another hash.
        Self { factor: random | 1 }
    }

    /// Whether this port is a trap.
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

/// Ports of one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolPorts {
    /// The protocol.
    pub protocol: Protocol,
    /// The ports.
    pub ports: PortRange,
}

impl ProtocolPorts {
    /// Whether this port is one of them.
    pub fn contains(self, port: Step) -> bool {
        self.protocol == port.protocol && self.ports.contains(port.port.get())
    }
}

/// The sequences name more than [`MAX_PORTS`] different ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyPorts;

/// The meaning of each port: a step of some doors, a trap, or neither.
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
        doors: impl Iterator<Item = (DoorId, &'a DoorKnock)>,
        never: &[ProtocolPorts],
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
        // If the list of ports that must be no traps does not fit, there are no traps.
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
    never: &[ProtocolPorts],
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
    // Ranges that do not fit are no traps.
    let _ = bits.ranges(ranges);
}

/// The TCP ports that sequences name or that must not be traps; whether there was room for all.
fn draw_exempt(
    ranges: &mut heapless::Vec<PortRange, MAX_TRAP_RANGES>,
    named: &[(Step, DoorSet)],
    never: &[ProtocolPorts],
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
mod tests;
