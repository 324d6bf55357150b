//! The cost of one packet for the core: parsing, and judging with empty and with full tables.

use std::hash::RandomState;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::sync::Mutex;
use std::time::{Duration, Instant as Clock};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ketuk::core::door::DoorKnock;
use ketuk::core::engine::{Engine, EngineTables};
use ketuk::core::packet::{self, Probe, Transport};
use ketuk::core::sequence::{Protocol, Step, flag};
use ketuk::core::time::Instant;

const ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const STEPS: [u16; 3] = [7000, 8000, 9000];

/// Sources judged between two looks at the clock.
const CHUNK: u32 = 1_000;

static TABLES: Mutex<EngineTables> = Mutex::new(EngineTables::new());

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(1));
    for (name, packet) in [
        ("IPv4, SYN", ipv4(6)),
        ("IPv4, UDP", ipv4(17)),
        ("IPv4, neither", ipv4(1)),
        ("IPv6, SYN", ipv6(0)),
        ("IPv6, SYN behind six extension headers", ipv6(6)),
    ] {
        group.bench_function(name, |bencher| bencher.iter(|| packet::parse(black_box(&packet))));
    }
}

fn judge(criterion: &mut Criterion) {
    let mut tables = TABLES.lock().expect("nobody else has it");
    let mut bench =
        Bench { engine: Engine::new(&mut tables, RandomState::new()), now: 1_000_000, source: 1 << 24 };
    bench.engine.set_addresses(&[IpAddr::V4(ROUTER).into()]);
    bench.empty();

    let mut group = criterion.benchmark_group("judge");
    group.throughput(Throughput::Elements(1));
    for full in [false, true] {
        let state = if full { "full tables" } else { "empty tables" };
        if full {
            bench.fill();
        }
        let mut measure = |name: &str, ports: &[u16]| {
            group.bench_function(format!("{name}, {state}"), |bencher| {
                bencher.iter_custom(|packets| bench.time(packets, ports, full));
            });
        };
        measure("first knock of a new source", &STEPS[..1]);
        measure("right sequence of a new source, each knock", &STEPS);
        measure("trap", &[7001]);
        measure("port of no door", &[40_000]);
    }
}

struct Bench<'t> {
    engine: Engine<'t, RandomState>,
    /// Milliseconds.
    now: u64,
    /// The last source that was used.
    source: u32,
}

impl Bench<'_> {
    /// The time for this many packets: one new source after another knocks at `ports`.
    fn time(&mut self, packets: u64, ports: &[u16], full: bool) -> Duration {
        let (mut judged, mut time) = (0, Duration::ZERO);
        while judged < packets {
            if !full {
                self.empty();
            }
            let start = Clock::now();
            for _ in 0..CHUNK {
                self.source += 1;
                for port in ports {
                    black_box(self.judge(IpAddr::V4(Ipv4Addr::from_bits(self.source)), *port));
                }
            }
            time += start.elapsed();
            self.now += 1;
            judged += u64::from(CHUNK) * ports.len() as u64;
        }
        // Whole chunks were judged. This is the share for the packets that were asked for.
        let ns = time.as_nanos() * u128::from(packets) / u128::from(judged);
        Duration::from_nanos(u64::try_from(ns).expect("seconds"))
    }

    fn judge(&mut self, source: IpAddr, port: u16) -> usize {
        let transport =
            Transport::Tcp { source_port: 40_000, port, sequence_number: u32::from(port), flags: flag::SYN };
        let probe = Probe { source, destination: IpAddr::V4(ROUTER), transport };
        self.engine.judge(Instant::from_millis(self.now), &probe).verdicts().len()
    }

    /// Forgets all sources.
    fn empty(&mut self) {
        let step = |port| Step { protocol: Protocol::Tcp, port: NonZeroU16::new(port).expect("not 0") };
        let door = DoorKnock { sequence: STEPS.into_iter().map(step).collect(), ..DoorKnock::default() };
        for doors in [[None], [Some(door)]] {
            self.engine.set_doors(&doors, &[]).expect("three ports");
        }
        assert_eq!(self.engine.knocking(), 0);
    }

    /// Fills the tables: at each stage more sources knock than there is room for, of both families.
    fn fill(&mut self) {
        for last in (1..=STEPS.len()).rev() {
            for source in 0..1 << 15 {
                self.source += 1;
                let v6 = IpAddr::V6(Ipv6Addr::from_bits(u128::from(self.source)));
                let v4 = IpAddr::V4(Ipv4Addr::from_bits(self.source));
                for port in &STEPS[..last] {
                    self.judge(if source % 2 == 0 { v4 } else { v6 }, *port);
                }
            }
        }
    }
}

fn ipv4(protocol: u8) -> Vec<u8> {
    let mut packet = vec![0; 40];
    packet[0] = 0x45;
    packet[3] = 40;
    packet[9] = protocol;
    packet[16..20].copy_from_slice(&ROUTER.octets());
    transport(&mut packet[20..], protocol);
    packet
}

/// A packet with this many destination options between the headers.
fn ipv6(extensions: usize) -> Vec<u8> {
    const DESTINATION: u8 = 60;
    let mut packet = vec![0; 40 + 8 * extensions + 20];
    packet[0] = 0x60;
    packet[5] = u8::try_from(packet.len() - 40).expect("short");
    packet[6] = if extensions == 0 { 6 } else { DESTINATION };
    for extension in 0..extensions {
        packet[40 + 8 * extension] = if extension + 1 == extensions { 6 } else { DESTINATION };
    }
    transport(&mut packet[40 + 8 * extensions..], 6);
    packet
}

fn transport(header: &mut [u8], protocol: u8) {
    header[2..4].copy_from_slice(&STEPS[0].to_be_bytes());
    if protocol == 17 {
        header[5] = 20;
    } else {
        header[12..14].copy_from_slice(&[0x50, flag::SYN]);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
    targets = parse, judge
}
criterion_main!(benches);
