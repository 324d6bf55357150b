//! Doors to a host behind the router, on a real kernel. The knocker gets through, and a stranger's packet is never
//! translated.
#![cfg(target_os = "linux")]

mod support;

use support::daemon::{Daemon, Start};
use support::host::Host;
use support::{CLIENT, LAN, LAN_6, ROUTER, STRANGER, World, wait_until};

/// The backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Firewall {
    Nft,
    Iptables,
}

/// A router's firewall by iptables: it refuses packets from the WAN, lets the LAN out, and masquerades.
const IPTABLES: &str = "
for iptables in iptables ip6tables; do
	$iptables -w -P INPUT DROP && $iptables -w -P FORWARD DROP &&
	$iptables -w -A INPUT -i lo -j ACCEPT &&
	$iptables -w -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT &&
	$iptables -w -A INPUT -p icmp -j ACCEPT &&
	$iptables -w -A INPUT -p tcp -j REJECT --reject-with tcp-reset &&
	$iptables -w -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT &&
	$iptables -w -A FORWARD -i lan0 -j ACCEPT &&
	$iptables -w -A FORWARD -p tcp -j REJECT --reject-with tcp-reset || exit 1
done
ip6tables -w -I INPUT -p ipv6-icmp -j ACCEPT && ip6tables -w -I FORWARD -p ipv6-icmp -j ACCEPT &&
iptables -w -t nat -A POSTROUTING -o wan0 -j MASQUERADE
";

const DOORS: &str = "
config door 'nas'
	list sequence '1111'
	list sequence '2222'
	option proto 'tcp'
	option src_dport '8443'
	option dest_port '443'
	list dest_ip '192.168.1.10'
	list dest_ip '2001:db8:2::10'
	option open_time '60'
config door 'games'
	list sequence '3333'
	option src_dport '27000-27010 27020'
	option dest_ip '192.168.1.10'
	option open_time '60'
";

/// The hosts, a router with a firewall, and a daemon with these doors.
fn start<'w>(world: &'w World, firewall: Firewall, doors: &str) -> Daemon<'w> {
    match firewall {
        Firewall::Nft => {
            world.router.nft(support::FIREWALL);
            let config = format!("config globals 'globals'\n\toption backend 'fw4'\n{doors}");
            Daemon::start(&world.router, &world.scratch, &config)
        }
        Firewall::Iptables => {
            world.router.shell(IPTABLES);
            restart_with_iptables(world, doors)
        }
    }
}

fn restart_with_iptables<'w>(world: &'w World, doors: &str) -> Daemon<'w> {
    let config = format!("config globals 'globals'\n\toption backend 'iptables'\n{doors}");
    Start::new(&world.router, &world.scratch, &config).go()
}

/// The router's tracked connections of a source.
fn tracked(router: &Host, source: &str) -> String {
    let family = if source.contains(':') { "ipv6" } else { "ipv4" };
    router.stdout("conntrack", &["-L", "-f", family, "--src", source])
}

fn only_the_knocker_is_translated(firewall: Firewall) {
    let world = World::new();
    let World { client, stranger, router, lan, .. } = &world;
    lan.serve(443);
    let daemon = start(&world, firewall, DOORS);
    // Connection tracking does not keep a refused packet, but it keeps a translated one for long.
    for host in [client, stranger] {
        assert_eq!(host.greeted_by(ROUTER, 8443), None, "shut before the knock");
    }
    client.knock(ROUTER, "1111 2222");
    daemon.wait_for_log("nas: OPEN SESAME");
    daemon.wait("the door is open", |_| client.greeted_by(ROUTER, 8443).as_deref() == Some("lan"));
    for port in [8443, 443] {
        assert_eq!(stranger.greeted_by(ROUTER, port), None, "shut for a stranger");
        // This holds even for a stranger who can reach the host's own address.
        world.isp.run("ip", &["route", "add", "192.168.1.0/24", "via", ROUTER]);
        assert_eq!(stranger.greeted_by(LAN, port), None, "shut for a stranger");
    }
    assert_eq!(client.greeted_by(LAN, 443), None, "the way in is the router's port, not the host's address");
    assert!(
        tracked(router, CLIENT).contains(&format!("src={LAN} dst={CLIENT} sport=443")),
        "the knocker's is"
    );
    let stranger_is = tracked(router, STRANGER);
    assert!(!stranger_is.contains(&format!("src={LAN}")), "a stranger's is not translated: {stranger_is}");
    assert_eq!(translated(router, firewall, "nas"), 1, "the rule has seen the knocker's one connection only");

    // Data goes both ways through the translation, also after the door has shut.
    let (stream, _) = client.connect(ROUTER, 8443).expect("a connection");
    daemon.ask(&["close", "nas"]);
    daemon.wait("the door is shut", |_| client.greeted_by(ROUTER, 8443).is_none());
    echo(&stream);
}

/// The number of connections that the door's translating rule has counted.
fn translated(router: &Host, firewall: Firewall, door: &str) -> u64 {
    let (rules, before) = match firewall {
        Firewall::Nft => (router.nft_list("chain inet fw4 dstnat_wan"), "packets "),
        Firewall::Iptables => (router.shell("iptables -w -t nat -vS PREROUTING"), "-c "),
    };
    let rule = rules.lines().find(|line| line.contains("ketuk:") && line.contains(door)).expect(&rules);
    let (_, rest) = rule.split_once(before).expect(rule);
    rest.split(' ').next().and_then(|count| count.parse().ok()).expect(rule)
}

fn echo(mut stream: &std::net::TcpStream) {
    use std::io::{Read as _, Write as _};
    stream.write_all(b"ping").expect("the connection lives");
    // The end of the greeting may not have come yet.
    let mut answer = [0; 1];
    while answer != *b"g" {
        stream.read_exact(&mut answer).expect("the connection lives");
    }
}

#[test]
fn only_the_knocker_is_translated_nft() {
    only_the_knocker_is_translated(Firewall::Nft);
}

#[test]
fn only_the_knocker_is_translated_iptables() {
    only_the_knocker_is_translated(Firewall::Iptables);
}

fn ports_of_a_range_keep_their_numbers(firewall: Firewall) {
    let world = World::new();
    let World { client, stranger, lan, .. } = &world;
    for port in [27000, 27020] {
        lan.serve_udp(port);
        lan.serve(port);
    }
    let daemon = start(&world, firewall, DOORS);
    client.knock(ROUTER, "3333");
    daemon.wait_for_log("games: OPEN SESAME");
    for port in [27000, 27020] {
        daemon.wait("the door is open", |_| client.greeted_by(ROUTER, port).as_deref() == Some("lan"));
        daemon.wait("for UDP too", |_| client.answered_by(ROUTER, port).as_deref() == Some("lan"));
        assert_eq!(stranger.answered_by(ROUTER, port), None);
    }
}

#[test]
fn ports_of_a_range_keep_their_numbers_nft() {
    ports_of_a_range_keep_their_numbers(Firewall::Nft);
}

#[test]
fn ports_of_a_range_keep_their_numbers_iptables() {
    ports_of_a_range_keep_their_numbers(Firewall::Iptables);
}

/// With IPv6 the client knocks at the router, and the address of the host behind it opens.
fn ipv6_goes_to_the_host_itself(firewall: Firewall) {
    let world = World::new();
    let World { client, stranger, lan, .. } = &world;
    lan.serve(443);
    lan.serve(22);
    let daemon = start(&world, firewall, DOORS);
    assert_eq!(client.greeted_by(LAN_6, 443), None, "shut before the knock");
    client.knock(support::ROUTER_6, "1111 2222");
    daemon.wait_for_log("nas: OPEN SESAME");
    daemon.wait("the door is open", |_| client.greeted_by(LAN_6, 443).as_deref() == Some("lan"));
    assert_eq!(client.greeted_by(LAN_6, 22), None, "another port stays shut");
    assert_eq!(stranger.greeted_by(LAN_6, 443), None, "shut for a stranger");
    daemon.ask(&["close", "nas"]);
    wait_until("the door is shut", || client.greeted_by(LAN_6, 443).is_none());
}

#[test]
fn ipv6_goes_to_the_host_itself_nft() {
    ipv6_goes_to_the_host_itself(Firewall::Nft);
}

#[test]
fn ipv6_goes_to_the_host_itself_iptables() {
    ipv6_goes_to_the_host_itself(Firewall::Iptables);
}

/// The rules that a killed daemon left in tables filter and nat are gone when the next daemon is up.
#[test]
fn rules_that_a_crash_left_are_swept() {
    let world = World::new();
    let daemon = start(&world, Firewall::Iptables, DOORS);
    daemon.ask(&["open", "nas", CLIENT]);
    daemon.ask(&["open", "nas", support::CLIENT_6]);
    let rules = || {
        let all = world.router.shell("iptables -w -S; iptables -w -t nat -S; ip6tables -w -S");
        all.lines().filter(|line| line.contains("ketuk:")).count()
    };
    daemon.wait("the rules are there", |_| rules() == 3);
    daemon.crash();
    assert_eq!(rules(), 3);
    let daemon = restart_with_iptables(&world, DOORS);
    assert_eq!(rules(), 0, "{}", daemon.log());
}
