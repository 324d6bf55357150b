//! A daemon that shuts ports itself, with nftables or with iptables.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use super::daemon::Daemon;
use super::{ROUTER, ROUTER_6, World, wait_until};

/// The daemon shuts the router's ports on the WAN and opens each for the knocker alone. Connections from before and the
/// LAN are left alone. TCP port 22 opens by a knock at port 7000 for a few seconds, UDP port 53 by one at 7500.
pub fn ports_are_shut_and_open_for_the_knocker_alone<'w>(
    world: &'w World,
    start: impl FnOnce(&'w World) -> Daemon<'w>,
) -> Daemon<'w> {
    // Nobody tracks this connection before the daemon's start.
    let (mut stream, _) = world.client.connect(ROUTER, 22).expect("open before the start");
    let daemon = start(world);
    let said = "door 'ssh': tcp port 22 is shut on wan0 for everybody who has not knocked";
    assert!(daemon.log().contains(said), "{}", daemon.log());
    for address in [ROUTER, ROUTER_6] {
        assert_eq!(world.client.greeted_by(address, 22), None, "shut");
        world.client.knock(address, "7000");
        wait_until("it opens", || world.client.greeted_by(address, 22).is_some());
        assert_eq!(world.stranger.greeted_by(address, 22), None, "for nobody else");
        wait_until("it shuts on time", || world.client.greeted_by(address, 22).is_none());
    }
    stream.write_all(b"still there").expect("the connection goes on");
    let mut heard = Vec::new();
    // The end of the greeting may come first.
    while !heard.ends_with(b"still there") {
        let mut buffer = [0; 64];
        let len = stream.read(&mut buffer).expect("the connection goes on");
        assert!(len > 0, "the connection ended");
        heard.extend_from_slice(&buffer[..len]);
    }
    assert!(world.lan.greeted_by("192.168.1.1", 22).is_some(), "nothing is shut from the LAN");
    assert_eq!(world.client.answered_by(ROUTER, 53), None, "a UDP port is shut too");
    world.client.knock(ROUTER, "7500");
    wait_until("it opens", || world.client.answered_by(ROUTER, 53).is_some());
    assert_eq!(world.stranger.answered_by(ROUTER, 53), None);
    daemon
}

/// Waits for the condition, for the time in which a table comes back: a second, doubled for a slow machine.
pub fn soon(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    wait_until(what, &mut done);
    assert!(begun.elapsed() < Duration::from_secs(2), "{what}: after {:?}", begun.elapsed());
}
