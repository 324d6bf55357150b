//! Devices and addresses that come, go and change.

use std::fmt::Write as _;

use nix::sys::signal::Signal;

use super::support::daemon::{Daemon, Start, ruleset};
use super::support::wire::Wire;
use super::support::{CLIENT, ROUTER, World};
use super::{SSH, knock_and_enter, knock_at};

fn state(daemon: &Daemon<'_>) -> String {
    daemon.status()["devices"][0]["state"].as_str().expect("a state").to_owned()
}

fn wait_for_state(daemon: &Daemon<'_>, wanted: &str) {
    daemon.wait(&format!("the device is {wanted}"), |daemon| state(daemon) == wanted);
}

/// Gives wan0 what it lost with its wire, or when it was down.
fn addresses(world: &World) {
    for (host, device, v4, v6) in [
        (&world.isp, "router0", "203.0.113.254/24", "2001:db8:1::fe/64"),
        (&world.router, "wan0", "203.0.113.1/24", "2001:db8:1::1/64"),
    ] {
        host.ip(&format!("address flush dev {device}"));
        host.addresses(device, &[v4, v6]);
    }
    world.router.ip("route replace default via 203.0.113.254");
}

/// A right knock is heard; then the door is shut again.
fn hears(world: &World, daemon: &Daemon<'_>) {
    knock_and_enter(world, daemon);
    daemon.ask(&["close", "ssh"]);
}

/// It hears again, soon: nobody says when it has noticed.
fn comes_to_hear(world: &World, daemon: &Daemon<'_>) {
    daemon.wait("a knock is heard", |daemon| {
        super::knock(world);
        daemon.lets_in("ssh", CLIENT)
    });
    daemon.ask(&["close", "ssh"]);
    assert_eq!(state(daemon), "listening");
}

#[test]
fn a_device_that_is_not_there_yet_is_waited_for() {
    let world = World::with_firewall();
    world.router.ip("link del wan0");
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    assert_eq!(state(&daemon), "waiting");
    daemon.wait_until_idle();
    assert!(daemon.ask(&["status"]).contains("device wan0: waiting"));
    daemon.wait_for_log("wan0: there is no such device, waiting for it to appear");
    world.isp.wire("router0", &world.router, "wan0");
    addresses(&world);
    wait_for_state(&daemon, "listening");
    hears(&world, &daemon);
}

#[test]
fn a_device_that_is_deleted_and_made_anew_is_listened_on_again() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    hears(&world, &daemon);
    for _ in 0..2 {
        world.router.ip("link del wan0");
        wait_for_state(&daemon, "waiting");
        daemon.wait_until_idle();
        world.isp.wire("router0", &world.router, "wan0");
        addresses(&world);
        wait_for_state(&daemon, "listening");
        hears(&world, &daemon);
    }
    daemon.wait_for_log("wan0: the device is gone, waiting for it to come back");
}

/// The device is back under the same index before the daemon has had time to look.
#[test]
fn a_device_that_was_away_for_a_moment_is_listened_on_again() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    hears(&world, &daemon);
    daemon.signal(Signal::SIGSTOP);
    world.router.ip(&format!("link set wan0 netns {}", world.lan.path()));
    world.lan.ip(&format!("link set wan0 netns {}", world.router.path()));
    world.router.ip("link set wan0 up");
    addresses(&world);
    daemon.signal(Signal::SIGCONT);
    comes_to_hear(&world, &daemon);
}

#[test]
fn a_link_that_goes_down_and_up_is_listened_on_again() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    world.router.ip("link set wan0 down");
    wait_for_state(&daemon, "waiting");
    daemon.wait_until_idle();
    // News that does not concern it changes nothing.
    world.router.addresses("lan0", &["192.168.1.99/24"]);
    for _ in 0..20 {
        assert_eq!(state(&daemon), "waiting");
    }
    world.router.ip("link set wan0 up");
    addresses(&world);
    wait_for_state(&daemon, "listening");
    hears(&world, &daemon);

    // Too fast to be seen.
    daemon.signal(Signal::SIGSTOP);
    world.router.ip("link set wan0 down");
    world.router.ip("link set wan0 up");
    addresses(&world);
    daemon.signal(Signal::SIGCONT);
    comes_to_hear(&world, &daemon);
}

#[test]
fn a_device_is_known_by_its_name() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    let mut wire = Wire::new(&world);
    let rename = |from: &str, to: &str| {
        world.router.ip(&format!("link set {from} down"));
        world.router.ip(&format!("link set {from} name {to}"));
        world.router.ip(&format!("link set {to} up"));
    };
    rename("wan0", "old0");
    wait_for_state(&daemon, "waiting");
    wire.knock("10.9.0.1", "7000 8000 9000");
    wire.send();
    rename("old0", "wan0");
    addresses(&world);
    wait_for_state(&daemon, "listening");
    hears(&world, &daemon);
    assert!(!daemon.log().contains("10.9.0.1"), "old0 is not to be listened on");
}

#[test]
fn more_news_than_the_kernel_can_queue_are_no_news_lost() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    daemon.signal(Signal::SIGSTOP);
    world.router.addresses("wan0", &["203.0.113.5/24"]);
    let mut batch = String::new();
    for n in 0..3000 {
        let address = format!("10.{}.{}.1/32 dev lan0\n", n / 250, n % 250);
        let _ = write!(batch, "address add {address}address del {address}");
    }
    let file = world.scratch.write("batch", &batch);
    world.router.ip(&format!("-batch {}", file.display()));
    daemon.signal(Signal::SIGCONT);
    daemon.wait("the new address counts", |daemon| {
        knock_at(&world, "203.0.113.5");
        daemon.lets_in("ssh", CLIENT)
    });
}

fn knocks_count_at_the_new_address_only(device: &str) {
    let world = World::with_firewall();
    let start = Start::on(&world.router, &world.scratch, SSH, &[device]);
    world.router.nft(&ruleset(&world.router, &world.scratch.path("ketuk.uci")));
    let daemon = start.go();
    hears(&world, &daemon);
    world.router.ip("address del 203.0.113.1/24 dev wan0");
    world.router.addresses("wan0", &["203.0.113.5/24"]);
    world.router.ip("route replace default via 203.0.113.254");
    daemon.wait("the new address counts", |daemon| {
        knock_at(&world, "203.0.113.5");
        daemon.lets_in("ssh", CLIENT)
    });
    daemon.ask(&["close", "ssh"]);
    let mut wire = Wire::new(&world);
    wire.knock("10.9.0.1", "7000 8000 9000"); // to the old address
    wire.send();
    knock_at(&world, "203.0.113.5");
    daemon.wait("the control opens", |daemon| daemon.lets_in("ssh", CLIENT));
    assert!(!daemon.lets_in("ssh", "10.9.0.1"), "{ROUTER} is not the router's any more");
}

#[test]
fn knocks_follow_a_changed_address() {
    knocks_count_at_the_new_address_only("wan0");
}

#[test]
fn knocks_follow_a_changed_address_on_every_device() {
    knocks_count_at_the_new_address_only("any");
}
