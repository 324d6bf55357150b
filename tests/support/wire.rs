//! Knocks that a test builds frame by frame, and puts on the router's WAN.

use super::{ROUTER, World, frames};

/// TCP flags.
pub mod flag {
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const PSH: u8 = 8;
    pub const ACK: u8 = 16;
    pub const URG: u8 = 32;
}

/// The number of frames in one burst. The daemon may not get the processor before the burst is over, so the burst must fit
/// into its socket: a frame takes about a kilobyte of the 212,992 bytes that a socket may hold (`net.core.rmem_max`).
const BURST: usize = 150;

/// Frames that wait to be sent to the router, in order.
#[derive(Debug)]
pub struct Wire<'w> {
    world: &'w World,
    router: [u8; 6],
    frames: Vec<Vec<u8>>,
    /// The number of the next knock, which gives it a source port and a sequence number of its own.
    next: u32,
}

impl<'w> Wire<'w> {
    /// No frames yet.
    pub fn new(world: &'w World) -> Self {
        Self { world, router: world.router.mac("wan0"), frames: Vec::new(), next: 0 }
    }

    /// Knocks from an address: `7000` is a SYN, `7000:udp` a datagram, `7000:sa` has these flags
    /// (`fsrpau`), and `=` is the previous frame again.
    pub fn knock(&mut self, source: &str, knocks: &str) {
        for word in knocks.split(' ') {
            if word == "=" {
                let again = self.frames.last().expect("something before it").clone();
                self.frames.push(again);
                continue;
            }
            let (port, kind) = word.split_once(':').map_or((word, "s"), |(port, kind)| (port, kind));
            let port = port.parse().expect("a port");
            if kind == "udp" {
                self.udp(source, port);
            } else {
                let flags = kind.chars().map(|letter| 1 << "fsrpau".find(letter).expect("a flag"));
                self.tcp(source, port, flags.sum());
            }
        }
    }

    /// A TCP segment that differs from all before.
    pub fn tcp(&mut self, source: &str, port: u16, flags: u8) {
        let ports = (self.source_port(), port);
        let number = self.next.wrapping_mul(2_654_435_761);
        self.packet(&frames::tcp(source, ROUTER, ports, number, flags));
    }

    /// A datagram from a source port of its own.
    pub fn udp(&mut self, source: &str, port: u16) {
        let mut datagram = self.source_port().to_be_bytes().to_vec();
        datagram.extend(port.to_be_bytes());
        datagram.extend([0, 8, 0, 0]);
        self.packet(&frames::ip(source, ROUTER, 17, &datagram));
    }

    /// A packet, unchanged.
    pub fn packet(&mut self, packet: &[u8]) {
        self.frames.push(frames::ethernet(self.router, None, packet));
    }

    /// Puts the frames on the wire, in bursts that fit into the socket of an ordinary user's daemon.
    pub fn send(&mut self) {
        self.send_in_parts(BURST);
    }

    /// The same for a scan of random ports, of which the kernel filter passes about one in fifty.
    pub fn send_scan(&mut self) {
        self.send_in_parts(50 * BURST);
    }

    fn send_in_parts(&mut self, of: usize) {
        for part in self.frames.chunks(of) {
            frames::send(&self.world.isp, "router0", &self.world.scratch, part);
        }
        self.frames.clear();
    }

    fn source_port(&mut self) -> u16 {
        self.next += 1;
        1024 + u16::try_from(self.next % 60_000).expect("below 60,000")
    }
}

/// Numbers that look random and are the same in every run (Knuth's MMIX generator).
#[derive(Debug)]
pub struct Lcg(u64);

impl Lcg {
    /// A generator with this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }

    /// Shuffles the items.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for at in (1..all.len()).rev() {
            all.swap(at, self.below(at + 1));
        }
    }
}
