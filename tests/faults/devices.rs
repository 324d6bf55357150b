//! Devices and addresses that come, go and change.

use std::fmt::Write as _;

use nix::sys::signal::Signal;

use super::support::daemon::{Daemon, Start, ruleset};
use super::support::wire::Wire;
use super::support::{self, CLIENT, ROUTER, World};
use super::{SSH, knock_and_enter, knock_at};

fn state(daemon: &Daemon<'_>) -> String {
    daemon.status()["devices"][0]["state"].as_str().expect("a state").to_owned()
}

fn wait_for_state(daemon: &Daemon<'_>, wanted: &str) {
    daemon.wait(&format!("the device is {wanted}"), |daemon| state(daemon) == wanted);
}

/// Gives wan0 the addresses and routes that it lost.
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

/// Asserts that the daemon hears again soon. It does not say when it has noticed the change.
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

/// A bridge takes the packets of its ports, so the port hears nothing.
#[test]
fn a_port_of_a_bridge_is_said_to_be_one_and_the_bridge_hears() {
    let world = World::with_firewall();
    world.router.ip("link add br0 type bridge");
    world.router.ip("link set wan0 master br0");
    world.router.ip("link set br0 up");
    world.router.ip("address flush dev wan0");
    world.router.addresses("br0", &["203.0.113.1/24", "2001:db8:1::1/64"]);
    world.router.ip("route replace default via 203.0.113.254");
    let said = "wan0 is a port of bridge br0, which takes its packets: listen on br0";
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    daemon.wait_for_log(said);
    assert_eq!(state(&daemon), "port");
    daemon.wait_for_log("starting up, and no device can be listened on yet");
    assert!(!daemon.log().contains("listening on wan0"), "{}", daemon.log());
    assert!(daemon.ask(&["status"]).contains("HEARS NOTHING: the daemon listens on no device"));
    assert!(daemon.ask(&["status"]).contains(&format!("device {said}\n")));
    let file = world.scratch.write("port.uci", &SSH.replace("'fw4'", "'fw4'\n\tlist device 'wan0'"));
    let file = file.to_str().expect("a plain path");
    let checked = world.router.stdout(support::ketukd().to_str().expect("a plain path"), &["check", file]);
    assert!(checked.contains(&format!("warning: device {said}\n")), "{checked}");
    daemon.end(Signal::SIGTERM);

    let own = SSH.replace("'fw4'", "'own'");
    let daemon = Start::on(&world.router, &world.scratch, &own, &["wan0"]).go();
    daemon.wait_for_log(said);
    assert!(!daemon.log().contains("is shut on"), "the rules see br0: {}", daemon.log());
    daemon.end(Signal::SIGTERM);
    let daemon = Start::on(&world.router, &world.scratch, &own, &["br0", "wan0"]).go();
    daemon.wait_for_log("tcp port 22 is shut on br0 for everybody");
    daemon.end(Signal::SIGTERM);
    world.router.stdout(support::ketukd().to_str().expect("a plain path"), &["unload"]);

    let daemon = Start::on(&world.router, &world.scratch, SSH, &["br0"]).go();
    comes_to_hear(&world, &daemon);
    daemon.end(Signal::SIGTERM);
    // It is no longer a port of the bridge, so knocks are heard there.
    let daemon = Start::on(&world.router, &world.scratch, SSH, &["wan0"]).go();
    assert_eq!(state(&daemon), "port");
    world.router.ip("link set wan0 nomaster");
    world.router.ip("link del br0");
    addresses(&world);
    wait_for_state(&daemon, "listening");
    comes_to_hear(&world, &daemon);
}

/// A bond has the addresses of its ports.
#[test]
fn a_port_of_a_bond_is_said_to_be_one_and_the_bond_hears() {
    let world = World::with_firewall();
    if !world.router.run("ip", &["link", "add", "bond0", "type", "bond"]).status.success() {
        return support::not_tested("bonds, which this kernel has not");
    }
    world.router.ip("link set wan0 down");
    world.router.ip("link set wan0 master bond0");
    world.router.ip("link set bond0 up");
    world.router.addresses("bond0", &["203.0.113.1/24", "2001:db8:1::1/64"]);
    world.router.ip("route replace default via 203.0.113.254");
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    daemon.wait_for_log("wan0 is a port of bond bond0, which has the addresses: listen on bond0");
    daemon.end(Signal::SIGTERM);
    let daemon = Start::on(&world.router, &world.scratch, SSH, &["bond0"]).go();
    comes_to_hear(&world, &daemon);
}

/// Knocks are heard on the ports of a VRF, and the firewall's rules see the VRF.
#[test]
fn a_port_of_a_vrf_hears_and_the_vrf_itself_does_not() {
    let world = World::with_firewall();
    if !world.router.run("ip", &["link", "add", "vrf0", "type", "vrf", "table", "10"]).status.success() {
        return support::not_tested("VRFs, which this kernel has not");
    }
    world.router.ip("link set vrf0 up");
    world.router.ip("link set wan0 master vrf0");
    let daemon = Start::on(&world.router, &world.scratch, SSH, &["vrf0"]).go();
    daemon.wait_for_log("vrf0 is a VRF: knocks are heard on its ports only: name its ports too");
    assert_eq!(daemon.status()["devices"][0]["state"], "port");
    daemon.end(Signal::SIGTERM);
    let own = SSH.replace("'fw4'", "'own'");
    let daemon = Start::on(&world.router, &world.scratch, &own, &["wan0"]).go();
    daemon.wait_for_log("wan0 is a port of VRF vrf0: rules of the firewall see vrf0 instead: name vrf0 too");
    assert!(!daemon.log().contains("is shut on"), "the rules see vrf0: {}", daemon.log());
    comes_to_hear(&world, &daemon);
    daemon.end(Signal::SIGTERM);
    // With both names all is right.
    let daemon = Start::on(&world.router, &world.scratch, &own, &["vrf0", "wan0"]).go();
    daemon.wait_for_log("tcp port 22 is shut on vrf0 for everybody");
    comes_to_hear(&world, &daemon);
    let (_, log) = daemon.end(Signal::SIGTERM);
    let (_, log) = log.rsplit_once("is shut on vrf0").expect("it has just been there");
    assert!(!log.contains("is a port of") && !log.contains("is a VRF"), "{log}");
}

/// An address with a label of its own (`wan0:1`) is an address of its device.
#[test]
fn an_address_of_an_alias_is_one_of_its_device() {
    let world = World::with_firewall();
    world.router.ip("address add 192.168.77.1/24 dev wan0 label wan0:1");
    world.isp.ip("route add 192.168.77.0/24 via 203.0.113.1");
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    knock_at(&world, "192.168.77.1");
    daemon.wait("the knock at the alias opens", |daemon| daemon.lets_in("ssh", CLIENT));
    // knockd.conf may name the alias, where knockd hears knocks at its address only.
    let knockd = "[options]\n interface = wan0:1\n[a]\n sequence = 7311,8122,9433\n command = true\n";
    let file = world.scratch.write("knockd.conf", knockd);
    let file = file.to_str().expect("a plain path");
    let uci = world.router.stdout(support::ketukd().to_str().expect("a plain path"), &["import", file]);
    assert!(uci.contains("list device 'wan0'\n") && uci.contains("option target '192.168.77.1'\n"), "{uci}");
    assert!(!uci.contains("enabled '0'"), "{uci}");
}

#[test]
fn networks_alone_are_said_to_be_no_devices() {
    let world = World::with_firewall();
    let config =
        SSH.replace("config globals 'globals'\n", "config globals 'globals'\n\tlist network 'wan'\n");
    let daemon = Start::on(&world.router, &world.scratch, &config, &[]).go();
    assert_eq!(daemon.status()["devices"][0]["name"], "any");
    let warning = "networks are resolved by the init script, with --device; listening on every device";
    assert_eq!(daemon.log().matches(warning).count(), 1, "{}", daemon.log());
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

/// A device goes and comes back under the same index before the daemon can look.
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
    // A change of another device changes nothing.
    world.router.addresses("lan0", &["192.168.1.99/24"]);
    for _ in 0..20 {
        assert_eq!(state(&daemon), "waiting");
    }
    world.router.ip("link set wan0 up");
    addresses(&world);
    wait_for_state(&daemon, "listening");
    hears(&world, &daemon);

    // This is too fast for the daemon to notice.
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
    world.router.nft(&ruleset(&world.scratch.path("ketuk.uci")));
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
