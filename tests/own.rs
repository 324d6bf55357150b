//! Backend `own` on a host with nothing loaded: the daemon's own table shuts the doors' ports and opens them to whoever
//! knocks.
#![cfg(target_os = "linux")]

mod support;

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::daemon::{Daemon, Start};
use support::{CLIENT, LAN_6, ROUTER, ROUTER_6, World, ketukd, wait_until};

/// The tutorial's knockd.conf.
const KNOCKD: &str = "[options]
	UseSyslog

[openSSH]
	sequence    = 7000,8000,9000
	seq_timeout = 10
	tcpflags    = syn
	command     = /sbin/iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT

[closeSSH]
	sequence    = 9000,8000,7000
	seq_timeout = 10
	tcpflags    = syn
	command     = /sbin/iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT
";

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

/// Hosts without a firewall, with a server at each port.
fn world() -> World {
    let world = World::new();
    world.router.serve(22);
    world.router.serve_udp(53);
    world.lan.serve(443);
    for address in [ROUTER, ROUTER_6] {
        wait_until("the hosts reach each other", || world.client.greeted_by(address, 22).is_some());
        assert_eq!(world.client.answered_by(address, 53).as_deref(), Some("router"));
    }
    wait_until("the hosts reach each other", || world.client.greeted_by(LAN_6, 443).is_some());
    world
}

fn start<'w>(world: &'w World, doors: &str) -> Daemon<'w> {
    Start::new(&world.router, &world.scratch, doors).go()
}

fn knock(world: &World, address: &str, port: u16) {
    let six = if address.contains(':') { "-6" } else { "-4" };
    world.client.shell(&format!("knock {six} {address} {port}"));
}

/// Within a second, which a slow machine may double.
fn soon(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    wait_until(what, &mut done);
    assert!(begun.elapsed() < Duration::from_secs(2), "{what}: after {:?}", begun.elapsed());
}

#[test]
fn a_port_of_the_host_is_shut_and_opened_for_the_knocker_alone() {
    let world = world();
    let (mut stream, _) = world.client.connect(ROUTER, 22).expect("open before the start");
    let daemon = start(&world, DOORS);
    let log = daemon.log();
    assert!(
        log.contains("door 'ssh': tcp port 22 is shut on wan0 for everybody who has not knocked"),
        "{log}"
    );
    for address in [ROUTER, ROUTER_6] {
        assert_eq!(world.client.greeted_by(address, 22), None, "shut");
        knock(&world, address, 7000);
        wait_until("it opens", || world.client.greeted_by(address, 22).is_some());
        assert_eq!(world.stranger.greeted_by(address, 22), None, "for nobody else");
        wait_until("it shuts on time", || world.client.greeted_by(address, 22).is_none());
    }
    // A connection from before goes on, though nobody had tracked it.
    stream.write_all(b"still there").expect("alive");
    let mut heard = Vec::new();
    // The end of the greeting may come first.
    while !heard.ends_with(b"still there") {
        let mut buffer = [0; 64];
        let len = stream.read(&mut buffer).expect("alive");
        assert!(len > 0, "ended");
        heard.extend_from_slice(&buffer[..len]);
    }
    // From the LAN nothing is shut.
    assert!(world.lan.greeted_by("192.168.1.1", 22).is_some());
    // A UDP port the same.
    assert_eq!(world.client.answered_by(ROUTER, 53), None);
    knock(&world, ROUTER, 7500);
    wait_until("it opens", || world.client.answered_by(ROUTER, 53).is_some());
    assert_eq!(world.stranger.answered_by(ROUTER, 53), None);
}

#[test]
fn a_forward_is_translated_for_the_knocker_alone_and_shut_for_others() {
    let world = world();
    let _daemon = start(&world, DOORS);
    for (address, port) in [(ROUTER, 8443), (LAN_6, 443)] {
        assert_eq!(world.client.greeted_by(address, port), None, "shut");
        knock(&world, if port == 443 { ROUTER_6 } else { ROUTER }, 8000);
        wait_until("it opens", || world.client.greeted_by(address, port).as_deref() == Some("lan"));
        assert_eq!(world.stranger.greeted_by(address, port), None, "for nobody else");
    }
    // The host itself, were it routed to, is shut for the knocker too.
    world.isp.ip("route add 192.168.1.0/24 via 203.0.113.1");
    assert_eq!(world.client.greeted_by("192.168.1.10", 443), None);
}

#[test]
fn a_table_that_was_flushed_is_back_within_a_second_with_who_was_in() {
    let world = world();
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
        knock(&world, ROUTER, 7000);
        wait_until("a knock opens", || world.client.greeted_by(ROUTER, 22).is_some());
        daemon.ask(&["close", "ssh"]);
    }
    daemon.wait_for_log("table inet ketuk was changed or deleted by another program: it is made again");
}

#[test]
fn it_fails_closed_and_unload_opens() {
    let world = world();
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

#[test]
fn a_reload_brings_the_table_up_to_date() {
    let world = world();
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

/// As the files stand: the tutorial's configuration, imported, on a host that accepts everything.
#[test]
fn the_tutorials_knockd_conf() {
    let world = world();
    let knockd = world.scratch.write("knockd.conf", KNOCKD);
    let import = [ketukd().to_str().expect("a plain path"), "import", knockd.to_str().expect("a plain path")];
    let uci = world.router.stdout(import[0], &import[1..]);
    assert!(world.client.greeted_by(ROUTER, 22).is_some(), "before the start the port answers");
    let daemon = start(&world, &uci);
    assert_eq!(daemon.status()["daemon"]["backend"], "own", "{uci}");
    assert_eq!(world.client.greeted_by(ROUTER, 22), None, "after it, it does not");
    world.client.shell(&format!("knock {ROUTER} 7000 8000 9000"));
    wait_until("the knock opens", || world.client.greeted_by(ROUTER, 22).is_some());
    assert_eq!(world.stranger.greeted_by(ROUTER, 22), None, "for the knocker alone");
    world.client.shell(&format!("knock {ROUTER} 9000 8000 7000"));
    wait_until("the other knock shuts", || world.client.greeted_by(ROUTER, 22).is_none());
}

/// Devices need not be there: the port is shut from the moment that they are.
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
    knock(&world, ROUTER, 7000);
    wait_until("it opens", || world.client.greeted_by(ROUTER, 22).is_some());
}

#[test]
fn another_firewall_that_drops_what_the_door_lets_in_is_named() {
    let world = world();
    world.router.nft("table inet filter {\nchain input {\ntype filter hook input priority 0; policy drop\nicmpv6 type != echo-request accept\n}\n}");
    let daemon = start(&world, DOORS);
    let said = "door 'ssh': tcp port 22 stays shut on wan0 even after a knock: chain input of table inet filter drops";
    daemon.wait_for_log(said);
    assert!(daemon.ask(&["status"]).contains(said), "{}", daemon.ask(&["status"]));
    // What is mended is said, and what breaks again.
    world.router.nft("add rule inet filter input tcp dport 22 accept");
    daemon.wait_for_log("door 'ssh': tcp port 22 is right again");
    assert!(!daemon.ask(&["status"]).contains(said));
    assert_eq!(world.client.greeted_by(ROUTER, 22), None, "the door shuts what the other lets in");
    knock(&world, ROUTER, 7000);
    wait_until("it opens", || world.client.greeted_by(ROUTER, 22).is_some());
}

/// With a table of the user's own that accepts, the door is open without a knock; that is said.
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
    daemon.wait_for_log("ssh: set ketuk_ssh_4 in table inet fw4 is not there");
}

/// What the log recommends works on Debian's own table, as often as one likes; and so do README's lines.
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
    for _ in 0..2 {
        shell("ketukd ruleset --replace --config ketuk.conf | nft -f -");
        assert_eq!(rules(&world.router.nft_list("table inet filter")), rules(&once));
    }
    let daemon = start(&world, &doors);
    assert!(!daemon.log().contains("is not there"), "{}", daemon.log());
    knock(&world, ROUTER, 7000);
    wait_until("it opens", || world.client.greeted_by(ROUTER, 22).is_some());
    assert_eq!(world.stranger.greeted_by(ROUTER, 22), None);
}
