//! The doors' own commands.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::support::daemon::{Daemon, Start};
use super::support::{CLIENT, CLIENT_6, ROUTER, ROUTER_6, World, wait_until};
use super::{SSH, knock};

/// A door with commands only. They write to the file `ran`.
fn start<'h>(world: &'h World, options: &[(&str, &str)]) -> Daemon<'h> {
    let mut config = "config globals\n\toption backend 'none'\nconfig door 'run'\n".to_owned();
    config += "\toption sequence '7000 8000 9000'\n";
    let ran = world.scratch.path("ran").display().to_string();
    for (option, value) in options {
        let value = value.replace("RAN", &ran);
        let _ = writeln!(config, "\toption {option} '{value}'");
    }
    Start::new(&world.router, &world.scratch, &config).go()
}

fn ran(world: &World) -> String {
    std::fs::read_to_string(world.scratch.path("ran")).unwrap_or_default()
}

/// A daemon may open a door, and a later one, which has adopted who is in, shuts it or dies.
#[test]
fn the_stop_command_runs_also_where_another_daemon_opened() {
    for dies in [false, true] {
        let world = World::with_firewall();
        let ran_file = world.scratch.path("ran").display().to_string();
        let config = format!("{SSH}\toption stop_command 'echo stop %IP% >>{ran_file}'\n");
        let daemon = Daemon::start(&world.router, &world.scratch, &config);
        daemon.ask(&["open", "ssh", CLIENT]);
        let (status, log) = daemon.end(Signal::SIGUSR1);
        assert!(status.success(), "{log}");
        assert_eq!(ran(&world), "", "it stays open for the next daemon");
        let daemon = Start::new(&world.router, &world.scratch, &config).go();
        daemon.wait_for_log("ssh: adopted 1 open from before");
        if dies {
            daemon.end(Signal::SIGKILL);
        } else {
            daemon.ask(&["close", "ssh", CLIENT]);
        }
        wait_until("the stop command ran", || ran(&world) == format!("stop {CLIENT}\n"));
    }
}

#[test]
fn the_start_command_and_after_its_time_the_stop_command() {
    let world = World::new();
    let daemon = start(
        &world,
        &[
            ("start_command", "echo start %IP% >>RAN"),
            ("stop_command", "echo stop %IP% >>RAN"),
            ("start_command_6", "echo six %IP% >>RAN"),
            ("stop_command_6", "none"),
            ("cmd_timeout", "2"),
        ],
    );
    let before = Instant::now();
    knock(&world);
    daemon.wait("started", |_| ran(&world) == format!("start {CLIENT}\n"));
    daemon.wait("stopped", |_| ran(&world) == format!("start {CLIENT}\nstop {CLIENT}\n"));
    assert!(before.elapsed() >= Duration::from_secs(2), "not before its time");
    for line in [
        "run: running command: echo start 198.51.100.10 >>",
        "run: command timeout",
        "run: running command: echo stop",
    ] {
        daemon.wait_for_log(line);
    }
    world.client.stdout("knock", &["-6", "-d", "20", ROUTER_6, "7000", "8000", "9000"]);
    daemon.wait("started for IPv6", |_| ran(&world).ends_with(&format!("six {CLIENT_6}\n")));
    daemon.wait("its time is over", |daemon| daemon.status()["grants"].as_array().is_some_and(Vec::is_empty));
    daemon.wait_for_commands();
    assert!(ran(&world).ends_with(&format!("six {CLIENT_6}\n")), "none is none: {}", ran(&world));
}

#[test]
fn a_command_gets_a_clean_environment() {
    let world = World::new();
    let daemon = start(&world, &[("start_command", "env >RAN.new; pwd >>RAN.new; mv RAN.new RAN")]);
    knock(&world);
    daemon.wait("it ran", |_| !ran(&world).is_empty());
    let environment = ran(&world);
    assert!(environment.contains("PATH=") && environment.contains("/usr/sbin"), "{environment}");
    assert!(!environment.contains("CARGO"), "{environment}");
}

#[test]
fn a_failing_command_is_logged_in_knockds_words_and_stops_all_the_same() {
    let world = World::new();
    let daemon = start(
        &world,
        &[("start_command", "exit 3"), ("stop_command", "echo stop >>RAN; kill -9 $$"), ("open_time", "1")],
    );
    knock(&world);
    daemon.wait_for_log("run: command returned non-zero status code (3)");
    daemon.wait("stopped", |_| ran(&world) == "stop\n");
    daemon.wait_for_log("run: command was killed by signal (9)");
}

#[test]
fn the_words_of_a_failing_command_are_in_the_log_bounded_and_without_control_characters() {
    let world = World::new();
    let commands = [
        ("start_command", "printf \"iptables: \\033[1mno chain\\n\" >&2; exit 3"),
        ("stop_command", "n=0; while [ $n -lt 999 ]; do echo line $n; n=$((n+1)); done; exit 1"),
    ];
    let daemon = start(&world, &commands);
    knock(&world);
    daemon.wait_for_log(&format!(r"{CLIENT}: run: command printed: iptables: \u{{1b}}[1mno chain"));
    for _ in 0..6 {
        daemon.ask(&["close", "run"]);
        daemon.wait_for_commands();
        daemon.ask(&["open", "run", CLIENT]);
        daemon.wait_for_commands();
    }
    daemon.wait_for_log(&format!("{CLIENT}: run: command printed: line 998"));
    let lines = daemon.log().matches("command printed: line").count();
    assert!(lines < 6 * 8, "{lines} lines: more than 20 at once and 60 a minute");
}

#[test]
fn without_an_end_it_is_open_until_it_is_shut() {
    let world = World::new();
    let options =
        [("start_command", "echo start >>RAN"), ("stop_command", "echo stop >>RAN"), ("open_time", "0")];
    let daemon = start(&world, &options);
    knock(&world);
    daemon.wait("open", |_| ran(&world) == "start\n");
    assert!(daemon.ask(&["status"]).contains(&format!("open run for {CLIENT}: until it is shut")));
    knock(&world);
    daemon.wait("renewed", |daemon| daemon.counter("opened") + daemon.counter("unchanged") == 2);
    daemon.wait_for_commands();
    daemon.ask(&["close", "run"]);
    daemon.wait("shut", |_| ran(&world) == "start\nstop\n");
    knock(&world);
    daemon.wait("open again", |_| ran(&world) == "start\nstop\nstart\n");
    // A clean stop waits for the stop command.
    daemon.end(Signal::SIGTERM);
    assert_eq!(ran(&world), "start\nstop\nstart\nstop\n");
}

/// Two doors, of which one has a slow command.
fn slow_and_quick<'w>(world: &'w World, globals: &str, slow: &str) -> Daemon<'w> {
    let ran = world.scratch.path("ran").display().to_string();
    let config = format!(
        "config globals
	option backend 'none'
{globals}config door 'slow'
	option sequence '7000 8000 9000'
	option start_command '{slow}'
	option stop_command 'echo slow stop >>RAN'
	option open_time '1'
config door 'quick'
	option sequence '17311 18122 19433'
	option start_command 'echo quick start >>RAN'
	option stop_command 'echo quick stop >>RAN'
	option open_time '1'
"
    );
    Start::new(&world.router, &world.scratch, &config.replace("RAN", &ran)).go()
}

fn knock_at_quick(world: &World) {
    world.client.stdout("knock", &["-d", "20", ROUTER, "17311", "18122", "19433"]);
}

/// In many knockd.conf files one command opens the port, sleeps, and shuts the port. Such a command is not killed, and delays
/// no other door. The door's own stop command waits for it.
#[test]
fn a_slow_command_comes_to_its_end_and_holds_up_no_other_door() {
    let world = World::new();
    let gate = world.scratch.path("gate");
    let slow = format!(
        "echo slow open >>RAN; while ! [ -e {} ]; do sleep 0.05; done; echo slow shut >>RAN",
        gate.display()
    );
    let daemon = slow_and_quick(&world, "", &slow);
    knock(&world);
    daemon.wait("it has begun", |_| ran(&world) == "slow open\n");
    knock_at_quick(&world);
    daemon.wait("the other door came and went", |_| ran(&world) == "slow open\nquick start\nquick stop\n");
    daemon.wait_for_log("slow: command timeout");
    std::fs::write(&gate, "").expect("a file");
    daemon.wait_for_commands();
    assert!(ran(&world).ends_with("slow shut\nslow stop\n"), "{}", ran(&world));
    assert!(!daemon.log().contains("killed"), "{}", daemon.log());
}

#[test]
fn a_command_beyond_command_timeout_is_killed_and_the_log_says_what_is_not_undone() {
    let world = World::new();
    let slow = "echo slow open >>RAN; echo about to sleep >&2; sleep 1000; echo slow shut >>RAN";
    let daemon = slow_and_quick(&world, "\toption command_timeout '2'\n", slow);
    let before = Instant::now();
    knock(&world);
    daemon.wait("it has begun", |_| ran(&world) == "slow open\n");
    knock_at_quick(&world);
    daemon.wait("the other door opened", |_| ran(&world).contains("quick start\n"));
    daemon.wait_for_log(
        "slow: command killed after 2 s: what it has done so far is not undone, the rest is not done",
    );
    assert!(before.elapsed() >= Duration::from_secs(2), "not before its time");
    daemon.wait_for_log(&format!("{CLIENT}: slow: command printed: about to sleep"));
    // The stop command runs even so.
    daemon.wait_for_commands();
    daemon.wait("it is shut", |_| ran(&world).contains("slow stop\n"));
    assert!(!ran(&world).contains("slow shut"), "{}", ran(&world));
}

#[test]
fn a_command_that_hangs_does_not_keep_the_daemon_from_stopping_nor_from_hearing() {
    let world = World::new();
    let daemon = start(
        &world,
        &[("start_command", "echo $$ >>RAN; exec sleep 1000"), ("stop_command", "true"), ("open_time", "1")],
    );
    knock(&world);
    daemon.wait("it hangs", |_| !ran(&world).is_empty());
    knock(&world);
    daemon.wait("knocks are heard", |daemon| daemon.counter("opened") + daemon.counter("unchanged") == 2);
    assert_eq!(daemon.status()["daemon"]["commands_pending"], true);
    let (status, log) = daemon.end(Signal::SIGTERM);
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("stop commands were still running"), "{log}");
    let pid = ran(&world).lines().next().expect("a process id").to_owned();
    world.router.shell(&format!("kill -9 {pid}"));
}
