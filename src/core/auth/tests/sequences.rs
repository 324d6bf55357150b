//! Changing sequences against clocks that go wrong, scans and floods.

use ketuk_protocol::totp::sequence;

use super::*;
use crate::testing::probe;

/// The ports of a user's door in the window of a moment.
fn ports(user: usize, door: &str, wall_s: u64) -> [u16; 4] {
    sequence(&totp_secret(user), door, window(wall_s), RANGE)
}

/// Knocks at ports one after the other, and returns the last result.
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
        Knocked::Request(UserRequest { user, wanted: Wanted::Door(door), .. }) => Some((user, door)),
        _ => None,
    }
}

const SOURCE: &str = "198.51.100.7";

/// Whether a client whose clock shows `made` opens the user's first door at [`T`].
pub(super) fn opens_at(auth: &mut Auth<'_, Keyed>, user: usize, made: u64) -> bool {
    opens(knock(auth, T, SOURCE, &ports(user, "ssh", made))).is_some()
}

#[test]
fn a_sequence_opens_its_users_door_once() {
    with_users(100, |auth| {
        let ssh = ports(7, "ssh", T);
        assert_eq!(opens(knock(auth, T, SOURCE, &ssh)), Some((UserId(7), DoorId(0))));
        for source in [SOURCE, "192.0.2.1"] {
            let refused = knock(auth, T, source, &ssh);
            assert!(opens(refused).is_none(), "{refused:?}");
        }
        assert_eq!(knock(auth, T, "192.0.2.2", &ssh), Knocked::Refused(Refusal::Replay.of(UserId(7))));
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
            Knocked::Refused(Refusal::Replay.of(UserId(0)))
        );
        let next = ports(0, "ssh", start + 30);
        assert!(opens(knock(auth, start + 30, SOURCE, &next)).is_some());
        auth.set_users(RULES, &[Some(user(0))]);
        assert!(opens(knock(auth, start + 30, "192.0.2.9", &next)).is_none());
    });
}

/// Neither a user's own knock nor another's makes others wait for the next half minute.
#[test]
fn a_reload_takes_no_window_from_users_who_have_not_used_it() {
    with_users(2, |auth| {
        assert!(opens(knock(auth, T, SOURCE, &ports(0, "ssh", T))).is_some());
        auth.set_users(RULES, &[Some(user(0)), Some(user(1))]);
        for door in ["ssh", "nas"] {
            let sent = ports(0, door, T);
            assert!(
                opens(knock(auth, T, "192.0.2.9", &sent)).is_none(),
                "its slot may have been the other's"
            );
        }
        assert!(opens(knock(auth, T, SOURCE, &ports(1, "ssh", T))).is_some());
        // Another secret may be one that somebody else had before.
        auth.set_users(RULES, &[Some(user(1)), Some(user(0))]);
        for number in [0, 1] {
            assert!(opens(knock(auth, T, "192.0.2.9", &ports(number, "ssh", T))).is_none(), "{number}");
        }
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
            assert_eq!(try_at(second), Knocked::Refused(Refusal::Replay.of(UserId(0))), "after {second} s");
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
        assert_eq!(at(auth, d, 14), Knocked::Refused(Refusal::Replay.of(UserId(0))));

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
