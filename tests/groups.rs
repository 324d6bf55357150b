//! Doors that open for the knocker's whole network.
#![cfg(target_os = "linux")]

mod support;

use support::daemon::{Daemon, Start};
use support::{CLIENT, ROUTER, ROUTER_6, STRANGER, World, wait_until};

/// Addresses of the knocker's network, and one outside it. The client has all of them.
const OTHERS: [&str; 3] = ["198.51.100.77", "198.51.101.10", "2001:db8:c::77"];

fn door(options: &str) -> String {
    format!(
        "
config door 'ssh'
	list sequence '7000'
	option proto 'tcp'
	option dest_port '22'
	option open_time '2'
	option grant_prefix_4 '24'
	option grant_prefix_6 '64'
	{options}
"
    )
}

fn world() -> World {
    let world = World::new();
    world.client.addresses("eth0", &["198.51.100.77/24", "198.51.101.10/24", "2001:db8:c::77/64"]);
    world.isp.ip("route add 198.51.101.0/24 dev client0");
    world.router.serve(22);
    world
}

fn with_nft<'w>(world: &'w World, options: &str) -> Daemon<'w> {
    world.router.nft(support::FIREWALL);
    let config = format!("config globals 'globals'\n\toption backend 'fw4'\n{}", door(options));
    Daemon::start(&world.router, &world.scratch, &config)
}

/// Whether a connection from this address of the client is greeted.
fn greeted_from(world: &World, source: &str) -> bool {
    let router = if source.contains(':') { ROUTER_6 } else { ROUTER };
    let line = format!("sleep 1 | nc -s {source} -w 1 {router} 22 | head -1");
    world.client.shell(&line).contains("router")
}

fn lets_in_the_network(world: &World, daemon: &Daemon<'_>) {
    daemon.ask(&["open", "ssh", CLIENT, "0"]);
    daemon.ask(&["open", "ssh", support::CLIENT_6, "0"]);
    daemon.wait("a neighbour gets in", |_| greeted_from(world, OTHERS[0]));
    daemon.wait("and one of IPv6", |_| greeted_from(world, OTHERS[2]));
    assert!(!greeted_from(world, OTHERS[1]), "the next network stays out");
    assert_eq!(world.stranger.greeted_by(ROUTER, 22), None, "and so does a stranger");
    let status = daemon.ask(&["status"]);
    assert!(status.contains("open ssh for 198.51.100.0/24:"), "{status}");
    assert!(status.contains("open ssh for 2001:db8:c::/64:"), "{status}");
    assert_eq!(daemon.status()["grants"].as_array().map(Vec::len), Some(2));
    // Any address of the network can be named to shut the door.
    daemon.ask(&["close", "ssh", OTHERS[0]]);
    daemon.wait("the door is shut", |_| !greeted_from(world, OTHERS[0]));
    assert_ne!(daemon.control(&["close", "ssh", STRANGER]).status.code(), Some(0));
}

#[test]
fn a_network_is_let_in_by_nft() {
    let world = world();
    let daemon = with_nft(&world, "");
    lets_in_the_network(&world, &daemon);
}

#[test]
fn a_network_is_let_in_by_iptables() {
    let world = world();
    world.router.shell(
        "iptables -w -P INPUT DROP && iptables -w -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT &&
         ip6tables -w -A INPUT -p tcp --dport 22 -m conntrack --ctstate NEW -j DROP",
    );
    let config = format!("config globals 'globals'\n\toption backend 'iptables'\n{}", door(""));
    let daemon = Start::new(&world.router, &world.scratch, &config).go();
    lets_in_the_network(&world, &daemon);
}

/// The kernel's timer shuts the door, knocks of two neighbours renew one grant, and the next daemon adopts it.
#[test]
fn a_network_has_one_timer_and_is_adopted() {
    let world = world();
    let daemon = with_nft(&world, "option on_stop 'keep'");
    let set = || world.router.nft_list("set inet fw4 ketuk_ssh_net4");
    daemon.ask(&["open", "ssh", CLIENT, "100"]);
    assert!(set().contains("198.51.100.0/24 timeout 1m40s"), "{}", set());
    daemon.wait("it is renewed", |daemon| {
        daemon.ask(&["open", "ssh", OTHERS[0], "3000"]);
        set().contains("198.51.100.0/24 timeout 50m")
    });
    assert_eq!(set().matches("timeout 50m").count(), 1, "{}", set());
    let (_, log) = daemon.end(nix::sys::signal::Signal::SIGTERM);
    assert!(set().contains("198.51.100.0/24"), "kept: {log}");

    let config = format!("config globals 'globals'\n\toption backend 'fw4'\n{}", door(""));
    let daemon = Start::new(&world.router, &world.scratch, &config).go();
    daemon.wait_for_log("ssh: adopted 1 open from before");
    daemon.ask(&["close", "ssh", CLIENT]);
    assert!(!set().contains("198.51.100"), "{}", set());
    world.client.shell(&format!("knock {ROUTER} 7000"));
    daemon.wait("it is open", |_| set().contains("198.51.100.0/24"));
    wait_until("the kernel shuts it", || !set().contains("198.51.100"));
}

/// A neighbour's connection holds the door open, and is cut with it.
#[test]
fn a_neighbours_session_counts() {
    let world = world();
    let daemon = with_nft(&world, "option close 'session'\n\toption kill 'on'");
    daemon.ask(&["open", "ssh", CLIENT]);
    let line =
        format!("sleep 60 | exec nc -s {} {ROUTER} 22 > {}", OTHERS[0], world.scratch.path("nc").display());
    let _nc = world.client.enter(|| support::Process::start("bash", &["-c", &line]));
    daemon.wait("the connection holds the door open", |daemon| {
        let grant = &daemon.status()["grants"][0];
        grant["held"] == true && grant["sessions"] == 1
    });
    daemon.ask(&["close", "ssh"]);
    daemon.wait_for_log("198.51.100.0: ssh: 1 connection cut");
    daemon.ask(&["open", "ssh", CLIENT]);
    daemon.wait("let in again", |_| greeted_from(&world, OTHERS[0]));
}
