//! Rules, with the real iptables in a network namespace.

use std::process::Command;
use std::time::{Duration, Instant as Clock};

use ketuk::config::Commands;
use ketuk::daemon::jobs::{JobKind, Jobs};
use ketuk::firewall::iptables::Iptables;
use ketuk::firewall::sweep::{SWEEP_TIME_LIMIT, SweepError, sweep};
use ketuk::linux::process::{self, Exit, Output, OutputError, find_program};

use super::{PATIENCE, assert_clean, door, drain, push};

#[test]
fn rules_come_and_go() {
    in_namespace("rules_come_and_go", || for_each_iptables(check_rules));
}

fn check_rules(iptables: &Iptables) {
    let user_rules = add_user_rules(iptables);
    let ports: Vec<_> = (1..=14).map(|port| (port, port)).chain([(100, 200), (300, 300)]).collect();
    let door = door("ssh", &ports, Commands::default());
    let mut jobs = Jobs::new(Some(iptables.clone()));
    for address in ["192.0.2.7", "2001:db8::7"] {
        push(&mut jobs, &door, address, JobKind::Start);
    }
    assert_clean(&drain(&mut jobs));
    for (program, address) in [(&iptables.ipv4, "192.0.2.7/32"), (&iptables.ipv6, "2001:db8::7/128")] {
        let listing = list(iptables, program);
        // TCP and UDP have two rules each, before the user's rules.
        assert_eq!(iptables.stale(program, iptables.input(), &listing).len(), 4, "{listing}");
        assert_eq!(listing.matches(address).count(), 4, "{listing}");
        assert!(listing.contains("--dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14 "), "{listing}");
        assert!(listing.contains("--dports 100:200,300 "), "{listing}");
        let place = |rule| listing.find(rule).expect(rule);
        assert!(place("--dports 1,2") < place("--comment mine"), "{listing}");
    }
    for address in ["192.0.2.7", "2001:db8::7"] {
        push(&mut jobs, &door, address, JobKind::Stop);
    }
    assert_clean(&drain(&mut jobs));
    assert_eq!(both_lists(iptables), user_rules);

    // Deleting a missing rule fails, and is reported.
    push(&mut jobs, &door, "192.0.2.7", JobKind::Stop);
    let faults = drain(&mut jobs).into_iter().filter(|report| report.event.is_fault()).count();
    assert_eq!(faults, 4);
}

#[test]
fn one_port_and_one_range_are_understood() {
    in_namespace("one_port_and_one_range_are_understood", || {
        for_each_iptables(|iptables| {
            let mut jobs = Jobs::new(Some(iptables.clone()));
            let doors = [
                door("one", &[(22, 22)], Commands::default()),
                door("range", &[(5, 9)], Commands::default()),
            ];
            for kind in [JobKind::Start, JobKind::Stop] {
                for (door, address) in [(&doors[0], "192.0.2.1"), (&doors[1], "fe80::1")] {
                    push(&mut jobs, door, address, kind);
                }
                assert_clean(&drain(&mut jobs));
                let [v4, v6] = both_lists(iptables);
                let there = usize::from(kind == JobKind::Start);
                assert_eq!(v4.matches("-p tcp -m tcp --dport 22 ").count(), there, "{v4}");
                assert_eq!(v6.matches("-p udp -m udp --dport 5:9 ").count(), there, "{v6}");
            }
        });
    });
}

#[test]
fn a_sweep_removes_every_rule_of_ours_and_no_other() {
    in_namespace("a_sweep_removes_every_rule_of_ours_and_no_other", || for_each_iptables(check_sweep));
}

fn check_sweep(iptables: &Iptables) {
    let user_rules = add_user_rules(iptables);
    let door = door("ssh", &[(22, 22), (80, 90)], Commands::default());
    let mut jobs = Jobs::new(Some(iptables.clone()));
    // As if two crashes had left the same rules, and others.
    for address in ["192.0.2.7", "192.0.2.7", "192.0.2.8", "2001:db8::7"] {
        push(&mut jobs, &door, address, JobKind::Start);
    }
    assert_clean(&drain(&mut jobs));
    assert_ne!(both_lists(iptables), user_rules);

    let [v4, v6] = sweep(iptables, true, SWEEP_TIME_LIMIT);
    assert!(v4.fault.is_none() && v6.fault.is_none(), "{v4}; {v6}");
    assert_eq!((v4.deleted, v4.left, v6.deleted, v6.left), (6, 0, 2, 0));
    assert_eq!(both_lists(iptables), user_rules);

    let [v4, v6] = sweep(iptables, true, SWEEP_TIME_LIMIT);
    assert_eq!((v4.deleted, v6.deleted), (0, 0));
}

#[test]
fn a_sweep_names_what_is_missing() {
    in_namespace("a_sweep_names_what_is_missing", || {
        let iptables = Iptables { ipv4: "no-such-iptables".to_owned(), ..Iptables::default() };
        let [v4, v6] = sweep(&iptables, false, SWEEP_TIME_LIMIT);
        assert!(matches!(v4.fault, Some(SweepError::Missing)), "{v4}");
        assert!(v6.fault.is_none(), "{v6}");
        let iptables = Iptables { chain: "input_wan_rule".to_owned(), ..Iptables::default() };
        let [v4, _] = sweep(&iptables, false, SWEEP_TIME_LIMIT);
        assert!(matches!(v4.fault, Some(SweepError::Failed(Exit::Code(1)))), "{v4}");
        let [v4, _] = sweep(&Iptables::default(), false, Duration::ZERO);
        assert!(matches!(v4.fault, Some(SweepError::Output(OutputError::TimeLimit))), "{v4}");
    });
}

/// Runs the test again, alone, in a network namespace of its own, which ends with it.
fn in_namespace(test: &str, body: impl FnOnce()) {
    const INSIDE: &str = "KETUK_TEST_NAMESPACE";
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    // An ordinary user becomes root of a user namespace.
    let flags = if nix::unistd::Uid::effective().is_root() { "-n" } else { "-rn" };
    let status = Command::new("unshare")
        .arg(flags)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("iptables::{test}"), "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("needs unshare(1), package util-linux");
    assert!(status.success(), "in a network namespace ({status}); needs root or user namespaces");
}

/// Runs the check with this host's iptables, and with the older kind if the kernel still has it.
fn for_each_iptables(check: impl Fn(&Iptables)) {
    assert!(find_program("iptables").is_some(), "needs iptables, package iptables");
    let legacy = Iptables {
        ipv4: "iptables-legacy".to_owned(),
        ipv6: "ip6tables-legacy".to_owned(),
        ..Iptables::default()
    };
    check(&Iptables::default());
    let works = |program| {
        let listing =
            process::output(&legacy.list(program, legacy.input()), None, Clock::now() + PATIENCE, 1 << 20);
        matches!(listing, Ok(Output { exit: Exit::Code(0), .. }))
    };
    if works(&legacy.ipv4) && works(&legacy.ipv6) {
        check(&legacy);
    } else {
        eprintln!("iptables-legacy does not work on this host: not tested");
    }
}

/// Adds rules that look like ketuk's, and rules with ketuk's comment in other chains. Returns both families' listings.
fn add_user_rules(iptables: &Iptables) -> [String; 2] {
    for program in [&iptables.ipv4, &iptables.ipv6] {
        let run = |arguments: &[&str]| {
            let path = find_program(program).expect(program);
            let output = Command::new(path).args(["-w", "5"]).args(arguments).output().unwrap();
            assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
        };
        let comment = |text: &str| {
            run(&[
                "-A",
                "INPUT",
                "-p",
                "tcp",
                "--dport",
                "22",
                "-m",
                "comment",
                "--comment",
                text,
                "-j",
                "ACCEPT",
            ]);
        };
        for text in [
            "mine",
            "",
            "ketuk",
            "ketuk: knock first",
            "not ketuk:ssh",
            "x\" --comment ketuk:ssh \"",
            "it's \\ \"odd\" -j ACCEPT",
            "two\n-A INPUT -m comment --comment ketuk:ssh -j ACCEPT\nlines",
        ] {
            comment(text);
        }
        run(&["-A", "INPUT", "-j", "LOG", "--log-prefix", "ketuk:ssh "]);
        run(&["-A", "OUTPUT", "-m", "comment", "--comment", "ketuk:ssh", "-j", "ACCEPT"]);
        run(&["-N", "ketuk"]);
        run(&["-A", "INPUT", "-j", "ketuk"]);
    }
    both_lists(iptables)
}

/// The whole filter table of both families, counters left out.
fn both_lists(iptables: &Iptables) -> [String; 2] {
    [&iptables.ipv4, &iptables.ipv6].map(|program| list(iptables, program))
}

fn list(iptables: &Iptables, program: &str) -> String {
    let mut argv = iptables.list(program, iptables.input());
    // Without the chain's name it lists all rules.
    argv.pop();
    let Output { text, exit } = process::output(&argv, None, Clock::now() + PATIENCE, 1 << 20).unwrap();
    assert_eq!(exit, Exit::Code(0), "{argv:?}");
    String::from_utf8(text).unwrap()
}
