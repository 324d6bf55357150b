//! The queue, with programs that end when the test says so.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;

use super::current::{MAX_ATTEMPTS, RETRY_DELAY};
use super::*;
use crate::config::{Commands, Opening, PortRange};
use crate::core::sequence::Protocol;
use crate::firewall::iptables::EXIT_BUSY;
use crate::linux::process::Exit;

/// What the fake system does when it is asked to start a program.
type Fate = io::Result<Option<Exit>>;

const OK: Fate = Ok(Some(Exit::Code(0)));
const HANGS: Fate = Ok(None);

/// How a fake program ended; none while it runs.
type Ending = Rc<Cell<Option<Exit>>>;

#[derive(Debug)]
struct Fake(Ending, Rc<RefCell<Vec<Ending>>>);

impl Running for Fake {
    fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        Ok(self.0.get())
    }

    fn kill(&mut self) {
        self.1.borrow_mut().push(Rc::clone(&self.0));
    }
}

/// A queue and the system under it.
struct Bench {
    jobs: Jobs<Fake>,
    now: Instant,
    /// The last word of each program that was started.
    started: Vec<String>,
    /// The program that runs.
    ending: Ending,
    /// Programs that were killed and have not ended yet.
    killed: Rc<RefCell<Vec<Ending>>>,
}

impl Bench {
    fn new(iptables: bool) -> Self {
        Self {
            jobs: Jobs::new(iptables.then(Iptables::default)),
            now: Instant::from_millis(1_000_000),
            started: Vec::new(),
            ending: Ending::default(),
            killed: Rc::default(),
        }
    }

    fn push(&mut self, door: &Rc<Door>, host: u8, kind: JobKind) {
        self.jobs.push(Job { door: Rc::clone(door), address: address(host), kind, lease: None }).unwrap();
    }

    /// Runs the queue; `fate` decides on each program that it starts.
    fn run(&mut self, mut fate: impl FnMut(&str) -> Fate) -> Vec<String> {
        let reports = self.jobs.run(self.now, |argv| {
            let words = if argv[0] == "/bin/sh" { argv[2].clone() } else { argv.join(" ") };
            assert!(self.ending.get().is_some() || self.started.is_empty(), "{words}: another one runs");
            // A try that fails has run nothing, and must not look as if something still did.
            let fate = fate(&words)?;
            self.started.push(words);
            self.ending = Rc::new(Cell::new(fate));
            Ok(Fake(Rc::clone(&self.ending), Rc::clone(&self.killed)))
        });
        reports.iter().map(ToString::to_string).collect()
    }

    fn end(&self, exit: Exit) {
        self.ending.set(Some(exit));
    }
}

fn address(host: u8) -> IpAddr {
    [192, 0, 2, host].into()
}

fn door(name: &str, opens: bool, commands: Commands) -> Rc<Door> {
    Rc::new(Door {
        opening: opens.then(|| Opening {
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

#[test]
fn rules_come_first_at_the_start_and_last_at_the_stop() {
    let mut bench = Bench::new(true);
    let door = door("a", true, both());
    bench.push(&door, 1, JobKind::Start);
    bench.run(|_| OK);
    bench.push(&door, 1, JobKind::Stop);
    bench.run(|_| OK);
    let (insert, delete) = (format!("iptables -w 5 -I {RULE}"), format!("iptables -w 5 -D {RULE}"));
    assert_eq!(bench.started, [insert.as_str(), "start 192.0.2.1", "stop 192.0.2.1", &delete]);
    assert!(bench.jobs.is_idle());
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
fn one_at_a_time_and_in_order() {
    let mut bench = Bench::new(false);
    let door = door("a", false, both());
    for host in 1..=3 {
        bench.push(&door, host, JobKind::Start);
    }
    for host in 1..=3_usize {
        assert_eq!(bench.run(|_| HANGS), [format!("a: running command: start 192.0.2.{host}")]);
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
    for host in 1..=3 {
        bench.push(&door, host, JobKind::Start);
    }
    bench.run(|_| HANGS);
    // The first runs and has to be undone; the second never ran.
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
        bench.jobs.push(Job { door: Rc::clone(&door), address, kind: JobKind::Start, lease: None }).unwrap();
    }
    assert!(!bench.jobs.has_room(1));
    let job = Job { door: Rc::clone(&door), address: address(1), kind: JobKind::Start, lease: None };
    assert_eq!(bench.jobs.push(job), Err(Full));
    assert!(!bench.jobs.is_pending("a", address(1), JobKind::Start));
    // The running one no longer waits.
    bench.run(|_| HANGS);
    assert!(bench.jobs.has_room(1));
}

#[test]
fn a_command_beyond_its_time_is_killed_and_the_next_waits_for_its_end() {
    let mut bench = Bench::new(true);
    let door = door("a", true, both());
    bench.push(&door, 1, JobKind::Stop);
    assert_eq!(bench.jobs.next_deadline(), None);
    bench.run(|_| HANGS);
    let deadline = bench.now.after(COMMAND_TIME_LIMIT);
    assert_eq!(bench.jobs.next_deadline(), Some(deadline));

    bench.now = Instant::from_millis(deadline.as_millis() - 1);
    assert_eq!(bench.run(|_| HANGS), [""; 0]);
    assert_eq!(bench.killed.borrow().len(), 0);

    bench.now = deadline;
    assert_eq!(bench.run(|_| HANGS), ["a: command killed after 30 s"]);
    assert_eq!(bench.killed.borrow().len(), 1);
    // Nothing to do but wait for SIGCHLD, and no second kill.
    assert_eq!(bench.jobs.next_deadline(), None);
    assert_eq!(bench.run(|_| HANGS), [""; 0]);
    assert_eq!((bench.killed.borrow().len(), bench.started.len()), (1, 1));

    bench.end(Exit::Signal(9));
    assert_eq!(bench.run(|_| OK), [format!("a: running command: iptables -w 5 -D {RULE}")]);
    assert!(bench.jobs.is_idle());
    assert_eq!(bench.jobs.next_deadline(), None);
}

#[test]
fn failures_are_reported_in_knockds_words_and_do_not_stop_the_job() {
    let mut bench = Bench::new(true);
    let door = door("a", true, both());
    bench.push(&door, 1, JobKind::Stop);
    bench.push(&door, 2, JobKind::Stop);
    let mut fates =
        [Ok(Some(Exit::Code(3))), Err(ErrorKind::NotFound.into()), Ok(Some(Exit::Signal(11))), OK]
            .into_iter();
    let reports = bench.run(|_| fates.next().unwrap());
    assert_eq!(
        reports,
        [
            "a: running command: stop 192.0.2.1",
            "a: command returned non-zero status code (3)",
            &format!("a: running command: iptables -w 5 -D {RULE}"),
            "a: command could not be started: entity not found",
            "a: running command: stop 192.0.2.2",
            "a: command was killed by signal (11)",
            &format!("a: running command: iptables -w 5 -D {}", RULE.replace("192.0.2.1", "192.0.2.2")),
        ]
    );
    assert!(bench.jobs.is_idle());
}

#[test]
fn no_memory_to_fork_is_tried_again_then_given_up() {
    let mut bench = Bench::new(false);
    bench.push(&door("a", false, both()), 1, JobKind::Stop);
    bench.push(&door("a", false, both()), 2, JobKind::Stop);
    assert_eq!(bench.run(|_| Err(ErrorKind::WouldBlock.into())), ["a: running command: stop 192.0.2.1"]);
    for _ in 1..MAX_ATTEMPTS - 1 {
        assert_eq!(bench.jobs.next_deadline(), Some(bench.now.after(RETRY_DELAY)));
        assert_eq!(bench.run(|_| panic!("too early")), [""; 0]);
        bench.now = bench.now.after(RETRY_DELAY);
        assert_eq!(bench.run(|_| Err(ErrorKind::OutOfMemory.into())), [""; 0]);
    }
    bench.now = bench.now.after(RETRY_DELAY);
    let mut fates = [Err(ErrorKind::WouldBlock.into()), OK].into_iter();
    assert_eq!(
        bench.run(|_| fates.next().unwrap()),
        ["a: command could not be started: operation would block", "a: running command: stop 192.0.2.2",]
    );
    assert_eq!(bench.started, ["stop 192.0.2.2"]);
}

#[test]
fn a_rule_waits_for_the_lock_and_a_users_command_does_not() {
    let busy = || Ok(Some(Exit::Code(EXIT_BUSY)));
    let mut bench = Bench::new(true);
    bench.push(&door("a", true, both()), 1, JobKind::Start);
    bench.run(|_| busy());
    assert_eq!(bench.started.len(), 1);
    assert_eq!(bench.jobs.next_deadline(), Some(bench.now.after(RETRY_DELAY)));
    bench.now = bench.now.after(RETRY_DELAY);
    let mut fates = [OK, busy()].into_iter();
    let reports = bench.run(|_| fates.next().unwrap());
    assert_eq!(
        reports,
        ["a: running command: start 192.0.2.1", "a: command returned non-zero status code (4)"]
    );
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
