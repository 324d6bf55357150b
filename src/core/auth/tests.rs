//! Packets against clocks that go wrong, floods, and listeners who send them again.

mod sequences;

use ketuk_protocol::packet::Keys;
use ketuk_protocol::secret::Secret;
use ketuk_protocol::totp::window;

#[cfg(feature = "fwknop")]
use super::fwknop_packet::{EXPLAINED_PER_SECOND, HMACS_PER_SECOND};
use super::*;
use crate::ports::DoorSet;
use crate::testing::Keyed;

/// Half a window after one begins.
const T: u64 = 1_795_340_355;
const MAX_AGE: u64 = 120;
const RULES: AuthRules = AuthRules { max_age_s: MAX_AGE, range: RANGE };
const RANGE: TotpPorts = TotpPorts::new(20_000, 29_999).unwrap();

fn key(user: usize) -> Keys {
    let mut key = [1; packet::KEY];
    key[..8].copy_from_slice(&u64::try_from(user).expect("few users").to_be_bytes());
    Keys::derive(&key)
}

fn totp_secret(user: usize) -> Vec<u8> {
    format!("the secret of user {user:03}").into_bytes()
}

fn user(number: usize) -> KnownUser {
    let mut user = KnownUser { doors: DoorSet(0b11), ..KnownUser::default() };
    user.keys.push(key(number)).unwrap();
    user.totp.push(Secret::new(&totp_secret(number)).unwrap()).unwrap();
    #[cfg(feature = "fwknop")]
    let _ = user.fwknop.push(fwknop::FwknopKeys {
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
            let mut tables = Box::new(AuthTables::new());
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
    heard.map(|request| request.user).map_err(|refused| refused.refusal)
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
fn a_request_has_the_time_that_the_packet_was_made_at_and_the_seconds_that_it_asks_for() {
    with_users(1, |auth| {
        assert!(auth.trusts_clock());
        for (nonce, seconds, asked) in [(1, 0, None), (2, 1, Some(1)), (3, 3600, Some(3600))] {
            let door = DoorName::new("ssh").unwrap();
            let request = packet::Request { time: T - 7, seconds, address: None, door };
            let payload = key(0).seal([nonce; packet::NONCE], &request);
            let heard =
                auth.packet(Instant::default(), T, "198.51.100.7".parse().unwrap(), &payload).unwrap();
            assert_eq!((heard.time(), heard.seconds), (T - 7, asked));
        }
    });
}

#[test]
fn a_packet_is_taken_once_from_whatever_address() {
    with_users(2, |auth| {
        let packet = sealed(1, 1, T);
        assert_eq!(hear(auth, T, &packet), Ok(UserId(1)));
        assert_eq!(hear(auth, T, &packet), Err(Refusal::Replay));
        let heard = auth.packet(Instant::default(), T, "2001:db8::9".parse().unwrap(), &packet);
        assert_eq!(heard, Err(Refusal::Replay.of(UserId(1))));
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
        // Beyond the windows of the tags, no user is found.
        assert_eq!(hear(auth, T, &sealed(0, 9, T + 1000)), Err(Refusal::Unknown));
    });
}

/// While the clock is wrong, the tag leads to no user. So the packet is not used up, as docs/threat-model.md says.
#[test]
fn a_packet_that_came_while_the_clock_was_wrong_opens_once_when_it_is_right() {
    with_users(100, |auth| {
        let packet = sealed(0, 1, T);
        assert_eq!(hear(auth, T + 94_608_000, &packet), Err(Refusal::Unknown));
        assert_eq!(hear(auth, T, &packet), Ok(UserId(0)));
        assert_eq!(hear(auth, T, &packet), Err(Refusal::Replay));
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
        assert!(!auth.trusts_clock());
        assert_eq!(hear(auth, T, &sealed(0, 1, T)), Err(Refusal::NoClock));
        auth.trust_clock(T);
        assert!(auth.trusts_clock());
        assert_eq!(hear(auth, T + 5, &sealed(0, 1, T)), Err(Refusal::Replay));
        assert_eq!(hear(auth, T + 5, &sealed(0, 1, T + 1)), Ok(UserId(0)));
    });
}

#[test]
fn a_reload_forgets_nothing_whoever_gets_the_key() {
    with_users(2, |auth| {
        let packet = sealed(1, 1, T);
        assert_eq!(hear(auth, T, &packet), Ok(UserId(1)));
        let reload = |auth: &mut Auth<'_, Keyed>, users: &[Option<KnownUser>]| auth.set_users(RULES, users);
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

/// Tags and sequences are made once in a window, and at once for a new user. His knocks must be newer than all that were taken.
#[test]
fn a_user_who_is_added_need_not_wait_for_the_next_window() {
    with_users(1, |auth| {
        assert_eq!(hear(auth, T, &sealed(0, 1, T)), Ok(UserId(0)));
        assert!(sequences::opens_at(auth, 0, T));
        auth.set_users(RULES, &[Some(user(0)), Some(user(1))]);
        assert_eq!(hear(auth, T, &sealed(1, 1, T)), Err(Refusal::Replay));
        assert_eq!(hear(auth, T, &sealed(1, 1, T + 1)), Ok(UserId(1)));
        assert!(sequences::opens_at(auth, 1, T + 30));
    });
}

#[test]
fn there_is_room_for_as_many_users_as_there_may_be() {
    with_users(0, |auth| {
        // The fullest tables of tags and of sequences: of two doors for each secret.
        let full = |number: usize| {
            let mut user = user(number);
            for more in 1..crate::user::MAX_SECRETS {
                user.keys.push(key(number + more * MAX_USERS)).unwrap();
                user.totp.push(Secret::new(&totp_secret(number + more * MAX_USERS)).unwrap()).unwrap();
            }
            Some(user)
        };
        let rules = AuthRules { max_age_s: crate::tags::MAX_SPA_AGE_S, ..RULES };
        auth.set_users(rules, &(0..MAX_USERS).map(full).collect::<Vec<_>>());
        let last = crate::user::MAX_SECRETS * MAX_USERS - 1;
        assert_eq!(hear(auth, T, &sealed(last, 1, T)), Ok(UserId(127)));
        assert!(sequences::opens_at(auth, last, T));
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
    fn a_packet_names_its_time_or_leaves_it_to_the_door() {
        with_users(1, |auth| {
            let source = IpAddr::from([198, 51, 100, 7]);
            let taken = auth.packet(Instant::from_millis(5), T, source, PACKET_OF_FWKNOP).unwrap();
            assert_eq!((taken.seconds, taken.address), (Some(600), None));
            let named = core::net::Ipv4Addr::new(1, 2, 3, 4);
            let wish = fwknop::Wish {
                user: "alice",
                time: T,
                address: Some(named),
                access: "tcp/22",
                nat: None,
                seconds: 0,
            };
            let mut buffer = fwknop::empty_buffer();
            let randomness = fwknop::Randomness { number: 1, salt: [1; 8] };
            let packet = fwknop::seal(&user(0).fwknop[0], &wish, randomness, &mut buffer).unwrap();
            let taken = auth.packet(Instant::from_millis(6), T, source, packet).unwrap();
            assert_eq!((taken.seconds, taken.address), (None, Some(named.into())));
        });
    }

    /// A forger keeps a user out only while the forger and others use up all HMACs.
    #[test]
    fn a_source_that_fails_is_ignored_only_while_hmacs_are_short() {
        with_users(100, |auth| {
            let mut forged = PACKET_OF_FWKNOP.to_vec();
            forged[50] ^= 1;
            let mut from = |ms, source: &str, packet: &[u8]| {
                let heard = auth.packet(Instant::from_millis(ms), T, source.parse().unwrap(), packet);
                heard.map(|_| ()).map_err(|refused| refused.refusal)
            };
            // Each costs 100 HMACs: 50 a second are a quarter of what there is.
            for n in 0..500 {
                assert_eq!(from(n * 20, "192.0.2.1", &forged), Err(Refusal::Unknown), "{n}");
            }
            // A flood at one moment may use up half.
            let used = (0..200).take_while(|_| from(20_000, "192.0.2.1", &forged) == Err(Refusal::Unknown));
            assert!((90..=101).contains(&used.count()));
            assert_eq!(from(20_000, "192.0.2.1", PACKET_OF_FWKNOP), Err(Refusal::Limited));
            // ketuk's packet costs too little to be limited.
            assert_eq!(from(20_000, "192.0.2.1", &sealed(1, 1, T)), Ok(()));
            assert_eq!(from(20_000, "192.0.2.2", &forged), Err(Refusal::Unknown), "the rest is for others");
            assert_eq!(from(20_100, "192.0.2.1", PACKET_OF_FWKNOP), Ok(()), "as soon as there is plenty");
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
                limited += u32::from(heard == Err(Refusal::Limited.into()));
            }
            // The packets that are explained cost the four other HMACs of each key too.
            let explained = EXPLAINED_PER_SECOND * 4 * 100;
            assert_eq!(limited, 300 - (HMACS_PER_SECOND - explained) / 100);
        });
    }
}
