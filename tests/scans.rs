//! The chance that a scan opens a door, and the chance that a forger spoils a right knock. The tests play both against the core,
//! with random sequences.
//!
//! The tests simulate the order of the packets. All packets come within `seq_timeout`. A real scan of every port would need
//! 5,000 packets a second for that. `SCANS=100000 cargo test --test scans -- --nocapture` estimates the
//! chances that docs/threat-model.md states.
#![expect(clippy::unwrap_used, reason = "a test says what it expected by panicking")]

use std::collections::BTreeSet;
use std::hash::{BuildHasher, DefaultHasher, Hasher as _};
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::process::Command;

use ketuk::core::auth::{Auth, AuthRules, AuthTables, Knocked};
use ketuk::core::counters::Judged;
use ketuk::core::door::DoorKnock;
use ketuk::core::engine::{Engine, EngineTables};
use ketuk::core::packet::{Probe, Transport};
use ketuk::core::ports::DoorSet;
use ketuk::core::sequence::{Protocol, Step, flag};
use ketuk::core::time::Instant;
use ketuk::core::user::KnownUser;
use ketuk::protocol::secret::Secret;
use ketuk::protocol::totp::{TotpPorts, sequence, window};

const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
const SCANNER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));

/// Random numbers that are the same in every run (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A port that is not 0.
    fn port(&mut self) -> u16 {
        u16::try_from(self.next() % 65_535).unwrap() + 1
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for at in (1..all.len()).rev() {
            all.swap(at, usize::try_from(self.next() % (at as u64 + 1)).unwrap());
        }
    }
}

/// The hash key of one start of the daemon.
#[derive(Clone)]
struct Start(u64);

impl BuildHasher for Start {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

/// How many of `scans` doors, each with a sequence and a start of its own, a scan opens.
fn opened(scans: usize, mut scan: impl FnMut(&mut Random) -> Vec<u16> + Send) -> usize {
    opened_knowing(scans, |random, _| scan(random))
}

/// The same for a sender that knows each sequence.
fn opened_knowing(scans: usize, mut scan: impl FnMut(&mut Random, &[u16]) -> Vec<u16> + Send) -> usize {
    // The tables are large, and a test thread's stack may be small.
    std::thread::scope(|scope| {
        let run = move || {
            let (mut tables, mut random) = (Box::new(EngineTables::new()), Random(7));
            (0..scans)
                .filter(|_| {
                    let mut ports = [(); 3].map(|()| random.port());
                    while ports[0] == ports[1] || ports[1] == ports[2] || ports[0] == ports[2] {
                        ports = ports.map(|_| random.port());
                    }
                    let start = Start(random.next());
                    opens(&mut tables, start, &ports, &scan(&mut random, &ports))
                })
                .count()
        };
        std::thread::Builder::new().stack_size(16 << 20).spawn_scoped(scope, run).unwrap().join().unwrap()
    })
}

/// Whether a scan opens the door with this sequence.
fn opens(tables: &mut EngineTables, start: Start, sequence: &[u16], scan: &[u16]) -> bool {
    let mut engine = Engine::new(tables, start);
    let step = |port: &u16| Step { protocol: Protocol::Tcp, port: NonZeroU16::new(*port).unwrap() };
    let door = DoorKnock { sequence: sequence.iter().map(step).collect(), ..DoorKnock::default() };
    engine.set_doors(&[Some(door)], &[]).unwrap();
    engine.set_addresses(&[ROUTER.into()]);
    let ports = engine.ports();
    // The kernel filter drops all other packets.
    let mut matters: Vec<bool> = (0..=u16::MAX).map(|port| ports.is_scattered(port)).collect();
    for port in ports
        .traps(Protocol::Tcp)
        .iter()
        .flat_map(|range| range.first()..=range.last())
        .chain(sequence.iter().copied())
    {
        matters[usize::from(port)] = true;
    }
    let that_matter: Vec<u16> = scan.iter().copied().filter(|port| matters[usize::from(*port)]).collect();
    let opened = (0..).zip(that_matter).any(|(n, port)| {
        let transport = Transport::Tcp { source_port: 4444, port, sequence_number: n, flags: flag::SYN };
        let probe = Probe { source: SCANNER, destination: ROUTER, transport };
        engine.judge(Instant::from_millis(0), &probe).judged() == Judged::Opened
    });
    // The next start has another hash key, which would not find these entries. So they are removed now.
    engine.set_doors(&[None], &[]).unwrap();
    opened
}

/// Right knocks, 100 ms apart as `ketuk` sends them, and a forger's SYNs in the knocker's name between them: `a_second`, to
/// random ports.
fn disturbed(random: &mut Random, ports: &[u16], a_second: u64) -> Vec<u16> {
    let mut sent = vec![ports[0]];
    for port in &ports[1..] {
        // The rate may not be a whole number for each millisecond: chance adds one more packet.
        for _ in 0..100 {
            let more = random.next() % 1000 < a_second % 1000;
            sent.extend((0..a_second / 1000 + u64::from(more)).map(|_| random.port()));
        }
        sent.push(*port);
    }
    sent
}

/// The number of changing sequences that still open their door.
fn changing_sequences_opened(tries: usize, a_second: u64) -> usize {
    const SECRET: &[u8] = b"a secret of sixteen bytes or more";
    let run = move || {
        let (mut tables, mut random) = (Box::new(AuthTables::new()), Random(11));
        let range = TotpPorts::default();
        let mut user = KnownUser { doors: DoorSet(1), ..KnownUser::default() };
        user.totp.push(Secret::new(SECRET).unwrap()).unwrap();
        let rules = AuthRules { max_age_s: 120, range };
        let mut auth = Auth::new(&mut tables, Start(3), rules);
        auth.set_users(rules, &[Some(user)]);
        auth.trust_clock(1000);
        (0..tries)
            .filter(|number| {
                // Each sequence has a window and an address of its own.
                let wall_s = 3000 + 30 * u64::try_from(*number).unwrap();
                let source = IpAddr::from(u32::try_from(*number).unwrap().to_be_bytes());
                let ports = sequence(SECRET, "ssh", window(wall_s), range);
                let sent = disturbed(&mut random, &ports, a_second);
                (0..).zip(sent).filter(|(_, port)| range.range().contains(*port)).any(|(n, port)| {
                    let transport =
                        Transport::Tcp { source_port: 4444, port, sequence_number: n, flags: flag::SYN };
                    let probe = Probe { source, destination: ROUTER, transport };
                    let now = Instant::from_millis(wall_s * 1000);
                    matches!(auth.knock(now, wall_s, &probe, |_| Some("ssh")), Knocked::Request(_))
                })
            })
            .count()
    };
    std::thread::Builder::new().stack_size(16 << 20).spawn(run).unwrap().join().unwrap()
}

/// The number of scans of each kind.
fn scans() -> usize {
    std::env::var("SCANS").map_or(1000, |scans| scans.parse().expect("SCANS is a number"))
}

fn all() -> Vec<u16> {
    (1..=u16::MAX).collect()
}

/// Every port, by a stride: first every n-th port, then the ports after these, and so on.
fn interleaved(stride: u16) -> Vec<u16> {
    (0..stride).flat_map(|offset| (1..=u16::MAX).skip(offset.into()).step_by(stride.into())).collect()
}

fn assert_none(kind: &str, scan: impl FnMut(&mut Random) -> Vec<u16> + Send) {
    let (scans, opened) = (scans(), opened(scans(), scan));
    println!("{kind}: {opened} of {scans} opened");
    // A longer run is an estimate.
    assert!(opened == 0 || scans > 1000, "{kind}: {opened} of {scans} opened");
}

#[test]
fn every_port_up_down_and_in_random_order() {
    let (up, down) = (all(), all().into_iter().rev().collect::<Vec<_>>());
    assert_none("ascending", |_| up.clone());
    assert_none("descending", |_| down.clone());
    let mut ports = all();
    assert_none("random order", |random| {
        random.shuffle(&mut ports);
        ports.clone()
    });
}

#[test]
fn random_ports() {
    assert_none("65,535 random ports", |random| (0..65_535).map(|_| random.port()).collect());
}

#[test]
fn every_nth_port_and_all_ports_by_a_stride() {
    for stride in [2, 10, 50, 100, 256, 1000] {
        let up = interleaved(stride);
        assert_none(&format!("all ports by a stride of {stride}"), |_| up.clone());
        assert_none(&format!("every {stride}th port"), |random| {
            let offset = usize::try_from(random.next() % u64::from(stride)).unwrap();
            (1..=u16::MAX).skip(offset).step_by(stride.into()).collect()
        });
    }
}

/// The ports that nmap scans by default.
#[test]
fn nmaps_own_thousand_ports() {
    let said = Command::new("nmap").args(["-oG", "-", "-v", "--top-ports", "1000"]).output().expect("nmap");
    let said = String::from_utf8_lossy(&said.stdout);
    let (_, list) = said.split_once("TCP(1000;").expect("nmap says which ports it scans");
    let (list, _) = list.split_once(')').expect("the list ends");
    let ports: BTreeSet<u16> = list
        .split(',')
        .flat_map(|part| {
            let (begin, end) = part.split_once('-').unwrap_or((part, part));
            begin.parse::<u16>().unwrap()..=end.parse().unwrap()
        })
        .collect();
    assert_eq!(ports.len(), 1000);
    let mut ports: Vec<u16> = ports.into_iter().collect();
    assert_none("nmap's 1,000 ports in random order", |random| {
        random.shuffle(&mut ports);
        ports.clone()
    });
}

/// The reason for the warning of `ketukd check` about regular sequences.
#[test]
fn a_stride_opens_a_regular_sequence() {
    let scan: Vec<u16> = (1000..=u16::MAX).step_by(1000).collect();
    let regular = std::thread::Builder::new()
        .stack_size(16 << 20)
        .spawn(move || {
            let mut tables = Box::new(EngineTables::new());
            let mut count = |sequence: [u16; 3]| {
                (0..100).filter(|start| opens(&mut tables, Start(*start), &sequence, &scan)).count()
            };
            (count([7000, 8000, 9000]), count([17_311, 28_122, 39_433]))
        })
        .unwrap();
    let (regular, random) = regular.join().unwrap();
    assert!(regular > 50 && random == 0, "{regular} {random}");
}

/// The damage by a forger who knows the knocker's address. Users' packets are not affected.
#[test]
fn a_forger_in_the_knockers_name() {
    let rates = [1, 10, 30, 100, 300, 1000, 3000];
    let tries = scans();
    let opened = rates.map(|a_second| {
        let plain = opened_knowing(tries, |random, ports| disturbed(random, ports, a_second));
        let changing = changing_sequences_opened(tries, a_second);
        println!("{a_second} SYNs a second: {plain} of {tries} plain, {changing} of {tries} changing sequences open");
        [plain, changing]
    });
    let share = |count: usize| 100 * count / tries;
    // One foreign port is forgiven, so that a few packets a second do no harm.
    assert!(share(opened[1][0]) >= 99 && share(opened[0][1]) >= 99, "{opened:?}");
    assert!(share(opened[4][0]) >= 60, "{opened:?}");
}
