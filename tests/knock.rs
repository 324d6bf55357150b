//! Real clients knock at a real router. A client with the right knocks gets in, others do not, and the kernel shuts the door
//! on time.
#![cfg(target_os = "linux")]

mod support;

use std::io::Write as _;
use std::time::{Duration, Instant};

use support::daemon::{Daemon, Start, ruleset};
use support::host::Host;
use support::{CLIENT, CLIENT_6, Process, ROUTER, ROUTER_6, World, frames, ketuk, wait_until};

/// The flag of a first segment.
const SYN: u8 = 2;

/// A door of three steps that opens SSH for two seconds.
const SSH: &str = "
config globals 'globals'
	option backend 'fw4'
config door 'ssh'
	list sequence '7000'
	list sequence '8000'
	list sequence '9000'
	option proto 'tcp'
	option dest_port '22'
	option open_time '2'
";

/// The same with a UDP port as the second step.
const MIXED: &str = "
config globals 'globals'
	option backend 'fw4'
config door 'ssh'
	list sequence '7000'
	list sequence '8000:udp'
	list sequence '9000'
	option proto 'tcp'
	option dest_port '22'
	option open_time '2'
";

/// A client knocks at `router`. Then only the knocker gets in, for the door's time.
fn lets_in_only_the_knocker(config: &str, router: &str, knock: impl FnOnce(&Host)) {
    let world = World::with_firewall();
    world.router.serve(22);
    let daemon = Daemon::start(&world.router, &world.scratch, config);
    only_the_knocker(&world, &daemon, router, knock);
}

fn only_the_knocker(world: &World, daemon: &Daemon<'_>, router: &str, knock: impl FnOnce(&Host)) {
    let World { client, stranger, .. } = world;
    assert_eq!(client.greeted_by(router, 22), None, "shut before the knock");
    knock(client);
    daemon.wait_for_log("ssh: OPEN SESAME");
    let opened = Instant::now();
    let greeting = client.greeted_by(router, 22);
    assert!(greeting.is_some() || opened.elapsed() > Duration::from_secs(2), "open for the knocker");
    assert_eq!(greeting.as_deref(), Some("router"), "this machine was too slow to connect in time");
    assert_eq!(stranger.greeted_by(router, 22), None, "shut for everybody else");
    wait_until("the door is shut again", || client.greeted_by(router, 22).is_none());
    assert!(opened.elapsed() > Duration::from_millis(1500), "it was open for its two seconds");
    daemon.wait_for_log("ssh: command timeout");
    let sets =
        ["ketuk_ssh_4", "ketuk_ssh_6"].map(|set| world.router.nft_list(&format!("set inet fw4 {set}")));
    assert!(sets.iter().all(|set| !set.contains("elements")), "{sets:?}");
}

/// The same, with a line of shell that knocks.
fn shell(line: &str) -> impl FnOnce(&Host) {
    let line = line.to_owned();
    move |client| {
        client.run("bash", &["-c", &line]);
    }
}

#[test]
fn our_own_client() {
    lets_in_only_the_knocker(SSH, ROUTER, |client| {
        client.stdout(ketuk(), &[ROUTER, "7000", "8000", "9000"]);
    });
}

#[test]
fn our_own_client_mixed() {
    lets_in_only_the_knocker(MIXED, ROUTER, |client| {
        client.stdout(ketuk(), &[ROUTER, "7000", "8000:udp", "9000"]);
    });
}

#[test]
fn our_own_client_ipv6() {
    lets_in_only_the_knocker(MIXED, ROUTER_6, |client| {
        client.stdout(ketuk(), &["-6", ROUTER_6, "7000", "8000:udp", "9000:tcp"]);
    });
}

#[test]
fn debians_knock_tcp() {
    lets_in_only_the_knocker(SSH, ROUTER, shell("knock -d 20 203.0.113.1 7000 8000 9000"));
}

#[test]
fn debians_knock_without_a_pause() {
    lets_in_only_the_knocker(SSH, ROUTER, shell("knock 203.0.113.1 7000 8000 9000"));
}

#[test]
fn debians_knock_udp() {
    let udp = SSH.replace("000'", "000:udp'");
    lets_in_only_the_knocker(&udp, ROUTER, shell("knock -u -d 20 203.0.113.1 7000 8000 9000"));
}

#[test]
fn debians_knock_mixed() {
    lets_in_only_the_knocker(MIXED, ROUTER, shell("knock -d 20 203.0.113.1 7000 8000:udp 9000:tcp"));
}

#[test]
fn debians_knock_ipv6() {
    lets_in_only_the_knocker(MIXED, ROUTER_6, shell("knock -6 -d 20 2001:db8:1::1 7000 8000:udp 9000"));
}

#[test]
fn nmap() {
    let line = "for port in 7000 8000 9000; do nmap -Pn -n --max-retries 0 -p $port 203.0.113.1; done";
    lets_in_only_the_knocker(SSH, ROUTER, shell(line));
}

#[test]
fn netcat() {
    let line = "for port in 7000 8000 9000; do nc -z -w1 203.0.113.1 $port; done";
    lets_in_only_the_knocker(SSH, ROUTER, shell(line));
}

#[test]
fn netcat_udp() {
    let line = "nc -z -w1 203.0.113.1 7000; echo x | nc -u -w1 203.0.113.1 8000; nc -z -w1 203.0.113.1 9000";
    lets_in_only_the_knocker(MIXED, ROUTER, shell(line));
}

#[test]
fn telnet() {
    let line = "for port in 7000 8000 9000; do telnet 203.0.113.1 $port </dev/null; done";
    lets_in_only_the_knocker(SSH, ROUTER, shell(line));
}

#[test]
fn bash() {
    let line = "for port in 7000 8000 9000; do : </dev/tcp/203.0.113.1/$port; done 2>/dev/null";
    lets_in_only_the_knocker(SSH, ROUTER, shell(line));
}

#[test]
fn through_nat() {
    let world = World::with_firewall();
    world.router.serve(22);
    world.isp.nft(
        "table ip nat { chain out { type nat hook postrouting priority srcnat; \
         ip saddr 198.51.100.0/24 masquerade fully-random; }; }",
    );
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    only_the_knocker(&world, &daemon, ROUTER, |client| {
        client.stdout(ketuk(), &[ROUTER, "7000", "8000", "9000"]);
    });
}

/// A device of a VLAN: the daemon sees the packet without the tag.
#[test]
fn vlan() {
    let world = World::with_firewall();
    let made =
        world.router.run("ip", &["link", "add", "link", "wan0", "name", "wan0.7", "type", "vlan", "id", "7"]);
    if String::from_utf8_lossy(&made.stderr).contains("Unknown device type") {
        // Not eprintln!, whose output is hidden if the test passes.
        writeln!(std::io::stderr(), "this kernel has no VLANs: not tested").expect("standard error");
        return;
    }
    assert!(made.status.success(), "{made:?}");
    world.router.ip("link set wan0.7 up");
    let start = Start::on(&world.router, &world.scratch, SSH, &["wan0.7"]);
    world.router.nft(&ruleset(&world.scratch.path("ketuk.uci")));
    let daemon = start.go();
    let router = world.router.mac("wan0");
    let knocks = [7000, 8000, 9000]
        .map(|port| frames::ethernet(router, Some(7), &frames::tcp(CLIENT, ROUTER, (4000, port), 1, SYN)));
    frames::send(&world.isp, "router0", &world.scratch, &knocks);
    daemon.wait_for_log(&format!("{CLIENT}: ssh: OPEN SESAME"));
}

/// A tunnel, like PPP, has no link header: packets begin with their IP header.
#[test]
fn tunnel_without_a_link_header() {
    let world = World::with_firewall();
    let (isp, router) = (&world.isp, &world.router);
    let _ends = [
        (isp, "10.8.0.254", "203.0.113.254:5000", ROUTER),
        (router, "10.8.0.1", "203.0.113.1:5000", "203.0.113.254"),
    ]
    .map(|(host, inner, local, remote)| {
        let tun = format!("TUN:{inner}/24,tun-name=tun7,iff-up,iff-no-pi");
        let wire = format!("UDP-DATAGRAM:{remote}:5000,bind={local}");
        host.enter(|| Process::start("socat", &[&tun, &wire]))
    });
    router.nft("insert rule inet fw4 input_wan udp dport 5000 accept");
    router.nft("insert rule inet fw4 input iifname \"tun7\" jump input_wan");
    for host in [isp, router] {
        wait_until("the tunnel is up", || {
            host.run("ip", &["-o", "addr", "show", "tun7"]).stdout.windows(5).any(|text| text == b"10.8.")
        });
    }
    router.ip("route add 198.51.100.0/24 via 10.8.0.254");
    router.serve(22);
    let start = Start::on(router, &world.scratch, SSH, &["tun7"]);
    router.nft(&ruleset(&world.scratch.path("ketuk.uci")));
    let daemon = start.go();
    only_the_knocker(&world, &daemon, "10.8.0.1", |client| {
        client.stdout(ketuk(), &["10.8.0.1", "7000", "8000", "9000"]);
    });
}

#[test]
fn every_device() {
    let world = World::with_firewall();
    world.router.serve(22);
    let start = Start::on(&world.router, &world.scratch, SSH, &["any"]);
    world.router.nft(&ruleset(&world.scratch.path("ketuk.uci")));
    let daemon = start.go();
    only_the_knocker(&world, &daemon, ROUTER, |client| {
        client.stdout(ketuk(), &[ROUTER, "7000", "8000", "9000"]);
    });
}

#[test]
fn two_clients_at_once_each_for_himself() {
    let world = World::with_firewall();
    world.router.serve(22);
    let daemon = Daemon::start(&world.router, &world.scratch, &SSH.replace("'2'", "'60'"));
    for port in ["7000", "8000", "9000"] {
        for host in [&world.client, &world.stranger] {
            host.stdout(ketuk(), &[ROUTER, port]);
        }
    }
    daemon.wait_for_log(&format!("{CLIENT}: ssh: OPEN SESAME"));
    daemon.wait_for_log(&format!("{}: ssh: OPEN SESAME", support::STRANGER));
    for host in [&world.client, &world.stranger] {
        assert_eq!(host.greeted_by(ROUTER, 22).as_deref(), Some("router"));
    }
}

#[test]
fn who_knocks_by_ipv6_is_let_in_by_ipv6_only() {
    let world = World::with_firewall();
    world.router.serve(22);
    let daemon = Daemon::start(&world.router, &world.scratch, &SSH.replace("'2'", "'60'"));
    world.client.stdout(ketuk(), &[ROUTER_6, "7000", "8000", "9000"]);
    daemon.wait_for_log(&format!("{CLIENT_6}: ssh: OPEN SESAME"));
    assert_eq!(world.client.greeted_by(ROUTER_6, 22).as_deref(), Some("router"));
    assert_eq!(world.client.greeted_by(ROUTER, 22), None);
}
