//! Packets that are damaged or meant for others.

use super::support::daemon::Daemon;
use super::support::wire::{Lcg, Wire, flag};
use super::support::{CLIENT, ROUTER, ROUTER_6, World, frames};
use super::{SSH, play};

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
    // Thousands more packets with random changes, in both families.
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
    frames::ip(&format!("2001:db8:5::{n:x}"), ROUTER_6, first, &chain)
}

#[test]
fn packets_that_are_neither_step_nor_trap_do_not_wake_the_daemon() {
    let world = World::with_firewall();
    // A port that is open to everybody is no trap.
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
    // The daemon does hear knocks.
    wire.knock(CLIENT, "7000 8000 9000");
    wire.send();
    daemon.wait_for_log("OPEN SESAME");
    assert_eq!(counted(&daemon), 3);
}
