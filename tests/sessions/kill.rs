//! Doors that cut the connections through them when they shut.

use std::io::{ErrorKind, Read as _, Write as _};

use super::support::host::Host;
use super::*;

pub(super) const KILL: &str = "option kill 'on'";

/// Whether this end notices at once that the connection is cut.
fn is_reset(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
    let mut buffer = [0; 64];
    loop {
        match stream.write_all(b"?").and_then(|()| stream.read(&mut buffer)) {
            // Bytes from before the cut may still be there to read.
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
    // By default the kernel begins to track a connection at any of its packets.
    world.router.sysctl("net/netfilter/nf_conntrack_tcp_loose", "1");
    let daemon = start(&world, KILL);
    daemon.ask(&["open", door, CLIENT, "0"]);
    let (stream, _) = world.client.connect(ROUTER, port).expect("open");
    assert!(alive(&stream));
    daemon.ask(&["close", door]);
    assert!(!tracked(&world.router).contains("ESTABLISHED"), "the kernel has forgotten it");
    assert!(is_reset(&stream), "the knocker's end learns of it");
    assert!(!tracked(&world.router).contains("ESTABLISHED"), "and nothing brought it back");
    daemon.wait_for_log("1 connection cut");

    // When the door opens again, the client is not refused.
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

/// The server speaks first. Its packet, which comes from inside, must not bring the connection back.
#[test]
fn the_servers_next_packet_does_not_bring_it_back() {
    let world = World::with_firewall();
    world.router.sysctl("net/netfilter/nf_conntrack_tcp_loose", "1");
    let daemon = Daemon::start(&world.router, &world.scratch, &doors(KILL));
    let listener = world.lan.enter(|| std::net::TcpListener::bind("0.0.0.0:443").expect("a free port"));
    daemon.ask(&["open", "nas", CLIENT, "1"]);
    let client = world.client.enter(|| TcpStream::connect((ROUTER, 8443)).expect("open"));
    let (server, _) = listener.accept().expect("a connection");
    // This time the door shuts by its timer.
    daemon.wait_for_log("1 connection cut");
    for stream in [&server, &client] {
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    }
    wait_until("the server's end learns of it", || (&server).write_all(b"hello").is_err());
    let read = (&client).read(&mut [0; 64]);
    assert!(read.is_err(), "nothing of it reaches the client: {read:?}");
    assert!(!tracked(&world.router).contains("ESTABLISHED"));
}

/// Connections of other clients live on.
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

/// A forger opens a door again and again in a host's name. When the door shuts, the host may still make each connection that
/// it may make without the door.
#[test]
fn kill_refuses_nobody_anything_new() {
    nobody_is_refused_anything_new(KILL);
}

/// The same where the door opens for the host's whole network.
#[test]
fn kill_refuses_no_network_anything_new() {
    nobody_is_refused_anything_new(&format!("{KILL}\n\toption grant_prefix_4 '16'"));
}

fn nobody_is_refused_anything_new(options: &str) {
    let world = World::with_firewall();
    let daemon = start(&world, options);
    let (router, lan) = ("192.168.1.1", support::LAN);
    daemon.ask(&["open", "ssh", lan, "0"]);
    let (stream, _) = world.lan.connect(router, 22).expect("the LAN may without a door");
    daemon.ask(&["close", "ssh", lan]);
    daemon.wait_for_log("1 connection cut");
    assert!(is_reset(&stream), "what went through the door is cut");
    assert!(world.lan.greeted_by(router, 22).is_some(), "but a new connection is not refused");
    // This includes the source port of the connection that was cut.
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
