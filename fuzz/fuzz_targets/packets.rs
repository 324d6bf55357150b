//! Packets as a network brings them: whatever they are, the core does not panic, and no door opens to who has
//! not made as many knocks as its sequence has steps.
#![no_main]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::net::IpAddr;
use std::sync::Mutex;

use ketuk::core::counters::Judged;
use ketuk::core::engine::{Engine, Tables};
use ketuk::core::packet::{parse, udp_payload};
use ketuk::core::time::Instant;
use libfuzzer_sys::fuzz_target;

static TABLES: Mutex<Tables> = Mutex::new(Tables::new());

const DOORS: &[u8] = b"
config door 'ssh'
	list sequence '7000'
	list sequence '8000:udp'
	list sequence '9000'
	option dest_port '22'
config door 'shed'
	list sequence '7000'
	list sequence '7000'
	option dest_port '80'
	option tcpflags 'syn,!ack'
config door 'gate'
	list sequence '8000:udp'
	list sequence '7000'
	option dest_port '443'
	option target '192.0.2.1'
";

fuzz_target!(|data: &[u8]| {
    let mut tables = TABLES.lock().expect("one thread");
    *tables = Tables::new();
    let mut engine = Engine::new(&mut tables, BuildHasherDefault::<DefaultHasher>::default());
    let config = ketuk::config::parse("doors", DOORS).expect("they are right");
    let doors: Vec<_> = config.doors.into_iter().map(|door| Some(door.knock)).collect();
    engine.set_doors(&doors, &[]).expect("few ports");
    let own = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse::<IpAddr>().expect("an address"));
    engine.set_addresses(&own.map(Into::into));

    let mut knocks: HashMap<IpAddr, usize> = HashMap::new();
    let (mut now, mut rest) = (0, data);
    // Each packet has its length and the tenths of a second since the one before.
    while let [len, tenths, more @ ..] = rest {
        let (packet, behind) = more.split_at(usize::from(*len).min(more.len()));
        rest = behind;
        now += u64::from(*tenths) * 100;
        engine.expire(Instant::from_millis(now), |_| {});
        assert!(udp_payload(packet).len() <= packet.len());
        let Ok(probe) = parse(packet) else { continue };
        let made = knocks.entry(probe.source).or_default();
        *made += 1;
        let judgement = engine.judge(Instant::from_millis(now), &probe);
        for verdict in &judgement.verdicts {
            let door = doors[verdict.door.index()].as_ref().expect("it is there");
            let steps = door.sequence.len();
            assert!(usize::from(verdict.stage) <= steps);
            if verdict.judged == Judged::Opened {
                assert!(*made >= steps, "{made} packets opened a door of {steps} steps");
            }
        }
    }
});
