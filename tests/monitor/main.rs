//! The second process: it runs the configured commands, so that the process that reads packets need not be able to.
#![cfg(target_os = "linux")]

mod costs;
mod files;
#[path = "../support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::daemon::{Daemon, Start, capabilities, is_running, proc_status};
use support::{CLIENT, CLIENT_6, STRANGER, World, wait_until};

/// The capabilities of the process that reads packets: `CAP_DAC_OVERRIDE`, which root keeps, `CAP_NET_ADMIN`, `CAP_NET_RAW`.
const LEFT: [u32; 3] = [1, 12, 13];

/// A door with these commands, which write into the file `RAN`.
fn door(world: &World, more: &[(&str, &str)]) -> String {
    let ran = world.scratch.path("ran").display().to_string();
    let mut config = "config globals 'globals'\n\toption backend 'none'\nconfig door 'run'\n".to_owned();
    config += "\tlist sequence '7000'\n\toption open_time '0'\n";
    for (option, value) in more {
        let _ = writeln!(config, "\toption {option} '{}'", value.replace("RAN", &ran));
    }
    config
}

const ECHO: [(&str, &str); 2] =
    [("start_command", "echo start %IP% >>RAN"), ("stop_command", "echo stop %IP% >>RAN")];

fn ran(world: &World) -> Vec<String> {
    let text = fs::read_to_string(world.scratch.path("ran")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn wait_for(daemon: &Daemon<'_>, world: &World, lines: &[&str]) {
    daemon.wait(&format!("{lines:?} ran"), |_| ran(world) == lines);
}

fn start<'w>(world: &'w World, config: &str) -> (Daemon<'w>, u32) {
    let daemon = Start::new(&world.router, &world.scratch, config).go();
    daemon.wait("the system calls are bounded", |daemon| proc_status(daemon.pid(), "Seccomp") == "2");
    let monitor = daemon.monitor().expect("a second process");
    (daemon, monitor)
}

fn kill_9(pid: u32) {
    kill(Pid::from_raw(i32::try_from(pid).expect("a process id")), Signal::SIGKILL).expect("alive");
}

/// The packet side has only the privileges that it needs to hear knocks and to change the firewall.
fn assert_confined(daemon: &Daemon<'_>) {
    assert_eq!(proc_status(daemon.pid(), "NoNewPrivs"), "1");
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(capabilities(daemon.pid(), set), LEFT, "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert!(capabilities(daemon.pid(), set).is_empty(), "{set}");
    }
}

#[test]
fn commands_run_with_all_privileges_and_the_process_that_reads_packets_has_none_of_them() {
    let world = World::new();
    let command = "echo $PPID $(id -u) %IP% $(grep CapEff /proc/self/status) >>RAN";
    let stop = "sleep 0.5; echo stop %IP% >>RAN";
    let (daemon, monitor) =
        start(&world, &door(&world, &[("start_command", command), ("stop_command", stop)]));
    assert_confined(&daemon);
    assert_eq!(proc_status(monitor, "Seccomp"), "0");
    let capable = proc_status(std::process::id(), "CapEff");
    assert_ne!(capabilities(monitor, "CapEff"), LEFT);
    world.client.stdout("knock", &[support::ROUTER, "7000"]);
    let expected = format!("{monitor} 0 {CLIENT} CapEff: {capable}");
    daemon.wait("the command ran", |_| ran(&world) == [expected.as_str()]);
    daemon.wait_for_log("running command: echo $PPID");
    let (status, log) = daemon.end(Signal::SIGTERM);
    assert!(status.success() && !log.contains("left behind"), "{log}");
    assert_eq!(ran(&world), [expected.as_str(), &format!("stop {CLIENT}")], "the daemon waited for it");
    wait_until("the second process ends", || !is_running(monitor));
    let log = fs::read_to_string(world.scratch.path("ketuk.log")).expect("the log");
    assert!(!log.contains("has ended"), "a clean end leaves nothing to undo: {log}");
}

/// The commands of each door and address run in order, even after the packet side has died.
#[test]
fn the_death_of_the_packet_side_shuts_what_it_opened() {
    let world = World::new();
    let may_end = world.scratch.path("may_end").display().to_string();
    let slow = "echo start %IP% >>RAN; while [ %IP% = 192.0.2.10 ] && ! [ -e END ]; do sleep 0.05; done; \
                echo started %IP% >>RAN";
    let commands = [("start_command", &*slow.replace("END", &may_end)), ECHO[1]];
    let (mut daemon, monitor) = start(&world, &door(&world, &commands));
    daemon.ask(&["open", "run", CLIENT]);
    let mut lines = vec![format!("start {CLIENT}"), format!("started {CLIENT}")];
    daemon.wait("it ran", |_| ran(&world) == lines);
    daemon.ask(&["open", "run", CLIENT_6]);
    daemon.ask(&["close", "run", CLIENT_6]);
    lines.extend([format!("start {CLIENT_6}"), format!("started {CLIENT_6}"), format!("stop {CLIENT_6}")]);
    daemon.wait("it ran and was undone", |_| ran(&world) == lines);
    daemon.ask(&["open", "run", STRANGER]);
    lines.push(format!("start {STRANGER}"));
    daemon.wait("it began", |_| ran(&world) == lines);

    daemon.signal(Signal::SIGKILL);
    daemon.wait_for_end();
    lines.push(format!("stop {CLIENT}"));
    daemon.wait("what is open is shut", |_| ran(&world) == lines);
    assert!(is_running(monitor), "a start command still runs");
    fs::write(&may_end, "").expect("a file");
    lines.extend([format!("started {STRANGER}"), format!("stop {STRANGER}")]);
    daemon.wait("what was opening is shut", |_| ran(&world) == lines);
    wait_until("the second process ends", || !is_running(monitor));
    assert!(daemon.log().contains("has ended: what it opened is shut"), "{}", daemon.log());
}

#[test]
fn the_death_of_the_second_process_shuts_the_doors_and_ends_the_daemon() {
    let world = World::with_firewall();
    let config = "config globals 'globals'\n\toption backend 'fw4'\nconfig door 'ssh'\n\tlist sequence '7000'\n\
                  \toption dest_port '22'\n\toption open_time '600'\n\toption start_command 'true'\n";
    let mut daemon = Daemon::start(&world.router, &world.scratch, config);
    let monitor = daemon.monitor().expect("a second process");
    daemon.ask(&["open", "ssh", CLIENT]);
    let set = || world.router.stdout("nft", &["list", "set", "inet", "fw4", "ketuk_ssh_4"]);
    assert!(set().contains(CLIENT), "{}", set());
    kill_9(monitor);
    assert_eq!(daemon.wait_for_end().code(), Some(1), "{}", daemon.log());
    assert!(!set().contains(CLIENT), "{}", set());
    assert!(
        daemon.log().contains("the process that runs commands has ended, so ketukd ends"),
        "{}",
        daemon.log()
    );
}

#[test]
fn a_reload_reaches_both_and_what_was_started_is_undone_as_it_was_configured() {
    let world = World::new();
    let (daemon, monitor) = start(&world, &door(&world, &ECHO));
    daemon.ask(&["open", "run", CLIENT]);
    wait_for(&daemon, &world, &[&format!("start {CLIENT}")]);
    daemon.write_config(&door(&world, &[("start_command", "echo new %IP% >>RAN"), ("stop_command", "none")]));
    daemon.ask(&["reload"]);
    let mut lines = vec![format!("start {CLIENT}"), format!("stop {CLIENT}")];
    daemon.wait("the old stop command ran", |_| ran(&world) == lines);
    daemon.ask(&["open", "run", CLIENT]);
    lines.push(format!("new {CLIENT}"));
    daemon.wait("the new start command ran", |_| ran(&world) == lines);
    assert_eq!(daemon.monitor(), Some(monitor));
    // A wrong file changes nothing for either process.
    daemon.write_config("config door\n\toption wrong\n");
    assert_eq!(daemon.control(&["reload"]).status.code(), Some(2));
    daemon.ask(&["open", "run", STRANGER]);
    lines.push(format!("new {STRANGER}"));
    daemon.wait("the running configuration stays", |_| ran(&world) == lines);
}

#[test]
fn the_command_timeout_kills_what_hangs() {
    let world = World::new();
    let config = door(&world, &[("start_command", "echo $$ >>RAN; exec sleep 1000")]);
    let config = config.replace("'none'\n", "'none'\n\toption command_timeout '1'\n");
    let (daemon, _) = start(&world, &config);
    daemon.ask(&["open", "run", CLIENT]);
    daemon.wait("it hangs", |_| ran(&world).len() == 1);
    let pid: u32 = ran(&world)[0].parse().expect("a process id");
    daemon.wait_for_log("command killed after 1 s");
    wait_until("it is killed", || !is_running(pid));
    daemon.wait_for_commands();
}

#[test]
fn rules_of_iptables_are_made_by_the_second_process_and_go_when_the_first_dies() {
    let world = World::new();
    let config = "config globals 'globals'\n\toption backend 'iptables'\nconfig door 'ssh'\n\tlist sequence '7000'\n\
                  \toption dest_port '22 8000-8010'\n\toption open_time '600'\n";
    let (mut daemon, monitor) = start(&world, config);
    assert_confined(&daemon);
    let rules =
        || world.router.shell("iptables -w -S INPUT; ip6tables -w -S INPUT").matches("ketuk:ssh").count();
    for address in [CLIENT, CLIENT_6] {
        daemon.ask(&["open", "ssh", address]);
    }
    let made = rules();
    assert!(made >= 2);
    // A reload makes rules again that another program has flushed.
    world.router.shell("iptables -w -F INPUT; ip6tables -w -F INPUT");
    daemon.ask(&["reload"]);
    daemon.wait("the rules are back", |_| rules() == made);
    daemon.wait_for_commands();
    daemon.signal(Signal::SIGKILL);
    daemon.wait_for_end();
    wait_until("the second process ends", || !is_running(monitor));
    assert_eq!(rules(), 0, "{}", daemon.log());
}

/// The first process cannot have the second one read forbidden files.
#[test]
fn the_second_process_has_no_socket_of_the_first() {
    let world = World::with_firewall();
    let config = door(&world, &ECHO).replace("'none'", "'fw4'");
    let (daemon, monitor) = start(&world, &config);
    let sockets = |pid: u32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("root may look").flatten();
        let targets = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
        let targets = targets.map(|target| target.display().to_string());
        targets.filter(|target| target.starts_with("socket:")).collect::<Vec<_>>()
    };
    let (first, second) = (sockets(daemon.pid()), sockets(monitor));
    // The sockets lead to the other process, and perhaps to syslog, which is the same for both.
    assert!((1..=2).contains(&second.len()), "{second:?}");
    let shared = second.iter().filter(|socket| first.contains(socket)).count();
    assert!(shared <= 1 && first.len() > 3, "{first:?} {second:?}");
}
