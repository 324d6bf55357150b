//! A forger sends with any source address, also that of a user whom he knows.

use nix::sys::signal::Signal;

use super::support::daemon::{Daemon, Start};
use super::support::wire::{Lcg, Wire, flag};
use super::support::{CLIENT, LAN, ROUTER, STRANGER, World, frames, ketuk, succeeded};
use super::*;

#[test]
fn names_that_cannot_be_true_where_they_come_in() {
    let attack = Attack::new(
        "forger",
        "the right sequence in the names of the router, a LAN host, loopback, multicast …",
    );
    let world = World::with_firewall();
    world.router.serve(22);
    let config = CONFIG.replace("option dest_port '22'", "option dest_port '22'\n\toption kill 'on'");
    let daemon = Daemon::start(&world.router, &world.scratch, &config);
    let mut wire = Wire::new(&world);
    let names =
        [ROUTER, LAN, "192.168.1.1", "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "203.0.113.255"];
    for name in names {
        for _ in 0..22 {
            wire.knock(name, KNOWN);
        }
    }
    // The last knock is right. When it has opened the door, the others have been judged.
    wire.knock(CLIENT, KNOWN);
    wire.send();
    daemon.wait("the right knock opens", |daemon| daemon.lets_in("plain", CLIENT));
    assert_eq!(inside(&daemon, "plain"), [CLIENT]);
    assert_eq!(daemon.counter("implausible"), 0, "the kernel's filter dropped them");
    assert!(world.lan.greeted_by("192.168.1.1", 22).is_some(), "the LAN is refused nothing");
    attack.came_to("0 of 176 opened; dropped in the kernel, the daemon was not woken");
}

#[test]
fn an_address_outside_src_named_from_inside() {
    let attack = Attack::new("forger", "a stolen packet, from a network in `src`, for an address outside it");
    let world = World::with_firewall();
    let config = CONFIG
        .replace("option dest_port '443'", "option dest_port '443'\n\tlist src '198.51.100.0/24'")
        .replace("config user 'alice'", "config user 'alice'\n\toption other_address '1'");
    let daemon = Daemon::start(&world.router, &world.scratch, &config);
    a_second_later();
    send(&world.client, ROUTER, &alices(1, Some(STRANGER.parse().expect("an address"))));
    daemon.wait("it is judged", |daemon| daemon.counter("not_from_src") + daemon.counter("opened") > 0);
    assert_eq!(inside(&daemon, "hers"), [""; 0]);
    send(&world.client, ROUTER, &alices(2, Some("198.51.100.77".parse().expect("an address"))));
    daemon.wait("inside it is fine", |daemon| inside(daemon, "hers") == ["198.51.100.77"]);
    attack.came_to("refused");
}

/// A plain knock in her name at her door, then a crash: the grant stays hers.
#[test]
fn a_user_who_is_deleted_stays_in_by_no_trick() {
    let attack = Attack::new(
        "forger, deleted user",
        "plain knocks in her name, the daemon killed, then she is deleted",
    );
    let world = World::with_firewall();
    let config =
        CONFIG.replace("config door 'hers'", "config door 'hers'\n\toption sequence '51111 12121 33434'");
    let daemon = Daemon::start(&world.router, &world.scratch, &config);
    a_second_later();
    send(&world.client, ROUTER, &alices(1, None));
    daemon.wait("she is in", |daemon| daemon.lets_in("hers", CLIENT));
    let mut wire = Wire::new(&world);
    wire.knock(CLIENT, "51111 12121 33434");
    wire.send();
    // A knock too soon after her packet would change nothing.
    daemon.wait("it is judged", |daemon| daemon.counter("opened") + daemon.counter("unchanged") == 2);
    daemon.end(Signal::SIGKILL);
    let without_her = config.replace("config user 'alice'", "config user 'alice'\n\toption enabled '0'");
    let daemon = Start::new(&world.router, &world.scratch, &without_her).go();
    assert_eq!(inside(&daemon, "hers"), [""; 0]);
    assert!(!world.router.nft_list("set inet fw4 ketuk_hers_4").contains(CLIENT));
    attack.came_to("she is out when the next daemon has started");
}

#[test]
fn half_a_handshake_holds_no_session_door() {
    let attack = Attack::new("forger", "SYNs in a user's name to hold his session door open");
    let world = World::with_firewall();
    world.router.serve(22);
    let config = CONFIG
        .replace("option dest_port '22'", "option dest_port '22'\n\toption close 'session'")
        .replacen("'600'", "'2'", 1);
    let daemon = Daemon::start(&world.router, &world.scratch, &config);
    world.client.nft(
        "table inet deaf {\nchain input {\ntype filter hook input priority 0; tcp flags & (syn|ack) == syn|ack drop\n}\n}",
    );
    daemon.ask(&["open", "plain", CLIENT]);
    let mut wire = Wire::new(&world);
    let mut sent = 0;
    daemon.wait("the door is shut", |daemon| {
        wire.tcp(CLIENT, 22, flag::SYN);
        wire.send();
        sent += 1;
        inside(daemon, "plain").is_empty()
    });
    assert!(sent > 1, "one at least was sent while the door was open");
    attack.came_to("shut when its time was over");
}

/// An fwknop client's packet does not name its user, so the daemon counts failures of a source.
#[test]
fn failures_in_an_fwknop_users_name_do_not_keep_him_out() {
    let attack =
        Attack::new("forger who knows the address", "200 false fwknop packets in an fwknop user's name");
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    a_second_later();
    let mut wire = Wire::new(&world);
    let mut random = Lcg::new(19);
    for _ in 0..200 {
        let letters = (0..200).map(|_| b'a' + u8::try_from(random.below(26)).expect("a letter"));
        let payload: Vec<u8> = b"9".iter().copied().chain(letters).collect();
        let mut datagram = [40_000_u16.to_be_bytes(), SPA.to_be_bytes()].concat();
        datagram.extend(u16::try_from(8 + payload.len()).expect("short").to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(payload);
        wire.packet(&frames::ip(CLIENT, ROUTER, 17, &datagram));
    }
    wire.send();
    daemon.wait("all have failed", |daemon| daemon.counter("auth_unknown") == 200);
    let home = format!("HOME={}", world.scratch.path("").display());
    let keys = [
        "--key-base64-rijndael",
        "c3BhLXRlc3Qta2V5LTAxMjM0NTY3ODlhYmNkZWY=",
        "--key-base64-hmac",
        "c3BhLXRlc3QtaG1hYy1rZXktMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk=",
    ];
    let begin = [&home, "fwknop", "--no-save-args", "--no-rc-file", "-D", ROUTER, "--use-hmac"];
    let arguments = [&begin[..], &keys, &["-A", "tcp/443", "-s"]].concat();
    succeeded("fwknop", &arguments, &world.client.run("env", &arguments));
    daemon.wait("his packet opens", |daemon| daemon.lets_in("hers", CLIENT));
    attack.came_to("his own packet opened at once");
}

/// A forger knows a user's address. He can spoil some kinds of knocks, and others not.
#[test]
fn a_thousand_syns_a_second_in_a_users_name() {
    const TRIES: u8 = 10;
    let attack = Attack::new(
        "forger who knows the address",
        "1,000 SYNs a second to random ports in the name of a knocker",
    );
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    a_second_later();
    let mut random = Lcg::new(6);
    let mac = world.router.mac("wan0");
    let forged: Vec<_> = (0..1000_u16)
        .map(|n| {
            let port = u16::try_from(1 + random.below(65_535)).expect("a port");
            frames::ethernet(mac, None, &frames::tcp(CLIENT, ROUTER, (30_000 + n, port), n.into(), flag::SYN))
        })
        .collect();
    let mut plain = 0;
    during_a_flood(&world, &forged, 1000, |_| {
        for number in 1..=TRIES {
            world.client.stdout(ketuk(), &[&[ROUTER][..], &STEPS].concat());
            // Her packet comes after the knocks. When it has opened the door, they have been judged.
            send(&world.client, ROUTER, &alices(number, None));
            daemon.wait("her packet opens", |daemon| daemon.lets_in("hers", CLIENT));
            plain += u8::from(daemon.lets_in("plain", CLIENT));
            daemon.ask(&["close", "hers"]);
            daemon.ask(&["close", "plain"]);
        }
    });
    attack.came_to(&format!(
        "{TRIES} of {TRIES} of ketuk's packets opened, and {plain} of {TRIES} plain sequences"
    ));
}
