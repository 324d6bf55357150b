//! Several sources and doors side by side: none is in another's way, and neither scans nor floods change that.

use super::*;

#[test]
fn timeouts_name_door_source_and_stage_without_another_packet() {
    with_doors(&[door(&THREE)], |engine| {
        knock(engine, ALICE, &THREE[..2]);
        assert_eq!(engine.next_deadline(), Some(Instant::from_millis(25_010)));
        let mut seen = Vec::new();
        engine.expire(Instant::from_millis(25_010), |timed_out, _| seen.push(timed_out));
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

/// A client that waits 100 ms between the steps, as `knock -d 100` does, gets in while forged sources send 100,000 first
/// knocks a second.
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
        let slower = DoorKnock { seq_timeout: Duration::from_secs(60), ..changed.clone() };
        engine.set_doors(&[Some(kept), Some(slower)], &[]).unwrap();
        assert_eq!(engine.judge(Instant::from_millis(1), &probe(ALICE, "8000", 2)).judged, Judged::Opened);
        assert_eq!(engine.judge(Instant::from_millis(1), &probe(ALICE, "9000", 3)).judged, Judged::NotBegun);
        engine.set_doors(&[], &[]).unwrap();
        assert_eq!(engine.judge(Instant::from_millis(1), &probe(ALICE, "7000", 4)).judged, Judged::NotOurs);
    });
}
