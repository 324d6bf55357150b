//! The matching rules one by one, then the whole engine against a model that keeps everything.

use core::hash::BuildHasherDefault;
use core::net::IpAddr;
use core::time::Duration;
use std::collections::HashMap;
use std::hash::DefaultHasher;

use proptest::prelude::*;

use super::*;
use crate::sequence::{FlagMatch, Protocol, flag};
use crate::testing::{ROUTER, door, probe, step};

type Keyed = BuildHasherDefault<DefaultHasher>;

const ALICE: &str = "198.51.100.7";
const BOB: &str = "198.51.100.8";

fn on_stack<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    // The tables are large; a test thread's stack need not be.
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(16 << 20)
            .spawn_scoped(scope, body)
            .expect("a thread")
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn with_doors<T: Send>(doors: &[Door], body: impl FnOnce(&mut Engine<'_, Keyed>) -> T + Send) -> T {
    on_stack(|| {
        let mut tables = Box::new(Tables::new());
        let mut engine = Engine::new(&mut tables, Keyed::default());
        let doors: Vec<_> = doors.iter().cloned().map(Some).collect();
        engine.set_doors(&doors, &[]).unwrap();
        engine.set_addresses(&[ROUTER.into()]);
        body(&mut engine)
    })
}

/// Knocks as `source`, each with an identity of its own, 10 ms apart; what the first door said of each.
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
    // What the sequence names next is that step, though it has been taken before.
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
fn timeouts_name_door_source_and_stage_without_another_packet() {
    with_doors(&[door(&THREE)], |engine| {
        knock(engine, ALICE, &THREE[..2]);
        assert_eq!(engine.next_deadline(), Some(Instant::from_millis(25_010)));
        let mut seen = Vec::new();
        engine.expire(Instant::from_millis(25_010), |timed_out| seen.push(timed_out));
        assert_eq!(seen, [TimedOut { source: ALICE.parse().ok(), door: DoorId(0), stage: 2 }]);
        assert_eq!(engine.next_deadline(), None);
    });
}

#[test]
fn sources_do_not_mix() {
    with_doors(&[door(&THREE)], |engine| {
        let mut judge =
            |source, port, id| engine.judge(Instant::from_millis(0), &probe(source, port, id)).judged;
        for (n, port) in (0..).zip(THREE) {
            let expected = if port == "9000" { Judged::Opened } else { Judged::Advanced };
            assert_eq!([judge(ALICE, port, n), judge(BOB, port, n)], [expected; 2]);
        }
    });
}

#[test]
fn doors_advance_independently() {
    let doors = [door(&["1111", "2222", "3333"]), door(&["1111", "2222", "4444"]), door(&["2222"])];
    with_doors(&doors, |engine| {
        let mut stages = |port, id| -> Vec<_> {
            let verdicts = engine.judge(Instant::from_millis(0), &probe(ALICE, port, id)).verdicts;
            verdicts.iter().map(|verdict| (verdict.door.0, verdict.stage, verdict.judged)).collect()
        };
        assert_eq!(stages("1111", 1), [(0, 1, Judged::Advanced), (1, 1, Judged::Advanced)]);
        let second = [(0, 2, Judged::Advanced), (1, 2, Judged::Advanced), (2, 1, Judged::Opened)];
        assert_eq!(stages("2222", 2), second);
        assert_eq!(stages("4444", 3), [(1, 3, Judged::Opened)], "4444 is nothing to door 0");
        assert_eq!(stages("3333", 4), [(0, 3, Judged::Opened)]);
    });
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
    let fin =
        Door { tcp_flags: FlagMatch { mask: flag::FIN | flag::ACK, value: flag::FIN }, ..door(&["7000"]) };
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
    let doors = [door(&["7000"]), Door { target: Some(elsewhere), ..door(&["7000"]) }];
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

#[test]
fn a_trap_near_any_step_resets_every_door_of_that_source_only() {
    let doors = [door(&["7000", "8000"]), door(&["20000:udp", "21000:udp"])];
    with_doors(&doors, |engine| {
        let mut judge = |source, port, id| engine.judge(Instant::from_millis(0), &probe(source, port, id));
        judge(ALICE, "7000", 1);
        judge(ALICE, "20000:udp", 2);
        judge(BOB, "7000", 1);
        judge(ALICE, "7001", 7);
        let trapped: Vec<_> =
            judge(ALICE, "21003:udp", 3).verdicts.iter().map(|verdict| verdict.door.0).collect();
        assert_eq!(trapped, [0, 1]);
        assert_eq!(judge(ALICE, "8000", 4).judged, Judged::NotBegun);
        assert_eq!(judge(BOB, "8000", 2).judged, Judged::Opened);
        assert_eq!(judge(ALICE, "21003:udp", 5).verdicts.len(), 0, "there is nothing left to reset");
        assert_eq!(judge(ALICE, "30000", 6).judged, Judged::NoDoor);
    });
}

#[test]
fn scans_of_every_port_open_nothing() {
    let doors =
        [door(&["7000", "8000", "9000"]), door(&["9000", "8000", "7000"]), door(&["443", "1022", "80"])];
    with_doors(&doors, |engine| {
        let mut scan = |ports: &mut dyn Iterator<Item = u16>| {
            let mut opened = 0;
            for (n, port) in (0..).zip(ports) {
                let scanned = Probe {
                    transport: Transport::Tcp {
                        source_port: 4444,
                        port,
                        sequence_number: n,
                        flags: flag::SYN,
                    },
                    ..probe(ALICE, "1", 1)
                };
                opened +=
                    usize::from(engine.judge(Instant::from_millis(0), &scanned).judged == Judged::Opened);
            }
            opened
        };
        assert_eq!(scan(&mut (0..=u16::MAX)), 0, "ascending");
        assert_eq!(scan(&mut (0..=u16::MAX).rev()), 0, "descending");
        let mut ports: Vec<u16> = (0..=u16::MAX).collect();
        let mut seed = 20_u64;
        let mut passed = 0;
        for _ in 0..20 {
            // Fisher and Yates, with Knuth's generator.
            for last in (1..ports.len()).rev() {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ports.swap(last, usize::try_from(seed >> 33).unwrap() % (last + 1));
            }
            passed += scan(&mut ports.iter().copied());
        }
        assert_eq!(passed, 0, "20 scans in random order");
    });
}

/// Everybody who knocks with 100 ms between the steps, as `knock -d 100`, gets in while first knocks come from forged
/// sources at 100,000 a second.
#[test]
fn right_knocks_open_in_a_flood_of_first_knocks() {
    let forged_4 = |n: u32| format!("11.{}.{}.{}", n >> 16, n >> 8 & 0xff, n & 0xff);
    let forged_6 = |n: u32| format!("2001:db8::{:x}:{:x}", n >> 16, n & 0xffff);
    let forged = |flood: &str, n: u32| match flood {
        "IPv4" => forged_4(n),
        "IPv6" => forged_6(n),
        _ if n.is_multiple_of(2) => forged_4(n),
        _ => forged_6(n),
    };
    for flood in ["IPv4", "IPv6", "both"] {
        with_doors(&[door(&THREE)], |engine| {
            let mut opened = 0;
            // A hundred packets each millisecond; each 50 ms two people begin.
            for ms in 0..1_000_u32 {
                let now = Instant::from_millis(ms.into());
                for n in ms * 100..(ms + 1) * 100 {
                    let id = u16::try_from(n & 0xffff).unwrap();
                    engine.judge(now, &probe(&forged(flood, n), THREE[0], id));
                }
                for (step, port) in (0..).zip(THREE) {
                    let Some(began) = ms.checked_sub(step * 100).filter(|began| began % 50 == 0) else {
                        continue;
                    };
                    for source in [format!("198.51.100.{}", began / 50), format!("2001:db8:1::{began:x}")] {
                        let judgement = engine.judge(now, &probe(&source, port, 7));
                        opened += usize::from(judgement.judged == Judged::Opened);
                    }
                }
            }
            assert_eq!(opened, 2 * 16, "{flood}");
        });
    }
}

#[test]
fn a_reload_keeps_the_progress_of_doors_that_did_not_change() {
    let (kept, changed) = (door(&["7000", "8000"]), door(&["7000", "9000"]));
    with_doors(&[kept.clone(), changed.clone()], |engine| {
        engine.judge(Instant::from_millis(0), &probe(ALICE, "7000", 1));
        let slower = Door { seq_timeout: Duration::from_secs(60), ..changed.clone() };
        engine.set_doors(&[Some(kept), Some(slower)], &[]).unwrap();
        assert_eq!(engine.judge(Instant::from_millis(1), &probe(ALICE, "8000", 2)).judged, Judged::Opened);
        assert_eq!(engine.judge(Instant::from_millis(1), &probe(ALICE, "9000", 3)).judged, Judged::NotBegun);
        engine.set_doors(&[], &[]).unwrap();
        assert_eq!(engine.judge(Instant::from_millis(1), &probe(ALICE, "7000", 4)).judged, Judged::NotOurs);
    });
}

/// One source at one door, with an unlimited memory, written from the rules as the design states them.
#[derive(Clone, Default)]
struct Model {
    taken: Vec<(Step, u16)>,
    began: u64,
    /// When the last step was taken.
    last: u64,
    trap: Option<Step>,
    done: Option<Done>,
}

/// A completed attempt.
#[derive(Clone)]
struct Done {
    knocks: Vec<(Step, u16)>,
    began: u64,
    last: u64,
}

use crate::sequence::Step;

impl Model {
    fn judge(
        &mut self,
        sequence: &[Step],
        timeout: u64,
        trap: bool,
        now: u64,
        knock: (Step, u16),
    ) -> Option<(u8, Judged)> {
        if !self.taken.is_empty() && now >= self.began + timeout {
            self.taken.clear();
        }
        if self.done.as_ref().is_some_and(|done| now >= done.began + timeout) {
            self.done = None;
        }
        let stage = |model: &Self| u8::try_from(model.taken.len()).unwrap();
        if !sequence.contains(&knock.0) {
            if !trap || self.taken.is_empty() {
                return None;
            }
            if self.trap.get_or_insert(knock.0) == &knock.0 {
                return Some((stage(self), Judged::Forgiven));
            }
            self.taken.clear();
            return Some((0, Judged::Trap));
        }
        let same_frame = |last: u64| knock.0.protocol == Protocol::Tcp || now - last <= 1;
        if self.taken.contains(&knock) && same_frame(self.last)
            || self.done.as_ref().is_some_and(|done| done.knocks.contains(&knock) && same_frame(done.last))
        {
            return Some((stage(self), Judged::Retransmission));
        }
        if self.taken.is_empty() {
            if sequence[0] != knock.0 {
                return Some((0, Judged::NotBegun));
            }
            (self.began, self.trap) = (now, None);
        } else if sequence[self.taken.len()] != knock.0 {
            if !self.taken.iter().any(|(step, _)| *step == knock.0) {
                self.taken.clear();
                return Some((0, Judged::WrongStep));
            }
            if sequence[0] == knock.0 {
                self.began = now;
                // The table keeps one moment of an attempt that has taken one step.
                self.last = if self.taken.len() == 1 { now } else { self.last };
            }
            return Some((stage(self), Judged::Repeat));
        }
        self.taken.push(knock);
        self.last = now;
        if self.taken.len() == sequence.len() {
            let knocks = core::mem::take(&mut self.taken);
            let stage = u8::try_from(knocks.len()).unwrap();
            self.done = Some(Done { knocks, began: self.began, last: now });
            return Some((stage, Judged::Opened));
        }
        Some((stage(self), Judged::Advanced))
    }
}

const PORTS: [&str; 6] = ["7000", "8000", "9000", "7000:udp", "7001", "7002"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Any knocks by a few sources at a few doors: the engine says what the model says.
    #[test]
    fn agrees_with_the_model(
        sequences in prop::collection::vec(prop::collection::vec(0..4_usize, 1..6), 1..4),
        knocks in prop::collection::vec((0..4_u8, 0..PORTS.len(), 0..6_u16, prop_oneof![0..3_u64, 0..3_000_u64]), 0..120),
    ) {
        let doors: Vec<_> = sequences
            .iter()
            .map(|steps| {
                let steps: Vec<_> = steps.iter().map(|at| PORTS[*at]).collect();
                Door { seq_timeout: Duration::from_secs(10), ..door(&steps) }
            })
            .collect();
        with_doors(&doors, |engine| {
            let mut models: HashMap<(u8, u8), Model> = HashMap::new();
            let mut now = 0;
            for (source, at, id, pause) in knocks {
                now += pause;
                let address = if source % 2 == 0 { format!("198.51.100.{source}") } else { format!("2001:db8::{source}") };
                let knocked = step(PORTS[at]);
                let named = doors.iter().any(|door| door.sequence.contains(&knocked));
                let trap = !named && engine.ports().is_trap(knocked.protocol, knocked.port.get());
                let judgement = engine.judge(Instant::from_millis(now), &probe(&address, PORTS[at], id));
                for (n, door) in (0..).zip(&doors) {
                    let said = models.entry((source, n)).or_default().judge(
                        &door.sequence, 10_000, trap, now, (knocked, id),
                    );
                    let verdict = judgement.verdicts.iter().find(|verdict| verdict.door == DoorId(n));
                    assert_eq!(verdict.map(|verdict| (verdict.stage, verdict.judged)), said);
                }
            }
        });
    }
}
