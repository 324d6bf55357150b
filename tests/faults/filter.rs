//! The kernel has little or no room for the packet filter.

use std::fmt::Write as _;

use super::support::daemon::Daemon;
use super::support::{CLIENT, World};
use super::{SSH, knock_and_enter};

/// Many doors of twelve steps. The test knocks at the last one.
fn many(doors: usize) -> String {
    let mut config = SSH.to_owned();
    for door in 0..doors {
        let ports: Vec<_> =
            (0..12).map(|step| (1009 + 1361 * (12 * door + step) % 64_000).to_string()).collect();
        let _ = writeln!(
            config,
            "config door 'many{door}'\n\toption sequence '{}'\n\toption start_command 'true'",
            ports.join(" ")
        );
    }
    config
}

/// Asserts that knocks open the first door and the last of the many.
fn hears(world: &World, daemon: &Daemon<'_>, last: usize) {
    knock_and_enter(world, daemon);
    daemon.ask(&["close", "ssh"]);
    let ports: Vec<_> = (0..12).map(|step| (1009 + 1361 * (12 * last + step) % 64_000).to_string()).collect();
    let mut wire = super::support::wire::Wire::new(world);
    wire.knock(CLIENT, &ports.join(" "));
    wire.send();
    daemon.wait_for_log(&format!("many{last}: OPEN SESAME"));
}

/// The default is 20,480 bytes on 64-bit kernels before Linux 6.8, and 10,240 on 32-bit ones.
#[test]
fn after_a_reload_new_knocks_are_heard_however_little_room_there_is() {
    for room in ["20480", "10240", "6144"] {
        let world = World::with_firewall();
        world.router.sysctl("net/core/optmem_max", room);
        let daemon = Daemon::start(&world.router, &world.scratch, &many(39));
        hears(&world, &daemon, 38);
        daemon.write_config(&many(40));
        daemon.ask(&["reload"]);
        hears(&world, &daemon, 39);
        assert_eq!(daemon.status()["devices"][0]["state"], "listening");
        let coarse = "wan0: the exact packet filter is too long for this kernel (net.core.optmem_max)";
        assert_eq!(daemon.log().matches(coarse).count(), 1, "said once: {}", daemon.log());
        daemon.write_config(SSH);
        daemon.ask(&["reload"]);
        if room != "6144" {
            daemon.wait_for_log("wan0: the packet filter is exact again");
        }
    }
}

#[test]
fn a_filter_that_the_kernel_refuses_is_said_and_tried_again() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, &many(2));
    world.router.sysctl("net/core/optmem_max", "1");
    daemon.write_config(&many(3));
    daemon.ask(&["reload"]);
    daemon.wait_for_log(
        "wan0: new knocks may not be heard: the kernel refused the packet filter: Cannot allocate memory (os error 12); trying again every 10 s",
    );
    assert_eq!(daemon.status()["devices"][0]["state"], "refused");
    let status = daemon.ask(&["status"]);
    assert!(status.contains(", MAY HEAR NOTHING: the kernel refuses a packet filter; "), "{status}");
    let said = "device wan0: refused: the kernel refuses the packet filter, so new knocks may not be heard";
    assert!(status.contains(said), "{status}");
    // Knocks that were heard before are still heard.
    hears(&world, &daemon, 1);
    world.router.sysctl("net/core/optmem_max", "131072");
    daemon.wait("it is listening again", |daemon| daemon.status()["devices"][0]["state"] == "listening");
    hears(&world, &daemon, 2);
}
