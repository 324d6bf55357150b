//! Faults around a running daemon, which must survive them. Daemon, kernel and faults are real.
#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

mod claim;
mod commands;
mod control;
mod crash;
mod devices;
mod filter;
mod iptables;
mod logs;
mod many;
mod own_table;
mod reload;
mod tables;
mod watch;

use support::daemon::Daemon;
use support::{CLIENT, ROUTER, World};

/// A door of three steps that opens SSH.
const SSH: &str = "
config globals 'globals'
	option backend 'fw4'
config door 'ssh'
	list sequence '7000'
	list sequence '8000'
	list sequence '9000'
	option proto 'tcp'
	option dest_port '22'
	option open_time '60'
";

/// The set of that door.
const SET: &str = "set inet fw4 ketuk_ssh_4";

/// [`SSH`] with another time, in seconds.
fn ssh_for(seconds: u32) -> String {
    SSH.replace("'60'", &format!("'{seconds}'"))
}

/// The client knocks the right sequence once.
fn knock(world: &World) {
    knock_at(world, ROUTER);
}

/// The same, at this address.
fn knock_at(world: &World, address: &str) {
    world.client.knock(address, "7000 8000 9000");
}

/// The client knocks, and is in.
fn knock_and_enter(world: &World, daemon: &Daemon<'_>) {
    knock(world);
    daemon.wait("the door is open for the client", |daemon| daemon.lets_in("ssh", CLIENT));
}

/// Seconds that the client's element has left; `None` if it is not there.
fn kernel_seconds_left(world: &World) -> Option<u64> {
    let listed = world.router.stdout("nft", &["-j", "list", "set", "inet", "fw4", "ketuk_ssh_4"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let items = listed["nftables"].as_array().expect("a list");
    let set = items.iter().find_map(|item| item.get("set")).expect("the set");
    let elements = set["elem"].as_array()?;
    let element = elements.iter().map(|element| &element["elem"]).find(|element| element["val"] == CLIENT)?;
    element["expires"].as_u64()
}

/// Seconds left, as the daemon says.
fn daemon_seconds_left(daemon: &Daemon<'_>) -> Option<u64> {
    daemon.grant("ssh", CLIENT)?["seconds_left"].as_u64()
}

/// Waits until some of the client's 60 seconds are over, so that a new timer differs from the old one. Returns the most
/// seconds that the old one can have left.
fn let_some_time_pass(world: &World, daemon: &Daemon<'_>) -> u64 {
    daemon.wait("some seconds pass", |_| kernel_seconds_left(world).is_some_and(|left| left <= 57));
    57
}

/// The kernel and the daemon agree about the client's time, which is at most `most`.
fn assert_time_kept(world: &World, daemon: &Daemon<'_>, most: u64) {
    let before = daemon_seconds_left(daemon).expect("the daemon knows the client");
    let kernel = kernel_seconds_left(world).expect("the kernel knows the client");
    let after = daemon_seconds_left(daemon).expect("the daemon knows the client");
    // The daemon rounds up and nft rounds down, and the two answers are from different moments.
    assert!(after <= kernel + 2 && kernel <= before, "{before}, then the kernel {kernel}, then {after}");
    assert!(kernel <= most && before <= most + 1, "the timer began anew: {kernel} of {most} seconds left");
}
