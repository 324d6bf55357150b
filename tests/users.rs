//! Users at a real router: ketuk's own client and the stock fwknop client let themselves in, and whoever recorded
//! their knocks does not, from any address, after any restart.
#![cfg(target_os = "linux")]

mod support;

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Output;
use std::sync::Mutex;
use std::thread;

use ketuk::core::packet::{self, Transport};
use ketuk::core::sequence::flag;
use ketuk::linux::capture::{Batch, Capture};
use ketuk::linux::clock;
use ketuk::linux::filter::Family;
use ketuk::protocol::packet::{DoorName, KEY, Keys, NONCE, Request};
use ketuk::protocol::totp;
use nix::sys::signal::Signal;
use support::daemon::{Daemon, Start};
use support::host::Host;
use support::{CLIENT, ROUTER, ROUTER_6, STRANGER, STRANGER_6, World, ketuk, succeeded, wait_until};

/// `AAAA...`
const KEY_TEXT: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const TOTP_TEXT: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
const FWKNOP_KEY: &str = "c3BhLXRlc3Qta2V5LTAxMjM0NTY3ODlhYmNkZWY=";
const FWKNOP_HMAC_KEY: &str = "c3BhLXRlc3QtaG1hYy1rZXktMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk=";

/// Where packets come.
const SPA: u16 = 62_201;

/// A router whose doors users open. This machine's clock is as right as its tests need.
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

/// Makes a profile of what `ketukd invite` says, and adds it.
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

/// Runs fwknop's client as Fred.
fn fwknop(world: &World, arguments: &[&str]) -> Output {
    let home = world.scratch.path("home");
    std::fs::create_dir_all(&home).expect("a folder");
    let home = format!("HOME={}", home.display());
    let keys = ["--key-base64-rijndael", FWKNOP_KEY, "--key-base64-hmac", FWKNOP_HMAC_KEY, "--use-hmac"];
    let fixed = [home.as_str(), "fwknop", "--no-save-args", "--no-rc-file", "-D", ROUTER];
    world.client.run("env", &[&fixed[..], &keys[..], arguments].concat())
}

fn knock_by_fwknop(world: &World, arguments: &[&str]) {
    succeeded("fwknop", arguments, &fwknop(world, arguments));
}

/// What whoever listens before the router has: datagrams to the port of packets, and ports of SYNs.
struct Recording {
    capture: Capture,
}

#[derive(Default)]
struct Recorded {
    datagrams: Vec<Vec<u8>>,
    ports: Vec<u16>,
}

impl Recording {
    fn start(router: &Host) -> Self {
        let capture = router.enter(|| {
            let capture = Capture::open(Family::V4).expect("a packet socket");
            // ret 0x40000
            capture.filter(&[libc::sock_filter { code: 6, jt: 0, jf: 0, k: 0x40000 }]).expect("a filter");
            capture.bind(0).expect("all devices");
            capture
        });
        Self { capture }
    }

    fn end(self) -> Recorded {
        let recorded = Mutex::new(Recorded::default());
        let mut batch = Batch::new();
        for _ in 0..100 {
            let each = |bytes: &[u8]| {
                let mut recorded = recorded.lock().expect("one thread");
                match packet::parse(bytes).map(|probe| probe.transport) {
                    Ok(Transport::Udp { port: SPA, .. }) => {
                        recorded.datagrams.push(packet::udp_payload(bytes).to_vec());
                    }
                    Ok(Transport::Tcp { port, flags: flag::SYN, .. }) if port >= 20_000 => {
                        recorded.ports.push(port);
                    }
                    _ => {}
                }
            };
            self.capture.receive(&mut batch, each).expect("packets");
        }
        recorded.into_inner().expect("one thread")
    }
}

/// How many addresses are in.
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

/// Knows its start is past: what is sent from now on is newer.
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
    // A change, a piece, and more.
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

#[test]
fn a_restart_makes_no_recording_new_and_keeps_nobody_out() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    a_second_later();
    // Somebody's clock is ahead: after the start this would still be new.
    let (ahead, right) = (alices(1, now() + 5, None), alices(2, now(), None));
    send(&world.client, ROUTER, &ahead);
    send(&world.client, ROUTER, &right);
    wait_for_counter(&daemon, "opened", 2);
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
fn a_changing_sequence_opens_once() {
    let world = World::with_firewall();
    world.router.serve(22);
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    invite(&world, &daemon, "tom");
    let recording = Recording::start(&world.router);
    // The first window that began after the daemon did: up to half a minute, with ketuk knocking again.
    let opened = client(&world, &world.client, &["open", "tom", "--", "echo", "inside"]);
    assert_eq!(succeeded("ketuk", &["open"], &opened), "inside\n");
    assert_eq!(grants(&daemon), [grant("ssh", CLIENT, "tom")]);
    let ports = recording.end().ports;
    let last: Vec<String> = ports[ports.len() - totp::STEPS..].iter().map(u16::to_string).collect();
    daemon.ask(&["close", "ssh"]);
    for from in [&world.stranger, &world.client] {
        let before = daemon.counter("auth_replay");
        // A knock before, so that the client's are not its last four already.
        let arguments: Vec<_> =
            [ROUTER, "20001"].into_iter().chain(last.iter().map(String::as_str)).collect();
        from.stdout(ketuk(), &arguments);
        wait_for_counter(&daemon, "auth_replay", before + 1);
    }
    assert_eq!(grants(&daemon), []);
}

#[test]
fn fwknops_client_as_it_is() {
    let world = World::with_firewall();
    world.router.serve(22);
    world.lan.serve(80);
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    a_second_later();
    let mut opened = 0;
    let recording = Recording::start(&world.router);
    let mut opens = |arguments: &[&str], door: &str| {
        knock_by_fwknop(&world, arguments);
        opened += 1;
        wait_for_counter(&daemon, "opened", opened);
        assert_eq!(grants(&daemon), [grant(door, CLIENT, "fred")], "{arguments:?}");
        let left = daemon.status()["grants"][0]["seconds_left"].as_u64().expect("a number");
        let greeted = world.client.greeted_by(ROUTER, if door == "web" { 8080 } else { 22 });
        assert!(greeted.is_some(), "{arguments:?}");
        daemon.ask(&["close", door]);
        left
    };
    // Access by the packet's source, by its own word, with a time below and above the door's.
    assert!((20..=30).contains(&opens(&["-A", "tcp/22", "-s"], "ssh")));
    assert!((20..=30).contains(&opens(&["-A", "tcp/22", "-a", CLIENT], "ssh")));
    assert!((1..=10).contains(&opens(&["-A", "tcp/22", "-a", CLIENT, "-f", "10"], "ssh")));
    assert!((45..=60).contains(&opens(&["-A", "tcp/22", "-s", "-f", "3600"], "ssh")));
    // The address as a web page says it.
    let page = "python3 -c \"import http.server as h\nclass A(h.BaseHTTPRequestHandler):\n def do_GET(s):\n  s.send_response(200); s.end_headers(); s.wfile.write(s.client_address[0].encode())\nh.HTTPServer(('192.0.2.10', 80), A).handle_request()\"";
    thread::scope(|scope| {
        scope.spawn(|| world.stranger.shell(page));
        wait_until("the page is there", || world.stranger.stdout("ss", &["-ltnH"]).contains("192.0.2.10:80"));
        opens(&["-A", "tcp/22", "-R", "--resolve-http-only", "--resolve-url", "http://192.0.2.10/ip"], "ssh");
    });
    // To a host behind the router, with and without a time; and to the router by another way.
    opens(&["-A", "tcp/8080", "-s", "-N", "192.168.1.10:80"], "web");
    opens(&["-A", "tcp/8080", "-a", CLIENT, "-N", "192.168.1.10:80", "-f", "5"], "web");
    opens(&["-A", "tcp/8080", "-s"], "web");
    opens(&["-A", "tcp/22", "-s", "--nat-local", "--nat-port", "22"], "ssh");

    // What is refused: whole, and by name.
    let refused = |arguments: &[&str], counter: &str| {
        let before = daemon.counter(counter);
        knock_by_fwknop(&world, arguments);
        wait_for_counter(&daemon, counter, before + 1);
        assert_eq!(grants(&daemon), [], "{arguments:?}");
    };
    refused(&["-A", "tcp/22,tcp/443", "-s"], "auth_door");
    refused(&["-A", "tcp/22,udp/53", "-s"], "auth_door");
    refused(&["-A", "udp/22", "-s"], "auth_door");
    refused(&["-A", "tcp/22", "-s", "-N", "192.168.1.10:80"], "auth_door");
    refused(&["-A", "tcp/80", "-s"], "auth_door");
    refused(&["-A", "tcp/22", "-a", STRANGER], "auth_address");
    refused(&["-C", "id > /tmp/owned", "-s"], "auth_command");
    assert!(daemon.log().contains("user fred: not opened: it asks for a command"));

    // All that was heard, from elsewhere and from the same address, over either family.
    let recorded = recording.end().datagrams;
    assert!(recorded.len() >= 15, "{}", recorded.len());
    let before = daemon.counter("opened");
    for packet in &recorded {
        for (from, to) in [(&world.stranger, ROUTER), (&world.client, ROUTER), (&world.stranger, ROUTER_6)] {
            send(from, to, packet);
        }
    }
    let taken = |daemon: &Daemon<'_>| {
        ["auth_replay", "auth_command", "auth_door"].map(|name| daemon.counter(name)).iter().sum::<u64>()
    };
    daemon.wait("all were judged", |daemon| taken(daemon) >= 3 * recorded.len() as u64);
    assert_eq!((daemon.counter("opened"), grants(&daemon)), (before, vec![]));
}

/// fwknop's client knows IPv4 only; its packet may come over IPv6 all the same.
#[test]
fn fwknops_packet_over_ipv6() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    a_second_later();
    let file = world.scratch.path("packet");
    knock_by_fwknop(&world, &["-A", "tcp/22", "-s", "-T", "-B", file.to_str().expect("a plain path")]);
    let packet = std::fs::read_to_string(&file).expect("the packet");
    send(&world.stranger, ROUTER_6, packet.trim().as_bytes());
    wait_for_counter(&daemon, "opened", 1);
    assert_eq!(grants(&daemon), [grant("ssh", STRANGER_6, "fred")]);
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
    // Others' secrets may change without touching her.
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

/// Where nobody vouches for the clock: on a host without NTP and without a clock chip users wait, and sequences
/// work; on any other users are let in.
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
        return;
    }
    wait_for_counter(&daemon, "auth_no_clock", 1);
    assert_eq!(daemon.log().matches("the time is not known").count(), 1, "{}", daemon.log());
    world.client.stdout(ketuk(), &[ROUTER, "7000", "8000"]);
    daemon.wait_for_log("plain: OPEN SESAME");
    assert_eq!(grants(&daemon), [grant("plain", CLIENT, "")]);
    daemon.write_config(CONFIG);
    daemon.ask(&["reload"]);
    a_second_later();
    send(&world.client, ROUTER, &alices(2, now(), None));
    wait_for_counter(&daemon, "opened", 2);
}

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
                    // A full queue on the way is no failure of this test.
                    let _ = socket.send_to(&[b"/", &bytes[1..]].concat(), (ROUTER, SPA));
                }
            });
        });
        for number in 0..100_u8 {
            let door = DoorName::new("ssh").expect("a name");
            let request = Request { time: now(), seconds: 0, address: None, door };
            send(&world.client, ROUTER, &Keys::derive(&[number + 1; KEY]).seal([number; NONCE], &request));
        }
        flood.join().expect("it sends");
    });
    wait_for_counter(&daemon, "opened", 100);
    assert_eq!(daemon.counter("opened"), 100);
    assert_eq!(grants(&daemon).len(), 1);
}

#[test]
fn sequences_for_one_time() {
    let world = World::with_firewall();
    let file = world.scratch.write("once", " 7000,8000\n 7100,8100\n");
    let config = format!(
        "config globals\n\toption backend 'fw4'\nconfig door 'ssh'\n\toption one_time_sequences '{}'\n\toption dest_port '22'\n",
        file.display()
    );
    let daemon = Daemon::start(&world.router, &world.scratch, &config);
    let knock = |from: &Host, ports: [&str; 2]| {
        from.stdout(ketuk(), &[ROUTER, ports[0], ports[1]]);
    };
    knock(&world.client, ["7000", "8000"]);
    daemon.wait_for_log(&format!("{CLIENT}: ssh: OPEN SESAME"));
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), "#7000,8000\n 7100,8100\n");
    knock(&world.stranger, ["7000", "8000"]);
    knock(&world.stranger, ["7100", "8100"]);
    daemon.wait_for_log(&format!("{STRANGER}: ssh: OPEN SESAME"));
    daemon.wait_for_log("no sequence is left");
    assert_eq!(daemon.counter("opened"), 2);
    // A new line, which somebody changes before it can be marked.
    std::fs::write(&file, "#7000,8000\n#7100,8100\n 7200,8200\n").expect("written");
    daemon.ask(&["reload"]);
    daemon.ask(&["close", "ssh"]);
    std::fs::write(&file, "#7000,8000\n#7100,8100\n 7300,8300\n").expect("written");
    knock(&world.client, ["7200", "8200"]);
    daemon.wait_for_log("not marked as used, so the door stays shut");
    assert_eq!(grants(&daemon), []);
}

/// Whoever asks why a knock opened nothing finds it in the status: of users by name, of strangers as well.
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
    world.client.stdout(ketuk(), &[ROUTER, "7000", "8000", "7000"]);
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
    assert_eq!((plain["port"].as_str(), plain["stage"].as_u64()), (Some("7000:tcp"), Some(1)));
}
