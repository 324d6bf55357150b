//! What strangers send is judged without the heap: after start-up the core allocates nothing, whatever comes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Mutex;

use ketuk::core::engine::{Engine, Tables};
use ketuk::core::grants::Grants;
use ketuk::core::packet;
use ketuk::core::time::Instant;

/// Counts the allocations of the thread that asks for it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came.
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

static TABLES: Mutex<Tables> = Mutex::new(Tables::new());

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
    let config = ketuk::config::parse("test", CONFIG.as_bytes()).expect("a configuration");
    let doors: Vec<_> = config.doors.iter().map(|door| Some(door.knock.clone())).collect();
    let mut tables = TABLES.lock().expect("nobody else has it");
    let keyed = RandomState::new();
    let mut engine = Engine::new(&mut tables, keyed.clone());
    let mut grants = Grants::new();
    engine.set_doors(&doors, &[]).expect("few ports");
    engine.set_addresses(std::iter::once(IpAddr::from([203, 0, 113, 1])));

    let before = ALLOCATIONS.get();
    let (mut opened, mut timed_out, mut refused) = (0, 0, 0);
    for n in 0..1_000_000_u32 {
        let now = Instant::from_millis(u64::from(n) / 10);
        // Forged first knocks, people who finish, scans, rubbish.
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
        match packet::parse(&bytes) {
            Ok(probe) => {
                for verdict in engine.judge(now, &probe).verdicts {
                    if usize::from(verdict.stage) == if verdict.door.0 == 0 { 3 } else { 1 } {
                        opened += 1;
                        let time = config.doors[verdict.door.index()].open_time;
                        grants.open(&keyed, now, verdict.door, probe.source, time);
                    }
                }
            }
            Err(_) => refused += 1,
        }
        engine.expire(now, |_| timed_out += 1);
        while grants.expire(&keyed, now).is_some() {}
        std::hint::black_box(engine.next_deadline().min(grants.next_deadline()));
    }
    let allocated = ALLOCATIONS.get() - before;

    assert!(opened > 10_000 && timed_out > 1000 && refused > 1000, "{opened} {timed_out} {refused}");
    assert_eq!(allocated, 0);
    drop(std::hint::black_box(vec![0_u8; 4096]));
    assert!(ALLOCATIONS.get() - before > allocated, "the counter counts");
}
