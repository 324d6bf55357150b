//! The largest numbers of doors, devices and grants.

use std::fmt::Write as _;

use ketuk::core::access::DOOR_KNOCK_GRANTS;

use super::support::daemon::Daemon;
use super::support::wire::Wire;
use super::support::{CLIENT, World};
use super::{SSH, knock_and_enter};

#[test]
fn sixty_four_doors_open_at_once() {
    let world = World::with_firewall();
    let mut config = "config globals\n\toption backend 'fw4'\n".to_owned();
    for n in 0..64 {
        let (a, b) = (10_000 + n, 30_000 + n);
        let _ = writeln!(
            config,
            "config door 'door{n}'\n\toption sequence '{a} {b}:udp'\n\toption dest_port '{n}'",
            n = n + 1
        );
    }
    let daemon = Daemon::start(&world.router, &world.scratch, &config);
    let mut wire = Wire::new(&world);
    for n in 0..64 {
        wire.knock(CLIENT, &format!("{} {}:udp", 10_000 + n, 30_000 + n));
    }
    wire.send();
    daemon.wait("all 64 are open", |daemon| daemon.status()["grants"].as_array().map(Vec::len) == Some(64));
    for n in [1, 17, 64] {
        let set = world.router.nft_list(&format!("set inet fw4 ketuk_door{n}_4"));
        assert!(set.contains(CLIENT), "{set}");
    }
}

/// An attacker who has overheard one plain sequence fills this door's quota. Other doors, users and the operator have quotas
/// of their own.
#[test]
fn one_door_that_is_filled_keeps_nobody_else_out_and_the_log_names_it() {
    let world = World::with_firewall();
    let config = SSH.to_owned()
        + "config door 'one'\n\tlist sequence '5000'\n\toption dest_port '80'\n\toption open_time '600'\n";
    let daemon = Daemon::start(&world.router, &world.scratch, &config);
    let mut wire = Wire::new(&world);
    let count = |daemon: &Daemon<'_>| daemon.status()["grants"].as_array().map_or(0, Vec::len);
    for n in 0..200 {
        wire.knock(&format!("10.9.0.{n}"), "5000");
    }
    daemon.wait("the door is full", |daemon| {
        wire.send();
        count(daemon) == DOOR_KNOCK_GRANTS && daemon.counter("grants_full") > 0
    });
    daemon.wait_for_log(": one: not opened: too many addresses are let in already");
    // Knockers of this door are refused. The operator and knockers of another door are not.
    daemon.ask(&["open", "one", "10.9.1.1", "900"]);
    assert_eq!(count(&daemon), DOOR_KNOCK_GRANTS + 1);
    knock_and_enter(&world, &daemon);
    // Existing grants can be renewed, and can be shut, which makes room.
    daemon.ask(&["open", "one", "10.9.0.1", "900"]);
    assert_eq!(count(&daemon), DOOR_KNOCK_GRANTS + 2);
    daemon.ask(&["close", "one"]);
    assert_eq!(count(&daemon), 1);
    let set = world.router.nft_list("set inet fw4 ketuk_one_4");
    assert!(!set.contains("elements"), "{set}");
}

#[test]
fn the_firewalls_own_limit_of_connections_is_no_limit_of_knocks() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    let mut wire = Wire::new(&world);
    // router.nft drops SYNs beyond 50 at once.
    for _ in 0..500 {
        wire.knock("10.9.0.9", "443");
    }
    wire.knock(CLIENT, "7000 8000 9000");
    wire.send();
    daemon.wait("the client is in", |daemon| daemon.lets_in("ssh", CLIENT));
    let chain = world.router.nft_list("chain inet fw4 syn_flood");
    assert!(chain.contains("limit rate"), "{chain}");
}
