//! Packets and changing sequences against clocks that go wrong, floods, and whoever listens.

use core::hash::BuildHasherDefault;
use std::hash::DefaultHasher;

use super::*;
use crate::ports::DoorSet;
use crate::testing::probe;
use ketuk_protocol::packet::Keys;
use ketuk_protocol::secret::Secret;
use ketuk_protocol::totp::{sequence, window};

/// Half a window after one begins.
const T: u64 = 1_795_340_355;
const MAX_AGE: u64 = 120;
const RULES: Rules = Rules { max_age_s: MAX_AGE, range: RANGE };
const RANGE: TotpPorts = TotpPorts::new(20_000, 29_999).unwrap();

type Keyed = BuildHasherDefault<DefaultHasher>;

fn key(user: usize) -> Keys {
    let mut key = [1; packet::KEY];
    key[..8].copy_from_slice(&u64::try_from(user).expect("few users").to_be_bytes());
    Keys::derive(&key)
}

fn totp_secret(user: usize) -> Vec<u8> {
    format!("the secret of user {user:03}").into_bytes()
}

fn user(number: usize) -> User {
    let mut user = User { doors: DoorSet(0b11), ..User::default() };
    user.keys.push(key(number)).unwrap();
    user.totp.push(Secret::new(&totp_secret(number)).unwrap()).unwrap();
    #[cfg(feature = "fwknop")]
    let _ = user.fwknop.push(fwknop::Keys {
        key: Secret::new(b"spa-test-key-0123456789abcdef").unwrap(),
        hmac_key: Secret::new(
            if number == 0 {
                b"spa-test-hmac-key-0123456789abcdef0123456789".to_vec()
            } else {
                vec![u8::try_from(number).unwrap(); 32]
            }
            .as_slice(),
        )
        .unwrap(),
        hmac: fwknop::HmacType::Sha256,
    });
    user
}

fn name(door: DoorId) -> Option<&'static str> {
    ["ssh", "nas"].get(door.index()).copied()
}

/// A daemon that started well before [`T`], with so many users.
fn with_users(count: usize, test: impl FnOnce(&mut Auth<'_, Keyed>) + Send) {
    std::thread::scope(|scope| {
        let run = || {
            let mut tables = Box::new(Tables::new());
            let mut auth = Auth::new(&mut tables, Keyed::default(), RULES);
            auth.set_users(RULES, &(0..count).map(|number| Some(user(number))).collect::<Vec<_>>());
            auth.trust_clock(T - 1000);
            test(&mut auth);
        };
        // The tables are a megabyte that is built on the stack.
        let thread = std::thread::Builder::new().stack_size(32 << 20).spawn_scoped(scope, run).unwrap();
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

fn sealed(user: usize, nonce: u8, time: u64) -> [u8; PACKET] {
    let door = DoorName::new("ssh").unwrap();
    key(user).seal([nonce; packet::NONCE], &packet::Request { time, seconds: 0, address: None, door })
}

fn hear(auth: &mut Auth<'_, Keyed>, wall_s: u64, payload: &[u8]) -> Result<UserId, Refusal> {
    let source = "198.51.100.7".parse().unwrap();
    let heard = auth.packet(Instant::from_millis(5), wall_s, source, payload);
    heard.map(|request| request.user).map_err(|(refusal, _)| refusal)
}

#[test]
fn a_packet_names_its_user_among_a_hundred() {
    with_users(100, |auth| {
        for number in [0, 42, 99] {
            let id = UserId(u8::try_from(number).unwrap());
            assert_eq!(hear(auth, T, &sealed(number, 1, T)), Ok(id));
        }
        assert_eq!(hear(auth, T, &sealed(100, 1, T)), Err(Refusal::Unknown));
    });
}

#[test]
fn a_packet_is_taken_once_from_whatever_address() {
    with_users(2, |auth| {
        let packet = sealed(1, 1, T);
        assert_eq!(hear(auth, T, &packet), Ok(UserId(1)));
        assert_eq!(hear(auth, T, &packet), Err(Refusal::Replay));
        let heard = auth.packet(Instant::default(), T, "2001:db8::9".parse().unwrap(), &packet);
        assert_eq!(heard, Err((Refusal::Replay, Some(UserId(1)))));
        assert_eq!(hear(auth, T, &sealed(1, 2, T)), Ok(UserId(1)), "another packet of the same second");
    });
}

#[test]
fn clocks_may_differ_by_the_age_and_no_more() {
    with_users(1, |auth| {
        for (nonce, (time, expected)) in (0..).zip([
            (T - MAX_AGE, Ok(UserId(0))),
            (T + MAX_AGE, Ok(UserId(0))),
            (T - MAX_AGE - 1, Err(Refusal::Age)),
            (T + MAX_AGE + 1, Err(Refusal::Age)),
        ]) {
            assert_eq!(hear(auth, T, &sealed(0, nonce, time)), expected, "{time}");
        }
        // Beyond the tags that are looked at there is nobody to be found.
        assert_eq!(hear(auth, T, &sealed(0, 9, T + 1000)), Err(Refusal::Unknown));
    });
}

#[test]
fn no_clock_makes_a_packet_new() {
    with_users(1, |auth| {
        let packet = sealed(0, 1, T);
        assert_eq!(hear(auth, T, &packet), Ok(UserId(0)));
        for wall in [T + 10_000, T - 100, 0, T, u64::MAX, T + 119, T - 120] {
            assert!(hear(auth, wall, &packet).is_err(), "{wall}");
        }
        // A day later, and back.
        for n in 0..40 {
            let later = T + 86_400 + u64::from(n);
            assert_eq!(hear(auth, later, &sealed(0, n, later)), Ok(UserId(0)));
        }
        assert_eq!(hear(auth, T, &packet), Err(Refusal::Replay));
        assert_eq!(hear(auth, T, &sealed(0, 77, T)), Err(Refusal::Replay), "nor one that was kept back");
    });
}

#[test]
fn nothing_is_taken_from_before_the_start() {
    with_users(1, |auth| {
        auth.floor = None;
        assert_eq!(hear(auth, T, &sealed(0, 1, T)), Err(Refusal::NoClock));
        auth.trust_clock(T);
        assert_eq!(hear(auth, T + 5, &sealed(0, 1, T)), Err(Refusal::Replay));
        assert_eq!(hear(auth, T + 5, &sealed(0, 1, T + 1)), Ok(UserId(0)));
    });
}

#[test]
fn a_reload_forgets_nothing_whoever_gets_the_key() {
    with_users(2, |auth| {
        let packet = sealed(1, 1, T);
        assert_eq!(hear(auth, T, &packet), Ok(UserId(1)));
        let reload = |auth: &mut Auth<'_, Keyed>, users: &[Option<User>]| auth.set_users(RULES, users);
        reload(auth, &[Some(user(0)), Some(user(1))]);
        assert_eq!(hear(auth, T, &packet), Err(Refusal::Replay));
        assert_eq!(hear(auth, T, &sealed(0, 1, T)), Ok(UserId(0)), "others are not touched");
        // The key goes to another slot, and comes back.
        for users in [vec![Some(user(1)), None], vec![], vec![None, Some(user(1))]] {
            reload(auth, &users);
            assert!(hear(auth, T, &packet).is_err());
        }
        assert_eq!(hear(auth, T + 1, &sealed(1, 3, T + 1)), Ok(UserId(1)));
        reload(auth, &[Some(user(0)), None]);
        assert_eq!(hear(auth, T + 2, &sealed(1, 4, T + 2)), Err(Refusal::Unknown), "revoked");
    });
}

#[test]
fn an_expired_user_uses_his_packet_up() {
    with_users(1, |auth| {
        let mut expired = user(0);
        expired.expires = Some(T);
        auth.set_users(RULES, &[Some(expired)]);
        assert_eq!(hear(auth, T - 1, &sealed(0, 1, T - 1)), Ok(UserId(0)));
        assert_eq!(hear(auth, T, &sealed(0, 2, T)), Err(Refusal::Expired));
        auth.set_users(RULES, &[Some(user(0))]);
        assert_eq!(hear(auth, T, &sealed(0, 2, T)), Err(Refusal::Replay));
    });
}

#[test]
fn changed_cut_and_longer_packets_are_nobodys() {
    with_users(3, |auth| {
        let packet = sealed(1, 1, T);
        for bit in 0..PACKET * 8 {
            let mut changed = packet;
            changed[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit < 64 { Refusal::Unknown } else { Refusal::Forged };
            assert_eq!(hear(auth, T, &changed), Err(expected), "bit {bit}");
        }
        for len in 0..PACKET {
            assert_eq!(hear(auth, T, &packet[..len]), Err(Refusal::Form), "{len}");
        }
        assert_eq!(hear(auth, T, &[&packet[..], &[0]].concat()), Err(Refusal::Form));
        assert_eq!(hear(auth, T, &packet), Ok(UserId(1)), "and all that has not used it up");
    });
}

#[cfg(feature = "fwknop")]
mod of_fwknop {
    use super::*;

    const PACKET_OF_FWKNOP: &[u8] = b"97sd+LRRUq9+LQzKPB6+vHzLHTBiiIrgajWmZWrX/luyRG3KIZuXXSuNaBJAk4WVZlHv54YEhWtypxfN2qhtTuEFMZZHiJRwCahrpiz1OaNKgagWMyhyBrT1P5oz9YG283BPEvn+J/46We77v+T6MxcxHiGACRYB7z5VTOmAH6042qQzZvGgKIuVFASu1JVF6LrmUKFmYOV7qyhzulPHhfSXm8IUWJz5E";

    #[test]
    fn a_packet_is_taken_once() {
        with_users(100, |auth| {
            assert_eq!(hear(auth, T + 200, PACKET_OF_FWKNOP), Err(Refusal::Age));
            assert_eq!(hear(auth, T, PACKET_OF_FWKNOP), Ok(UserId(0)));
            assert_eq!(hear(auth, T, PACKET_OF_FWKNOP), Err(Refusal::Replay));
            // The same HMAC, written with other bits where two mean nothing.
            let mut dressed = PACKET_OF_FWKNOP.to_vec();
            *dressed.last_mut().unwrap() = b'F';
            assert_eq!(hear(auth, T, &dressed), Err(Refusal::Unknown));
        });
    }

    #[test]
    fn a_source_that_fails_is_not_listened_to_for_a_while() {
        with_users(2, |auth| {
            let mut forged = PACKET_OF_FWKNOP.to_vec();
            forged[50] ^= 1;
            let mut from = |ms, source: &str, packet: &[u8]| {
                let heard = auth.packet(Instant::from_millis(ms), T, source.parse().unwrap(), packet);
                heard.map(|_| ()).map_err(|(refusal, _)| refusal)
            };
            for _ in 0..crate::failures::MAX_FAILURES {
                assert_eq!(from(0, "192.0.2.1", &forged), Err(Refusal::Unknown));
            }
            assert_eq!(from(0, "192.0.2.1", PACKET_OF_FWKNOP), Err(Refusal::Limited));
            // ketuk's packet costs too little to be limited.
            assert_eq!(from(0, "192.0.2.1", &sealed(1, 1, T)), Ok(()));
            assert_eq!(from(0, "192.0.2.2", &forged), Err(Refusal::Unknown));
            assert_eq!(from(10_000, "192.0.2.1", PACKET_OF_FWKNOP), Ok(()));
        });
    }

    #[test]
    fn all_together_cost_so_many_macs_a_second() {
        with_users(100, |auth| {
            let mut forged = PACKET_OF_FWKNOP.to_vec();
            forged[50] ^= 1;
            let mut limited = 0;
            for n in 0..300_u32 {
                let source = IpAddr::from(n.to_be_bytes());
                let heard = auth.packet(Instant::default(), T, source, &forged);
                limited += u32::from(heard == Err((Refusal::Limited, None)));
            }
            // The packets that are explained cost the four other HMACs of each key too.
            let explained = EXPLAINED_PER_SECOND * 4 * 100;
            assert_eq!(limited, 300 - (HMACS_PER_SECOND - explained) / 100);
        });
    }
}

/// The ports of a user's door in the window of a moment.
fn ports(user: usize, door: &str, wall_s: u64) -> [u16; 4] {
    sequence(&totp_secret(user), door, window(wall_s), RANGE)
}

/// Knocks at ports one after the other; what came of the last.
fn knock(auth: &mut Auth<'_, Keyed>, wall_s: u64, source: &str, ports: &[u16]) -> Knocked {
    let mut last = Knocked::Again;
    for (at, port) in ports.iter().enumerate() {
        let id =
            u16::try_from(1000 * window(wall_s) % 50_000).unwrap() + u16::try_from(at).unwrap() + port / 7;
        last = auth.knock(Instant::from_millis(5), wall_s, &probe(source, &port.to_string(), id), name);
    }
    last
}

fn opens(knocked: Knocked) -> Option<(UserId, DoorId)> {
    match knocked {
        Knocked::Request(Request { user, wanted: Wanted::Door(door), .. }) => Some((user, door)),
        _ => None,
    }
}

const SOURCE: &str = "198.51.100.7";

#[test]
fn a_sequence_opens_its_users_door_once() {
    with_users(100, |auth| {
        let ssh = ports(7, "ssh", T);
        assert_eq!(opens(knock(auth, T, SOURCE, &ssh)), Some((UserId(7), DoorId(0))));
        for source in [SOURCE, "192.0.2.1"] {
            let refused = knock(auth, T, source, &ssh);
            assert!(opens(refused).is_none(), "{refused:?}");
        }
        assert_eq!(knock(auth, T, "192.0.2.2", &ssh), Knocked::Refused((Refusal::Replay, Some(UserId(7)))));
        assert_eq!(opens(knock(auth, T, SOURCE, &ports(7, "nas", T))), Some((UserId(7), DoorId(1))));
        assert_eq!(
            opens(knock(auth, T + 30, SOURCE, &ports(7, "ssh", T + 30))),
            Some((UserId(7), DoorId(0)))
        );
        assert_eq!(opens(knock(auth, T + 30, "192.0.2.3", &ports(7, "ssh", T))), None, "an older window");
    });
}

#[test]
fn the_windows_beside_the_current_one_open_too_and_no_others() {
    for (offset, fine) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
        with_users(3, |auth| {
            let sent = ports(1, "ssh", T.checked_add_signed(30 * offset).unwrap());
            assert_eq!(opens(knock(auth, T, SOURCE, &sent)).is_some(), fine, "{offset}");
        });
    }
}

#[test]
fn clocks_that_go_back_make_no_window_new() {
    with_users(1, |auth| {
        let sent = ports(0, "ssh", T);
        assert!(opens(knock(auth, T, SOURCE, &sent)).is_some());
        assert!(opens(knock(auth, T + 300, SOURCE, &ports(0, "ssh", T + 300))).is_some());
        for wall in [T, T - 30, T + 30] {
            assert!(opens(knock(auth, wall, "192.0.2.9", &sent)).is_none(), "{wall}");
        }
    });
}

#[test]
fn no_window_from_before_the_start_or_a_reload_opens() {
    with_users(1, |auth| {
        let start = T / 30 * 30 + 3;
        auth.trust_clock(start);
        assert_eq!(
            knock(auth, start, SOURCE, &ports(0, "ssh", start)),
            Knocked::Refused((Refusal::Replay, Some(UserId(0))))
        );
        let next = ports(0, "ssh", start + 30);
        assert!(opens(knock(auth, start + 30, SOURCE, &next)).is_some());
        auth.set_users(RULES, &[Some(user(0))]);
        assert!(opens(knock(auth, start + 30, "192.0.2.9", &next)).is_none());
    });
}

/// The worst start: just after a window began, which opens nothing. A client goes on until the next one does.
#[test]
fn who_tries_every_four_seconds_is_listened_to_until_the_next_window() {
    with_users(1, |auth| {
        let start = T / 30 * 30;
        auth.trust_clock(start);
        let mut id = 0;
        let mut try_at = |second: u64| {
            let mut last = None;
            for port in ports(0, "ssh", start + second) {
                id += 1;
                let probe = probe(SOURCE, &port.to_string(), id);
                last = Some(auth.knock(Instant::from_millis(second * 1000), start + second, &probe, name));
            }
            last.expect("four knocks")
        };
        for second in (0..30).step_by(4) {
            assert_eq!(
                try_at(second),
                Knocked::Refused((Refusal::Replay, Some(UserId(0)))),
                "after {second} s"
            );
        }
        assert!(opens(try_at(32)).is_some());
    });
}

#[test]
fn retransmissions_and_repeats_change_nothing_and_wrong_ports_spoil() {
    with_users(1, |auth| {
        let [a, b, c, d] = ports(0, "ssh", T);
        let at = |auth: &mut Auth<'_, Keyed>, port: u16, id| {
            auth.knock(Instant::from_millis(5), T, &probe(SOURCE, &port.to_string(), id), name)
        };
        // a, a again, b, a's retransmission, c, another knock at c, d.
        for (port, id, again) in
            [(a, 1, false), (a, 1, true), (b, 2, false), (a, 1, false), (c, 3, false), (c, 30, true)]
        {
            assert_eq!(at(auth, port, id) == Knocked::Again, again, "{port} {id}");
        }
        assert!(opens(at(auth, d, 4)).is_some());
        assert_eq!(at(auth, d, 4), Knocked::Again);
        // All four, sent again: their sender heard nothing from a port that is shut.
        for (port, id) in [(a, 1), (b, 2), (c, 3)] {
            assert_eq!(at(auth, port, id), Knocked::Noted(false), "{port}");
        }
        assert_eq!(at(auth, d, 4), Knocked::Again);
        // The same ports by other segments are a recording, played from the same address.
        for (port, id) in [(a, 11), (b, 12), (c, 13)] {
            assert_eq!(at(auth, port, id), Knocked::Noted(false), "{port}");
        }
        assert_eq!(at(auth, d, 14), Knocked::Refused((Refusal::Replay, Some(UserId(0)))));

        let nas = ports(0, "nas", T);
        let mut wrong = (20_000..30_000).filter(|port| !nas.contains(port));
        let (wrong, other) = (wrong.next().unwrap(), wrong.next().unwrap());
        let [a, b, c, d] = nas;
        assert!(opens(knock(auth, T, "192.0.2.1", &[a, b, wrong, other, c, d])).is_none());
        assert!(opens(knock(auth, T, "192.0.2.1", &nas)).is_some(), "and the next try is fine");
    });
}

/// Whatever somebody has sent in a user's name, he is listened to.
#[test]
fn scans_open_nothing_and_lock_nobody_out() {
    with_users(100, |auth| {
        let right = ports(5, "ssh", T);
        for (source, scan) in [
            ("192.0.2.1", (20_000..30_000).collect::<Vec<u16>>()),
            ("192.0.2.2", (20_000..30_000).rev().collect()),
        ] {
            for port in scan {
                assert!(opens(knock(auth, T, source, &[port])).is_none());
            }
        }
        assert!(opens(knock(auth, T, "192.0.2.1", &right)).is_some());
        // One forged knock between his own.
        let [a, b, c, d] = ports(6, "ssh", T);
        let forged = (20_000..30_000).find(|port| ![a, b, c, d].contains(port)).unwrap();
        assert!(opens(knock(auth, T, "192.0.2.2", &[a, b, forged, c, d])).is_some());
    });
}

#[test]
fn a_flood_of_first_knocks_leaves_a_second_for_the_rest() {
    with_users(1, |auth| {
        let right = ports(0, "ssh", T);
        for (step, port) in right.into_iter().enumerate() {
            for n in 0..8_000_u32 {
                let forged =
                    IpAddr::from((0x0a00_0000 + n + 8_000 * u32::try_from(step).unwrap()).to_be_bytes());
                let at = format!("{}", 20_000 + n);
                let _ = auth.knock(
                    Instant::default(),
                    T,
                    &Probe { source: forged, ..probe(SOURCE, &at, 1) },
                    name,
                );
            }
            let id = u16::try_from(step).unwrap();
            let knocked = auth.knock(Instant::default(), T, &probe(SOURCE, &port.to_string(), id), name);
            assert_eq!(opens(knocked).is_some(), step == 3);
        }
    });
}
