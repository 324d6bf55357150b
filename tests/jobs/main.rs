//! The queue of jobs with real programs.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test says what it expected by panicking")]

mod iptables;

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant as Clock};

use ketuk::config::{Commands, Door, DoorPorts, PortRange};
use ketuk::core::sequence::Protocol;
use ketuk::core::time::Instant;
use ketuk::daemon::jobs::{Job, JobEvent, JobKind, Jobs, Order, Report, Running, Ticket};
use ketuk::linux::process::{self, Exit, Output, OutputError, find_program};
use nix::sys::signal::{SigSet, Signal};

/// The time limit of each wait, long enough for a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn spawn(order: &Order<'_>) -> std::io::Result<Box<dyn Running>> {
    Ok(Box::new(process::spawn_heard(order.argv)?))
}

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
            [Report { event: JobEvent::Running(_), .. }, Report { event: JobEvent::Killed(_), .. }]
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
    jobs.run(begin, &mut spawn);
    wait_until("the command has started its own", || file.exists());
    let grandchild = fs::read_to_string(&file).unwrap().trim().to_owned();
    assert!(is_alive(&grandchild));
    jobs.run(begin.after(PATIENCE), &mut spawn);
    wait_until("the grandchild is dead", || !is_alive(&grandchild));
    drain(&mut jobs);
}

#[test]
fn of_two_hundred_jobs_few_run_at_once_and_none_leaves_a_zombie() {
    let scratch = Scratch::new("burst");
    let folder = scratch.0.display();
    // Each command counts those that run beside it.
    let command = format!(
        "cd {folder}; mkdir run.$$; ls -d run.* | wc -l >>side_by_side; echo $$ >>pids; rmdir run.$$"
    );
    let door = door("burst", &[], start(&command));
    let mut jobs = Jobs::new(None);
    let mut reports = Vec::new();
    for host in 0..200 {
        push(&mut jobs, &door, &format!("192.0.2.{host}"), JobKind::Start);
        reports.extend(jobs.run(Instant::from_millis(0), &mut spawn));
    }
    reports.extend(drain(&mut jobs));
    assert!(reports.iter().all(|report| !report.event.is_fault()), "{reports:?}");
    let seen = fs::read_to_string(scratch.path("side_by_side")).unwrap();
    let most = seen.lines().map(|count| count.trim().parse::<usize>().unwrap()).max();
    assert!(most.is_some_and(|most| most <= ketuk::daemon::jobs::MAX_STARTS_OF_DOOR), "{most:?}");
    let pids = fs::read_to_string(scratch.path("pids")).unwrap();
    assert_eq!(pids.lines().count(), 200);
    for pid in pids.lines() {
        // Another process may have this number now, but it is not an unreaped child of this test.
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

/// More than fits into a pipe. A program would wait for ever if nobody read its output.
const ENDLESS: &str = "head -c 300000 /dev/zero | tr '\\0' x";

#[test]
fn the_last_words_of_a_command_that_fails_are_reported() {
    let printed = |command: &str| {
        let mut jobs = Jobs::new(None);
        push(&mut jobs, &door("fails", &[], start(command)), "192.0.2.1", JobKind::Start);
        let reports = drain(&mut jobs);
        let printed =
            |report: &Report| matches!(report.event, JobEvent::Printed(_)).then(|| report.to_string());
        reports.iter().filter_map(printed).collect::<Vec<_>>()
    };
    let both = ["fails: command printed: out", "fails: command printed: no such chain"];
    assert_eq!(printed("echo out; echo no such chain >&2; exit 3"), both);
    assert_eq!(printed("echo out >/dev/stdout; echo no such chain >/dev/stderr; exit 3"), both);
    assert_eq!(printed("echo all is well"), [""; 0]);
    let lines = printed(&format!("{ENDLESS} >&2; printf '\\n\\033[2J%s' why; exit 1"));
    assert_eq!(lines.last().map(String::as_str), Some(r"fails: command printed: \u{1b}[2Jwhy"));
    assert!(lines.len() == 2 && lines[0].len() < 1100, "{lines:?}");
}

#[test]
fn a_background_process_may_print_after_the_end_of_its_command() {
    let scratch = Scratch::new("background");
    let (ended, file) = (scratch.path("ended"), scratch.path("survived"));
    let command = format!(
        "( while ! [ -e {0} ]; do sleep 0.01; done; {ENDLESS}; echo; echo >{1}.new; mv {1}.new {1} ) & exit 1",
        ended.display(),
        file.display()
    );
    let mut jobs = Jobs::new(None);
    push(&mut jobs, &door("background", &[], start(&command)), "192.0.2.1", JobKind::Start);
    drain(&mut jobs);
    File::create(&ended).unwrap();
    wait_until("the rest of the command has run", || file.exists());
}

#[test]
fn a_program_starts_with_a_clean_slate() {
    let scratch = Scratch::new("slate");
    let open = File::create(scratch.path("open")).unwrap();
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD]);
    signals.thread_block().unwrap();
    let folder = scratch.0.display();
    // A shell moves its own descriptors when it redirects, so the descriptors are read first.
    let command = format!(
        "fds=$(for fd in /proc/$$/fd/*; do echo \"${{fd##*/}} $(readlink $fd)\"; done); cd {folder}; \
         echo \"$fds\" >fds; env >env"
    );
    let status = scratch.path("status");
    for argv in [
        ["/bin/sh", "-c", &command],
        // This runs without a shell, because some shells change the handling of signals.
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
        process::output(&argv, None, Clock::now() + limit, 1000)
    };
    let before = Clock::now();
    let soon = Duration::from_millis(50);
    assert!(matches!(run("sleep 1000", soon), Err(OutputError::TimeLimit)));
    assert!(matches!(run("exec >&-; sleep 1000", soon), Err(OutputError::TimeLimit)));
    assert!(matches!(run("yes", PATIENCE), Err(OutputError::TooLong)));
    assert!(before.elapsed() < PATIENCE);
    let Output { text, exit } = run("printf '%s' \"one two\"; exit 3", PATIENCE).unwrap();
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

fn start(command: &str) -> Commands {
    Commands { start: Some(command.to_owned()), ..Commands::default() }
}

fn door(name: &str, ports: &[(u16, u16)], commands: Commands) -> Rc<Door> {
    Rc::new(Door {
        opening: (!ports.is_empty()).then(|| DoorPorts {
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
    jobs.push(Job {
        door: Rc::clone(door),
        passage: address.into(),
        kind,
        lease: None,
        ticket: Ticket::default(),
    })
    .unwrap();
}

/// Runs the queue until it is empty.
fn drain(jobs: &mut Jobs) -> Vec<Report> {
    let begin = Clock::now();
    let mut reports = Vec::new();
    wait_until("every job is done", || {
        reports.extend(jobs.run(Instant::from_millis(0).after(begin.elapsed()), &mut spawn));
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

/// Whether the process runs. An orphan may stay a zombie if no init reaps it.
fn is_alive(pid: &str) -> bool {
    stat(pid).is_some_and(|(state, _)| state != "Z" && state != "X")
}

/// A directory that is deleted when the test ends.
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
