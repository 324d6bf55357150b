//! The doors' own commands.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::knock;
use super::support::daemon::{Daemon, Start};
use super::support::{CLIENT, CLIENT_6, ROUTER_6, World};

/// A door that only runs commands, which write into the file `ran`.
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
