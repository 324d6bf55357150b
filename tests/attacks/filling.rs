//! Attackers who fill a limited resource: the places at the control socket, the queue of commands, the table of grants.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ketuk::control::server::{MAX_CLIENTS, MAX_WATCHERS};
use ketuk::core::grants::MAX_GRANTS;
use ketuk::daemon::jobs::MAX_STARTS_OF_DOOR;

use super::support::daemon::{Daemon, Start, ruleset};
use super::support::wire::Wire;
use super::support::{CLIENT, LAN, PATIENCE, Process, ROUTER, World, wait_until};
use super::*;

/// Twenty knocks from forged addresses, each of which starts a slow command.
#[test]
fn slow_commands_of_one_door_do_not_hold_up_another_doors() {
    let attack =
        Attack::new("forger", "20 knocks at a door whose command takes long; then a knock at another door");
    let world = World::new();
    let ran = world.scratch.path("ran");
    let said = || std::fs::read_to_string(&ran).unwrap_or_default();
    let config = "config globals\n\toption backend 'none'\n\
        config door 'slow'\n\toption sequence '31415'\n\
        \toption start_command 'echo begun >>RAN; until [ -e RAN.go ]; do sleep 0.1; done; echo slow >>RAN'\n\
        config door 'quick'\n\toption sequence '51111 12121 33434'\n\toption start_command 'echo quick >>RAN'\n";
    let config = config.replace("RAN", &ran.display().to_string());
    let daemon = Start::new(&world.router, &world.scratch, &config).go();
    let mut wire = Wire::new(&world);
    for n in 1..=20 {
        wire.knock(&format!("10.9.0.{n}"), "31415");
    }
    wire.send();
    daemon.wait("as many run as may", |_| said().lines().count() == MAX_STARTS_OF_DOOR);
    wire.knock(CLIENT, "51111 12121 33434");
    wire.send();
    daemon.wait("the other door's command has run", |_| said().contains("quick\n"));
    assert_eq!(said().matches("begun").count(), MAX_STARTS_OF_DOOR, "the others wait");
    std::fs::write(world.scratch.path("ran.go"), "").expect("written");
    daemon.wait("they run too", |_| said().matches("slow\n").count() == 20);
    attack.came_to(&format!("{MAX_STARTS_OF_DOOR} slow ones ran, and the other door's command at once"));
}

/// The daemon makes the table that refuses cut connections over netlink, without a program.
#[test]
fn a_slow_nft_holds_nothing_up() {
    let attack = Attack::new("forger", "knocks at a door with `kill`, where the program nft never ends");
    let world = World::with_firewall();
    world.router.serve(22);
    let config = CONFIG.replace("option dest_port '22'", "option dest_port '22'\n\toption kill 'on'");
    let mut start = Start::new(&world.router, &world.scratch, &config);
    world.router.nft(&ruleset(&world.scratch.path("ketuk.uci")));
    let programs = world.scratch.path("programs");
    std::fs::create_dir(&programs).expect("a folder");
    for name in ["nft", "conntrack"] {
        let script = format!("#!/bin/sh\ntouch {}\nsleep 1000\n", world.scratch.path("called").display());
        world.scratch.write_program(&format!("programs/{name}"), &script);
    }
    let path = std::env::var("PATH").expect("a path");
    start.command().env("PATH", format!("{}:{path}", programs.display()));
    let daemon = start.go();
    for _ in 0..3 {
        daemon.ask(&["open", "plain", CLIENT]);
        let stream = world.client.connect(ROUTER, 22).expect("open");
        daemon.ask(&["close", "plain"]);
        drop(stream);
    }
    daemon.wait_for_log("1 connection cut");
    assert!(!world.scratch.path("called").exists(), "no program is called");
    attack.came_to("nothing waits for a program: none is called");
}

/// Watchers stay connected, so some places are reserved for requests.
#[test]
fn watchers_leave_room_for_requests() {
    let attack = Attack::new("member of group ketuk", "eight `ketukd watch` at once");
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    let watchers: Vec<_> = (0..MAX_CLIENTS)
        .map(|_| {
            let mut stream = UnixStream::connect(daemon.socket()).expect("the daemon");
            stream.set_read_timeout(Some(PATIENCE)).expect("a time");
            stream.write_all(b"{\"request\":\"watch\"}\n").expect("sent");
            stream
        })
        .collect();
    // If all of them come at one moment, there may be no place left.
    daemon.wait("requests are answered", |daemon| daemon.control(&["status"]).status.success());
    for _ in 0..MAX_CLIENTS {
        daemon.ask(&["status"]);
    }
    daemon.ask(&["open", "plain", CLIENT]);
    let first_lines = watchers.into_iter().map(|stream| {
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("a line");
        line
    });
    let (told, refused): (Vec<_>, Vec<_>) = first_lines.partition(|line| line.starts_with("watching "));
    assert_eq!(told.len(), MAX_WATCHERS);
    assert!(
        refused.iter().all(|line| line.contains("too many 'ketukd watch' run already")
            || line.contains("too many connections, try again")),
        "{refused:?}"
    );
    attack.came_to(&format!("{MAX_WATCHERS} watch, the others are refused, and requests are answered"));
}

/// A daemon that has adopted as many grants as there can be, all with the same remaining time.
fn with_everybody_in(world: &World, seconds: u32) -> Daemon<'_> {
    let start = Start::new(&world.router, &world.scratch, CONFIG);
    world.router.nft(&ruleset(&world.scratch.path("ketuk.uci")));
    let mut elements = String::new();
    for n in 0..MAX_GRANTS {
        let _ =
            write!(elements, "10.9.{}.{} timeout 60s expires {seconds}s comment \"hand\",", n / 250, n % 250);
    }
    world.router.nft(&format!("add element inet fw4 ketuk_plain_4 {{ {elements} }}"));
    let daemon = start.go();
    assert_eq!(inside(&daemon, "plain").len(), MAX_GRANTS);
    daemon.wait_until_idle();
    daemon
}

/// Changes of the firewall, as the kernel announces them to `nft monitor`. The sender waits for each transaction.
struct Monitor<'w> {
    world: &'w World,
    _nft: Process,
}

impl<'w> Monitor<'w> {
    fn start(world: &'w World) -> Self {
        let line = format!("exec stdbuf -oL nft monitor >{}", world.scratch.path("monitor").display());
        let nft = world.router.enter(|| Process::start("bash", &["-c", &line]));
        let monitor = Self { world, _nft: nft };
        monitor.follow("begun");
        monitor
    }

    /// Waits until the monitor has printed all changes so far.
    fn follow(&self, mark: &str) -> String {
        let read = || std::fs::read_to_string(self.world.scratch.path("monitor")).unwrap_or_default();
        wait_until("nft tells", || {
            self.world.router.nft(&format!("add table inet {mark}\ndelete table inet {mark}"));
            read().contains(mark)
        });
        read()
    }

    /// The number of the daemon's transactions.
    fn transactions(&self) -> usize {
        self.follow("ended").matches("(ketukd)").count()
    }
}

/// The most transactions for a full table of grants. One transaction holds many changes; one for each change would be 256.
const FEW: usize = 8;

/// The number of endings in the log.
fn out(daemon: &Daemon<'_>) -> usize {
    daemon.log().matches("plain: command timeout").count()
}

/// Grants whose time is over together are ended by the kernel's timers.
#[test]
fn as_many_as_can_be_in_run_out_together_in_a_few_steps() {
    let world = World::with_firewall();
    let daemon = with_everybody_in(&world, 6);
    let monitor = Monitor::start(&world);
    let waited = daemon.times_waited();
    daemon.wait("all are out", |daemon| out(daemon) == MAX_GRANTS);
    // Deleting an element that the kernel has ended would wait for all processors each time.
    let waited = daemon.times_waited() - waited;
    assert!(waited < 40, "{waited}");
    assert!(monitor.transactions() <= FEW, "{}", monitor.transactions());
    assert_eq!(inside(&daemon, "plain"), [""; 0]);
    let set = world.router.nft_list("set inet fw4 ketuk_plain_4");
    assert!(!set.contains("elements"), "{set}");
}

/// Grants that end early are deleted together.
#[test]
fn as_many_as_can_be_in_are_shut_out_together_in_a_few_steps() {
    let world = World::with_firewall();
    let daemon = with_everybody_in(&world, 50);
    let monitor = Monitor::start(&world);
    daemon.ask(&["close", "plain"]);
    let transactions = monitor.transactions();
    assert!((1..=FEW).contains(&transactions), "{transactions}");
    let set = world.router.nft_list("set inet fw4 ketuk_plain_4");
    assert!(!set.contains("elements"), "{set}");
}

/// The time of an answer.
fn answer_time(daemon: &Daemon<'_>) -> Duration {
    let asked = Instant::now();
    let mut stream = UnixStream::connect(daemon.socket()).expect("the daemon");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    stream.write_all(b"{\"request\":\"status\"}\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.ends_with("ok null\n"), "{answer}");
    asked.elapsed()
}

/// Measures the time, while the test above counts the steps. The machine may be busy, so the limit is only well below the
/// time of one step after the other.
#[test]
fn the_worst_answer_while_as_many_as_can_be_in_run_out() {
    const BOUND: Duration = Duration::from_millis(500);
    let attack =
        Attack::new("listener", "256 addresses let in that run out at one moment, to stall the daemon");
    let world = World::with_firewall();
    let daemon = with_everybody_in(&world, 5);
    let (mut worst, mut answers) = (Duration::ZERO, 0);
    daemon.wait("all are out", |daemon| {
        worst = worst.max(answer_time(daemon));
        answers += 1;
        out(daemon) == MAX_GRANTS
    });
    assert!(worst < BOUND, "{worst:?}");
    attack.came_to(&format!("the slowest of {answers} answers took {} ms", worst.as_millis()));
}

/// The daemon listens on the configured devices only, so knocks from the LAN open nothing.
#[test]
fn a_host_of_the_lan_opens_nothing() {
    let attack = Attack::new("LAN host", "the right sequence at the router's addresses, from the LAN");
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    for address in [ROUTER, "192.168.1.1"] {
        world.lan.stdout("knock", &[&["-d", "20", address][..], &STEPS].concat());
    }
    world.client.stdout("knock", &[&["-d", "20", ROUTER][..], &STEPS].concat());
    daemon.wait("the client's knock opens", |daemon| daemon.lets_in("plain", CLIENT));
    assert!(!daemon.lets_in("plain", LAN));
    attack.came_to("not heard: the LAN's device is not listened on");
}
