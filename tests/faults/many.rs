//! As much as there can be.

use std::fmt::Write as _;

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

#[test]
fn two_hundred_and_fifty_six_are_in_and_the_next_is_refused_clearly() {
    let world = World::with_firewall();
    let config = SSH.to_owned()
        + "config door 'one'\n\tlist sequence '5000'\n\toption dest_port '80'\n\toption open_time '600'\n";
    let daemon = Daemon::start(&world.router, &world.scratch, &config);
    let mut wire = Wire::new(&world);
    let addresses = |daemon: &Daemon<'_>| -> Vec<String> {
        let status = daemon.status();
        let grants = status["grants"].as_array().map_or(&[][..], Vec::as_slice);
        grants.iter().filter_map(|grant| grant["address"].as_str().map(str::to_owned)).collect()
    };
    daemon.wait("256 are in", |daemon| {
        // As fast as the daemon lets people in: who came too fast is refused, and knocks again.
        let inside = addresses(daemon);
        let outside = (0..256).map(|n| format!("10.9.{}.{}", n / 128, n % 128));
        for address in outside.filter(|address| !inside.contains(address)).take(20) {
            wire.knock(&address, "5000");
        }
        wire.send();
        inside.len() == 256
    });
    let refusal = format!("{CLIENT}: ssh: not opened: too many doors are open");
    // The crowd before has used up the lines that strangers may cause in a second.
    daemon.wait("the next is refused, and the log says why", |daemon| {
        super::knock(&world);
        daemon.log().contains(&refusal)
    });
    assert!(daemon.counter("grants_full") > 0);
    let output = daemon.control(&["open", "ssh", CLIENT]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("too many doors are open"));
    // Who is in can be renewed and shut, and then there is room.
    daemon.ask(&["open", "one", "10.9.0.1", "900"]);
    assert_eq!(daemon.ask(&["status"]).matches("open one for 10.9.").count(), 256);
    daemon.ask(&["close", "one"]);
    assert_eq!(addresses(&daemon), [""; 0]);
    let set = world.router.nft_list("set inet fw4 ketuk_one_4");
    assert!(!set.contains("elements"), "{set}");
    knock_and_enter(&world, &daemon);
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
