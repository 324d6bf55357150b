//! The queue with fake programs that end when the test says so.
#![cfg(feature = "iptables")] // rules of iptables are what it queues

mod bench;

use std::io::ErrorKind;
use std::net::IpAddr;
use std::rc::Rc;

use self::bench::{Bench, HANGS, OK, address};
use super::current::{MAX_ATTEMPTS, RETRY_DELAY};
use super::*;
use crate::config::{Commands, DoorPorts, PortRange};
use crate::core::sequence::Protocol;
use crate::firewall::iptables::EXIT_BUSY;
use crate::linux::process::Exit;

fn door(name: &str, opens: bool, commands: Commands) -> Rc<Door> {
    Rc::new(Door {
        opening: opens.then(|| DoorPorts {
            protocols: vec![Protocol::Tcp],
            dest_port: vec![PortRange::new(22, 22).unwrap()],
            forward: None,
        }),
        open_time: None,
        max_time: None,
        commands,
        ..Door::named(name)
    })
}

fn both() -> Commands {
    Commands {
        start: Some("start %IP%".to_owned()),
        stop: Some("stop %IP%".to_owned()),
        ..Commands::default()
    }
}

const RULE: &str = "INPUT -s 192.0.2.1 -p tcp -m tcp --dport 22 -m comment --comment ketuk:a -j ACCEPT";

/// Users' commands do not hold up rules, and do not wait for them.
#[test]
fn rules_and_commands_do_not_wait_for_each_other() {
    let mut bench = Bench::new(true);
    let (a, b) = (door("a", true, both()), door("b", true, Commands::default()));
    bench.push(&a, 1, JobKind::Start);
    bench.run(|words| if words.starts_with("start") { HANGS } else { OK });
    let (insert, delete) = (format!("iptables -w 5 -I {RULE}"), format!("iptables -w 5 -D {RULE}"));
    assert_eq!(bench.started, [insert.as_str(), "start 192.0.2.1"]);
    // The start command still runs. The rules go at once; the stop command waits for it.
    bench.push(&b, 2, JobKind::Start);
    bench.push(&a, 1, JobKind::Stop);
    bench.run(|_| OK);
    let other = insert.replace("192.0.2.1", "192.0.2.2").replace("ketuk:a", "ketuk:b");
    assert_eq!(bench.started[2..], [other.as_str(), &delete]);
    assert!(bench.jobs.are_rules_done() && !bench.jobs.is_idle());
    assert!(bench.jobs.has(Ticket::default()) && !bench.jobs.has(Ticket(1)));
    bench.end_of(1);
    bench.run(|_| OK);
    assert_eq!(bench.started[4..], ["stop 192.0.2.1"]);
    assert!(bench.jobs.is_idle() && !bench.jobs.has(Ticket::default()));
}

/// The commands of one address run in order. Those of different addresses run side by side, up to the bounds.
#[test]
fn commands_run_side_by_side() {
    let mut bench = Bench::new(false);
    let (a, b) = (door("a", false, both()), door("b", false, both()));
    bench.push(&a, 1, JobKind::Start);
    bench.run(|_| HANGS);
    bench.push(&a, 1, JobKind::Stop);
    for host in 2..=20 {
        bench.push(&a, host, JobKind::Start);
    }
    bench.push(&b, 1, JobKind::Start);
    bench.run(|_| HANGS);
    assert_eq!(bench.started.len(), MAX_STARTS_OF_DOOR + 1, "eight of the first door, one of the other");
    assert_eq!(["a", "b", "c"].map(|door| bench.jobs.waiting_of(door)), [20 - MAX_STARTS_OF_DOOR + 1, 0, 0]);
    assert_eq!(bench.started.last().map(String::as_str), Some("start 192.0.2.1"));
    // The stop runs as soon as its own start has ended, while others still wait.
    bench.end_of(0);
    bench.run(|_| HANGS);
    let stops = bench.started.iter().filter(|words| words.starts_with("stop")).count();
    assert_eq!((stops, bench.started.len()), (1, MAX_STARTS_OF_DOOR + 3));
    // All doors together have a bound too. Beside it there is room for stops.
    let doors: Vec<_> = (0..10).map(|n| door(&format!("d{n}"), false, both())).collect();
    let mut bench = Bench::new(false);
    for door in &doors {
        for host in 1..=8 {
            bench.push(door, host, JobKind::Start);
        }
    }
    bench.run(|_| HANGS);
    assert_eq!(bench.started.len(), MAX_STARTS);
    bench.push(&doors[9], 77, JobKind::Stop);
    bench.run(|_| HANGS);
    assert_eq!(bench.started.last().map(String::as_str), Some("stop 192.0.2.77"));
}

#[test]
fn no_rules_without_the_backend_and_nothing_at_all_without_commands() {
    let mut bench = Bench::new(false);
    bench.push(&door("a", true, both()), 1, JobKind::Start);
    bench.push(&door("b", true, Commands::default()), 1, JobKind::Start);
    bench.run(|_| OK);
    assert_eq!(bench.started, ["start 192.0.2.1"]);
    assert!(bench.jobs.is_idle());
}

#[test]
fn rules_run_one_at_a_time_and_in_order() {
    let mut bench = Bench::new(true);
    let door = door("a", true, Commands::default());
    for host in 1..=3 {
        bench.push(&door, host, JobKind::Start);
    }
    for host in 1..=3_usize {
        assert_eq!(bench.run(|_| HANGS).len(), 1);
        assert_eq!(bench.run(|_| HANGS), [""; 0], "it still runs");
        assert_eq!(bench.started.len(), host);
        bench.end(Exit::Code(0));
    }
    assert!(!bench.jobs.is_idle());
    assert_eq!(bench.run(|_| HANGS), [""; 0]);
    assert!(bench.jobs.is_idle());
}

#[test]
fn a_stop_cancels_the_start_that_waits() {
    let mut bench = Bench::new(false);
    let door = door("a", false, both());
    bench.push(&door, 1, JobKind::Start);
    bench.run(|_| HANGS);
    for host in 2..=3 {
        bench.push(&door, host, JobKind::Start);
    }
    // The first runs and must be undone. The second never ran.
    bench.push(&door, 1, JobKind::Stop);
    bench.push(&door, 2, JobKind::Stop);
    assert!(!bench.jobs.is_pending("a", address(2), JobKind::Start));
    assert!(!bench.jobs.is_pending("a", address(2), JobKind::Stop));
    bench.end(Exit::Code(0));
    bench.run(|_| OK);
    assert_eq!(bench.started, ["start 192.0.2.1", "start 192.0.2.3", "stop 192.0.2.1"]);
}

#[test]
fn a_stop_cancels_neither_another_door_nor_another_address() {
    let mut bench = Bench::new(false);
    let (a, b) = (door("a", false, both()), door("b", false, both()));
    bench.push(&a, 1, JobKind::Start);
    bench.push(&b, 2, JobKind::Start);
    bench.push(&a, 2, JobKind::Stop);
    assert!(bench.jobs.is_pending("a", address(1), JobKind::Start));
    assert!(bench.jobs.is_pending("b", address(2), JobKind::Start));
    assert!(bench.jobs.is_pending("a", address(2), JobKind::Stop));
}

#[test]
fn what_runs_is_pending() {
    let mut bench = Bench::new(false);
    bench.push(&door("a", false, both()), 1, JobKind::Start);
    bench.run(|_| HANGS);
    assert!(bench.jobs.is_pending("a", address(1), JobKind::Start));
    assert!(!bench.jobs.is_pending("a", address(1), JobKind::Stop));
    assert!(!bench.jobs.is_pending("b", address(1), JobKind::Start));
    bench.end(Exit::Code(0));
    bench.run(|_| HANGS);
    assert!(!bench.jobs.is_pending("a", address(1), JobKind::Start));
}

#[test]
fn a_full_queue_says_so() {
    let mut bench = Bench::new(false);
    let door = door("a", false, both());
    assert!(bench.jobs.has_room(MAX_JOBS));
    assert!(!bench.jobs.has_room(MAX_JOBS + 1));
    let hosts = (0..=1_u8).flat_map(|net| (0..=u8::MAX).map(move |host| IpAddr::from([10, 0, net, host])));
    for (n, address) in hosts.enumerate() {
        assert!(bench.jobs.has_room(MAX_JOBS - n));
        bench
            .jobs
            .push(Job {
                door: Rc::clone(&door),
                passage: address.into(),
                kind: JobKind::Start,
                lease: None,
                ticket: Ticket::default(),
            })
            .unwrap();
    }
    assert!(!bench.jobs.has_room(1));
    let job = Job {
        door: Rc::clone(&door),
        passage: address(1),
        kind: JobKind::Start,
        lease: None,
        ticket: Ticket::default(),
    };
    assert_eq!(bench.jobs.push(job), Err(Full));
    assert!(!bench.jobs.is_pending("a", address(1), JobKind::Start));
    // A running job does not count as waiting.
    bench.run(|_| HANGS);
    assert!(bench.jobs.has_room(1));
}

#[test]
fn a_rule_beyond_its_time_is_killed_and_the_next_waits_for_its_end() {
    let mut bench = Bench::new(true);
    let door = door("a", true, Commands::default());
    bench.push(&door, 1, JobKind::Stop);
    bench.push(&door, 2, JobKind::Stop);
    assert_eq!(bench.jobs.next_deadline(), None);
    bench.run(|_| HANGS);
    let deadline = bench.now.after(RULE_TIME_LIMIT);
    assert_eq!(bench.jobs.next_deadline(), Some(deadline));

    bench.now = Instant::from_millis(deadline.as_millis() - 1);
    assert_eq!(bench.run(|_| HANGS), [""; 0]);
    assert_eq!(bench.killed.borrow().len(), 0);

    bench.now = deadline;
    let killed = bench.run(|_| HANGS);
    assert!(
        killed[0].starts_with("a: command killed after 30 s: what it has done so far is not undone"),
        "{killed:?}"
    );
    assert_eq!(bench.killed.borrow().len(), 1);
    // The queue only waits for SIGCHLD, and does not kill a second time.
    assert_eq!(bench.jobs.next_deadline(), None);
    assert_eq!(bench.run(|_| HANGS), [""; 0]);
    assert_eq!((bench.killed.borrow().len(), bench.started.len()), (1, 1));

    bench.end(Exit::Signal(9));
    let next = format!("a: running command: iptables -w 5 -D {}", RULE.replace("2.1", "2.2"));
    assert_eq!(bench.run(|_| OK), ["a: command printed: no room", &next]);
    assert_eq!(bench.ruled, [false, true], "whether the rules are in place");
    assert!(bench.jobs.is_idle());
    assert_eq!(bench.jobs.next_deadline(), None);
}

#[test]
fn a_users_command_takes_as_long_as_it_likes_unless_there_is_a_limit() {
    let mut bench = Bench::new(false);
    let door = door("a", false, both());
    bench.push(&door, 1, JobKind::Start);
    bench.run(|_| HANGS);
    assert_eq!(bench.jobs.next_deadline(), None);
    bench.now = bench.now.after(Duration::from_secs(24 * 3600));
    assert_eq!(bench.run(|_| HANGS), [""; 0]);
    bench.jobs.set_command_limit(Some(Duration::from_secs(5)));
    bench.push(&door, 2, JobKind::Start);
    bench.run(|_| HANGS);
    bench.now = bench.now.after(Duration::from_secs(5));
    let killed = bench.run(|_| HANGS);
    assert!(killed.len() == 1 && killed[0].starts_with("a: command killed after 5 s"), "{killed:?}");
    assert_eq!(bench.killed.borrow().len(), 1, "only the one that the limit is for");
}

#[test]
fn failures_are_reported_in_knockds_words_and_do_not_stop_the_job() {
    let mut bench = Bench::new(true);
    let door = door("a", true, both());
    bench.push(&door, 1, JobKind::Stop);
    bench.push(&door, 2, JobKind::Stop);
    let mut fates =
        [Err(ErrorKind::NotFound.into()), OK, Ok(Some(Exit::Code(3))), Ok(Some(Exit::Signal(11)))]
            .into_iter();
    let reports = bench.run(|_| fates.next().unwrap());
    assert_eq!(
        reports,
        [
            &format!("a: running command: iptables -w 5 -D {RULE}"),
            "a: command could not be started: entity not found",
            &format!("a: running command: iptables -w 5 -D {}", RULE.replace("192.0.2.1", "192.0.2.2")),
            "a: running command: stop 192.0.2.1",
            "a: command returned non-zero status code (3)",
            "a: running command: stop 192.0.2.2",
            "a: command was killed by signal (11)",
            "a: command printed: no room",
        ]
    );
    assert!(bench.jobs.is_idle());
}

#[test]
fn no_memory_to_fork_is_tried_again_then_given_up() {
    let mut bench = Bench::new(false);
    bench.push(&door("a", false, both()), 1, JobKind::Stop);
    assert_eq!(bench.run(|_| Err(ErrorKind::WouldBlock.into())), ["a: running command: stop 192.0.2.1"]);
    for _ in 1..MAX_ATTEMPTS - 1 {
        assert_eq!(bench.jobs.next_deadline(), Some(bench.now.after(RETRY_DELAY)));
        assert_eq!(bench.run(|_| panic!("too early")), [""; 0]);
        bench.now = bench.now.after(RETRY_DELAY);
        assert_eq!(bench.run(|_| Err(ErrorKind::OutOfMemory.into())), [""; 0]);
    }
    bench.now = bench.now.after(RETRY_DELAY);
    assert_eq!(
        bench.run(|_| Err(ErrorKind::WouldBlock.into())),
        ["a: command could not be started: operation would block"]
    );
    assert_eq!(bench.started, [""; 0]);
}

#[test]
fn a_rule_waits_for_the_lock_and_a_users_command_does_not() {
    let busy = || Ok(Some(Exit::Code(EXIT_BUSY)));
    let mut bench = Bench::new(true);
    bench.push(&door("a", true, both()), 1, JobKind::Start);
    let reports = bench.run(|_| busy());
    assert_eq!(reports.last().map(String::as_str), Some("a: command returned non-zero status code (4)"));
    assert_eq!(bench.started.len(), 2);
    assert_eq!(bench.jobs.next_deadline(), Some(bench.now.after(RETRY_DELAY)));
    bench.now = bench.now.after(RETRY_DELAY);
    assert_eq!(bench.run(|_| OK), [""; 0]);
    assert_eq!(bench.started.len(), 3);
    assert!(bench.jobs.is_idle());
}

#[test]
fn which_doors_need_jobs() {
    assert!(door_needs_jobs(&door("a", true, Commands::default()), true));
    assert!(!door_needs_jobs(&door("a", true, Commands::default()), false));
    assert!(door_needs_jobs(&door("a", false, both()), false));
    assert!(!door_needs_jobs(&door("a", false, Commands::default()), true));
}
