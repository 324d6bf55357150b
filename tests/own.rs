//! Backend `own` on a host without loaded rules: the daemon's own table shuts the doors' ports, and opens them to knockers.
#![cfg(target_os = "linux")]

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

/// The configuration names a device that does not exist, as a file from another host may: the port is shut on that device alone.
#[test]
fn a_port_that_is_not_shut_where_strangers_come_in_is_said_to_be() {
    let world = World::with_servers();
    let doors = DOORS.replace("config globals", "config globals\n\tlist device 'eth9'");
    let daemon = Start::on(&world.router, &world.scratch, &doors, &[]).go();
    assert!(world.stranger.greeted_by(ROUTER, 22).is_some());
    let said = "the doors' ports are NOT shut on wan0, lan0: ketukd shuts them only on the named devices, and eth9 \
                is not on this host: name the device that strangers come in by";
    assert!(daemon.log().contains(said), "{}", daemon.log());
    let config = daemon.config().to_str().expect("a plain path");
    let checked = world.router.stdout(ketukd().to_str().expect("a plain path"), &["check", config]);
    for said in ["there is no device 'eth9' on this host", said] {
        assert!(checked.contains(&format!("warning: {said}")), "{checked}");
    }
    let doctor = daemon.control(&["doctor", "--config", config]);
    assert!(
        String::from_utf8_lossy(&doctor.stdout)
            .contains(&format!("devices: WRONG: {said}: 'ip address' lists the devices")),
        "{doctor:?}"
    );
    // The command that the advice names exists in iproute2 and in OpenWrt's busybox.
    for (program, arguments) in [("ip", &["address"][..]), ("busybox", &["ip", "address"])] {
        let listed = world.router.stdout(program, arguments);
        assert!(listed.contains("wan0") && listed.contains(ROUTER), "{program}: {listed}");
    }
    // With the right device the port is shut, and there is no more warning.
    daemon.write_config(&doors.replace("eth9", "wan0"));
    daemon.ask(&["reload"]);
    assert_eq!(world.stranger.greeted_by(ROUTER, 22), None);
    let checked = world.router.stdout(ketukd().to_str().expect("a plain path"), &["check", config]);
    assert!(!checked.contains("NOT shut") && !checked.contains("no device"), "{checked}");
}

#[test]
fn another_firewall_that_drops_what_the_door_lets_in_is_named() {
    let world = World::with_servers();
    world.router.nft("table inet filter {\nchain input {\ntype filter hook input priority 0; policy drop\nicmpv6 type != echo-request accept\n}\n}");
    let daemon = start(&world, DOORS);
    let said = "door 'ssh': tcp port 22 stays shut on wan0 even after a knock: chain input of table inet filter drops";
    daemon.wait_for_log(said);
    assert!(daemon.ask(&["status"]).contains(said), "{}", daemon.ask(&["status"]));
    // The log says when a fault is over, and when it comes back.
    world.router.nft("add rule inet filter input tcp dport 22 accept");
    daemon.wait_for_log("door 'ssh': tcp port 22 is right again");
    assert!(!daemon.ask(&["status"]).contains(said));
    assert_eq!(world.client.greeted_by(ROUTER, 22), None, "the door shuts what the other lets in");
    world.client.knock(ROUTER, "7000");
    wait_until("it opens", || world.client.greeted_by(ROUTER, 22).is_some());
}

/// If another table accepts the port for everybody, a warning says that the door is open without a knock.
#[test]
fn a_door_that_is_open_to_everybody_is_said_to_be() {
    let world = World::with_firewall();
    world.router.serve(22);
    let doors = DOORS.replace("backend 'own'", "backend 'nft'\n\toption nft_table 'inet fw4'");
    let daemon = Daemon::start(&world.router, &world.scratch, &doors);
    assert!(!daemon.log().contains("without a knock"), "{}", daemon.log());
    world.router.nft("insert rule inet fw4 input_wan tcp dport 22 accept");
    daemon.wait_for_log("door 'ssh': tcp port 22 can be reached without a knock on wan0");
    let config = daemon.config().to_str().expect("a plain path").to_owned();
    std::fs::write(&config, doors.replace("config globals", "config globals\n\tlist device 'wan0'"))
        .expect("the file");
    let checked =
        world.router.stdout(ketukd().to_str().expect("a plain path"), &["check", "--config", &config]);
    assert!(
        checked.contains("warning: door 'ssh': tcp port 22 can be reached without a knock on wan0"),
        "{checked}"
    );
    assert_eq!(checked.matches("without a knock").count(), 1, "{checked}");
    // Sets that vanish are noticed.
    world.router.nft("flush chain inet fw4 input_wan\ndelete set inet fw4 ketuk_ssh_4");
    daemon.wait_for_log("ssh: set ketuk_ssh_4 in table inet fw4 does not exist");
}

/// The command that the log recommends works on Debian's own table, also several times, and so do README's lines.
#[test]
fn the_recommended_line_can_be_run_again_and_again() {
    let world = World::new();
    world.router.serve(22);
    let shell = |line: &str| {
        let path = ketukd().parent().expect("a folder").display();
        world.router.shell(&format!(
            "set -e; cd {}; export PATH={path}:$PATH; {line}",
            world.scratch.path(".").display()
        ))
    };
    world.router.nft(
        "table inet filter {\nchain input {\ntype filter hook input priority 0; policy drop\nicmpv6 type != echo-request accept\n}
        chain forward {\ntype filter hook forward priority 0; policy drop\n}\n}",
    );
    shell("nft list ruleset >base.nft");
    let doors = DOORS.replace("backend 'own'", "backend 'nft'\n\toption nft_table 'inet filter'");
    world.scratch.write("ketuk.conf", &doors);
    let readme = include_str!("../README.md");
    let line = readme
        .lines()
        .find(|line| line.starts_with("ketukd ruleset --config ketuk.conf"))
        .expect("README's line");
    assert!(readme.contains("\nketukd check --config ketuk.conf\n"));
    shell("ketukd check --config ketuk.conf");
    shell(line);
    let rules = |listed: &str| listed.matches("comment \"ketuk: ").count();
    let once = world.router.nft_list("table inet filter");
    assert_eq!(rules(&once), 2 + 2 + 3, "{once}");
    for again in [
        line,
        "ketukd ruleset --config ketuk.conf | nft -f -",
        "ketukd ruleset --replace --config ketuk.conf | nft -f -",
    ] {
        shell(again);
        assert_eq!(world.router.nft_list("table inet filter"), once, "{again}");
    }
    // The output in a file is for a firewall that is loaded anew, with a table of its own.
    shell(
        "ketukd ruleset --config ketuk.conf >ketuk.nft
         (echo flush ruleset; cat base.nft ketuk.nft) >whole.nft; nft -f whole.nft; nft -f whole.nft",
    );
    assert_eq!(rules(&world.router.nft_list("table inet filter")), rules(&once));
    let daemon = start(&world, &doors);
    assert!(!daemon.log().contains("does not exist"), "{}", daemon.log());
    world.client.knock(ROUTER, "7000");
    wait_until("it opens", || world.client.greeted_by(ROUTER, 22).is_some());
    assert_eq!(world.stranger.greeted_by(ROUTER, 22), None);
}
