//! Two daemons with sockets of their own on one firewall.

use std::fs;

use nix::sys::signal::Signal;

use super::support::daemon::{Daemon, Start, is_running};
use super::support::{CLIENT, Scratch, World};
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

#[test]
fn a_second_daemon_with_another_socket_changes_nothing() {
    let (world, scratch) = (World::with_firewall(), Scratch::new());
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    knock_and_enter(&world, &daemon);
    let before = world.router.stdout("nft", &["list", "table", "inet", "fw4"]);
    for backend in ["own", "fw4", "nft", "iptables"] {
        let table = if backend == "nft" { "\n\toption nft_table 'inet fw4'" } else { "" };
        let config = SSH.replace("'fw4'", &format!("'{backend}'{table}"));
        assert_refused(&world, &scratch, &config);
    }
    // The seconds that are left differ.
    let rules = |text: &str| {
        text.lines().filter(|line| !line.contains("expires")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(rules(&world.router.stdout("nft", &["list", "table", "inet", "fw4"])), rules(&before));
    assert!(!world.router.stdout("nft", &["list", "tables"]).contains("ketuk"));
    assert!(daemon.lets_in("ssh", CLIENT));
    // The kernel frees the claim, however the daemon ends.
    daemon.end(Signal::SIGKILL);
    let next = Start::new(&world.router, &scratch, SSH).go();
    assert!(next.lets_in("ssh", CLIENT), "the next daemon keeps {SET}");
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

/// Any account may bind any abstract name.
#[test]
fn a_strangers_socket_keeps_no_daemon_from_starting() {
    if !super::support::is_root_of_the_machine("other users") {
        return;
    }
    let world = World::with_firewall();
    let there = world.scratch.path("there").display().to_string();
    fs::set_permissions(world.scratch.path("."), std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .expect("a mode");
    let bind = format!(
        "import os, socket, time\nos.setresuid(65534, 65534, 65534)\nheld = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
         held.bind('\\0ketukd firewall')\nopen('{there}', 'w')\ntime.sleep(60)"
    );
    let mut stranger = world
        .router
        .enter(|| std::process::Command::new("python3").args(["-c", &bind]).spawn())
        .expect("python3");
    super::support::wait_until("the name is taken", || world.scratch.path("there").exists());
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    daemon.wait_for_log("a program of user 65534 has taken the name '@ketukd firewall'");
    knock_and_enter(&world, &daemon);
    stranger.kill().expect("it lives");
    stranger.wait().expect("it ends");
}
