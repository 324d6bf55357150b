//! Two daemons with sockets of their own on one firewall.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ketuk::config::MAX_DEVICES;
use nix::sys::signal::Signal;

use super::support::daemon::{Daemon, Start, USER_KETUK, is_running};
use super::support::{CLIENT, Process, ROUTER, Scratch, World};
use super::{SET, SSH, knock_and_enter};

const CLAIMED: &str = "ketukd: another ketukd changes this firewall: stop it, and let one daemon have the doors of both. \
                       Two may run at once in two network namespaces only\n";

/// A door that the firewall has no part in.
const COMMAND: &str = "config globals 'globals'\n\toption backend 'none'\nconfig door 'run'\n\tlist sequence '7000'\n\
                       \toption open_time '0'\n\toption start_command 'true'\n";

fn assert_refused(world: &World, scratch: &Scratch, config: &str) {
    let mut second = Start::new(&world.router, scratch, config).spawn();
    assert_eq!(second.wait_for_end().code(), Some(1), "{}", second.log());
    assert!(second.log().ends_with(CLAIMED), "{}", second.log());
    fs::remove_file(scratch.path("ketuk.log")).expect("its log");
}

/// A list of nft without the times that open doors have left, word by word.
fn without_times(listed: &str) -> Vec<&str> {
    let words = listed.split_whitespace();
    let before = std::iter::once("").chain(words.clone());
    before.zip(words).filter(|(before, _)| *before != "expires").map(|(_, word)| word).collect()
}

#[test]
fn a_second_daemon_with_another_socket_changes_nothing() {
    let (world, scratch) = (World::with_firewall(), Scratch::new());
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    knock_and_enter(&world, &daemon);
    // iptables' own probe makes empty tables.
    let ours = |ruleset: &str| ruleset.matches("ketuk").count();
    let look = |what: &[&str]| world.router.stdout("nft", &[&["list"], what].concat());
    let (table, ruleset) = (look(&["table", "inet", "fw4"]), look(&["ruleset"]));
    for backend in ["own", "fw4", "nft", "iptables"] {
        let table_option = if backend == "nft" { "\n\toption nft_table 'inet fw4'" } else { "" };
        let config = SSH.replace("'fw4'", &format!("'{backend}'{table_option}"));
        assert_refused(&world, &scratch, &config);
        assert_eq!(without_times(&look(&["table", "inet", "fw4"])), without_times(&table), "{backend}");
        assert_eq!(ours(&look(&["ruleset"])), ours(&ruleset), "{backend}");
    }
    assert!(daemon.lets_in("ssh", CLIENT));
    // The kernel frees the claim, however the daemon ends.
    daemon.end(Signal::SIGKILL);
    let next = Start::new(&world.router, &scratch, SSH).go();
    assert!(next.lets_in("ssh", CLIENT), "the next daemon keeps {SET}");
}

/// The kernel frees the sockets of a daemon some time after the signal that ends it. A script may start the next one at once.
#[test]
fn a_start_waits_for_a_daemon_that_is_about_to_end() {
    let (world, scratch) = (World::with_firewall(), Scratch::new());
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    let mut other_socket = Start::new(&world.router, &scratch, SSH).spawn();
    std::thread::sleep(Duration::from_millis(300));
    assert!(other_socket.is_alive(), "{}", other_socket.log());
    daemon.end(Signal::SIGKILL);
    other_socket.wait_for_log("starting up");
    let mut same_socket = Start::new(&world.router, &scratch, SSH).spawn();
    std::thread::sleep(Duration::from_millis(300));
    assert!(same_socket.is_alive(), "{}", same_socket.log());
    other_socket.end(Signal::SIGKILL);
    // The log has both starts.
    same_socket.wait("it has started", |daemon| daemon.log().matches("starting up").count() == 2);
}

/// A daemon that cannot start shuts the ports that the last run shut. It must not do so while another daemon runs.
#[test]
fn a_failed_start_leaves_the_doors_of_the_daemon_that_runs() {
    let (world, scratch) = (World::with_firewall(), Scratch::new());
    world.router.serve(22);
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    knock_and_enter(&world, &daemon);
    scratch
        .write("shut", "config globals\n\tlist device 'wan0'\nconfig door 'ssh'\n\toption dest_port '22'\n");
    let fails_to_start = |config: &str, devices: &[&str], socket: &Path| {
        let mut start = Start::on(&world.router, &scratch, config, devices);
        start.command().env("STATE_DIRECTORY", scratch.path(""));
        start.socket(socket);
        let mut second = start.spawn();
        assert!(!second.wait_for_end().success(), "{}", second.log());
        second.log()
    };
    let wrong = SSH.replace("dest_port", "dest_prot");
    let many: Vec<_> = (0..=MAX_DEVICES).map(|number| format!("lan{number}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    // The daemon may run with a backend that needs no claim, so that only the number of devices is wrong.
    let socket = scratch.path("ketuk.sock");
    let before = world.router.stdout("nft", &["list", "ruleset"]);
    for (config, devices, socket) in [
        (wrong.as_str(), &["wan0"][..], socket.as_path()),
        (COMMAND, &many, &socket),
        (SSH, &["wan0"], &socket),
        (SSH, &["wan0"], daemon.socket()),
    ] {
        let log = fails_to_start(config, devices, socket);
        let after = world.router.stdout("nft", &["list", "ruleset"]);
        assert_eq!(without_times(&after), without_times(&before), "{log}");
        assert!(!log.contains("are shut to everybody"), "{log}");
    }
    assert!(daemon.lets_in("ssh", CLIENT));
    assert!(world.client.greeted_by(ROUTER, 22).is_some());
    // Nobody runs any more.
    daemon.end(Signal::SIGKILL);
    let log = fails_to_start(&wrong, &["wan0"], &socket);
    assert!(log.contains("the ports of door 'ssh' are shut to everybody"), "{log}");
    assert_eq!(world.client.greeted_by(ROUTER, 22), None);
}

/// The second process must not keep the next daemon from starting while it undoes what was open.
#[test]
fn the_claim_ends_with_the_process_that_reads_packets() {
    let world = World::with_firewall();
    let may_end = world.scratch.path("may_end").display().to_string();
    let slow = format!(
        "\toption start_command 'true'\n\toption stop_command 'until [ -e {may_end} ]; do sleep 0.05; done'\n"
    );
    let config = format!("{SSH}{slow}");
    let daemon = Daemon::start(&world.router, &world.scratch, &config);
    let monitor = daemon.monitor().expect("a second process");
    daemon.ask(&["open", "ssh", CLIENT]);
    daemon.wait_for_commands();
    daemon.end(Signal::SIGKILL);
    let scratch = Scratch::new();
    drop(Start::new(&world.router, &scratch, SSH).go());
    assert!(is_running(monitor), "it still waits for the stop command");
    fs::write(may_end, "").expect("a file");
}

#[test]
fn daemons_that_change_nothing_in_the_firewall_are_in_nobodys_way() {
    let (world, scratch, third) = (World::with_firewall(), Scratch::new(), Scratch::new());
    let commands = Start::new(&world.router, &scratch, COMMAND).go();
    let own = SSH.replace("'fw4'", "'own'");
    let daemon = Start::new(&world.router, &world.scratch, &own).go();
    let table = || world.router.stdout("nft", &["list", "table", "inet", "ketuk"]);
    let before = table();
    drop(Start::new(&world.router, &third, COMMAND).go());
    commands.ask(&["reload"]);
    assert_eq!(table(), before, "the table is the other daemon's");
    // From now on it would cut connections.
    commands.write_config(&format!("{COMMAND}\toption dest_port '22'\n\toption kill 'on'\n"));
    let answer = commands.control(&["reload"]);
    assert!(
        String::from_utf8_lossy(&answer.stderr).contains("another ketukd changes this firewall"),
        "{answer:?}"
    );
    assert_eq!(table(), before);
    daemon.end(Signal::SIGTERM);
    commands.ask(&["reload"]);
    assert_refused(&world, &world.scratch, &own);
}

/// A program of this account that has taken the name of the claim. It ends with this value.
fn takes_the_name(world: &World, user: u32) -> Process {
    let there = world.scratch.path("there").display().to_string();
    fs::set_permissions(world.scratch.path("."), std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .expect("a mode");
    let bind = format!(
        "import os, socket, time\nos.setresuid({user}, {user}, {user})\nheld = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
         held.bind('\\0ketukd firewall')\nopen('{there}', 'w')\ntime.sleep(60)"
    );
    let program = world.router.enter(|| Process::start("python3", &["-c", &bind]));
    super::support::wait_until("the name is taken", || world.scratch.path("there").exists());
    program
}

/// Any account may bind any abstract name.
#[test]
fn a_strangers_socket_keeps_no_daemon_from_starting() {
    if !super::support::is_root_of_the_machine("other users") {
        return;
    }
    let world = World::with_firewall();
    let _stranger = takes_the_name(&world, 65534);
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    daemon.wait_for_log("a program of user 65534 has taken the name '@ketukd firewall'");
    knock_and_enter(&world, &daemon);
}

/// A service manager may have started the other daemon as user `ketuk`.
#[test]
fn a_daemon_of_user_ketuk_has_the_firewall_too() {
    if !super::support::is_root_of_the_machine("other users") {
        return;
    }
    let world = World::with_firewall();
    let _other = takes_the_name(&world, USER_KETUK);
    let mut start = Start::new(&world.router, &world.scratch, SSH);
    start.with_user_ketuk(&world.scratch);
    let mut second = start.spawn();
    assert_eq!(second.wait_for_end().code(), Some(1), "{}", second.log());
    assert!(second.log().ends_with(CLAIMED), "{}", second.log());
}
