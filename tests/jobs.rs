//! The queue with real programs, and the rules with the real iptables in a network namespace.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test says what it expected by panicking")]

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant as Clock};

use ketuk::config::{Commands, Door, Opening, PortRange};
use ketuk::core::sequence::Protocol;
use ketuk::core::time::Instant;
use ketuk::daemon::jobs::{Event, Job, JobKind, Jobs, Report};
use ketuk::firewall::iptables::Iptables;
use ketuk::firewall::sweep::{Fault, SWEEP_TIME_LIMIT, sweep};
use ketuk::linux::process::{self, Exit, OutputError, find_program};
use nix::sys::signal::{SigSet, Signal};

/// Longest wait for anything here, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(60);

// --- Real processes ---

#[test]
fn a_command_that_hangs_is_killed_at_the_limit() {
    let mut jobs = Jobs::new(None);
    jobs.set_command_limit(Some(Duration::from_millis(50)));
    push(&mut jobs, &door("hangs", &[], start("exec sleep 1000")), "192.0.2.1", JobKind::Start);
    let before = Clock::now();
    let reports = drain(&mut jobs);
    assert!(before.elapsed() >= Duration::from_millis(50));
    assert!(
        matches!(
            &reports[..],
            [Report { event: Event::Running(_), .. }, Report { event: Event::Killed(_), .. }]
        ),
        "{reports:?}"
    );
}

#[test]
fn what_a_command_has_started_dies_with_it() {
    let scratch = Scratch::new("grandchildren");
    let file = scratch.path("pid");
    let command = format!("sleep 1000 & echo $! >{0}.new; mv {0}.new {0}; wait", file.display());
    let mut jobs = Jobs::new(None);
    jobs.set_command_limit(Some(PATIENCE));
    push(&mut jobs, &door("family", &[], start(&command)), "192.0.2.1", JobKind::Start);
    let begin = Instant::from_millis(0);
    jobs.run(begin, process::spawn);
    wait_until("the command has started its own", || file.exists());
    let grandchild = fs::read_to_string(&file).unwrap().trim().to_owned();
    assert!(is_alive(&grandchild));
    jobs.run(begin.after(PATIENCE), process::spawn);
    wait_until("the grandchild is dead", || !is_alive(&grandchild));
    drain(&mut jobs);
}

#[test]
fn of_two_hundred_jobs_few_run_at_once_and_none_leaves_a_zombie() {
    let scratch = Scratch::new("burst");
    let folder = scratch.0.display();
    // Each sees how many run beside it.
    let command = format!(
        "cd {folder}; mkdir run.$$; ls -d run.* | wc -l >>side_by_side; echo $$ >>pids; rmdir run.$$"
    );
    let door = door("burst", &[], start(&command));
    let mut jobs = Jobs::new(None);
    let mut reports = Vec::new();
    for host in 0..200 {
        push(&mut jobs, &door, &format!("192.0.2.{host}"), JobKind::Start);
        reports.extend(jobs.run(Instant::from_millis(0), process::spawn));
    }
    reports.extend(drain(&mut jobs));
    assert!(reports.iter().all(|report| !report.event.is_fault()), "{reports:?}");
    let seen = fs::read_to_string(scratch.path("side_by_side")).unwrap();
    let most = seen.lines().map(|count| count.trim().parse::<usize>().unwrap()).max();
    assert!(most.is_some_and(|most| most <= ketuk::daemon::jobs::MAX_STARTS_OF_DOOR), "{most:?}");
    let pids = fs::read_to_string(scratch.path("pids")).unwrap();
    assert_eq!(pids.lines().count(), 200);
    for pid in pids.lines() {
        // The id may be somebody else's by now, but not a child's of ours that nobody has waited for.
        let parent = stat(pid).map(|(_, parent)| parent);
        assert_ne!(parent, Some(std::process::id().to_string()), "{pid} is a zombie");
    }
}

#[test]
fn exit_codes_signals_and_missing_programs_are_told_apart() {
    let mut jobs = Jobs::new(None);
    for (host, command) in
        ["exit 7", "kill -TERM $$", "kill -40 $$", "exec /nonexistent/program"].iter().enumerate()
    {
        let door = door("fails", &[], start(command));
        push(&mut jobs, &door, &format!("192.0.2.{host}"), JobKind::Start);
    }
    let reports = drain(&mut jobs);
    // The commands run side by side, and end in any order.
    let mut faults: Vec<_> = reports.iter().filter(|r| r.event.is_fault()).map(ToString::to_string).collect();
    faults.sort();
    assert_eq!(
        faults,
        [
            "fails: command returned non-zero status code (127)",
            "fails: command returned non-zero status code (7)",
            "fails: command was killed by signal (15)",
            "fails: command was killed by signal (40)",
        ]
    );
    assert!(process::spawn(&["/nonexistent/program".to_owned()]).is_err());
    assert!(process::spawn(&[]).is_err());
}

#[test]
fn a_program_starts_with_a_clean_slate() {
    let scratch = Scratch::new("slate");
    let open = File::create(scratch.path("open")).unwrap();
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD]);
    signals.thread_block().unwrap();
    let folder = scratch.0.display();
    // A shell moves its own descriptors about when it redirects, so they are read first.
    let command = format!(
        "fds=$(for fd in /proc/$$/fd/*; do echo \"${{fd##*/}} $(readlink $fd)\"; done); cd {folder}; \
         echo \"$fds\" >fds; env >env"
    );
    let status = scratch.path("status");
    for argv in [
        ["/bin/sh", "-c", &command],
        // Without a shell between, which may have a mind of its own about signals.
        ["cp", "/proc/self/status", status.to_str().unwrap()],
    ] {
        let mut child = process::spawn(&argv.map(str::to_owned)).unwrap();
        wait_until("the program has ended", || {
            child.try_wait().unwrap().is_some_and(|exit| {
                assert_eq!(exit, Exit::Code(0));
                true
            })
        });
    }
    drop(open);

    let read = |name| fs::read_to_string(scratch.path(name)).unwrap();
    let status = read("status");
    assert!(status.contains("SigBlk:\t0000000000000000\n"), "{status}");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    let ignored = u64::from_str_radix(ignored, 16).unwrap();
    assert_eq!(ignored & 1 << (Signal::SIGPIPE as u32 - 1), 0, "which Rust's runtime ignores: {status}");
    let env = read("env");
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some() && !env.contains("CARGO_"), "{env}");
    assert!(env.contains("PATH=") && env.contains(":/usr/sbin:/sbin\n"), "{env}");
    let fds = read("fds");
    for fd in ["0 /dev/null", "1 /dev/null", "2 /dev/null"] {
        assert!(fds.lines().any(|line| line == fd), "{fds}");
    }
    assert!(!fds.contains(scratch.path("open").to_str().unwrap()), "{fds}");
}

#[test]
fn output_is_bounded_in_time_and_length() {
    let run = |command: &str, limit| {
        let argv = ["/bin/sh", "-c", command].map(str::to_owned);
        process::output(&argv, Clock::now() + limit, 1000)
    };
    let before = Clock::now();
    let soon = Duration::from_millis(50);
    assert!(matches!(run("sleep 1000", soon), Err(OutputError::TimeLimit)));
    assert!(matches!(run("exec >&-; sleep 1000", soon), Err(OutputError::TimeLimit)));
    assert!(matches!(run("yes", PATIENCE), Err(OutputError::TooLong)));
    assert!(before.elapsed() < PATIENCE);
    let (text, exit) = run("printf '%s' \"one two\"; exit 3", PATIENCE).unwrap();
    assert_eq!((text.as_slice(), exit), (b"one two".as_slice(), Exit::Code(3)));
}

#[test]
fn programs_are_found_where_administrators_keep_them() {
    assert_eq!(find_program("sh").map(|path| path.ends_with("sh")), Some(true));
    assert_eq!(find_program("no-such-program-as-this"), None);
    // A directory and a file that is not executable are no programs.
    assert_eq!(find_program("../../etc/passwd"), None);
    assert_eq!(find_program("../bin"), None);
}

// --- iptables ---

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
        // TCP and UDP, in two rules each, in front of the user's.
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

    // What is not there cannot be deleted, and that is said.
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
        assert!(matches!(v4.fault, Some(Fault::Missing)), "{v4}");
        assert!(v6.fault.is_none(), "{v6}");
        let iptables = Iptables { chain: "input_wan_rule".to_owned(), ..Iptables::default() };
        let [v4, _] = sweep(&iptables, false, SWEEP_TIME_LIMIT);
        assert!(matches!(v4.fault, Some(Fault::Failed(Exit::Code(1)))), "{v4}");
        let [v4, _] = sweep(&Iptables::default(), false, Duration::ZERO);
        assert!(matches!(v4.fault, Some(Fault::Output(OutputError::TimeLimit))), "{v4}");
    });
}

// --- What the tests share ---

fn start(command: &str) -> Commands {
    Commands { start: Some(command.to_owned()), ..Commands::default() }
}

fn door(name: &str, ports: &[(u16, u16)], commands: Commands) -> Rc<Door> {
    Rc::new(Door {
        opening: (!ports.is_empty()).then(|| Opening {
            protocols: vec![Protocol::Tcp, Protocol::Udp],
            dest_port: ports
                .iter()
                .map(|&(first, last)| PortRange::new(first, last).expect("a range"))
                .collect(),
            forward: None,
        }),
        open_time: None,
        max_time: None,
        commands,
        ..Door::named(name)
    })
}

fn push(jobs: &mut Jobs, door: &Rc<Door>, address: &str, kind: JobKind) {
    let address: IpAddr = address.parse().unwrap();
    jobs.push(Job { door: Rc::clone(door), address, kind, lease: None }).unwrap();
}

/// Runs the queue until it is empty.
fn drain(jobs: &mut Jobs) -> Vec<Report> {
    let begin = Clock::now();
    let mut reports = Vec::new();
    wait_until("every job is done", || {
        reports.extend(jobs.run(Instant::from_millis(0).after(begin.elapsed()), process::spawn));
        jobs.is_idle()
    });
    reports
}

fn assert_clean(reports: &[Report]) {
    let faults: Vec<_> = reports.iter().filter(|report| report.event.is_fault()).collect();
    assert!(faults.is_empty(), "{faults:?}");
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Clock::now() + PATIENCE;
    while !condition() {
        assert!(Clock::now() < deadline, "waited {PATIENCE:?} and still not: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// State and parent of a process, from proc(5).
fn stat(pid: &str) -> Option<(String, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit(") ").next()?.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
}

/// Whether it runs; an orphan may stay a zombie where nobody's init reaps it.
fn is_alive(pid: &str) -> bool {
    stat(pid).is_some_and(|(state, _)| state != "Z" && state != "X")
}

/// A directory that goes when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("jobs-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs the test again, alone, in a network namespace of its own, which ends with it.
fn in_namespace(test: &str, body: impl FnOnce()) {
    const INSIDE: &str = "KETUK_TEST_NAMESPACE";
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    // Without root, root of a user namespace.
    let flags = if nix::unistd::Uid::effective().is_root() { "-n" } else { "-rn" };
    let status = Command::new("unshare")
        .arg(flags)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("needs unshare(1), package util-linux");
    assert!(status.success(), "in a network namespace ({status}); needs root or user namespaces");
}

/// What this host calls iptables, and the older kind if its kernel still has it.
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
            process::output(&legacy.list(program, legacy.input()), Clock::now() + PATIENCE, 1 << 20);
        matches!(listing, Ok((_, Exit::Code(0))))
    };
    if works(&legacy.ipv4) && works(&legacy.ipv6) {
        check(&legacy);
    } else {
        eprintln!("iptables-legacy does not work on this host: not tested");
    }
}

/// Rules that look like ours, and ours that are not in our chain; returns both families' listings.
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
    // Without the chain: all of them.
    argv.pop();
    let (text, exit) = process::output(&argv, Clock::now() + PATIENCE, 1 << 20).unwrap();
    assert_eq!(exit, Exit::Code(0), "{argv:?}");
    String::from_utf8(text).unwrap()
}
