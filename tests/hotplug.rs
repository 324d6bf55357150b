//! Scripts and watchers get an event when a door opens or shuts.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test says what it expected by panicking")]

mod support;

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;
use support::daemon::{Daemon, Start, proc_status};
use support::{CLIENT, ROUTER, World, wait_until};

const DOOR: &str = "
config globals 'globals'
	option backend 'fw4'
config door 'ssh'
	list sequence '7000'
	option dest_port '22'
	option open_time '1'
config door 'web'
	list sequence '8000'
	option dest_port '80'
	option open_time '0'
";

/// A daemon that sees an /etc with these scripts in its hotplug folder.
fn start<'w>(world: &'w World, scripts: &[(&str, &str)]) -> Daemon<'w> {
    let etc = world.scratch.path("etc");
    let folder = etc.join("hotplug.d/ketuk");
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in scripts {
        fs::write(folder.join(name), text).unwrap();
    }
    let mut start = Start::new(&world.router, &world.scratch, DOOR);
    let config = world.scratch.path("ketuk.uci");
    world.router.nft(&support::daemon::ruleset(&config));
    // Only this daemon sees this /etc instead of the machine's.
    let mut hidden = Command::new("unshare");
    hidden.args(["-m", "sh", "-c", "mount --bind \"$0\" /etc && exec \"$@\""]).arg(&etc);
    hidden.arg(start.command().get_program()).args(start.command().get_args());
    *start.command() = hidden;
    start.go()
}

fn lines(path: &std::path::Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// The scripts run with all privileges, but the process that reads packets has none of these.
#[test]
fn scripts_are_run_by_the_second_process() {
    let world = World::with_firewall();
    let out = world.scratch.path("out");
    let script = format!("echo \"$ACTION $PPID $(grep CapEff /proc/self/status)\" >> {}\n", out.display());
    let daemon = start(&world, &[("10-note", &script)]);
    daemon.wait("the system calls are bounded", |daemon| proc_status(daemon.pid(), "Seccomp") == "2");
    assert_eq!(proc_status(daemon.pid(), "NoNewPrivs"), "1");
    let monitor = daemon.monitor().expect("a second process");
    daemon.ask(&["open", "web", CLIENT]);
    let capable = proc_status(std::process::id(), "CapEff");
    assert_ne!(proc_status(daemon.pid(), "CapEff"), capable);
    wait_until("it was told", || lines(&out) == [format!("open {monitor} CapEff:\t{capable}")]);
    // A reload removes the door. The scripts are told of that too.
    let config = DOOR.split("config door 'web'").next().unwrap();
    daemon.write_config(config);
    daemon.ask(&["reload"]);
    wait_until("it was told", || lines(&out).last().is_some_and(|line| line.starts_with("close ")));
}

#[test]
fn scripts_are_told() {
    let world = World::with_firewall();
    let out = world.scratch.path("out");
    let script = format!("echo \"$ACTION $DOOR '$USER' $ADDRESS $SECONDS\" >> {}\n", out.display());
    let daemon = start(&world, &[("10-fails", "exit 1\n"), ("20-note", &script)]);
    world.client.shell(&format!("knock {ROUTER} 7000"));
    wait_until("both were told", || lines(&out).len() == 2);
    daemon.ask(&["open", "web", CLIENT]);
    wait_until("that too", || lines(&out).len() == 3);
    let (status, log) = daemon.end(Signal::SIGTERM);
    assert!(status.success(), "{log}");
    assert_eq!(
        lines(&out),
        [
            "open ssh '' 198.51.100.10 1",
            "close ssh '' 198.51.100.10 0",
            "open web '' 198.51.100.10 ",
            "close web '' 198.51.100.10 0",
        ]
    );
}

/// A script that hangs delays no door, and the number of events that wait for it is bounded.
#[test]
fn a_script_that_hangs_is_no_matter() {
    let world = World::with_firewall();
    world.router.serve(22);
    let daemon = start(&world, &[("hang", "exec sleep 60\n")]);
    for host in 1..=150 {
        daemon.ask(&["open", "web", &format!("10.0.0.{host}")]);
        if host % 50 == 0 {
            // At most fifty doors open in a second.
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
    }
    daemon.wait_for_log("scripts are too slow, events are left out");
    assert_eq!(daemon.log().matches("events are left out").count(), 1);
    world.client.shell(&format!("knock {ROUTER} 7000"));
    daemon.wait("the door opens", |daemon| daemon.log().contains("ssh: OPEN SESAME"));
    daemon.wait("and shuts", |daemon| daemon.log().contains("ssh: command timeout"));
}

#[test]
fn watchers_are_told_in_json() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, DOOR);
    let out = world.scratch.path("watched");
    let socket = daemon.socket().to_str().unwrap();
    let line =
        format!("exec {} watch --json --socket {socket} > {}", support::ketukd().display(), out.display());
    let _watch = support::Process::start("sh", &["-c", &line]);
    let events = || -> Vec<serde_json::Value> {
        let all = lines(&out).into_iter().map(|line| serde_json::from_str(&line).expect("a line of JSON"));
        all.filter(|value: &serde_json::Value| value["kind"] == "event").collect()
    };
    // Wait until the watcher is connected.
    wait_until("it watches", || {
        daemon.ask(&["open", "web", CLIENT]);
        !events().is_empty()
    });
    daemon.ask(&["close", "web"]);
    world.client.shell(&format!("knock {ROUTER} 7000"));
    let told = |event: &str, door: &str, reason: &str| {
        wait_until(&format!("{event} {door} {reason}"), || {
            events().iter().any(|value| {
                value["event"] == event
                    && value["door"] == door
                    && value["reason"] == reason
                    && value["address"] == CLIENT
            })
        });
    };
    told("close", "web", "hand");
    told("open", "ssh", "knock");
    told("close", "ssh", "timeout");
}

#[test]
fn scripts_that_come_later_are_not_passed_over_in_silence() {
    let world = World::with_firewall();
    let daemon = start(&world, &[]);
    let folder = world.scratch.path("etc/hotplug.d/ketuk");
    let out = world.scratch.path("out");
    fs::write(folder.join("10-note"), format!("echo >> {}\n", out.display())).unwrap();
    for _ in 0..2 {
        daemon.ask(&["open", "web", CLIENT]);
        daemon.ask(&["close", "web"]);
    }
    daemon.wait_for_log("its scripts run after a restart");
    let (status, log) = daemon.end(Signal::SIGTERM);
    assert!(status.success(), "{log}");
    assert_eq!(log.matches("run after a restart").count(), 1, "{log}");
    assert!(!out.exists(), "the daemon cannot start programs");
}
