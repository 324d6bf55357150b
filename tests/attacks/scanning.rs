//! A scanner sends to many ports in some order. `tests/scans.rs` plays a thousand scans of each kind against the core;
//! this file sends them over a wire.

use std::fmt::Write as _;

use super::support::daemon::Daemon;
use super::support::wire::{Lcg, Wire};
use super::support::{CLIENT, ROUTER, STRANGER, World};
use super::*;

/// Doors with random sequences of three ports, and a door with a known sequence. When that one opens, the daemon has heard all
/// packets before.
fn doors(count: usize) -> String {
    let mut random = Lcg::new(4);
    let mut config = CONFIG.to_owned();
    for number in 0..count {
        let [a, b, c] = [(); 3].map(|()| 1 + random.below(65_535));
        let _ = write!(
            config,
            "config door 'door{number}'\n\toption sequence '{a} {b} {c}'\n\toption dest_port '{}'\n",
            1000 + number
        );
    }
    config
}

#[test]
fn scans_over_the_wire() {
    const DOORS: usize = 60;
    let attack = Attack::new(
        "scanner",
        "all ports up, down, in random order and by a stride, every 50th to 1,111th port, and nmap, at 60 doors",
    );
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, &doors(DOORS));
    let mut wire = Wire::new(&world);
    let all: Vec<u16> = (1..=u16::MAX).collect();
    let mut shuffled = all.clone();
    Lcg::new(8).shuffle(&mut shuffled);
    let every = |stride: usize, offset: usize| all.iter().copied().skip(offset).step_by(stride);
    let by_strides = (0..1000).flat_map(|offset| every(1000, offset)).collect();
    let mut scans = vec![all.clone(), all.iter().rev().copied().collect(), shuffled, by_strides];
    scans.extend([50, 100, 250, 500, 1000, 1111].map(|stride| every(stride, stride - 1).collect()));
    let count = scans.len() + 1;
    for scan in scans {
        for port in scan {
            wire.tcp(STRANGER, port, 2);
        }
        wire.send_scan();
        assert_eq!(daemon.status()["grants"].as_array().map(Vec::len), Some(0));
    }
    world
        .stranger
        .stdout("nmap", &["-n", "-Pn", "-sS", "--max-retries", "0", "-T5", "--top-ports", "1000", ROUTER]);
    wire.knock(CLIENT, KNOWN);
    wire.send();
    daemon.wait("a right knock opens", |daemon| daemon.lets_in("plain", CLIENT));
    assert_eq!(daemon.status()["grants"].as_array().map(Vec::len), Some(1), "and nothing else is open");
    attack.came_to(&format!("{count} scans opened 0 of {} doors", DOORS + 1));
}
