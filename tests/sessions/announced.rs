//! Sessions with and without the kernel's announcements of the ends of connections.

use std::time::Instant;

use ketuk::core::session::POLL;

use super::support::{CLIENT, ROUTER, World};
use super::{SESSION, SHUT_WITHIN, is_shut, outlives_open_time, start, wait_until_held};

/// When the connection began, nobody listened for its end.
#[test]
fn a_connection_from_before_the_door_opened_holds_it_no_longer_than_it_lives() {
    let world = World::with_firewall();
    let daemon = start(&world, SESSION);
    world.router.nft("insert rule inet fw4 input_wan tcp dport 22 accept");
    let (stream, _) = world.client.connect(ROUTER, 22).expect("the port is open to everybody");
    daemon.ask(&["open", "ssh", CLIENT]);
    wait_until_held(&daemon, 1);
    drop(stream);
    let ended = Instant::now();
    daemon.wait("the door is shut", |_| is_shut(&world, "ssh"));
    assert!(ended.elapsed() < SHUT_WITHIN, "shut after {:?}", ended.elapsed());
}

#[test]
fn a_session_ends_where_the_kernel_announces_nothing() {
    let world = World::with_firewall();
    world.router.sysctl("net/netfilter/nf_conntrack_events", "0");
    let daemon = start(&world, SESSION);
    daemon.ask(&["open", "ssh", CLIENT]);
    let (stream, _) = world.client.connect(ROUTER, 22).expect("open");
    outlives_open_time(&world, &daemon, "ssh", stream, &|| world.client.greeted_by(ROUTER, 22));
}

/// The kernel announces the connection's end, so nobody has to count.
#[test]
fn a_session_that_goes_on_wakes_nobody() {
    let world = World::with_firewall();
    let daemon = start(&world, SESSION);
    daemon.ask(&["open", "ssh", CLIENT]);
    let _stream = world.client.connect(ROUTER, 22).expect("open");
    wait_until_held(&daemon, 1);
    daemon.sleeps_through("a session", || std::thread::sleep(POLL + POLL / 2));
}
