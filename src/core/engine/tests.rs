//! The matching rules one by one.

mod model;
mod sources;
mod what_matters;

use core::net::IpAddr;

use super::*;
use crate::sequence::{FlagMatch, flag};
use crate::testing::{Keyed, ROUTER, door, on_stack, probe, step};

const ALICE: &str = "198.51.100.7";
const BOB: &str = "198.51.100.8";

fn with_doors<T: Send>(doors: &[DoorKnock], body: impl FnOnce(&mut Engine<'_, Keyed>) -> T + Send) -> T {
    on_stack(|| {
        let mut tables = Box::new(EngineTables::new());
        let mut engine = Engine::new(&mut tables, Keyed::default());
        let doors: Vec<_> = doors.iter().cloned().map(Some).collect();
        engine.set_doors(&doors, &[]).unwrap();
        engine.set_addresses(&[ROUTER.into()]);
        body(&mut engine)
    })
}

/// Knocks as `source`, each knock with an identity of its own, 10 ms apart. Returns the first door's verdicts.
fn knock(engine: &mut Engine<'_, Keyed>, source: &str, ports: &[&str]) -> Vec<(u8, Judged)> {
    let mut seen = Vec::new();
    for (n, port) in (1..).zip(ports) {
        let judgement =
            engine.judge(Instant::from_millis(n * 10), &probe(source, port, u16::try_from(n).unwrap()));
        let verdict = judgement.verdicts.iter().find(|verdict| verdict.door == DoorId(0));
        seen.push(verdict.map_or((0, judgement.judged), |verdict| (verdict.stage, verdict.judged)));
    }
    seen
}

/// Whether the door opens at the last of these knocks and at none before.
fn opens(sequence: &[&str], ports: &[&str]) -> bool {
    with_doors(&[door(sequence)], |engine| {
        let seen = knock(engine, ALICE, ports);
        let (last, before) = seen.split_last().unwrap();
        assert!(before.iter().all(|(_, judged)| *judged != Judged::Opened), "{seen:?}");
        last.1 == Judged::Opened
    })
}

const THREE: [&str; 3] = ["7000", "8000", "9000"];

#[test]
fn the_right_knocks_in_order_open() {
    assert!(opens(&THREE, &THREE));
    assert!(opens(&["7000", "8000:udp", "9000"], &["7000", "8000:udp", "9000"]));
    assert!(opens(&["7000"], &["7000"]));
}

#[test]
fn the_wrong_order_protocol_or_number_does_not() {
    for ports in [
        vec!["7000", "9000", "8000"],
        vec!["9000", "8000", "7000"],
        vec!["7000", "8000", "9000:udp"],
        vec!["7000", "8000"],
        vec!["8000", "9000"],
        vec!["7000", "8000", "8001", "8002", "9000"],
        vec!["7000", "8001", "8000", "8999", "9000"],
    ] {
        assert!(!opens(&THREE, &ports), "{ports:?}");
    }
}

#[test]
fn nothing_is_swallowed() {
    for ports in [
        vec!["8000", "7000", "8000", "9000"],
        vec!["7000", "8000", "7000", "8000", "9000"],
        vec!["7000", "9000", "7000", "8000", "9000"],
        vec!["7001", "7000", "8000", "9000"],
        vec!["7000", "7001", "7002", "7000", "8000", "9000"],
        // A late second try of an earlier step.
        vec!["7000", "8000", "7000", "9000"],
        vec!["7000", "8000", "8000", "7000", "8000", "9000"],
    ] {
        assert!(opens(&THREE, &ports), "{ports:?}");
    }
}

#[test]
fn each_knock_twice_opens_once() {
    assert!(opens(&THREE, &["7000", "7000", "8000", "8000", "9000"]));
    with_doors(&[door(&THREE)], |engine| {
        let seen = knock(engine, ALICE, &["7000", "7000", "8000", "8000", "9000", "9000"]);
        let opened = seen.iter().filter(|(_, judged)| *judged == Judged::Opened).count();
        assert_eq!((seen[1], seen[5], opened), ((1, Judged::Repeat), (0, Judged::NotBegun), 1));
    });
}

#[test]
fn a_port_named_twice_in_a_row_needs_two_knocks() {
    assert!(!opens(&["7000", "7000", "8000"], &["7000", "8000"]));
    assert!(opens(&["7000", "7000", "8000"], &["7000", "7000", "8000"]));
    assert!(opens(&["7000", "7000", "8000"], &["7000", "7000", "7000", "8000"]));
    assert!(opens(&["7000:udp", "7000:udp"], &["7000:udp", "7000:udp"]));
    // If the sequence names the port next, the knock is that step, though the port was a step before.
    assert!(opens(&["7000", "8000", "7000"], &["7000", "8000", "7000"]));
    assert!(!opens(&["7000", "8000", "7000", "9000"], &["7000", "8000", "9000"]));
}

#[test]
fn one_foreign_port_is_a_coincidence_and_two_are_a_scan() {
    for (ports, expected) in [
        (&["7000", "8001", "8000", "8001", "9000"][..], true),
        (&["8001", "8002", "7000", "8000", "8999", "9000"], true),
        (&["7000", "8001", "8000", "8999", "9000"], false),
        (&["7000", "8001", "8002", "8000", "9000"], false),
        (&["7000", "8001", "8002", "7000", "8000", "9000"], true),
        (&["7000", "8000", "7001", "7000", "8999", "9000"], false),
    ] {
        assert_eq!(opens(&THREE, ports), expected, "{ports:?}");
    }
    with_doors(&[door(&THREE)], |engine| {
        let seen = knock(engine, ALICE, &["7000", "7001", "7001", "8000", "7001", "8001"]);
        let expected = [
            (1, Judged::Advanced),
            (1, Judged::Forgiven),
            (1, Judged::Forgiven),
            (2, Judged::Advanced),
            (2, Judged::Forgiven),
            (0, Judged::Trap),
        ];
        assert_eq!(seen, expected);
    });
}

/// The time runs anew from the first step, whatever the attempt has taken, and from no other step.
#[test]
fn whoever_begins_again_has_the_whole_time_again() {
    for (again, last, expected) in [
        ("7000", 44_999, Judged::Opened),
        ("7000", 45_000, Judged::NotBegun),
        ("8000", 24_999, Judged::Opened),
        ("8000", 25_000, Judged::NotBegun),
    ] {
        with_doors(&[door(&THREE)], |engine| {
            let mut judge =
                |ms, port, id| engine.judge(Instant::from_millis(ms), &probe(ALICE, port, id)).judged;
            judge(0, "7000", 1);
            judge(10_000, "8000", 2);
            assert_eq!(judge(20_000, again, 3), Judged::Repeat);
            assert_eq!(judge(last, "9000", 4), expected, "{again} {last}");
        });
    }
}

#[test]
fn a_retransmission_of_any_step_changes_nothing() {
    with_doors(&[door(&THREE)], |engine| {
        let mut judge = |port, id| {
            let verdict = engine.judge(Instant::from_millis(0), &probe(ALICE, port, id)).verdicts[0];
            (verdict.stage, verdict.judged)
        };
        assert_eq!(judge("7000", 1), (1, Judged::Advanced));
        assert_eq!(judge("7000", 1), (1, Judged::Retransmission));
        assert_eq!(judge("8000", 2), (2, Judged::Advanced));
        assert_eq!(judge("7000", 1), (2, Judged::Retransmission), "an earlier step, sent again");
        assert_eq!(judge("9000", 3), (3, Judged::Opened));
        for (port, id) in [("7000", 1), ("8000", 2), ("9000", 3)] {
            assert_eq!(judge(port, id), (0, Judged::Retransmission), "after the door opened");
        }
        assert_eq!(judge("7000", 9), (1, Judged::Advanced), "a new knock is a new knock");
        assert_eq!(judge("9000", 3), (1, Judged::Retransmission));
        assert_eq!(judge("7000", 10), (1, Judged::Repeat));
    });
}

/// A datagram at port 7000 from a source port, with a frame's identity.
fn datagram(source_port: u16, frame: u32) -> Probe {
    Probe { transport: Transport::Udp { source_port, port: 7000, frame }, ..probe(ALICE, "7000:udp", 1) }
}

#[test]
fn one_frame_that_was_doubled_is_not_two_knocks_and_two_datagrams_are() {
    use Judged::{Opened, Retransmission};
    for (again, expected) in [
        // Without an identification: within a millisecond.
        ((0, datagram(5, 0), datagram(5, 0)), Retransmission),
        ((1, datagram(5, 0), datagram(5, 0)), Retransmission),
        ((2, datagram(5, 0), datagram(5, 0)), Opened),
        ((150, datagram(5, 0), datagram(5, 0)), Opened),
        ((0, datagram(5, 0), datagram(6, 0)), Opened),
        // With one: whenever it comes.
        ((0, datagram(5, 0x1234_0000), datagram(5, 0x1234_0000)), Retransmission),
        ((150, datagram(5, 0x1234_0000), datagram(5, 0x1234_0000)), Retransmission),
        ((150, datagram(5, 0x1234_0000), datagram(5, 0x1235_0000)), Opened),
    ] {
        let (ms, first, second) = again;
        with_doors(&[door(&["7000:udp", "7000:udp"])], |engine| {
            let mut judge = |ms, probe| engine.judge(Instant::from_millis(ms), &probe).judged;
            assert_eq!(judge(20, first), Judged::Advanced);
            assert_eq!(judge(20 + ms, second), expected, "{ms} ms later, {first:?} {second:?}");
        });
    }
}

/// The same port a second time, with another between: the last step's frame is compared, and no earlier one.
#[test]
fn a_datagram_of_an_earlier_step_is_the_next_step() {
    with_doors(&[door(&["3000:udp", "2000:udp", "3000:udp"])], |engine| {
        let mut judge = |ms, port| engine.judge(Instant::from_millis(ms), &probe(ALICE, port, 5)).judged;
        assert_eq!(judge(0, "3000:udp"), Judged::Advanced);
        assert_eq!(judge(150, "2000:udp"), Judged::Advanced);
        assert_eq!(judge(151, "2000:udp"), Judged::Retransmission);
        assert_eq!(judge(300, "3000:udp"), Judged::Opened);
        assert_eq!(judge(301, "3000:udp"), Judged::Retransmission, "doubled as the door opened");
        assert_eq!(judge(450, "3000:udp"), Judged::Advanced);
    });
}

#[test]
fn the_time_runs_from_the_first_knock() {
    for (last, expected) in [(24_999, Judged::Opened), (25_000, Judged::NotBegun)] {
        with_doors(&[door(&THREE)], |engine| {
            let mut judge =
                |ms, port, id| engine.judge(Instant::from_millis(ms), &probe(ALICE, port, id)).judged;
            judge(0, "7000", 1);
            judge(10_000, "7000", 1);
            judge(20_000, "8000", 3);
            assert_eq!(judge(last, "9000", 4), expected);
        });
    }
}

#[test]
fn other_segments_neither_count_nor_reset() {
    use flag::{ACK, FIN, PSH, RST, SYN};
    with_doors(&[door(&THREE)], |engine| {
        knock(engine, ALICE, &THREE[..2]);
        for port in ["7000", "7001", "9000"] {
            for flags in [0, ACK, RST, FIN, SYN | ACK, RST | ACK, FIN | ACK, PSH | ACK, SYN | RST, SYN | FIN]
            {
                let mut probe = probe(ALICE, port, 77);
                let Transport::Tcp { flags: of_probe, .. } = &mut probe.transport else { unreachable!() };
                *of_probe = flags;
                assert_eq!(engine.judge(Instant::from_millis(30), &probe).judged, Judged::Flags);
                assert!(!engine.matters(&probe, Via::Network));
            }
        }
        let last = engine.judge(Instant::from_millis(40), &probe(ALICE, "9000", 9));
        assert_eq!(last.judged, Judged::Opened);
    });
}

#[test]
fn a_door_may_ask_for_other_flags() {
    let fin = DoorKnock { tcp_flags: FlagMatch::new(flag::FIN | flag::ACK, flag::FIN), ..door(&["7000"]) };
    with_doors(&[fin, door(&["7000"])], |engine| {
        let mut judge = |flags: u8| -> Vec<_> {
            let mut probe = probe(ALICE, "7000", flags.into());
            let Transport::Tcp { flags: of_probe, .. } = &mut probe.transport else { unreachable!() };
            *of_probe = flags;
            let judgement = engine.judge(Instant::from_millis(0), &probe);
            judgement.verdicts.iter().map(|verdict| verdict.door.0).collect()
        };
        assert_eq!(judge(flag::FIN), [0]);
        assert_eq!(judge(flag::SYN), [1]);
        assert_eq!(judge(flag::FIN | flag::ACK), []);
    });
}

#[test]
fn only_knocks_at_the_router_or_the_target_count() {
    let elsewhere = "203.0.113.99".parse().unwrap();
    let doors = [door(&["7000"]), DoorKnock { target: Some(elsewhere), ..door(&["7000"]) }];
    with_doors(&doors, |engine| {
        let mut judge = |destination| {
            let judgement =
                engine.judge(Instant::from_millis(0), &Probe { destination, ..probe(ALICE, "7000", 1) });
            (judgement.judged, judgement.verdicts.iter().map(|verdict| verdict.door.0).collect::<Vec<_>>())
        };
        assert_eq!(judge(ROUTER), (Judged::Opened, vec![0]));
        assert_eq!(judge(elsewhere), (Judged::Opened, vec![1]));
        assert_eq!(judge("203.0.113.50".parse().unwrap()), (Judged::NotOurs, vec![]));
        assert_eq!(engine.set_addresses(&[OwnAddress::from("203.0.113.50".parse::<IpAddr>().unwrap())]), 0);
        let mut moved = |destination| {
            engine.judge(Instant::from_millis(0), &Probe { destination, ..probe(BOB, "7000", 1) }).judged
        };
        assert_eq!(moved(ROUTER), Judged::NotOurs);
        assert_eq!(moved("203.0.113.50".parse().unwrap()), Judged::Opened);
    });
}
