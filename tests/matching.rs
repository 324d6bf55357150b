//! What is a knock and what is not, with real packets at a running daemon.
//!
//! Frames are put on the wire as they are, so each case has its own source address, and all cases of a test
//! share one daemon. A source that knocks right afterwards (the control) proves that the daemon has seen
//! everything before it, and that it still opens.
#![cfg(target_os = "linux")]

mod support;

use ketuk::daemon::jobs::MAX_STARTS_OF_DOOR;
use std::fs;

use support::daemon::{Daemon, Start};
use support::wire::{Lcg, Wire, flag};
use support::{CLIENT, ROUTER, World, frames};

/// A three-step door, as in most of what follows.
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

/// Plays each knock of `cases` from an address of its own; what opened must be what is expected.
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
    // `=` is the frame before it once more: the same source port and sequence number.
    let cases = [
        ("7000 8000 9000", true),
        ("7000 = 8000 = = 9000 =", true),
        ("7000 7000 8000 8000 9000 9000", true),
        ("7001 7000 8000 9000", true),
        ("9000 7000 8000 9000", true),
        ("8000 9000 7000 8000 9000", true),
        ("7000 8000 7000 8000 9000", true),
        ("7000 9000 7000 8000 9000", true),
        ("7000 8000 22 443 12345 9000", true), // a port that no sequence names, far from all
        ("7000 8000", false),
        ("8000 9000", false),
        ("7000 9000 8000", false),
        ("9000 8000 7000", false),
        ("7000 9000 8000 9000", false),
        ("7000 8001 8000 9000", true), // one trap beside a step is a coincidence
        ("7000 8001 8000 8001 8001 9000", true),
        ("7000 8001 7999 8000 9000", false), // two are a scan
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
    // A step into one door does not spoil another that names it too: all four open on the way.
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
            ("2100 = 2300", false), // sent again is not knocked again
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

/// As game clients knock: two datagrams from one socket, without and with an IPv4 identification.
#[test]
fn one_socket_knocks_at_a_udp_port_twice() {
    let world = World::with_firewall();
    let wake = "config door 'wake'\n option sequence '15637:udp 15637:udp'\n option dest_port '80'\n option seq_timeout '1'\n option open_time '600'\n";
    let thrice = wake.replace("wake", "thrice").replace("15637:udp 15637:udp", "3000:udp 2000:udp 3000:udp");
    let daemon = Daemon::start(&world.router, &world.scratch, &format!("{SSH}{wake}{thrice}"));
    for connected in [false, true] {
        for (door, ports) in [("wake", &[15637, 15637][..]), ("thrice", &[3000, 2000, 3000])] {
            world.client.enter(|| {
                let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
                for port in ports {
                    let sent = if connected {
                        // The router refuses the datagram before, which the socket hears first.
                        let send = || socket.send(b"wake up");
                        socket.connect((ROUTER, *port)).and_then(|()| send().or_else(|_| send()))
                    } else {
                        socket.send_to(b"wake up", (ROUTER, *port))
                    };
                    sent.expect("sent");
                    // The pause is what is tried: the knocker's, not a wait for the daemon.
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
        // Who knocks the other way round is in nobody's way.
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

/// How often the log says that a door opened.
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
        // A different order each time, the same ones in every run of the test.
        random.shuffle(&mut ports);
        for port in &ports {
            wire.tcp(CLIENT, *port, flag::SYN);
        }
        wire.send();
        assert_eq!(openings(&daemon), 0, "scan {scan}");
    }
    wire.knock(CLIENT, "7000 8000 9000");
    wire.send();
    daemon.wait_for_log("OPEN SESAME");
    assert_eq!(openings(&daemon), 1, "only the control: {}", daemon.log());
    assert_eq!(daemon.counter("socket_drops"), 0, "every packet was judged");
    assert!(daemon.counter("trap") > 0);
}

#[test]
fn malformed_packets_are_no_knocks_and_do_no_harm() {
    let world = World::with_firewall();
    let mut daemon = Daemon::start(&world.router, &world.scratch, SSH);
    let mut wire = Wire::new(&world);
    let knock = |port| frames::tcp("10.9.0.1", ROUTER, (4000, port), 77, flag::SYN);
    let changed = |at: usize, value: u8| {
        let mut packet = knock(8000);
        packet[at] = value;
        packet
    };
    let broken = [
        changed(6, 0x20),           // more fragments
        changed(7, 1),              // a later fragment
        changed(0, 0x44),           // a header of 16 bytes
        changed(0, 0x4f),           // a header that reaches beyond the packet
        changed(0, 0x55),           // IP version 5
        changed(32, 4 << 4),        // a TCP header of 16 bytes
        changed(3, 39),             // a total length that cuts the TCP header off
        changed(3, 0),              // no length at all
        changed(9, 132),            // SCTP
        knock(8000)[..39].to_vec(), // the end is missing
        knock(8000)[..20].to_vec(),
        knock(8000)[..3].to_vec(),
    ];
    wire.packet(&knock(7000));
    for packet in &broken {
        wire.packet(packet);
    }
    wire.packet(&knock(9000));
    // Thousands more, with anything anywhere, in both families.
    let mut random = Lcg::new(7);
    for n in 0..6000_u32 {
        let port = [7000, 8000, 9000][random.below(3)];
        let mut packet = if n % 2 == 0 {
            frames::tcp(&format!("10.8.{}.{}", n >> 8, n & 255), ROUTER, (4000, port), n, flag::SYN)
        } else {
            extended(&mut random, n, port)
        };
        for _ in 0..random.below(4) {
            let at = random.below(packet.len());
            packet[at] = u8::try_from(random.below(256)).expect("a byte");
        }
        packet.truncate(1 + random.below(packet.len() * 2));
        wire.packet(&packet);
    }
    play(&mut wire, &daemon, "ssh", &[("7000 8000 9000", true)]);
    assert!(!daemon.lets_in("ssh", "10.9.0.1"));
    assert!(daemon.is_alive());
}

/// An IPv6 packet with a chain of extension headers, most of them wrong.
fn extended(random: &mut Lcg, n: u32, port: u16) -> Vec<u8> {
    let segment = frames::tcp("10.8.0.1", ROUTER, (4000, port), n, flag::SYN).split_off(20);
    let mut kinds = vec![];
    let mut chain = vec![];
    for _ in 0..random.below(9) {
        kinds.push([0, 43, 44, 51, 60, 135, 59][random.below(7)]);
    }
    for at in 0..kinds.len() {
        let next = kinds.get(at + 1).copied().unwrap_or(6);
        let len = u8::try_from(random.below(3)).expect("small");
        chain.extend([next, len, 0, 0]);
        chain.resize(chain.len() + 4 + 8 * usize::from(len), 0);
    }
    chain.extend(segment);
    let first = kinds.first().copied().unwrap_or(6);
    frames::ip(&format!("2001:db8:5::{n:x}"), support::ROUTER_6, first, &chain)
}

#[test]
fn a_one_step_door_knocked_two_hundred_times_is_one_element_and_no_process() {
    let world = World::with_firewall();
    let config = SSH.to_owned()
        + "config door 'one'\n list sequence '5000'\n option dest_port '80'\n option open_time '600'\n";
    let daemon = Daemon::start(&world.router, &world.scratch, &config);
    let mut wire = Wire::new(&world);
    play(&mut wire, &daemon, "one", &[(&["5000"; 200].join(" "), true)]);
    let set = world.router.nft_list("set inet fw4 ketuk_one_4");
    assert_eq!(set.matches("expires").count(), 1, "{set}");
    // cminflt: page faults of children that were waited for; 0 exactly as long as there was none.
    assert_eq!(daemon.stat(11), 0, "no process was started");
}

#[test]
fn an_iptables_door_knocked_two_hundred_times_is_one_rule() {
    let world = World::new();
    let config = "
config globals 'globals'
	option backend 'iptables'
config door 'ssh'
	option sequence '7000 8000 9000'
	option dest_port '22'
	option proto 'tcp'
config door 'one'
	list sequence '5000'
	option dest_port '80'
	option proto 'tcp'
	option open_time '600'
";
    let daemon = Start::new(&world.router, &world.scratch, config).go();
    let mut wire = Wire::new(&world);
    play(&mut wire, &daemon, "one", &[(&["5000"; 200].join(" "), true)]);
    let ours = || world.router.shell("iptables -S INPUT").matches("ketuk:one").count();
    daemon.wait_for_commands();
    assert_eq!(ours(), 1);
}

/// Each command counts those that run beside it, and says so if they are too many.
fn burst_of_commands(sequence: &str, knock: &str) {
    let world = World::new();
    let log = world.scratch.path("commands");
    let command = format!(
        "cd {}; mkdir -p at_work/$$; [ $(ls at_work | wc -l) -le {MAX_STARTS_OF_DOOR} ] || echo too many >>commands; sleep 0.02; rmdir at_work/$$; echo %IP% >>commands",
        world.scratch.path("").display()
    );
    let config = format!(
        "config globals 'globals'\n option backend 'none'\n\
         config door 'ssh'\n option sequence '7000 8000 9000'\n option start_command 'true'\n \
         option stop_command 'true'\n\
         config door 'run'\n list sequence '{sequence}'\n option start_command '{command}'\n \
         option stop_command 'true'\n option open_time '600'\n"
    );
    let daemon = Start::new(&world.router, &world.scratch, &config).go();
    let mut wire = Wire::new(&world);
    let sources: Vec<String> = (1..=40).map(|n| format!("10.9.0.{n}")).collect();
    for _ in 0..5 {
        for source in &sources {
            wire.knock(source, knock);
        }
    }
    play(&mut wire, &daemon, "run", &[]);
    daemon.wait_for_commands();
    let ran = fs::read_to_string(log).expect("what the commands wrote");
    let mut ran: Vec<&str> = ran.lines().collect();
    ran.sort_unstable();
    let mut expected: Vec<&str> = sources.iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(ran, expected, "once for each source, and never more than the bound");
}

#[test]
fn commands_of_a_burst_run_a_few_at_a_time() {
    burst_of_commands("5000", "5000");
}

#[test]
fn commands_of_a_burst_of_datagrams_run_a_few_at_a_time() {
    burst_of_commands("5000:udp", "5000:udp");
}

#[test]
fn packets_that_are_neither_step_nor_trap_do_not_wake_the_daemon() {
    let world = World::with_firewall();
    // What everybody may use is no trap.
    world.scratch.write(
        "firewall",
        "config rule\n\toption src 'wan'\n\toption proto 'tcp'\n\toption dest_port '20000-30000'\n\toption target 'ACCEPT'\n",
    );
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    let mut wire = Wire::new(&world);
    let mut random = Lcg::new(3);
    daemon.sleeps_through("thousands of packets", || {
        let received = world.router.received("wan0");
        for n in 0..4000_u32 {
            let source = format!("10.7.{}.{}", n >> 8, n & 255);
            let far = 20_000 + u16::try_from(random.below(10_000)).expect("a port");
            match n % 8 {
                0 => wire.tcp(&source, far, flag::SYN),
                1 => wire.tcp(&source, 22, flag::SYN), // what a door opens
                2 => wire.tcp(&source, 7000, flag::SYN | flag::ACK),
                3 => wire.tcp(&source, 8000, flag::RST),
                4 => wire.tcp(&source, 7001, flag::ACK),
                5 => wire.udp(&source, 7000), // a TCP step
                // A step, but not this router's.
                6 => wire.packet(&frames::tcp(&source, "203.0.113.77", (1, 7000), n, flag::SYN)),
                _ => wire.packet(&frames::ip(&source, ROUTER, 1, &[8, 0, 0, 0, 0, 0, 0, 0])),
            }
        }
        wire.send();
        daemon.wait("the router has them all", |_| world.router.received("wan0") >= received + 4000);
    });
    let counted = |daemon: &Daemon<'_>| {
        let status = daemon.status();
        let counters = status["counters"].as_object().expect("counters");
        counters.values().filter_map(serde_json::Value::as_u64).sum::<u64>()
    };
    assert_eq!(counted(&daemon), 0, "not one of them reached the daemon");
    // It does hear what matters.
    wire.knock(CLIENT, "7000 8000 9000");
    wire.send();
    daemon.wait_for_log("OPEN SESAME");
    assert_eq!(counted(&daemon), 3);
}
