//! All the code that decides, with senders who know the keys. There are plain knocks, users' packets, replays, changing sequences,
//! fwknop's packets, the operator's requests, and a firewall that refuses. Each input is a list of steps.
//!
//! No door opens for a stranger before he has made as many knocks as its sequence has steps. No door opens in a user's name
//! unless the packet was made with his key and is new, or the ports were those of his changing sequence. The quotas hold, and no
//! grant outlives its time.
#![no_main]

#[path = "../coverage.rs"]
mod coverage;
mod packets;
mod stage;

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};

use ketuk::core::access::{AskedTime, Cause, OpenRequest};
use ketuk::core::door::DoorId;
use ketuk::core::grants::Opener;
use ketuk::core::user::UserId;
use ketuk::protocol::fwknop::{self, Wish};
use ketuk::protocol::packet::{self, DoorName, Keys};
use ketuk::protocol::totp;
use libfuzzer_sys::fuzz_target;

use self::packets::{Bytes, datagram, syn};
use self::stage::{DOORS, Senders, Stage, new_stage};

const SPA_PORT: u16 = 62_201;
const PORTS: [u16; 5] = [24_817, 51_203, 38_466, 24_818, 22];
const OTHER_PORTS: [u16; 5] = [40_001, 40_002, 40_003, 8443, 443];

/// What an fwknop client asks for.
const ACCESSES: [&str; 5] = ["tcp/443", "tcp/8000", "tcp/8100,udp/500", "tcp/22", "udp/53"];

/// The time between two runs: by then no packet of the last run is valid.
const BETWEEN_RUNS_S: u64 = 24 * 3600;

thread_local! {
    static STAGE: RefCell<Stage> = RefCell::new(new_stage());
}

fuzz_target!(|data: &[u8]| STAGE.with_borrow_mut(|stage| run(stage, data)));

fn run(stage: &mut Stage, data: &[u8]) {
    stage.clock_s += BETWEEN_RUNS_S;
    let (mut bytes, mut senders, mut ms) = (Bytes(data), Senders::default(), 0);
    let begin = stage.moment(0);
    stage.end_what_is_due(&begin);
    for door in (0..).take(stage.config.doors.len()) {
        while stage.keeper.access.end(DoorId(door), None, Cause::Stop).is_some() {}
    }
    while !bytes.0.is_empty() {
        let (kind, number) = (bytes.next(), bytes.next());
        let moment = stage.moment(ms);
        let takes_it = kind & 0x80 == 0;
        let source = match number % 4 {
            3 => Ipv4Addr::new(10, bytes.next(), bytes.next(), 7),
            last => Ipv4Addr::new(198, 51, 100, last + 1),
        };
        let source = match kind & 0x20 {
            0 => IpAddr::from(source),
            _ => IpAddr::from([0x2001, 0xdb8, 5, u16::from(number % 4), 0, 0, 0, u16::from(number >> 4)]),
        };
        let ports = if kind & 0x40 == 0 { PORTS } else { OTHER_PORTS };
        let port = ports[usize::from(number / 4) % ports.len()];
        let user = number >> 2 & 1;
        let door = DOORS[usize::from(number >> 3 & 3) + usize::from(kind >> 2 & 4)];
        let packet = match kind % 16 {
            0..=2 => syn(source, u16::from(kind) + 1024, port, u32::from(bytes.next())),
            3 | 4 => datagram(source, u16::from(kind) + 1024, port, &[bytes.next()]),
            5 | 6 => {
                let keys = Keys::derive(&[user; packet::KEY]);
                let request = packet::Request {
                    time: moment.wall_s.saturating_add_signed(i64::from(bytes.next().cast_signed())),
                    seconds: u32::from(bytes.next()),
                    address: (kind & 0x40 != 0).then_some(IpAddr::from([198, 51, 100, number])),
                    door: DoorName::new(door).expect("a name"),
                };
                let payload = keys.seal([bytes.next(); packet::NONCE], &request).to_vec();
                senders.made.insert(payload.clone(), UserId(user));
                senders.sent.push(payload.clone());
                datagram(source, 1024, SPA_PORT, &payload)
            }
            7 => {
                let secret = fwknop::FwknopKeys {
                    key: ketuk::protocol::secret::Secret::new(b"secret").expect("short"),
                    hmac_key: ketuk::protocol::secret::Secret::new(b"secret").expect("short"),
                    hmac: fwknop::HmacType::Sha256,
                };
                let salt = [bytes.next(); 8];
                let seconds = u32::from(bytes.next());
                let access = match bytes.next() {
                    at @ 0..16 => ACCESSES[usize::from(at) % ACCESSES.len()].to_owned(),
                    _ => String::from_utf8_lossy(bytes.some(60)).into_owned(),
                };
                let wish = Wish {
                    user: "bob",
                    time: moment.wall_s,
                    address: None,
                    access: &access,
                    nat: None,
                    seconds,
                };
                let randomness = fwknop::Randomness { number: u64::from(number), salt };
                let mut buffer = fwknop::empty_buffer();
                let Some(payload) = fwknop::seal(&secret, &wish, randomness, &mut buffer) else { continue };
                senders.made.insert(payload.to_vec(), UserId(1));
                senders.sent.push(payload.to_vec());
                datagram(source, 1024, SPA_PORT, payload)
            }
            8 => {
                // Somebody who listens sends a packet again, or changes a byte of it.
                if senders.sent.is_empty() {
                    continue;
                }
                let mut payload = senders.sent[usize::from(bytes.next()) % senders.sent.len()].clone();
                if kind & 0x40 != 0 {
                    let at = usize::from(bytes.next()) % payload.len();
                    payload[at] ^= bytes.next();
                }
                datagram(source, 2048, SPA_PORT, &payload)
            }
            9..=11 => {
                let secret = &stage.known[usize::from(user)].totp[0];
                let window =
                    totp::window(moment.wall_s).saturating_add_signed(i64::from(bytes.next() % 5) - 2);
                let ports =
                    totp::sequence(secret.bytes(), door, window, stage.config.globals.auth.totp_ports);
                // The whole sequence, or one of its ports.
                let only = (kind & 0x40 != 0).then(|| usize::from(bytes.next()) % ports.len());
                for port in
                    ports.into_iter().enumerate().filter(|(at, _)| only.is_none_or(|only| only == *at))
                {
                    let (at, port) = port;
                    senders.sequences.entry(source).or_default().push(port);
                    let number = u32::from(number) * 4 + u32::try_from(at).expect("four");
                    let packet = syn(source, 3000, port, number);
                    stage.hear(&moment, &mut senders, &packet, takes_it);
                }
                continue;
            }
            12 => {
                ms += u64::from(number) * 100;
                let moment = stage.moment(ms);
                stage.end_what_is_due(&moment);
                continue;
            }
            13 => {
                let door = DoorId(number % 8);
                let address = IpAddr::from([198, 51, 100, bytes.next()]);
                let time = AskedTime::For(std::time::Duration::from_secs(u64::from(bytes.next())));
                let request =
                    OpenRequest { opener: Opener::Hand, door, sender: None, address, port: None, time };
                stage.open(&moment, &request, takes_it);
                continue;
            }
            14 => {
                let mut packet = syn(source, 1024, port, 1);
                for byte in bytes.some(40).iter().zip(&mut packet) {
                    *byte.1 ^= byte.0;
                }
                packet
            }
            _ => bytes.some(200).to_vec(),
        };
        stage.hear(&moment, &mut senders, &packet, takes_it);
        stage.check_quotas();
    }
    // As the daemon does, which never sleeps past a deadline.
    while let Some(due) = stage.keeper.engine.next_deadline() {
        stage.keeper.engine.expire(due, |_, _| {});
    }
}
