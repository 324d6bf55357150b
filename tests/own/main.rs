//! Backend `own` on a host without loaded rules: the daemon's own table shuts the doors' ports, and opens them to knockers.
#![cfg(target_os = "linux")]

mod findings;
#[path = "../support/mod.rs"]
mod support;

use nix::sys::signal::Signal;
use support::daemon::{Daemon, Start};
use support::shut::{ports_are_shut_and_open_for_the_knocker_alone, soon};
use support::{CLIENT, LAN_6, ROUTER, ROUTER_6, World, ketukd, wait_until};

const DOORS: &str = "
config globals
	option backend 'own'
config door 'ssh'
	list sequence '7000'
	option proto 'tcp'
	option dest_port '22'
	option open_time '3'
config door 'dns'
	list sequence '7500'
	option proto 'udp'
	option dest_port '53'
	option open_time '60'
config door 'nas'
	list sequence '8000'
	option proto 'tcp'
	option src_dport '8443'
	list dest_ip '192.168.1.10'
	list dest_ip '2001:db8:2::10'
	option dest_port '443'
	option open_time '60'
";

fn start<'w>(world: &'w World, doors: &str) -> Daemon<'w> {
    Start::new(&world.router, &world.scratch, doors).go()
}

#[test]
fn a_port_of_the_host_is_shut_and_opened_for_the_knocker_alone() {
    let world = World::with_servers();
    ports_are_shut_and_open_for_the_knocker_alone(&world, |world| start(world, DOORS));
}

#[test]
fn a_forward_is_translated_for_the_knocker_alone_and_shut_for_others() {
    let world = World::with_servers();
    let _daemon = start(&world, DOORS);
    for (address, port) in [(ROUTER, 8443), (LAN_6, 443)] {
        assert_eq!(world.client.greeted_by(address, port), None, "shut");
        world.client.knock(if port == 443 { ROUTER_6 } else { ROUTER }, "8000");
        wait_until("it opens", || world.client.greeted_by(address, port).as_deref() == Some("lan"));
        assert_eq!(world.stranger.greeted_by(address, port), None, "for nobody else");
    }
    // The host's own address is shut for the knocker too, if packets are routed to it.
    world.isp.ip("route add 192.168.1.0/24 via 203.0.113.1");
    assert_eq!(world.client.greeted_by("192.168.1.10", 443), None);
}

#[test]
fn a_table_that_was_flushed_is_back_within_a_second_with_who_was_in() {
    let world = World::with_servers();
    let daemon = start(&world, DOORS);
    for change in ["flush ruleset", "delete table inet ketuk", "flush table inet ketuk"] {
        daemon.ask(&["open", "ssh", CLIENT, "60"]);
        assert!(world.client.greeted_by(ROUTER, 22).is_some());
        world.router.nft(change);
        soon("it is shut again for others", || {
            let listed = world.router.run("nft", &["list", "table", "inet", "ketuk"]);
            String::from_utf8_lossy(&listed.stdout).contains("tcp dport 22 ")
        });
        soon("who was in is in", || world.router.nft_list("set inet ketuk ketuk_ssh_4").contains(CLIENT));
        assert_eq!(world.stranger.greeted_by(ROUTER, 22), None);
        assert!(world.client.greeted_by(ROUTER, 22).is_some());
        daemon.ask(&["close", "ssh"]);
        assert_eq!(world.client.greeted_by(ROUTER, 22), None);
        world.client.knock(ROUTER, "7000");
        wait_until("a knock opens", || world.client.greeted_by(ROUTER, 22).is_some());
        daemon.ask(&["close", "ssh"]);
    }
    daemon.wait_for_log("table inet ketuk was changed or deleted by another program: it is made again");
}

/// The same when another program deletes one chain's rules or one rule, or inserts a rule before them.
#[test]
fn one_chain_that_was_changed_is_back_within_a_second() {
    let world = World::with_servers();
    let doors = DOORS.replacen("config door 'ssh'", "config door 'ssh'\n\toption kill 'on'", 1);
    let daemon = start(&world, &doors);
    daemon.ask(&["open", "ssh", CLIENT, "60"]);
    // Counters of rules change without a change of the rules.
    let listed = || world.router.stdout("nft", &["-s", "list", "table", "inet", "ketuk"]);
    let whole = listed();
    let handle_of = |chain: &str, rule: &str| {
        let listed = world.router.stdout("nft", &["-a", "list", "chain", "inet", "ketuk", chain]);
        let line = listed.lines().find(|line| line.contains(rule)).unwrap_or_else(|| panic!("{listed}"));
        line.rsplit_once("# handle ").expect("a handle").1.to_owned()
    };
    for (chain, rule) in [
        ("input", "jump doors_input"),
        ("forward", "jump doors_forward"),
        ("output", "@cut_4"),
        ("dstnat", "jump doors_dstnat"),
        ("doors_input", "drop"),
        ("doors_forward", "drop"),
        ("doors_dstnat", "@ketuk_nas_4"),
    ] {
        for change in ["flush chain", "delete rule", "insert rule"] {
            // A rule that was made again has a new handle.
            let argument = match change {
                "delete rule" => format!("handle {}", handle_of(chain, rule)),
                "insert rule" => "accept".to_owned(),
                _ => String::new(),
            };
            let change = format!("{change} inet ketuk {chain} {argument}");
            world.router.nft(&change);
            soon(&format!("it is as before '{change}'"), || listed().trim() == whole.trim());
        }
    }
    // Many changes in quick succession: some come while the daemon mends the last one.
    let changes =
        ["doors_input", "input", "forward"].map(|chain| format!("flush chain inet ketuk {chain}\n"));
    let changes = changes.concat().repeat(100);
    for _ in 0..5 {
        world.router.shell(&format!("nft -i <<<'{changes}'"));
        soon("it is as before many changes", || listed().trim() == whole.trim());
    }
    assert_eq!(world.stranger.greeted_by(ROUTER, 22), None);
    assert!(world.client.greeted_by(ROUTER, 22).is_some());
}

#[test]
fn it_fails_closed_and_unload_opens() {
    let world = World::with_servers();
    let daemon = start(&world, DOORS);
    daemon.ask(&["open", "ssh", CLIENT, "60"]);
    daemon.end(Signal::SIGKILL);
    assert_eq!(world.stranger.greeted_by(ROUTER, 22), None, "shut without a daemon");
    assert!(world.client.greeted_by(ROUTER, 22).is_some(), "who was in stays in");
    let daemon = start(&world, DOORS);
    daemon.wait_for_log("ssh: adopted 1 open from before");
    daemon.end(Signal::SIGTERM);
    assert_eq!(world.client.greeted_by(ROUTER, 22), None, "a stop shuts");
    world.router.stdout(ketukd().to_str().expect("a plain path"), &["unload"]);
    assert!(world.stranger.greeted_by(ROUTER, 22).is_some(), "as before the start");
    assert!(!world.router.nft_list("tables").contains("ketuk"));
}

/// At a boot with a wrong configuration the daemon shuts the ports that were shut before. It reads them from a file in the folder
/// that systemd names.
#[test]
fn a_wrong_configuration_at_a_boot_opens_nothing() {
    let world = World::with_servers();
    let state = world.scratch.path("state");
    std::fs::create_dir(&state).expect("a folder");
    let begin = |doors: &str| {
        let mut start = Start::new(&world.router, &world.scratch, doors);
        start.command().env("STATE_DIRECTORY", &state);
        start
    };
    let fails_to_start = || {
        let mut daemon = begin("config door 'ssh'\n\toption dest_prot '22'\n").spawn();
        assert_eq!(daemon.wait_for_end().code(), Some(2), "{}", daemon.log());
        daemon.log()
    };
    let log = fails_to_start();
    assert!(!log.contains("everybody"), "nothing was shut, and nothing needs to be: {log}");
    assert!(world.client.greeted_by(ROUTER, 22).is_some(), "there is nothing to remember");

    let daemon = begin(DOORS).go();
    daemon.end(Signal::SIGKILL);
    world.router.nft("flush ruleset");
    assert!(world.client.greeted_by(ROUTER, 22).is_some(), "after a boot the table is not there");
    let log = fails_to_start();
    assert!(log.contains("the ports of door 'ssh', door 'dns', door 'nas' are shut to everybody"), "{log}");
    for address in [ROUTER, ROUTER_6] {
        assert_eq!(world.client.greeted_by(address, 22), None, "shut");
        assert_eq!(world.client.answered_by(address, 53), None, "shut");
    }
    assert_eq!(world.client.greeted_by(LAN_6, 443), None, "shut");
    assert!(world.lan.greeted_by("192.168.1.1", 22).is_some(), "but on the device that was named");

    // With a right configuration a knock opens the door. Without a door there is nothing to remember.
    let daemon = begin(DOORS).go();
    world.client.knock(ROUTER, "7000");
    wait_until("it opens", || world.client.greeted_by(ROUTER, 22).is_some());
    daemon.write_config("config globals\n\toption backend 'own'\n");
    daemon.ask(&["reload"]);
    daemon.end(Signal::SIGTERM);
    fails_to_start();
    assert!(world.stranger.greeted_by(ROUTER, 22).is_some());
}

#[test]
fn a_reload_brings_the_table_up_to_date() {
    let world = World::with_servers();
    world.router.serve(2222);
    let daemon = start(&world, DOORS);
    daemon.ask(&["open", "nas", CLIENT, "60"]);
    daemon.write_config(&DOORS.replace("dest_port '22'", "dest_port '2222'"));
    daemon.ask(&["reload"]);
    assert!(world.stranger.greeted_by(ROUTER, 22).is_some(), "no door's any more");
    assert_eq!(world.stranger.greeted_by(ROUTER, 2222), None);
    assert_eq!(world.client.greeted_by(ROUTER, 8443).as_deref(), Some("lan"), "who is in stays in");
    daemon.write_config(&DOORS.replacen("config door 'ssh'", "config door 'ssh'\n\toption enabled '0'", 1));
    daemon.ask(&["reload"]);
    for port in [22, 2222] {
        assert!(world.stranger.greeted_by(ROUTER, port).is_some(), "{port}: the door is disabled");
    }
}

/// Devices need not exist yet: the port is shut on them as soon as they appear.
#[test]
fn a_device_that_comes_later_is_shut_from_the_first_moment() {
    let world = World::new();
    world.router.serve(22);
    world.router.ip("link delete wan0");
    let _daemon = start(&world, DOORS);
    world.isp.wire("router0", &world.router, "wan0");
    world.isp.addresses("router0", &["203.0.113.254/24"]);
    world.router.addresses("wan0", &["203.0.113.1/24"]);
    world.router.ip("route add default via 203.0.113.254");
    assert_eq!(world.client.greeted_by(ROUTER, 22), None);
    world.client.knock(ROUTER, "7000");
    wait_until("it opens", || world.client.greeted_by(ROUTER, 22).is_some());
}
