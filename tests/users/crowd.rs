//! Many users at once, and a flood of strangers.

use std::fmt::Write as _;

use super::*;

/// A hundred users, and a flood that looks like packets of every kind while each of them knocks.
#[test]
fn a_hundred_users_in_a_flood() {
    let world = World::with_firewall();
    let mut config = CONFIG.to_owned();
    for number in 0..100_u8 {
        let mut text = [0; 64];
        let key = ketuk::protocol::base64::encode(&[number + 1; KEY], &mut text).expect("room");
        write!(config, "config user 'user{number}'\n\toption key '{key}'\n\tlist door 'ssh'\n")
            .expect("a String");
    }
    let daemon = Daemon::start(&world.router, &world.scratch, &config);
    a_second_later();
    let packets: Vec<_> = (0..100_u8)
        .map(|number| {
            let door = DoorName::new("ssh").expect("a name");
            let request = Request { time: now(), seconds: 0, address: None, door };
            Keys::derive(&[number + 1; KEY]).seal([number; NONCE], &request)
        })
        .collect();
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            world.stranger.enter(|| {
                let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
                let mut state = 1_u32;
                for n in 0..30_000_u32 {
                    let len = if n % 2 == 0 { 100 } else { 204 };
                    let bytes: Vec<u8> = std::iter::repeat_with(|| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
                        letters[(state >> 26) as usize]
                    })
                    .take(len)
                    .collect();
                    // If the device's queue is full, the test goes on.
                    let _ = socket.send_to(&[b"/", &bytes[1..]].concat(), (ROUTER, SPA));
                }
            });
        });
        for packet in &packets {
            send(&world.client, ROUTER, packet);
        }
        flood.join().expect("it sends");
    });
    // In a user namespace the socket's buffer is small. While other programs use the processor, the kernel may drop knocks, and
    // their clients try again.
    if daemon.counter("socket_drops") > 0 {
        for packet in &packets {
            send(&world.client, ROUTER, packet);
        }
    }
    wait_for_counter(&daemon, "opened", 100);
    assert_eq!(daemon.counter("opened"), 100);
    assert_eq!(grants(&daemon).len(), 1);
}

/// The status gives the reason why a knock opened nothing, for users by name, and for strangers.
#[test]
fn what_became_of_knocks_is_in_the_status() {
    let world = World::with_firewall();
    let config = CONFIG.to_owned()
        + "config door 'plain'\n\tlist sequence '7000'\n\tlist sequence '8000'\n\tlist sequence '9000'\n\toption dest_port '23'\n";
    let daemon = Daemon::start(&world.router, &world.scratch, &config);
    a_second_later();
    let packet = alices(1, now(), None);
    send(&world.client, ROUTER, &packet);
    wait_for_counter(&daemon, "opened", 1);
    send(&world.client, ROUTER, &packet);
    wait_for_counter(&daemon, "auth_replay", 1);
    world.client.stdout(ketuk(), &[ROUTER, "7000", "9000"]);
    wait_for_counter(&daemon, "wrong_step", 1);
    send(&world.client, ROUTER, b"nonsense");
    wait_for_counter(&daemon, "auth_form", 1);
    let status = daemon.status();
    let text = |recent: &serde_json::Value, name: &str| recent[name].as_str().unwrap_or("-").to_owned();
    let recents: Vec<_> = status["recents"].as_array().expect("a list").iter().collect();
    let mut said: Vec<_> = recents
        .iter()
        .map(|recent| {
            [text(recent, "address"), text(recent, "door"), text(recent, "user"), text(recent, "reason")]
        })
        .collect();
    said.sort();
    let expected = [
        ["-", "-", "auth_form"],
        ["-", "alice", "auth_replay"],
        ["plain", "-", "wrong_step"],
        ["ssh", "alice", "opened"],
    ];
    assert_eq!(said, expected.map(|[door, user, reason]| [CLIENT, door, user, reason].map(str::to_owned)));
    let plain = recents.iter().find(|recent| recent["door"] == "plain").expect("just seen");
    assert_eq!((plain["port"].as_str(), plain["stage"].as_u64()), (Some("9000:tcp"), Some(1)));
}
