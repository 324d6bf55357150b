//! The probes that may change something: steps, traps and users' knocks. The kernel filter passes these.

use core::net::Ipv4Addr;
use core::num::NonZeroU16;

use super::*;
use crate::first_knocks::FIRST_KNOCKS;
use crate::place::On;
use crate::ports::PortRange;

fn with_flags(probe: Probe, flags: u8) -> Probe {
    let Transport::Tcp { source_port, port, sequence_number, .. } = probe.transport else { unreachable!() };
    Probe { transport: Transport::Tcp { source_port, port, sequence_number, flags }, ..probe }
}

#[test]
fn steps_traps_and_users_knocks_from_sources_that_can_be_true() {
    with_doors(&[door(&["7000:udp", "8000:udp"])], |engine| {
        let listening =
            Listening { packets: NonZeroU16::new(62_201), changing: PortRange::new(20_000, 29_999) };
        engine.set_listening(listening);
        assert_eq!(engine.listening(), listening);
        for (port, is_step, proof) in [
            ("7000:udp", true, None),
            ("7001:udp", true, None),
            ("7000", false, None),
            ("62201:udp", false, Some(Proof::Packet)),
            ("62200:udp", false, None),
            ("62201", false, None),
            ("20000", false, Some(Proof::Totp)),
            ("29999", false, Some(Proof::Totp)),
            ("30000", false, None),
            ("20000:udp", false, None),
        ] {
            let here = probe(ALICE, port, 1);
            assert_eq!((engine.is_step(&here), engine.proof(&here)), (is_step, proof), "{port}");
            assert_eq!(engine.matters(&here, Via::Network), is_step || proof.is_some(), "{port}");
            for wrong in [
                Probe { source: "127.0.0.1".parse().unwrap(), ..here },
                Probe { destination: "203.0.113.99".parse().unwrap(), ..here },
            ] {
                assert!(!engine.matters(&wrong, Via::Network), "{wrong:?}");
            }
        }
        let answer = with_flags(probe(ALICE, "20000", 1), flag::SYN | flag::ACK);
        assert_eq!(engine.proof(&answer), None);
        assert!(engine.is_plausible(&answer, Via::Network));
    });
}

#[test]
fn a_doors_target_is_reached_over_every_device() {
    let [lan, other] = ["192.168.1.1", "192.168.2.1"].map(|address| address.parse().unwrap());
    with_doors(&[DoorKnock { target: Some(lan), ..door(&["7000"]) }], |engine| {
        let own = |address| OwnAddress { address, prefix: 24, on: On::Other };
        engine.set_addresses(&[own(lan), own(other)]);
        assert_eq!(engine.place().own(), [lan, other]);
        let reaches = |destination| {
            engine.is_plausible(&Probe { destination, ..probe(ALICE, "7000", 1) }, Via::Network)
        };
        assert_eq!((reaches(lan), reaches(other)), (true, false));
    });
}

#[test]
fn a_first_knock_that_displaces_another_says_so() {
    with_doors(&[door(&THREE)], |engine| {
        for n in 0..=u32::try_from(FIRST_KNOCKS).unwrap() {
            let source = Ipv4Addr::from_bits(0x0b00_0000 + n).into();
            let judgement =
                engine.judge(Instant::from_millis(0), &Probe { source, ..probe(ALICE, "7000", 1) });
            let displaces = usize::try_from(n).unwrap() == FIRST_KNOCKS;
            let seen: Vec<_> = judgement.verdicts().iter().map(Verdict::has_displaced).collect();
            assert_eq!(seen, [displaces], "{n}");
        }
        assert_eq!(engine.knocking(), FIRST_KNOCKS);
        assert_eq!(knock(engine, ALICE, &THREE[..2]), [(1, Judged::Advanced), (2, Judged::Advanced)]);
    });
}

#[test]
fn a_report_names_the_steps_before_the_end_and_the_one_that_was_due() {
    with_doors(&[door(&THREE)], |engine| {
        for (n, (port, stage, due)) in
            (1..).zip([("7000", 1, "7000"), ("8000", 2, "8000"), ("7000", 2, "9000"), ("9000", 3, "9000")])
        {
            let probe = probe(ALICE, port, n);
            let judgement = engine.judge(Instant::from_millis(0), &probe);
            let [verdict] = judgement.verdicts() else { panic!("one door") };
            assert_eq!(verdict.stage(), stage);
            let report = engine.report(&probe, verdict, Reason::Judged(verdict.judged()));
            assert_eq!((report.stage, report.steps, report.due), (stage, 3, Some(step(due))));
        }
        knock(engine, BOB, &THREE[..2]);
        let probe = probe(BOB, "7001", 9);
        let traps = ["7001", "7002"].map(|port| {
            let probe = super::probe(BOB, port, 9);
            let judgement = engine.judge(Instant::from_millis(30), &probe);
            judgement.verdicts()[0]
        });
        let report = engine.report(&probe, &traps[1], Reason::Judged(Judged::Trap));
        assert_eq!((traps[1].stage(), report.stage), (0, 2));
    });
}

/// Other segments, and datagrams, may be answers to this host, which come at any port.
#[test]
fn scattered_traps_are_for_syns_at_doors_that_ask_for_them() {
    let any = || DoorKnock { tcp_flags: FlagMatch::new(0, 0), ..door(&["7000", "8000"]) };
    let scattered = |engine: &Engine<'_, Keyed>| {
        let is_one = |port: &u16| {
            engine.ports().is_scattered(*port)
                && !engine.ports().is_trap(crate::sequence::Protocol::Tcp, *port)
        };
        let mut ports = (10_000..u16::MAX).filter(is_one).map(|port| port.to_string());
        [ports.next().unwrap(), ports.next().unwrap()]
    };
    with_doors(&[door(&["7000", "8000"]), any()], |engine| {
        let [one, two] = scattered(engine);
        let mut judge = |port: &str, id| -> Vec<_> {
            let judgement = engine.judge(Instant::from_millis(0), &probe(ALICE, port, id));
            judgement.verdicts().iter().map(|verdict| (verdict.door().0, verdict.judged())).collect()
        };
        judge("7000", 1);
        assert_eq!(judge(&format!("{one}:udp"), 2), []);
        assert_eq!(judge(&one, 3), [(0, Judged::Forgiven)]);
        assert_eq!(judge(&two, 4), [(0, Judged::Trap)]);
        assert_eq!(judge("8000", 5), [(0, Judged::NotBegun), (1, Judged::Opened)]);
        assert!(engine.is_step(&probe(ALICE, &one, 1)));
    });
    with_doors(&[any()], |engine| {
        let [one, _] = scattered(engine);
        assert!(!engine.is_step(&probe(ALICE, &one, 1)));
    });
}

#[test]
fn a_capture_file_is_judged_without_scattered_traps() {
    on_stack(|| {
        let mut tables = Box::new(EngineTables::new());
        let mut engine = Engine::new(&mut tables, Keyed::default()).without_scattered_traps();
        engine.set_doors(&[Some(door(&THREE))], &[]).unwrap();
        assert_eq!(engine.ports().scattered(), None);
    });
    with_doors(&[door(&THREE)], |engine| assert!(engine.ports().scattered().is_some()));
}
