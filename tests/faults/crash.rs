//! The daemon ends in various ways while a door is open.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::support::daemon::{Daemon, Start};
use super::support::{CLIENT, ROUTER, World, wait_until};
use super::{
    SET, SSH, assert_time_kept, kernel_seconds_left, knock, knock_and_enter, let_some_time_pass, ssh_for,
};

#[test]
fn the_kernel_shuts_the_door_of_a_daemon_that_was_killed() {
    let world = World::with_firewall();
    world.router.serve(22);
    let daemon = Daemon::start(&world.router, &world.scratch, &ssh_for(5));
    let before = Instant::now();
    knock_and_enter(&world, &daemon);
    daemon.end(Signal::SIGKILL);
    assert_eq!(world.client.greeted_by(ROUTER, 22).as_deref(), Some("router"), "still open");
    wait_until("the kernel shuts the door", || kernel_seconds_left(&world).is_none());
    assert!(before.elapsed() >= Duration::from_secs(5), "it was open for all of its time");
    assert_eq!(world.client.greeted_by(ROUTER, 22), None);
}

#[test]
fn a_daemon_after_a_crash_adopts_who_is_in_with_the_time_left() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    knock_and_enter(&world, &daemon);
    let most = let_some_time_pass(&world, &daemon);
    daemon.end(Signal::SIGKILL);

    // A shorter time in the configuration counts only for new grants.
    let daemon = Start::new(&world.router, &world.scratch, &ssh_for(5)).go();
    daemon.wait_for_log("ssh: adopted 1 open from before");
    assert_time_kept(&world, &daemon, most);
    daemon.end(Signal::SIGKILL);

    // Adopted once more, and renewed by a knock.
    let daemon = Start::new(&world.router, &world.scratch, SSH).go();
    assert_time_kept(&world, &daemon, most);
    knock(&world);
    daemon.wait("the time is renewed", |_| kernel_seconds_left(&world).is_some_and(|left| left > most));
    assert_time_kept(&world, &daemon, 60);
    let set = world.router.nft_list(SET);
    assert_eq!(set.matches("expires").count(), 1, "{set}");
}

#[test]
fn a_clean_stop_shuts_at_once_also_who_was_adopted() {
    let world = World::with_firewall();
    world.router.serve(22);
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    knock_and_enter(&world, &daemon);
    let socket = daemon.socket().to_owned();
    daemon.end(Signal::SIGKILL);
    let daemon = Start::new(&world.router, &world.scratch, SSH).go();
    assert!(daemon.lets_in("ssh", CLIENT), "adopted");
    daemon.ask(&["open", "ssh", "192.0.2.77", "0"]);
    let (status, log) = daemon.end(Signal::SIGTERM);
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.ends_with("shutting down\n"), "{log}");
    let set = world.router.nft_list(SET);
    assert!(!set.contains("elements"), "{set}");
    assert_eq!(world.client.greeted_by(ROUTER, 22), None);
    assert!(!socket.exists(), "the control socket goes too");
}

#[test]
fn a_clean_stop_keeps_what_the_configuration_says() {
    let world = World::with_firewall();
    let config = SSH.to_owned() + "\toption on_stop 'keep'\n";
    let daemon = Daemon::start(&world.router, &world.scratch, &config);
    knock_and_enter(&world, &daemon);
    let most = let_some_time_pass(&world, &daemon);
    let (status, log) = daemon.end(Signal::SIGINT);
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(kernel_seconds_left(&world).is_some(), "left to its timer");
    let daemon = Start::new(&world.router, &world.scratch, &config).go();
    assert_time_kept(&world, &daemon, most);
}

#[test]
fn nobody_is_in_for_longer_than_the_log_says() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, &ssh_for(3));
    knock_and_enter(&world, &daemon);
    // On a busy machine the kernel may get the element late, and keep it longer.
    world.router.nft(&format!("delete element inet fw4 ketuk_ssh_4 {{ {CLIENT} }}"));
    world.router.nft(&format!("add element inet fw4 ketuk_ssh_4 {{ {CLIENT} timeout 50s }}"));
    daemon.wait_for_log("ssh: command timeout");
    daemon.wait("the element is gone", |_| kernel_seconds_left(&world).is_none());
}

/// SIGUSR1 leaves doors open that a stop would shut, also if a stop comes at the same time.
#[test]
fn a_daemon_that_hands_over_leaves_its_doors_to_the_next() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    knock_and_enter(&world, &daemon);
    let most = let_some_time_pass(&world, &daemon);
    let (status, log) = daemon.end(Signal::SIGUSR1);
    assert!(status.success(), "{log}");
    let daemon = Start::new(&world.router, &world.scratch, SSH).go();
    daemon.wait_for_log("ssh: adopted 1 open from before");
    assert_time_kept(&world, &daemon, most);
    // The daemon is stopped until both signals have come.
    for signal in [Signal::SIGSTOP, Signal::SIGTERM, Signal::SIGUSR1] {
        daemon.signal(signal);
    }
    let (status, log) = daemon.end(Signal::SIGCONT);
    assert!(status.success(), "{log}");
    assert!(kernel_seconds_left(&world).is_some());
}
