//! A packet that the kernel itself would refuse on its device is not a knock.
#![cfg(target_os = "linux")]

mod support;

use support::daemon::{Daemon, Start, ruleset};
use support::wire::flag;
use support::{CLIENT, CLIENT_6, ROUTER, ROUTER_6, World, frames};

const DOOR: &str = "
config globals 'globals'
	option backend 'fw4'
config door 'ssh'
	list sequence '7000'
	option proto 'tcp'
	option dest_port '22'
	option open_time '600'
";

fn syn(from: &str, to: &str) -> Vec<u8> {
    frames::tcp(from, to, (40_000, 7000), 1, flag::SYN)
}

/// The addresses for which the door is open.
fn inside(daemon: &Daemon<'_>) -> Vec<String> {
    let status = daemon.status();
    let grants = status["grants"].as_array().map_or(&[][..], Vec::as_slice);
    let mut addresses: Vec<_> =
        grants.iter().filter_map(|grant| grant["address"].as_str().map(str::to_owned)).collect();
    addresses.sort_unstable();
    addresses
}

/// Puts frames on the router's WAN, and then two right sequences. Only the right sequences open the door.
fn only_the_right_ones_open(world: &World, daemon: &Daemon<'_>, wrong: &[Vec<u8>]) {
    let mac = world.router.mac("wan0");
    let mut all = wrong.to_vec();
    all.push(frames::ethernet(mac, None, &syn(CLIENT, ROUTER)));
    all.push(frames::ethernet(mac, None, &syn(CLIENT_6, ROUTER_6)));
    frames::send(&world.isp, "router0", &world.scratch, &all);
    daemon.wait("the right knocks open", |daemon| {
        daemon.lets_in("ssh", CLIENT) && daemon.lets_in("ssh", CLIENT_6)
    });
    assert_eq!(inside(daemon), [CLIENT, CLIENT_6]);
    // None of the frames woke the daemon.
    assert_eq!(daemon.counter("implausible"), 0);
}

#[test]
fn sources_that_cannot_be_true_on_the_wan() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, DOOR);
    let mac = world.router.mac("wan0");
    let v4 = [
        "0.0.0.0",
        "0.0.0.1",
        "127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
        ROUTER,
        "203.0.113.255",
        "192.168.1.1",
        "192.168.1.10",
        "192.168.1.255",
    ];
    let v6 = ["::", "::1", "ff02::1", "::ffff:198.51.100.10", ROUTER_6, "2001:db8:2::1", "2001:db8:2::10"];
    let frames: Vec<_> = v4
        .iter()
        .map(|source| syn(source, ROUTER))
        .chain(v6.iter().map(|source| syn(source, ROUTER_6)))
        .map(|packet| frames::ethernet(mac, None, &packet))
        .collect();
    only_the_right_ones_open(&world, &daemon, &frames);
}

#[test]
fn frames_for_another_host_or_an_unknown_vlan_and_destinations_elsewhere() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, DOOR);
    world.router.ip("link set wan0 promisc on");
    let (mac, other) = (world.router.mac("wan0"), [2, 0, 0, 0, 0, 9]);
    let frames = [
        frames::ethernet(other, None, &syn("192.0.2.1", ROUTER)),
        frames::ethernet([0xff; 6], None, &syn("192.0.2.2", ROUTER)),
        frames::ethernet(mac, Some(77), &syn("192.0.2.3", ROUTER)),
        frames::ethernet(mac, None, &syn("192.0.2.4", "127.0.0.1")),
        frames::ethernet(mac, None, &syn("192.0.2.5", "192.168.1.1")),
        frames::ethernet(mac, None, &syn("192.0.2.6", "203.0.113.254")),
        frames::ethernet(mac, None, &syn("2001:db8:9::4", "::1")),
    ];
    only_the_right_ones_open(&world, &daemon, &frames);
    // A public address belongs to this host on each device.
    let lan = frames::ethernet(mac, None, &syn("2001:db8:9::5", "2001:db8:2::1"));
    frames::send(&world.isp, "router0", &world.scratch, &[lan]);
    daemon.wait("the LAN's public address counts", |daemon| daemon.lets_in("ssh", "2001:db8:9::5"));
}

/// The configuration names `lo`, or all devices.
#[test]
fn on_lo_loopback_addresses_are_right() {
    for device in ["lo", "any"] {
        let world = World::with_firewall();
        let start = Start::on(&world.router, &world.scratch, DOOR, &[device]);
        world.router.nft(&ruleset(&world.scratch.path("ketuk.uci")));
        let daemon = start.go();
        for (program, to) in [("-4", "127.0.0.1"), ("-6", "::1"), ("-4", "192.168.1.1")] {
            world.router.run("knock", &[program, to, "7000"]);
            daemon.wait("a knock on lo opens", |daemon| daemon.lets_in("ssh", to));
        }
        // The same packets, but from the wire.
        let mac = world.router.mac("wan0");
        let all: Vec<_> = [
            ("127.0.0.2", "127.0.0.1"),
            ("127.0.0.3", ROUTER),
            ("192.0.2.4", "127.0.0.1"),
            ("192.0.2.5", ROUTER),
        ]
        .map(|(from, to)| frames::ethernet(mac, None, &syn(from, to)))
        .into();
        frames::send(&world.isp, "router0", &world.scratch, &all);
        if device == "any" {
            daemon.wait("the right one opens", |daemon| daemon.lets_in("ssh", "192.0.2.5"));
        }
        let there = inside(&daemon);
        assert!(
            !there.iter().any(|address| address.starts_with("127.0.0.2")
                || address == "127.0.0.3"
                || address == "192.0.2.4"),
            "{there:?}"
        );
    }
}
