//! Doors that stay open while they are used, on a real kernel.
#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

mod announced;
mod kill;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ketuk::firewall::conntrack;
use ketuk::firewall::flows::{self, FlowSource};
use kill::KILL;
use nix::sys::signal::Signal;
use support::daemon::{Daemon, Start};
use support::{CLIENT, LAN_6, ROUTER, World, wait_until};

/// The time within which a door shuts after its last connection.
const SHUT_WITHIN: Duration = Duration::from_secs(2);

/// `ssh` is on the router, `nas` behind it. Both are open for two seconds, and then for as long as they are used.
fn doors(options: &str) -> String {
    format!(
        "
config globals 'globals'
	option backend 'fw4'
config door 'ssh'
	list sequence '7000'
	option proto 'tcp'
	option dest_port '22'
	option open_time '2'
	{options}
config door 'nas'
	list sequence '8000'
	option src_dport '8443'
	option dest_port '443'
	list dest_ip '192.168.1.10'
	list dest_ip '2001:db8:2::10'
	option open_time '2'
	{options}
"
    )
}

const SESSION: &str = "option close 'session'";

fn start<'w>(world: &'w World, options: &str) -> Daemon<'w> {
    world.router.serve(22);
    world.lan.serve(443);
    world.lan.serve_udp(443);
    // Otherwise the first packet would wait for a neighbour's address while the door's time runs.
    wait_until("the router reaches the host", || world.router.greeted_by(LAN_6, 443).is_some());
    Daemon::start(&world.router, &world.scratch, &doors(options))
}

fn elements(world: &World, set: &str) -> String {
    let listed = world.router.nft_list(&format!("set inet fw4 {set}"));
    listed.split_once("elements").map(|(_, elements)| elements.to_owned()).unwrap_or_default()
}

fn is_shut(world: &World, door: &str) -> bool {
    ["4", "6"].iter().all(|family| elements(world, &format!("ketuk_{door}_{family}")).is_empty())
}

/// Waits until connections alone hold a door open.
fn wait_until_held(daemon: &Daemon<'_>, connections: u64) {
    daemon.wait("connections hold the door open", |daemon| {
        let grant = &daemon.status()["grants"][0];
        grant["held"] == true && grant["sessions"] == connections
    });
}

/// Asserts that this connection holds `door` open, and that the door shuts after the connection's end.
fn outlives_open_time(
    world: &World,
    daemon: &Daemon<'_>,
    door: &str,
    stream: TcpStream,
    again: &dyn Fn() -> Option<String>,
) {
    wait_until_held(daemon, 1);
    assert!(again().is_some(), "another connection can be made");
    daemon.wait("it has ended", |daemon| daemon.status()["grants"][0]["sessions"] == 1);
    let said = daemon.ask(&["status"]);
    assert!(said.contains("held by its connections, 1 connection"), "{said}");
    let ended = Instant::now();
    drop(stream);
    daemon.wait("the door is shut", |_| is_shut(world, door));
    assert!(ended.elapsed() < SHUT_WITHIN, "shut after {:?}", ended.elapsed());
    assert_eq!(again(), None, "nobody gets in any more");
}

#[test]
fn a_session_on_the_router_outlives_open_time() {
    let world = World::with_firewall();
    let daemon = start(&world, SESSION);
    world.client.shell(&format!("knock {ROUTER} 7000"));
    daemon.wait_for_log("ssh: OPEN SESAME");
    let (stream, _) = world.client.connect(ROUTER, 22).expect("open");
    outlives_open_time(&world, &daemon, "ssh", stream, &|| world.client.greeted_by(ROUTER, 22));
}

#[test]
fn a_session_through_a_forward_outlives_open_time() {
    let world = World::with_firewall();
    let daemon = start(&world, SESSION);
    world.client.shell(&format!("knock {ROUTER} 8000"));
    daemon.wait_for_log("nas: OPEN SESAME");
    let (stream, greeting) = world.client.connect(ROUTER, 8443).expect("open");
    assert_eq!(greeting, "lan");
    outlives_open_time(&world, &daemon, "nas", stream, &|| world.client.greeted_by(ROUTER, 8443));
}

#[test]
fn a_session_over_ipv6_outlives_open_time() {
    let world = World::with_firewall();
    let daemon = start(&world, SESSION);
    world.client.shell(&format!("knock -6 {} 8000", support::ROUTER_6));
    daemon.wait_for_log("nas: OPEN SESAME");
    let (stream, _) = world.client.connect(LAN_6, 443).expect("open");
    outlives_open_time(&world, &daemon, "nas", stream, &|| world.client.greeted_by(LAN_6, 443));
}

/// A UDP session ends when connection tracking forgets it.
#[test]
fn a_udp_session_ends_when_conntrack_forgets_it() {
    let world = World::with_firewall();
    let daemon = start(&world, SESSION);
    for timeout in ["udp_timeout", "udp_timeout_stream"] {
        world.router.sysctl(&format!("net/netfilter/nf_conntrack_{timeout}"), "3");
    }
    world.client.shell(&format!("knock {ROUTER} 8000"));
    daemon.wait_for_log("nas: OPEN SESAME");
    assert_eq!(world.client.answered_by(ROUTER, 8443).as_deref(), Some("lan"));
    wait_until_held(&daemon, 1);
    daemon.wait("the door is shut", |_| is_shut(&world, "nas"));
    daemon.wait_for_log("nas: command timeout");
}

/// After a short connection the door stays open until `open_time`, and then shuts at once.
#[test]
fn open_time_is_kept() {
    let world = World::with_firewall();
    let daemon = start(&world, "option close 'session'\n\toption max_time '60'");
    let asked = Instant::now();
    daemon.ask(&["open", "ssh", CLIENT, "3"]);
    let opened = Instant::now();
    assert!(world.client.greeted_by(ROUTER, 22).is_some());
    daemon.wait("the door is shut", |_| is_shut(&world, "ssh"));
    assert!(asked.elapsed() > Duration::from_millis(2900), "{:?}", asked.elapsed());
    assert!(opened.elapsed() < Duration::from_secs(3) + SHUT_WITHIN, "{:?}", opened.elapsed());
}

#[test]
fn max_time_bounds_a_session() {
    let world = World::with_firewall();
    let daemon = start(&world, "option close 'session'\n\toption max_time '4'");
    daemon.ask(&["open", "ssh", CLIENT]);
    let opened = Instant::now();
    let (_stream, _) = world.client.connect(ROUTER, 22).expect("open");
    wait_until_held(&daemon, 1);
    daemon.wait("the door is shut", |_| is_shut(&world, "ssh"));
    assert!(opened.elapsed() > Duration::from_millis(3900), "{:?}", opened.elapsed());
}

#[test]
fn a_thousand_connections_through_one_door() {
    let world = World::with_firewall();
    // The firewall lets 25 connections a second through, like fw4's own; these come at once.
    world.router.nft("flush chain inet fw4 syn_flood");
    let daemon = start(&world, SESSION);
    daemon.ask(&["open", "ssh", CLIENT]);
    // The first connections hold the door open for the others.
    let streams: Vec<_> =
        (0..1000).map(|n| world.client.connect(ROUTER, 22).unwrap_or_else(|| panic!("{n}"))).collect();
    wait_until_held(&daemon, 1000);
    drop(streams);
    daemon.wait("the door is shut", |_| is_shut(&world, "ssh"));
}

/// The kernel has a timer for the door even during a session, and a new daemon continues the session: it ends with its last
/// connection, and not with the kernel's timer.
#[test]
fn a_session_survives_the_daemon_and_the_kernel_shuts_the_door_without_it() {
    let world = World::with_firewall();
    let daemon = start(&world, SESSION);
    daemon.ask(&["open", "ssh", CLIENT]);
    let (stream, _) = world.client.connect(ROUTER, 22).expect("open");
    wait_until_held(&daemon, 1);
    let lease = || elements(&world, "ketuk_ssh_4").contains("timeout 1m expires ");
    daemon.wait("the kernel's own timer runs", |_| lease());
    daemon.end(Signal::SIGKILL);
    assert!(lease(), "and goes on");

    let daemon = Start::new(&world.router, &world.scratch, &doors(SESSION)).go();
    daemon.wait_for_log("ssh: adopted 1 open from before");
    wait_until_held(&daemon, 1);
    let ended = Instant::now();
    drop(stream);
    daemon.wait("the door is shut", |_| is_shut(&world, "ssh"));
    assert!(ended.elapsed() < SHUT_WITHIN, "a connection from before is watched too: {:?}", ended.elapsed());
}

/// The firewall is loaded anew in the middle of a session.
#[test]
fn a_session_survives_a_restart_of_the_firewall() {
    let world = World::with_firewall();
    let daemon = start(&world, SESSION);
    daemon.ask(&["open", "ssh", CLIENT]);
    let (stream, _) = world.client.connect(ROUTER, 22).expect("open");
    wait_until_held(&daemon, 1);
    let config = world.scratch.write("again", &doors(SESSION));
    let ruleset = support::daemon::ruleset(&config);
    world.router.nft(&format!("delete table inet fw4\n{}\n{ruleset}", support::FIREWALL));
    daemon.wait("the door is open again", |_| elements(&world, "ketuk_ssh_4").contains(CLIENT));
    assert!(world.client.greeted_by(ROUTER, 22).is_some());
    assert!(alive(&stream), "the connection lives on");
    drop(stream);
    daemon.wait("the door is shut", |_| is_shut(&world, "ssh"));
}

/// Nothing wakes the daemon while no session is open, although connections come and go.
#[test]
fn it_costs_nothing_while_no_session_is_open() {
    let world = World::with_firewall();
    let daemon = start(&world, SESSION);
    world.router.nft("insert rule inet fw4 input_wan tcp dport 80 accept");
    world.router.serve(80);
    daemon.ask(&["open", "ssh", CLIENT]);
    daemon.wait("the door is shut", |_| is_shut(&world, "ssh"));
    daemon.wait_for_log("ssh: command timeout");
    let wake_ups = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
        status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap().to_owned()
    };
    // Wait until the daemon sleeps.
    let mut before = wake_ups();
    daemon.wait("it sleeps", |_| {
        std::thread::sleep(Duration::from_millis(100));
        std::mem::replace(&mut before, wake_ups()) == wake_ups()
    });
    for _ in 0..20 {
        assert!(world.client.greeted_by(ROUTER, 80).is_some());
    }
    assert_eq!(wake_ups(), before);
}

/// Both sources of connections agree.
#[test]
fn proc_tells_what_netlink_tells() {
    let world = World::with_firewall();
    world.lan.serve(443);
    world.router.nft(
        "insert rule inet fw4 dstnat_wan tcp dport 8443 dnat ip to 192.168.1.10:443
         insert rule inet fw4 forward_wan tcp dport 443 accept
         insert rule inet fw4 forward_wan udp dport 53 accept",
    );
    // The router needs a moment before it can ask for an IPv6 neighbour.
    wait_until("the hosts reach each other", || world.client.greeted_by(LAN_6, 443).is_some());
    let _streams =
        [(ROUTER, 8443), (LAN_6, 443)].map(|(host, port)| world.client.connect(host, port).expect("open"));
    world.client.answered_by(LAN_6, 53);
    // Wait until the ending connections have ended.
    wait_until("both tell the same", || {
        let mut netlink = Vec::new();
        world.router.enter(|| {
            flows::each_from(FlowSource::Netlink, &mut |flow| netlink.push(*flow)).expect("ctnetlink");
        });
        let text = world.router.stdout("cat", &["/proc/net/nf_conntrack"]);
        let proc: Vec<_> = text.lines().filter_map(conntrack::line).collect();
        assert!(netlink.iter().any(|flow| flow.answers != flow.destination), "{netlink:?}");
        netlink.len() >= 3 && netlink.len() == proc.len() && netlink.iter().all(|flow| proc.contains(flow))
    });
}

fn alive(mut stream: &TcpStream) -> bool {
    let mut buffer = [0; 64];
    stream.write_all(b"?").is_ok() && stream.read(&mut buffer).is_ok_and(|len| len > 0)
}

/// A connection that only passes through the router does not belong to a door, even if it goes to the door's port.
#[test]
fn what_passes_through_the_router_neither_holds_a_door_nor_is_cut() {
    let world = World::with_firewall();
    world.isp.serve(22);
    let daemon = start(&world, &format!("{SESSION}\n\t{KILL}"));
    let (stream, _) = world.lan.connect("203.0.113.254", 22).expect("the LAN may go out");
    daemon.ask(&["open", "ssh", support::LAN]);
    let opened = Instant::now();
    daemon.wait("the door is shut", |_| is_shut(&world, "ssh"));
    assert!(opened.elapsed() < Duration::from_secs(2) + SHUT_WITHIN, "{:?}", opened.elapsed());
    daemon.wait_for_log("ssh: command timeout");
    assert!(alive(&stream), "and is not cut at its end");
}

/// A forger sends a SYN in another's name, and never gets the answer.
#[test]
fn half_a_handshake_holds_no_door() {
    let world = World::with_firewall();
    let daemon = start(&world, SESSION);
    world.client.nft(
        "table inet deaf {\nchain input {\ntype filter hook input priority 0; tcp flags & (syn|ack) == syn|ack drop\n}\n}",
    );
    daemon.ask(&["open", "ssh", CLIENT]);
    let opened = Instant::now();
    assert_eq!(world.client.greeted_by(ROUTER, 22), None);
    assert!(
        world.router.stdout("conntrack", &["-L", "-p", "tcp", "--src", CLIENT]).contains("SYN_RECV"),
        "the router has answered"
    );
    daemon.wait("the door is shut", |_| is_shut(&world, "ssh"));
    assert!(opened.elapsed() < Duration::from_secs(2) + SHUT_WITHIN, "{:?}", opened.elapsed());
}
