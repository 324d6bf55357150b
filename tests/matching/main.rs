//! Real packets at a running daemon: which of them are knocks.
//!
//! The test builds the frames itself, so each case has a source address of its own, and all cases of a test share one daemon.
//! Afterwards another source (the control) knocks right. When it gets in, the daemon has judged all frames before.
#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

mod bursts;
mod malformed;

use support::daemon::Daemon;
use support::wire::{Lcg, Wire, flag};
use support::{CLIENT, ROUTER, World};

/// A door with three steps, which most tests use.
const SSH: &str = "
config globals 'globals'
	option backend 'fw4'
config door 'ssh'
	list sequence '7000'
	list sequence '8000'
	list sequence '9000'
	option proto 'tcp'
	option dest_port '22'
	option open_time '600'
";

/// Plays each knock of `cases` from an address of its own, and compares the result with the expected one.
fn play(wire: &mut Wire<'_>, daemon: &Daemon<'_>, door: &str, cases: &[(&str, bool)]) {
    let sources: Vec<String> = (1..=cases.len()).map(|n| format!("10.{}.0.{n}", door.len())).collect();
    for ((knocks, _), source) in cases.iter().zip(&sources) {
        wire.knock(source, knocks);
    }
    wire.knock(CLIENT, "7000 8000 9000");
    wire.send();
    daemon.wait("the control opens", |daemon| daemon.lets_in("ssh", CLIENT));
    for ((knocks, opens), source) in cases.iter().zip(&sources) {
        assert_eq!(daemon.lets_in(door, source), *opens, "door '{door}', knocks '{knocks}' from {source}");
    }
    daemon.ask(&["close", "ssh", CLIENT]);
}

#[test]
fn three_steps() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    let mut wire = Wire::new(&world);
    // `=` stands for the previous frame again, with the same source port and sequence number.
    let cases = [
        ("7000 8000 9000", true),
        ("7000 = 8000 = = 9000 =", true),
        ("7000 7000 8000 8000 9000 9000", true),
        ("7001 7000 8000 9000", true),
        ("9000 7000 8000 9000", true),
        ("8000 9000 7000 8000 9000", true),
        ("7000 8000 7000 8000 9000", true),
        ("7000 9000 7000 8000 9000", true),
        ("7000 8000 22 443 12345 9000", true), // a port that no sequence names, far from all steps
        ("7000 8000", false),
        ("8000 9000", false),
        ("7000 9000 8000", false),
        ("9000 8000 7000", false),
        ("7000 9000 8000 9000", false),
        ("7000 8001 8000 9000", true), // one trap beside a step is a coincidence
        ("7000 8001 8000 8001 8001 9000", true),
        ("7000 8001 7999 8000 9000", false), // two different ones are a scan
        ("7000 7999 8000 8999 9000", false),
        ("7000 8000 8999 9001 9000", false),
        ("7000 8000 7000 9000", true), // a late second try of an earlier step
        ("7000 8000 7000 8000 = 9000", true),
        ("7000:udp 8000:udp 9000:udp", false),
        ("7000 8000:udp 9000", false),
        ("7000:sa 8000:sa 9000:sa", false),
        ("7000:a 8000:a 9000:a", false),
        ("7000:r 8000:r 9000:r", false),
        ("7000:f 8000:f 9000:f", false),
        ("7000:sf 8000:sr 9000:sf", false),
        ("7000: 8000: 9000:", false), // no flags
        ("7000 8000:sa 8000:a 8000:r 8000:fa 7000:r 8000 9000:fpu 9000:a 9000", true),
    ];
    play(&mut wire, &daemon, "ssh", &cases);
}

#[test]
fn doors_that_share_ports() {
    let door = |name: &str, sequence: &str| {
        format!(
            "config door '{name}'\n option sequence '{sequence}'\n option dest_port '80'\n option open_time '600'\n"
        )
    };
    let doors = [
        ("long", "1100 1300 1500 1700"),
        ("short", "1100 1300"),
        ("inner", "1300 1500"),
        ("one", "1700"),
        ("twice", "2100 2100 2300"),
        ("thrice", "2500 2500 2500"),
        ("back", "2700 2900 2700 3100"),
    ];
    let config = doors.map(|(name, sequence)| door(name, sequence)).concat();
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, &format!("{SSH}{config}"));
    let mut wire = Wire::new(&world);
    // A port that is a step of several doors spoils none of them: all four doors open.
    let way = "1100 1300 1500 1700";
    for door in ["long", "short", "inner", "one"] {
        play(&mut wire, &daemon, door, &[(way, true)]);
    }
    play(&mut wire, &daemon, "short", &[("1100 1500 1300", true), ("1300 1100", false)]);
    play(
        &mut wire,
        &daemon,
        "twice",
        &[
            ("2100 2100 2300", true),
            ("2100 = 2300", false), // a frame that is sent again is no second knock
            ("2100 = 2100 = 2300", true),
            ("2100 2100 2100 2300", true),
            ("2100 2300 2100 2300", false),
        ],
    );
    play(
        &mut wire,
        &daemon,
        "thrice",
        &[("2500 2500 2500", true), ("2500 2500 =", false), ("2500 2500 = 2500", true)],
    );
    play(
        &mut wire,
        &daemon,
        "back",
        &[("2700 2900 2700 3100", true), ("2700 2900 = 2700 = 3100", true), ("2700 2900 3100", false)],
    );
}

/// Some clients send two datagrams from one socket, without or with an IPv4 identification.
#[test]
fn one_socket_knocks_at_a_udp_port_twice() {
    let world = World::with_firewall();
    let wake = "config door 'wake'\n option sequence '15637:udp 15637:udp'\n option dest_port '80'\n option seq_timeout '10'\n option open_time '600'\n";
    let thrice = wake.replace("wake", "thrice").replace("15637:udp 15637:udp", "3000:udp 2000:udp 3000:udp");
    let daemon = Daemon::start(&world.router, &world.scratch, &format!("{SSH}{wake}{thrice}"));
    for connected in [false, true] {
        for (door, ports) in [("wake", &[15637, 15637][..]), ("thrice", &[3000, 2000, 3000])] {
            world.client.enter(|| {
                let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
                for port in ports {
                    let sent = if connected {
                        // The router has refused the last datagram, and the socket reports that first.
                        let send = || socket.send(b"wake up");
                        socket.connect((ROUTER, *port)).and_then(|()| send().or_else(|_| send()))
                    } else {
                        socket.send_to(b"wake up", (ROUTER, *port))
                    };
                    sent.expect("sent");
                    // This is the knocker's pause, which the test is about. It does not wait for the daemon.
                    std::thread::sleep(std::time::Duration::from_millis(150));
                }
            });
            daemon.wait("it opens", |daemon| daemon.lets_in(door, CLIENT));
            daemon.ask(&["close", door]);
        }
    }
    let mut wire = Wire::new(&world);
    play(&mut wire, &daemon, "wake", &[("15637:udp =", false)]);
}

/// Somebody behind the knocker's address uses a service at 8080, which lies near a step.
#[test]
fn a_port_in_use_near_a_step_spoils_nothing() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    let mut wire = Wire::new(&world);
    let cases =
        ["7000 8080 8080 8000 8080 9000", "8080 7000 8080 8000 8080 9000 8080"].map(|knocks| (knocks, true));
    play(&mut wire, &daemon, "ssh", &cases);
    assert!(daemon.counter("forgiven") > 0, "8080 is a trap");
}

#[test]
fn two_clients_interleaved_step_by_step() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    let mut wire = Wire::new(&world);
    for port in ["7000", "8000", "9000"] {
        for source in ["10.9.0.1", "10.9.0.2"] {
            wire.knock(source, port);
        }
        // A source that knocks in the other order does not disturb the others.
        wire.knock(
            "10.9.0.3",
            match port {
                "7000" => "9000",
                "9000" => "7000",
                other => other,
            },
        );
    }
    play(&mut wire, &daemon, "ssh", &[]);
    let opened = ["10.9.0.1", "10.9.0.2", "10.9.0.3"].map(|source| daemon.lets_in("ssh", source));
    assert_eq!(opened, [true, true, false]);
}

/// The number of openings in the log.
fn openings(daemon: &Daemon<'_>) -> usize {
    daemon.log().matches("OPEN SESAME").count()
}

#[test]
fn nmap_scans_every_port_in_order_and_opens_nothing() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    let scan = "nmap -sS -Pn -n -r -p- --max-retries 0 --min-rate 30000 203.0.113.1";
    world.client.shell(scan);
    assert!(daemon.counter("trap") > 0, "the scan was seen");
    let mut wire = Wire::new(&world);
    wire.knock(CLIENT, "7000 8000 9000");
    wire.send();
    daemon.wait_for_log("OPEN SESAME");
    assert_eq!(openings(&daemon), 1, "only the control: {}", daemon.log());
}

#[test]
fn twenty_scans_of_every_port_in_random_order_open_nothing() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    let mut wire = Wire::new(&world);
    let mut ports: Vec<u16> = (1..=u16::MAX).collect();
    let mut random = Lcg::new(20);
    for scan in 0..20 {
        // Each round has another order, and every run of the test has the same orders.
        random.shuffle(&mut ports);
        for port in &ports {
            wire.tcp(CLIENT, *port, flag::SYN);
        }
        wire.send_scan();
        assert_eq!(openings(&daemon), 0, "scan {scan}");
    }
    wire.knock(CLIENT, "7000 8000 9000");
    wire.send();
    daemon.wait_for_log("OPEN SESAME");
    assert_eq!(openings(&daemon), 1, "only the control: {}", daemon.log());
    assert_eq!(daemon.counter("socket_drops"), 0, "every packet was judged");
    assert!(daemon.counter("trap") > 0);
}
