//! Users at a real router. ketuk's own client and the stock fwknop client get in. A recording of their knocks opens nothing,
//! from any address, after any restart.
#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

mod crowd;
mod fwknop;
mod recording;
mod revoked;
mod sequences;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Output;
use std::thread;

use ketuk::linux::clock;
use ketuk::protocol::packet::{DoorName, KEY, Keys, NONCE, Request};
use ketuk::protocol::totp;
use nix::sys::signal::Signal;
use recording::Recording;
use support::daemon::{Daemon, Start};
use support::host::Host;
use support::{
    CLIENT, CLIENT_6, ROUTER, ROUTER_6, STRANGER, STRANGER_6, World, ketuk, succeeded, wait_until,
};

/// `AAAA...`
const KEY_TEXT: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const TOTP_TEXT: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
const FWKNOP_KEY: &str = "c3BhLXRlc3Qta2V5LTAxMjM0NTY3ODlhYmNkZWY=";
const FWKNOP_HMAC_KEY: &str = "c3BhLXRlc3QtaG1hYy1rZXktMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk=";

/// The port for packets.
const SPA: u16 = 62_201;

/// A router with doors for users. The tests may trust this machine's clock.
const CONFIG: &str = "
config globals 'globals'
	option backend 'fw4'
	option trust_clock '1'
config door 'ssh'
	option proto 'tcp'
	option dest_port '22'
	option open_time '30'
	option max_time '60'
config door 'web'
	option proto 'tcp'
	option src_dport '8080'
	option dest_ip '192.168.1.10'
	option dest_port '80'
config door 'never'
	option proto 'tcp'
	option dest_port '443'
config user 'alice'
	option key 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='
	list door 'ssh'
	list door 'web'
config user 'tom'
	option totp 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP'
	list door 'ssh'
config user 'fred'
	option fwknop_key 'c3BhLXRlc3Qta2V5LTAxMjM0NTY3ODlhYmNkZWY='
	option fwknop_hmac_key 'c3BhLXRlc3QtaG1hYy1rZXktMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk='
	list door 'ssh'
	list door 'web'
";

/// The client's arguments in the network of `host`, with its profiles in the test's folder.
fn client(world: &World, host: &Host, arguments: &[&str]) -> Output {
    let profiles = world.scratch.path("profiles");
    let profiles = format!("KETUK_PROFILES={}", profiles.display());
    host.run("env", &[&[profiles.as_str(), ketuk()], arguments].concat())
}

/// Adds the profile that `ketukd invite` prints.
fn invite(world: &World, daemon: &Daemon<'_>, user: &str) {
    let config = daemon.config().to_str().expect("a plain path").to_owned();
    let line = world.router.stdout(
        support::ketukd().to_str().expect("a plain path"),
        &["invite", user, "--host", ROUTER, "--config", &config],
    );
    assert!(line.starts_with(&format!("ketuk://{user}@{ROUTER}/ssh:22")), "{line}");
    succeeded("ketuk", &["add"], &client(world, &world.client, &["add", line.trim(), user]));
}

/// Sends a datagram to the router's port of packets.
fn send(from: &Host, to: &str, payload: &[u8]) {
    let to = SocketAddr::new(to.parse::<IpAddr>().expect("an address"), SPA);
    from.enter(|| {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        UdpSocket::bind(any).expect("a socket").send_to(payload, to).expect("sent");
    });
}

/// The grants: door, address and user of each.
fn grants(daemon: &Daemon<'_>) -> Vec<(String, String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let status = daemon.status();
    let grants = status["grants"].as_array().expect("a list");
    grants.iter().map(|grant| (text(&grant["door"]), text(&grant["address"]), text(&grant["user"]))).collect()
}

fn grant(door: &str, address: &str, user: &str) -> (String, String, String) {
    (door.to_owned(), address.to_owned(), user.to_owned())
}

/// Waits until a counter has grown to at least so much.
fn wait_for_counter(daemon: &Daemon<'_>, name: &str, at_least: u64) {
    daemon.wait(&format!("counter {name} is {at_least}"), |daemon| daemon.counter(name) >= at_least);
}

fn now() -> u64 {
    clock::wall_s()
}

fn alices(nonce: u8, time: u64, address: Option<IpAddr>) -> [u8; 100] {
    let request = Request { time, seconds: 0, address, door: DoorName::new("ssh").expect("a name") };
    Keys::derive(&[0; KEY]).seal([nonce; NONCE], &request)
}

/// Waits until new packets are newer than the daemon's start.
fn a_second_later() {
    let begun = now();
    wait_until("a second has passed", || now() > begun + 1);
}

#[test]
fn a_packet_opens_for_its_sender_and_its_recording_for_nobody() {
    let world = World::with_firewall();
    world.router.serve(22);
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    a_second_later();
    invite(&world, &daemon, "alice");
    assert_eq!(world.client.greeted_by(ROUTER, 22), None, "shut before the knock");
    let recording = Recording::start(&world.router);
    let opened = client(&world, &world.client, &["open", "alice", "--", "echo", "inside"]);
    assert_eq!(succeeded("ketuk", &["open"], &opened), "inside\n");
    assert_eq!(world.client.greeted_by(ROUTER, 22).as_deref(), Some("router"));
    assert_eq!(world.stranger.greeted_by(ROUTER, 22), None, "shut for everybody else");
    assert_eq!(grants(&daemon), [grant("ssh", CLIENT, "alice")]);
    daemon.wait_for_log(&format!("{CLIENT}: ssh: OPEN SESAME, user alice"));

    let recorded = recording.end().datagrams;
    assert!(!recorded.is_empty() && recorded.iter().all(|packet| packet.len() == 100));
    daemon.ask(&["close", "ssh"]);
    for (from, to) in [(&world.stranger, ROUTER), (&world.client, ROUTER), (&world.stranger, ROUTER_6)] {
        let before = daemon.counter("auth_replay");
        send(from, to, &recorded[0]);
        wait_for_counter(&daemon, "auth_replay", before + 1);
    }
    assert_eq!(grants(&daemon), []);
    assert!(daemon.log().contains("user alice: not opened: it was used before"), "{}", daemon.log());
    // A changed packet, a part of a packet, and a longer packet.
    let before = daemon.counter("auth_forged");
    let mut changed = recorded[0].clone();
    changed[60] ^= 1;
    send(&world.client, ROUTER, &changed);
    wait_for_counter(&daemon, "auth_forged", before + 1);
    let before = daemon.counter("auth_form");
    send(&world.client, ROUTER, &recorded[0][..99]);
    send(&world.client, ROUTER, &[&recorded[0][..], b"x"].concat());
    wait_for_counter(&daemon, "auth_form", before + 2);
    assert_eq!(grants(&daemon), []);
}

/// The client sends a packet over each family. Of changing sequences it sends that of the half minute before over one family, and
/// the present one over the other.
#[test]
fn a_name_with_both_families_opens_for_both() {
    let world = World::with_firewall();
    world.router.serve(22);
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    a_second_later();
    let hosts =
        world.scratch.write("hosts", &format!("{ROUTER_6} home.example.org\n{ROUTER} home.example.org\n"));
    let open = |user: &str| {
        let line = world.router.stdout(
            support::ketukd().to_str().expect("a plain path"),
            &[
                "invite",
                user,
                "--host",
                "home.example.org",
                "--config",
                daemon.config().to_str().expect("a plain path"),
            ],
        );
        let script = format!(
            "mount --bind {} /etc/hosts && export KETUK_PROFILES={} && {{ {} add '{}' {user} || true; }} 2>&1 && exec {} open {user}",
            hosts.display(),
            world.scratch.path("profiles").display(),
            ketuk(),
            line.trim(),
            ketuk(),
        );
        let arguments = ["--mount", "sh", "-c", &script];
        succeeded("ketuk", &["open", user], &world.client.run("unshare", &arguments));
    };
    let both = |user: &str| {
        let opened = grants(&daemon);
        [CLIENT, CLIENT_6].iter().all(|address| opened.contains(&grant("ssh", address, user)))
    };
    open("alice");
    daemon.wait("a packet opens for both", |_| both("alice"));
    daemon.ask(&["close", "ssh"]);
    // Windows that began before the daemon's start do not count. The other family gets the window before the current one, so the
    // test waits for two new windows.
    let good = (now() / totp::WINDOW_S + 2) * totp::WINDOW_S;
    while now() < good {
        thread::sleep(std::time::Duration::from_millis(200));
    }
    open("tom");
    daemon.wait("a changing sequence opens for both", |_| both("tom"));
}

#[test]
fn a_restart_makes_no_recording_new_and_keeps_nobody_out() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    a_second_later();
    // A client's clock is ahead, so after the next start this packet would still be new.
    let (ahead, right) = (alices(1, now() + 5, None), alices(2, now(), None));
    send(&world.client, ROUTER, &ahead);
    send(&world.client, ROUTER, &right);
    // If two packets come at once, the second changes nothing, because the door is open.
    daemon.wait("both are taken", |daemon| daemon.counter("opened") + daemon.counter("unchanged") == 2);
    daemon.end(Signal::SIGKILL);
    let daemon = Start::new(&world.router, &world.scratch, CONFIG).go();
    for recorded in [ahead, right] {
        let before = daemon.counter("auth_replay");
        send(&world.stranger, ROUTER, &recorded);
        wait_for_counter(&daemon, "auth_replay", before + 1);
    }
    wait_until("what was ahead is past", || {
        send(&world.client, ROUTER, &alices(u8::try_from(now() % 256).expect("a byte"), now(), None));
        daemon.counter("opened") > 0
    });
    assert!(grants(&daemon).iter().all(|(_, address, _)| address == CLIENT));
}

#[test]
fn another_address_only_for_who_may() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    a_second_later();
    let elsewhere = Some(STRANGER_6.parse().expect("an address"));
    send(&world.client, ROUTER, &alices(1, now(), elsewhere));
    wait_for_counter(&daemon, "auth_address", 1);
    assert_eq!(grants(&daemon), []);
    // fail2ban bans the address at the beginning of the line. It must not be one that the sender chooses.
    daemon.wait_for_log(&format!("{CLIENT}: ssh: user alice: not opened: it asks for another address"));
    assert!(!daemon.log().contains(&format!("{STRANGER_6}: ssh:")));
    daemon.write_config(
        &CONFIG.replace("config user 'alice'", "config user 'alice'\n\toption other_address '1'"),
    );
    daemon.ask(&["reload"]);
    send(&world.client, ROUTER, &alices(2, now() + 1, elsewhere));
    wait_for_counter(&daemon, "opened", 1);
    assert_eq!(grants(&daemon), [grant("ssh", STRANGER_6, "alice")]);
    assert!(daemon.log().contains(&format!("{STRANGER_6}: ssh: OPEN SESAME, user alice, asked by {CLIENT}")));
}

#[test]
fn who_is_revoked_is_out_at_once() {
    let world = World::with_firewall();
    world.router.serve(22);
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    a_second_later();
    send(&world.client, ROUTER, &alices(1, now(), None));
    wait_for_counter(&daemon, "opened", 1);
    assert!(world.client.greeted_by(ROUTER, 22).is_some());
    // A change of another user's secret does not affect alice.
    daemon.write_config(&CONFIG.replace(TOTP_TEXT, &"A".repeat(32)));
    daemon.ask(&["reload"]);
    assert_eq!(grants(&daemon), [grant("ssh", CLIENT, "alice")]);
    daemon.write_config(&CONFIG.replace("config user 'alice'", "config user 'alice'\n\toption enabled '0'"));
    daemon.ask(&["reload"]);
    assert_eq!(grants(&daemon), []);
    assert_eq!(world.client.greeted_by(ROUTER, 22), None);
    send(&world.client, ROUTER, &alices(2, now(), None));
    wait_for_counter(&daemon, "auth_unknown", 1);
    assert!(!daemon.log().contains(KEY_TEXT) && !daemon.log().contains(FWKNOP_HMAC_KEY));
}

/// Anybody can send packets that no key fits. The log has a separate limit for lines about their addresses. So it also names
/// users who were refused, and users who were let in.
#[test]
fn strangers_packets_are_named_and_hide_no_users() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    a_second_later();
    let at = now();
    send(&world.client, ROUTER, &alices(1, at - 3600, None));
    daemon.wait_for_log(&format!("{CLIENT}: not opened: no user's key fits it"));
    for n in 1..=100 {
        send(&world.stranger, ROUTER, b"anything");
        wait_for_counter(&daemon, "auth_form", n);
    }
    daemon.wait_for_log(&format!("{STRANGER}: not opened: it is neither ketuk's packet nor fwknop's"));
    // A minute has 60 lines more.
    let lines = daemon.log().matches(&format!("{STRANGER}: not opened")).count();
    let most = 20 + usize::try_from(now() - at).expect("a short time") + 1;
    assert!(lines <= most, "{lines} lines, at most {most}");
    let hers = alices(2, now(), None);
    send(&world.client, ROUTER, &hers);
    daemon.wait_for_log(&format!("{CLIENT}: ssh: OPEN SESAME, user alice"));
    send(&world.client, ROUTER, &hers);
    daemon.wait_for_log(&format!("{CLIENT}: user alice: not opened: it was used before"));
}

/// Without `trust_clock`: on a host without NTP and without a clock chip users are refused, and plain sequences work. On
/// other hosts users get in.
#[test]
fn a_clock_that_was_not_set_is_not_believed() {
    let world = World::with_firewall();
    let config = CONFIG.replace("\toption trust_clock '1'\n", "")
        + "config door 'plain'\n\tlist sequence '7000'\n\tlist sequence '8000'\n\toption dest_port '23'\n";
    let daemon = Daemon::start(&world.router, &world.scratch, &config);
    a_second_later();
    send(&world.client, ROUTER, &alices(1, now(), None));
    if clock::is_synchronised() || clock::has_clock_chip() {
        wait_for_counter(&daemon, "opened", 1);
        assert_eq!(daemon.status()["daemon"]["clock_trusted"], true);
        return;
    }
    wait_for_counter(&daemon, "auth_no_clock", 1);
    assert_eq!(daemon.log().matches("the time is not known").count(), 1, "{}", daemon.log());
    assert_eq!(daemon.status()["daemon"]["clock_trusted"], false);
    assert!(daemon.ask(&["status"]).contains("\nthe clock is not set: users' knocks are refused"));
    world.client.stdout(ketuk(), &[ROUTER, "7000", "8000"]);
    daemon.wait_for_log("plain: OPEN SESAME");
    assert_eq!(grants(&daemon), [grant("plain", CLIENT, "")]);
    daemon.write_config(CONFIG);
    daemon.ask(&["reload"]);
    assert_eq!(daemon.status()["daemon"]["clock_trusted"], true);
    a_second_later();
    send(&world.client, ROUTER, &alices(2, now(), None));
    wait_for_counter(&daemon, "opened", 2);
}
