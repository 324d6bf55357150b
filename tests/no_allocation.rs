//! Strangers' packets are judged without the heap: after its start the core never allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Mutex;

use ketuk::config;
use ketuk::core::access::{Access, AccessTables, Decision};
use ketuk::core::auth::{Auth, AuthRules, AuthTables, Knocked};
use ketuk::core::doorkeeper::Doorkeeper;
use ketuk::core::engine::{Engine, EngineTables, Judgement};
use ketuk::core::hours::WallTime;
use ketuk::core::moment::Moment;
use ketuk::core::packet::{Probe, Transport};
use ketuk::core::place::{OwnAddress, Via};
use ketuk::core::ports::DoorSet;
use ketuk::core::time::Instant;
use ketuk::core::user;
use ketuk::daemon::household::Household;
use ketuk::protocol::base32;
use ketuk::protocol::packet::{DoorName, KEY, Keys, NONCE, Request};
use ketuk::protocol::totp::{sequence, window};

/// Counts the allocations of a thread that has asked for it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: each call goes to the system's allocator with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static TABLES: Mutex<EngineTables> = Mutex::new(EngineTables::new());

const CONFIG: &str = "
config door 'ssh'
	list sequence '7000'
	list sequence '8000:udp'
	list sequence '9000'
	option seq_timeout '1'
	option dest_port '22'
config door 'one'
	list sequence '5000'
	option dest_port '80'
";

/// An IPv4 packet from `source`: a SYN, or a datagram.
fn packet(source: u32, udp: bool, port: u16, sequence_number: u32) -> [u8; 40] {
    let mut bytes = [0; 40];
    bytes[0] = 0x45;
    bytes[3] = 40;
    bytes[9] = if udp { 17 } else { 6 };
    bytes[12..16].copy_from_slice(&source.to_be_bytes());
    bytes[16..20].copy_from_slice(&[203, 0, 113, 1]);
    bytes[22..24].copy_from_slice(&port.to_be_bytes());
    if udp {
        bytes[25] = 8;
    } else {
        bytes[24..28].copy_from_slice(&sequence_number.to_be_bytes());
        bytes[32..34].copy_from_slice(&[0x50, 2]);
    }
    bytes
}

#[test]
fn a_million_packets_allocate_nothing() {
    let config = config::parse("test", CONFIG.as_bytes()).expect("a configuration");
    let household = Household::default().with(&config);
    let mut tables = TABLES.lock().expect("nobody else has it");
    let mut auth_tables = AuthTables::new();
    let mut access_tables = AccessTables::new();
    let keyed = RandomState::new();
    let config::AuthOptions { max_age, totp_ports, .. } = config.globals.auth;
    let rules = AuthRules { max_age_s: max_age.as_secs(), range: totp_ports };
    let mut keeper = Doorkeeper {
        engine: Engine::new(&mut tables, keyed.clone()),
        auth: Auth::new(&mut auth_tables, keyed.clone(), rules),
        access: Access::new(&mut access_tables, keyed),
    };
    keeper.engine.set_doors(&household.slots.knocks(), &[]).expect("few ports");
    keeper.engine.set_addresses(&[OwnAddress::from(IpAddr::from([203, 0, 113, 1]))]);

    let before = ALLOCATIONS.get();
    let (mut opened, mut turned_away, mut ended, mut timed_out, mut malformed) = (0, 0, 0, 0, 0);
    for n in 0..1_000_000_u32 {
        let moment = Moment {
            now: Instant::from_millis(u64::from(n) / 10),
            wall_s: 1_800_000_000,
            local: WallTime { weekday: 0, second: 0 },
        };
        // Forged first knocks, complete sequences, scans, malformed packets.
        let (udp, port) = match n % 7 {
            0 | 1 => (false, 7000),
            2 => (true, 8000),
            3 => (false, 9000),
            4 => (false, 5000),
            5 => (false, 7001 + u16::try_from(n % 64).expect("16 bits")),
            _ => (true, u16::try_from(n % 65_536).expect("16 bits")),
        };
        let source = if n % 2 == 0 { n / 64 } else { n.wrapping_mul(2_654_435_761) };
        let mut bytes = packet(source, udp, port, n);
        if n % 11 == 0 {
            bytes[(n % 40) as usize] ^= 0xff;
        }
        match keeper.hear(&moment, &household, Via::Any, &bytes) {
            Ok(heard) => {
                for verdict in heard.judgement().map_or(&[][..], Judgement::verdicts) {
                    let Some(request) = heard.request(verdict) else { continue };
                    match keeper.access.decide(&moment, &household, &request, None) {
                        Decision::Open(opening) => {
                            keeper.access.commit(&moment, &household, &opening);
                            opened += 1;
                        }
                        _ => turned_away += 1,
                    }
                }
            }
            Err(_) => malformed += 1,
        }
        keeper.engine.expire(moment.now, |_, _| timed_out += 1);
        while keeper.access.end_due(&moment, &household).is_some() {
            ended += 1;
        }
        let deadline = keeper.engine.next_deadline();
        std::hint::black_box(deadline.min(keeper.access.next_deadline(&moment, &household)));
    }
    let allocated = ALLOCATIONS.get() - before;

    assert!(opened > 100 && turned_away > 1000, "{opened} {turned_away}");
    assert!(ended > 100 && timed_out > 1000 && malformed > 1000, "{ended} {timed_out} {malformed}");
    assert_eq!(allocated, 0);
    drop(std::hint::black_box(vec![0_u8; 4096]));
    assert!(ALLOCATIONS.get() - before > allocated, "the counter counts");
}

static AUTH_TABLES: Mutex<AuthTables> = Mutex::new(AuthTables::new());

/// A user's packets, strangers' packets that resemble them, and knocks in the range of changing sequences.
#[test]
fn nor_do_knocks_that_should_prove_something() {
    use ketuk::config::AuthOptions as Rules;
    let mut text = String::from("config door 'ssh'\n\toption dest_port '22'\n");
    text += "config user 'alice'\n\toption key 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\n";
    text += "\toption totp 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP'\n\tlist door 'ssh'\n";
    text += "\toption fwknop_key 'c2VjcmV0'\n\toption fwknop_hmac_key 'c2VjcmV0'\n";
    let config = config::parse("test", text.as_bytes()).expect("a configuration");
    let users: Vec<_> = config
        .users
        .iter()
        .map(|user| {
            let mut known = user::KnownUser::default();
            user.tell_core(DoorSet(1), &mut known);
            Some(known)
        })
        .collect();
    let Rules { max_age, totp_ports: range, .. } = config.globals.auth;
    let rules = AuthRules { max_age_s: max_age.as_secs(), range };
    let mut tables = AUTH_TABLES.lock().expect("nobody else has it");
    let mut auth = Auth::new(&mut tables, RandomState::new(), rules);
    auth.set_users(rules, &users);
    auth.trust_clock(1000);
    let keys = Keys::derive(&[0; KEY]);
    let door = DoorName::new("ssh").expect("a name");

    let before = ALLOCATIONS.get();
    let (mut packets, mut sequences) = (0, 0);
    for n in 0..20_000_u32 {
        let (now, wall_s) = (Instant::from_millis(u64::from(n) * 10), 2000 + u64::from(n) / 10);
        let source = IpAddr::from(n.to_be_bytes());
        let mut nonce = [0; NONCE];
        nonce[..4].copy_from_slice(&n.to_be_bytes());
        let mut sealed = keys.seal(nonce, &Request { time: wall_s, seconds: 0, address: None, door });
        if n % 10 != 0 {
            sealed[usize::try_from(n % 100).expect("small")] ^= 1;
        }
        packets += u32::from(auth.packet(now, wall_s, source, &sealed).is_ok());
        let _ = auth.packet(now, wall_s, source, &[b'8'; 204]);
        for port in sequence(b"HelloPHello!!!!Hello", "ssh", window(wall_s), range) {
            let transport = Transport::Tcp { source_port: port, port, sequence_number: n, flags: 2 };
            let probe = Probe { source, destination: source, transport };
            let _ = auth.knock(now, wall_s, &probe, |_| Some("ssh"));
        }
        if n % 300 == 0 {
            let mut secret = [0; 20];
            let len = base32::decode("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", &mut secret).expect("a secret");
            for port in sequence(&secret[..len], "ssh", window(wall_s), range) {
                let transport = Transport::Tcp { source_port: 1, port, sequence_number: n, flags: 2 };
                let probe = Probe { source: IpAddr::from([10, 0, 0, 1]), destination: source, transport };
                sequences += u32::from(matches!(
                    auth.knock(now, wall_s, &probe, |_| Some("ssh")),
                    Knocked::Request(_)
                ));
            }
        }
    }
    assert_eq!(ALLOCATIONS.get(), before, "allocations for strangers");
    assert!(packets >= 1000 && sequences >= 60, "{packets} {sequences}");
}
