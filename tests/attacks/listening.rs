//! A listener has recorded every packet, and sends the packets again.

use std::time::Instant;

use ketuk::core::access::DOOR_KNOCK_GRANTS;
use nix::sys::signal::Signal;

use super::support::daemon::{Daemon, Start};
use super::support::wire::Wire;
use super::support::{CLIENT, ROUTER, ROUTER_6, World, frames};
use super::*;

#[test]
fn a_recorded_packet_at_once_from_elsewhere_and_after_a_restart() {
    let attack =
        Attack::new("listener", "a recorded packet: at once, from elsewhere, after a stop, after a crash");
    let world = World::with_firewall();
    let mut daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    a_second_later();
    let packet = alices(1, None);
    send(&world.client, ROUTER, &packet);
    daemon.wait("it opens", |daemon| daemon.lets_in("hers", CLIENT));
    daemon.ask(&["close", "hers"]);
    let mut tried = 0;
    for end in [None, Some(Signal::SIGTERM), Some(Signal::SIGKILL)] {
        if let Some(signal) = end {
            daemon.end(signal);
            daemon = Start::new(&world.router, &world.scratch, CONFIG).go();
        }
        for (from, to) in [(&world.client, ROUTER), (&world.stranger, ROUTER), (&world.stranger, ROUTER_6)] {
            let before = daemon.counter("auth_replay");
            send(from, to, &packet);
            daemon.wait("it is refused", |daemon| daemon.counter("auth_replay") == before + 1);
            tried += 1;
        }
        assert_eq!(inside(&daemon, "hers"), [""; 0]);
    }
    attack.came_to(&format!("0 of {tried} opened"));
}

/// The listener repeats a plain sequence from many addresses.
#[test]
fn a_plain_door_is_filled() {
    const TRIES: u8 = 18;
    let attack = Attack::new(
        "listener at a plain door",
        "its sequence from 200 forged addresses, again and again, while a user and the operator open others",
    );
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    a_second_later();
    let mut wire = Wire::new(&world);
    for number in 1..=TRIES {
        for host in 1..=200 {
            wire.knock(&format!("10.9.{number}.{host}"), KNOWN);
        }
        wire.send();
        send(&world.client, ROUTER, &alices(number, None));
        daemon.wait("her packet opens", |daemon| daemon.lets_in("hers", CLIENT));
        let by_hand = format!("192.0.2.{number}");
        daemon.ask(&["open", "plain", &by_hand]);
        assert!(daemon.lets_in("plain", &by_hand));
        daemon.ask(&["close", "hers"]);
        daemon.ask(&["close", "plain", &by_hand]);
    }
    daemon.wait_for_log(": plain: not opened: too many addresses are let in already");
    assert!(inside(&daemon, "plain").len() <= DOOR_KNOCK_GRANTS);
    attack.came_to(&format!(
        "{TRIES} of {TRIES} of the user's packets and {TRIES} of {TRIES} of the operator's opened; the log names the door"
    ));
}

/// The log shows replays even while strangers flood it.
#[test]
fn replays_are_logged_during_a_flood_of_first_knocks() {
    const REPLAYS: usize = 5;
    let attack =
        Attack::new("listener", "replays of a user's packet, hidden behind 500 forged first knocks a second");
    let world = World::with_firewall();
    let config =
        CONFIG.replace("config globals 'globals'", "config globals 'globals'\n\toption log_level 'debug'");
    let daemon = Daemon::start(&world.router, &world.scratch, &config);
    a_second_later();
    let packet = alices(1, None);
    send(&world.client, ROUTER, &packet);
    daemon.wait("it opens", |daemon| daemon.lets_in("hers", CLIENT));
    let mac = world.router.mac("wan0");
    // Each right step is followed by a wrong one, which has a line because of `log_level`.
    let [first, wrong] = [STEPS[0], STEPS[2]].map(|step| step.parse().expect("a port"));
    let forged: Vec<_> = (0..500_u16)
        .flat_map(|n| [(n, first), (n, wrong)])
        .map(|(n, to)| {
            let from = format!("10.{}.{}.1", n / 250, n % 250);
            frames::ethernet(mac, None, &frames::tcp(&from, ROUTER, (30_000 + n, to), n.into(), 2))
        })
        .collect();
    let begun = Instant::now();
    during_a_flood(&world, &forged, 1000, |is_sent| {
        daemon.wait("the flood has begun", |_| is_sent());
        for number in 1..=REPLAYS {
            send(&world.stranger, ROUTER, &packet);
            daemon.wait("it is logged", |daemon| {
                daemon.log().matches("user alice: not opened: it was used before").count() == number
            });
        }
    });
    let log = daemon.log();
    let strangers = log.lines().filter(|line| line.contains(": plain: ")).count();
    let allowed = 100 + 20 * (usize::try_from(begun.elapsed().as_secs()).expect("seconds") + 1);
    assert!((100..=allowed).contains(&strangers), "{strangers} lines about strangers, {allowed} allowed");
    assert!(log.contains("42424/tcp came"), "{log}");
    attack.came_to(&format!("{REPLAYS} of {REPLAYS} in the log, with the user's name"));
}
