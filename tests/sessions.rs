//! Doors that stay open while they are used, and doors that cut what goes through them, on a real kernel.
#![cfg(target_os = "linux")]

mod support;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ketuk::firewall::conntrack;
use ketuk::firewall::flows::{self, Source};
use nix::sys::signal::Signal;
use support::daemon::{Daemon, Start};
use support::host::Host;
use support::{CLIENT, LAN_6, ROUTER, World, wait_until};

/// Within this after the last connection the door is shut, or the machine was too slow.
const SHUT_WITHIN: Duration = Duration::from_secs(2);

/// `ssh` on the router, `nas` behind it; both open for two seconds and as long as they are used.
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
const KILL: &str = "option kill 'on'";

fn start<'w>(world: &'w World, options: &str) -> Daemon<'w> {
    world.router.serve(22);
    world.lan.serve(443);
    world.lan.serve_udp(443);
    // So that no first packet waits for a neighbour's address while the time runs.
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

/// The connection that is given holds `door` open, and when it ends the door shuts.
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

/// UDP has no end but the one that connection tracking gives it.
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

/// The door is not shut before `open_time`, however short the connection, and then at once.
#[test]
fn open_time_is_kept() {
    let world = World::with_firewall();
    let daemon = start(&world, "option close 'session'\n\toption max_time '60'");
    daemon.ask(&["open", "ssh", CLIENT, "3"]);
    let opened = Instant::now();
    assert!(world.client.greeted_by(ROUTER, 22).is_some());
    daemon.wait("the door is shut", |_| is_shut(&world, "ssh"));
    assert!(opened.elapsed() > Duration::from_millis(2900), "{:?}", opened.elapsed());
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
    // The first of them hold the door open for the rest.
    let streams: Vec<_> =
        (0..1000).map(|n| world.client.connect(ROUTER, 22).unwrap_or_else(|| panic!("{n}"))).collect();
    wait_until_held(&daemon, 1000);
    drop(streams);
    daemon.wait("the door is shut", |_| is_shut(&world, "ssh"));
}

/// The kernel has a timer for the door even during a session; a new daemon goes on where the old one ended.
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
    assert_eq!(daemon.status()["grants"][0]["sessions"], 1);
    // As if the time that was adopted were over.
    daemon.ask(&["close", "ssh"]);
    daemon.ask(&["open", "ssh", CLIENT]);
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
    let ruleset = support::daemon::ruleset(&world.router, &config);
    world.router.nft(&format!("delete table inet fw4\n{}\n{ruleset}", support::FIREWALL));
    daemon.wait("the door is open again", |_| elements(&world, "ketuk_ssh_4").contains(CLIENT));
    assert!(world.client.greeted_by(ROUTER, 22).is_some());
    assert!(alive(&stream), "the connection lives on");
    drop(stream);
    daemon.wait("the door is shut", |_| is_shut(&world, "ssh"));
}

/// Nothing wakes the daemon while no session is open, whatever connections come and go.
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
    // Until it sleeps.
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

/// Both ways to see connections see the same.
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
    // Until what is ending has ended.
    wait_until("both tell the same", || {
        let mut netlink = Vec::new();
        world
            .router
            .enter(|| flows::each_from(Source::Netlink, |flow| netlink.push(*flow)).expect("ctnetlink"));
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

/// Whether a program at this end learns at once that the connection is cut.
fn is_reset(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
    let mut buffer = [0; 64];
    loop {
        match stream.write_all(b"?").and_then(|()| stream.read(&mut buffer)) {
            // What was said before the cut may still be there to read.
            Ok(1..) => {}
            Ok(0) => return true,
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

fn tracked(router: &Host) -> String {
    router.stdout("conntrack", &["-L", "-p", "tcp", "--src", CLIENT, "--state", "ESTABLISHED"])
}

fn a_door_that_kills(port: u16, door: &str) {
    let world = World::with_firewall();
    // A packet in the middle of an unknown connection counts as one: the kernel's default.
    world.router.sysctl("net/netfilter/nf_conntrack_tcp_loose", "1");
    let daemon = start(&world, KILL);
    daemon.ask(&["open", door, CLIENT, "0"]);
    let (stream, _) = world.client.connect(ROUTER, port).expect("open");
    assert!(alive(&stream));
    daemon.ask(&["close", door]);
    assert!(!tracked(&world.router).contains("ESTABLISHED"), "the kernel has forgotten it");
    assert!(is_reset(&stream), "the knocker's end learns of it");
    assert!(!tracked(&world.router).contains("ESTABLISHED"), "and nothing brought it back");
    daemon.wait_for_log("1 connections cut");

    // Let in again, he is not refused.
    daemon.ask(&["open", door, CLIENT, "0"]);
    let (stream, _) = world.client.connect(ROUTER, port).expect("open again");
    assert!(alive(&stream));
}

#[test]
fn kill_cuts_connections_to_the_router() {
    a_door_that_kills(22, "ssh");
}

#[test]
fn kill_cuts_connections_through_a_forward() {
    a_door_that_kills(8443, "nas");
}

/// The server speaks first: its packet, coming from inside, must not bring the connection back.
#[test]
fn the_servers_next_packet_does_not_bring_it_back() {
    let world = World::with_firewall();
    world.router.sysctl("net/netfilter/nf_conntrack_tcp_loose", "1");
    let daemon = Daemon::start(&world.router, &world.scratch, &doors(KILL));
    let listener = world.lan.enter(|| std::net::TcpListener::bind("0.0.0.0:443").expect("a free port"));
    daemon.ask(&["open", "nas", CLIENT, "1"]);
    let client = world.client.enter(|| TcpStream::connect((ROUTER, 8443)).expect("open"));
    let (server, _) = listener.accept().expect("a connection");
    // It shuts by its time this time.
    daemon.wait_for_log("1 connections cut");
    for stream in [&server, &client] {
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    }
    wait_until("the server's end learns of it", || (&server).write_all(b"hello").is_err());
    let read = (&client).read(&mut [0; 64]);
    assert!(read.is_err(), "nothing of it reaches the client: {read:?}");
    assert!(!tracked(&world.router).contains("ESTABLISHED"));
}

/// Others' connections live on.
#[test]
fn kill_is_for_the_one_address() {
    let world = World::with_firewall();
    let daemon = start(&world, KILL);
    daemon.ask(&["open", "ssh", CLIENT, "0"]);
    daemon.ask(&["open", "ssh", support::STRANGER, "0"]);
    let (stream, _) = world.stranger.connect(ROUTER, 22).expect("open");
    daemon.ask(&["close", "ssh", CLIENT]);
    assert!(alive(&stream));
    assert!(world.stranger.greeted_by(ROUTER, 22).is_some());
}

/// Somebody who forges a host's address opens a door in its name, again and again. When the door shuts, the host is
/// refused nothing that it may without the door.
#[test]
fn kill_refuses_nobody_anything_new() {
    let world = World::with_firewall();
    let daemon = start(&world, KILL);
    let (router, lan) = ("192.168.1.1", support::LAN);
    daemon.ask(&["open", "ssh", lan, "0"]);
    let (stream, _) = world.lan.connect(router, 22).expect("the LAN may without a door");
    daemon.ask(&["close", "ssh", lan]);
    daemon.wait_for_log("1 connections cut");
    assert!(is_reset(&stream), "what went through the door is cut");
    assert!(world.lan.greeted_by(router, 22).is_some(), "but a new connection is not refused");
    // Not even from the port of the one that was cut.
    let port = stream.local_addr().expect("an address").port();
    drop(stream);
    let again = format!("nc -w 2 -p {port} {router} 22 </dev/null");
    wait_until("the same port again", || {
        let output = world.lan.run("bash", &["-c", &again]);
        String::from_utf8_lossy(&output.stdout).contains("router")
    });
    // A clean stop leaves nothing behind.
    daemon.end(Signal::SIGTERM);
    assert!(!world.router.nft_list("tables").contains("inet ketuk"));
}

/// A connection that only passes through the router is no door's, though it goes to the port of one.
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

/// Whoever forges an address sends a SYN and never hears the answer.
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
