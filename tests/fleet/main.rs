//! Two routers share their open doors. packaging/fleet's script connects two daemons with Debian's mosquitto, over TLS.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test says what it expected by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod site;

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use site::{Service, Site};
use support::daemon::Daemon;
use support::wire::flag;
use support::{CLIENT, Process, ROUTER, STRANGER, frames, wait_until};

/// The other router's address on its WAN.
const TWIN: &str = "198.18.7.1";

const DOORS: &str = "
config globals 'globals'
	option backend 'fw4'
config door 'ssh'
	option sequence '31734,9482,50217'
	option proto 'tcp'
	option dest_port '22'
	option open_time '600'
config door 'nas'
	option sequence '27461,61250,13398'
	option proto 'tcp'
	option dest_port '443'
	option open_time '600'
config door 'web'
	option sequence '18234,57120,40871'
	option proto 'tcp'
	option dest_port '80'
	option open_time '1'
";

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A router's opening of a door for an address, for so many seconds from now.
fn opening(door: &str, address: &str, seconds: u64) -> String {
    format!("ketuk1 open {door} {address} {} {} gate-a", now(), now() + seconds)
}

/// The broker, a program that writes down its messages, and the script at each router.
struct Fleet {
    broker: Service,
    observer: Service,
    first: Service,
    second: Service,
}

impl Fleet {
    /// Starts everything. Returns when messages arrive at both routers.
    fn join(site: &Site, daemons: &[Daemon<'_>; 2]) -> Self {
        let [first, second] = daemons;
        let fleet = Self {
            broker: site.broker(),
            observer: site.observer(),
            first: site.fleet(&site.world.router, "gate-a", &["sh"], first),
            second: site.fleet(&site.twin, "gate-b", &["busybox", "sh"], second),
        };
        wait_until_obeyed(site, second);
        for (daemon, name) in [(first, "gate-a"), (second, "gate-b")] {
            wait_until_told(daemon, name, &fleet.observer);
        }
        fleet
    }
}

/// Waits until the messages that the broker has passed on are obeyed.
fn wait_until_obeyed(site: &Site, daemon: &Daemon<'_>) {
    daemon.wait("messages are obeyed", |daemon| {
        site.send(&opening("ssh", "192.0.2.77", 60));
        daemon.lets_in("ssh", "192.0.2.77")
    });
}

/// Waits until the daemon's changes are sent.
fn wait_until_told(daemon: &Daemon<'_>, router: &str, observer: &Service) {
    daemon.wait("events are sent", |daemon| {
        daemon.ask(&["open", "ssh", "192.0.2.78"]);
        // Another router's answer may have shut it by now.
        daemon.control(&["close", "ssh", "192.0.2.78"]);
        observer.log().lines().any(|line| line.contains("192.0.2.78") && line.ends_with(router))
    });
}

/// Each message about this address: the change, the door, and the router that sends it.
fn messages(observer: &Service, address: &str) -> Vec<String> {
    let log = observer.log();
    let about = log.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    about
        .filter(|words| words[3] == address)
        .map(|words| format!("{} {} {}", words[1], words[2], words[6]))
        .collect()
}

#[test]
fn who_is_let_in_at_one_router_is_let_in_at_its_twin_and_shut_out_at_both() {
    let site = Site::new();
    let daemons = site.daemons(DOORS);
    let mut fleet = Fleet::join(&site, &daemons);
    let [first, second] = daemons;
    let both = |open: bool| {
        for daemon in [&first, &second] {
            daemon.wait("both routers agree", |daemon| daemon.lets_in("ssh", CLIENT) == open);
        }
    };

    site.world.client.knock(ROUTER, "31734 9482 50217");
    both(true);
    assert_eq!(site.world.client.greeted_by(TWIN, 22).as_deref(), Some("twin"));
    assert_eq!(site.world.stranger.greeted_by(TWIN, 22), None);
    let left = second.grant("ssh", CLIENT).unwrap()["seconds_left"].as_u64().unwrap();
    assert!((500..=601).contains(&left), "{left}");
    first.ask(&["close", "ssh", CLIENT]);
    both(false);

    // The same from the other router. A door that the fleet opened is shut by hand on the router where the fleet opened it.
    site.world.client.knock(TWIN, "31734 9482 50217");
    both(true);
    first.ask(&["close", "ssh", CLIENT]);
    both(false);
    // At a reload a user loses his door, and a door is removed.
    site.world.client.knock(TWIN, "31734 9482 50217");
    both(true);
    second.write_config(&DOORS.replace("config door 'ssh'", "config door 'ssh'\n\toption enabled '0'"));
    second.ask(&["reload"]);
    both(false);

    // The operator's openings are not sent, and neither are doors that are not shared. The last message comes after all others.
    first.ask(&["open", "ssh", STRANGER]);
    site.world.stranger.knock(ROUTER, "27461 61250 13398");
    first.wait("the other door opens", |daemon| daemon.lets_in("nas", STRANGER));
    // Grants that end with their time are not sent either.
    site.world.stranger.knock(ROUTER, "18234 57120 40871");
    wait_until("it is sent", || messages(&fleet.observer, STRANGER) == ["open web gate-a"]);
    first.wait("it ends", |daemon| daemon.grant("web", STRANGER).is_none());
    first.ask(&["close", "ssh", STRANGER]);
    wait_until("the last message comes", || {
        messages(&fleet.observer, STRANGER).contains(&"close ssh gate-a".to_owned())
    });
    assert_eq!(messages(&fleet.observer, STRANGER), ["open web gate-a", "close ssh gate-a"]);
    let expected = [
        "open ssh gate-a",
        "close ssh gate-a",
        "open ssh gate-b",
        "close ssh gate-a",
        "open ssh gate-b",
        "close ssh gate-b",
    ];
    assert_eq!(messages(&fleet.observer, CLIENT), expected, "no message causes another one");
    assert!(!second.lets_in("nas", STRANGER));

    // A router that stops shuts nobody out at the other router.
    second.write_config(DOORS);
    second.ask(&["reload"]);
    site.world.client.knock(ROUTER, "31734 9482 50217");
    both(true);
    let (status, log) = first.end(Signal::SIGTERM);
    assert!(status.success(), "{log}");
    wait_until("its script ends", || fleet.first.child.try_wait().unwrap().is_some());
    site.send(&opening("ssh", "192.0.2.79", 60));
    second.wait("a later message is obeyed", |daemon| daemon.lets_in("ssh", "192.0.2.79"));
    assert!(second.lets_in("ssh", CLIENT));
}

/// The number of lines about strangers' knocks is limited. Lines about doors are not lost by this limit.
#[test]
fn a_flood_of_forged_knocks_hides_nobody() {
    let site = Site::new();
    let daemons = site.daemons(DOORS);
    let _fleet = Fleet::join(&site, &daemons);
    let [first, second] = daemons;

    let mac = site.world.router.mac("wan0");
    let frames: Vec<_> = (0..60_000_u32)
        .map(|n| {
            let source = std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string();
            frames::ethernet(mac, None, &frames::tcp(&source, ROUTER, (1024, 31734), n, flag::SYN))
        })
        .collect();
    let file = site.path("flood.pcap");
    fs::write(&file, frames::capture(&frames)).unwrap();
    let flood = ["--pps", "5000", "--quiet", "-i", "router0", file.to_str().unwrap()];
    let _flood = site.world.isp.enter(|| Process::start("tcpreplay", &flood));
    first.wait("the flood has begun", |daemon| daemon.counter("advanced") > 1000);
    site.world.client.knock(ROUTER, "31734 9482 50217");
    first.wait("it opens", |daemon| daemon.lets_in("ssh", CLIENT));
    second.wait("at the twin too", |daemon| daemon.lets_in("ssh", CLIENT));
}

#[test]
fn nothing_else_opens_a_door() {
    let site = Site::new();
    let daemon = Daemon::start(&site.twin, &site.scratch, DOORS);
    let _broker = site.broker();
    let member = ["gate-a.crt", "gate-a.key"];

    // These messages are kept by the broker (retained).
    let kept = site.publish(&member, &opening("ssh", "192.0.2.1", 600), &["-r"]);
    assert!(kept.status.success(), "{kept:?}");
    let fleet = site.fleet(&site.twin, "gate-b", &["busybox", "sh"], &daemon);
    wait_until_obeyed(&site, &daemon);

    // These are sent by clients that the broker does not know.
    let message = opening("ssh", "192.0.2.2", 600);
    assert!(!site.publish(&[], &message, &[]).status.success(), "without a certificate");
    let forged = ["forged/gate-a.crt", "forged/gate-a.key"];
    assert!(!site.publish(&forged, &message, &[]).status.success(), "of another authority");
    site.publish(&["guest.crt", "guest.key"], &message, &[]);

    // These are sent by a router, or by somebody who has recorded a message.
    let (now, marker) = (now(), site.path("touched"));
    let command = format!("$(touch${{IFS}}{})", marker.display());
    let bad = [
        format!("ketuk1 open ssh 192.0.2.3 {} {} gate-a", now - 60, now + 600),
        format!("ketuk1 open ssh 192.0.2.3 {} {} gate-a", now + 90, now + 600),
        format!("ketuk1 open ssh 192.0.2.3 {now} {} gate-a", now - 1),
        format!("ketuk1 open ssh 192.0.2.3 0{now} {} gate-a", now + 600),
        format!("ketuk1 open ssh 192.0.2.3 {now} 9{}0 gate-a", u64::MAX),
        format!("ketuk1 open ssh 192.0.2.3 {now} {} gate-a more", now + 600),
        format!("ketuk1 open ssh 192.0.2.3 {now} {} gate-b", now + 600),
        format!("ketuk2 open ssh 192.0.2.3 {now} {} gate-a", now + 600),
        format!("ketuk1 open nas 192.0.2.3 {now} {} gate-a", now + 600),
        format!("ketuk1 open * 192.0.2.3 {now} {} gate-a", now + 600),
        format!("ketuk1 open ssh 192.0.2.0/24 {now} {} gate-a", now + 600),
        format!("ketuk1 open ssh {command} {now} {} gate-a", now + 600),
        format!("ketuk1 open {command} 192.0.2.3 {now} {} gate-a", now + 600),
        format!("ketuk1 open ssh 192.0.2.3 a[{command}] {} gate-a", now + 600),
        "ketuk1 open ssh".to_owned(),
        String::new(),
    ];
    for message in &bad {
        site.send(message);
    }
    // A grant that is over must not become a grant without an end, which 0 seconds would mean. One of the two grants ends at the
    // moment when its message is read.
    let soon = self::now();
    for ends in [soon + 1, soon] {
        site.send(&format!("ketuk1 open ssh 192.0.2.4 {soon} {ends} gate-a"));
    }
    // The last message asks for 31 years. The time is limited.
    site.send(&opening("ssh", "192.0.2.99", 1_000_000_000));
    daemon.wait("the last message is obeyed", |daemon| daemon.lets_in("ssh", "192.0.2.99"));
    let left = daemon.grant("ssh", "192.0.2.99").unwrap()["seconds_left"].as_u64().unwrap();
    assert!(left <= 3600, "{left}");
    daemon.wait("only what was right is open", |daemon| {
        let status = daemon.status();
        let grants = status["grants"].as_array().unwrap().iter();
        let mut opened: Vec<_> = grants.map(|grant| grant["address"].as_str().unwrap()).collect();
        opened.sort_unstable();
        opened == ["192.0.2.77", "192.0.2.99"]
    });
    assert!(!marker.exists(), "a message was run");
    assert_eq!(fleet.log().matches("not obeyed: no address").count(), 2, "{}", fleet.log());
    assert!(fleet.log().contains("not obeyed: an opening that was sent 6"), "{}", fleet.log());
}

#[test]
fn without_the_broker_each_router_is_alone() {
    let site = Site::new();
    let daemons = site.daemons(DOORS);
    let mut script = site.fleet(&site.twin, "gate-b", &["busybox", "sh"], &daemons[1]);
    // Without the broker the script ends, and its service would start it again.
    let mut ended = None;
    wait_until("the script ends", || {
        ended = script.child.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(1), "{}", script.log());
    drop(script);

    let Fleet { broker, observer, first: first_script, second: second_script } = Fleet::join(&site, &daemons);
    let [first, second] = daemons;
    site.world.client.knock(ROUTER, "31734 9482 50217");
    second.wait("it opens at the twin", |daemon| daemon.lets_in("ssh", CLIENT));

    // A router that was away obeys a closing when it is back.
    drop(second_script);
    first.ask(&["close", "ssh", CLIENT]);
    wait_until("it is told", || messages(&observer, CLIENT) == ["open ssh gate-a", "close ssh gate-a"]);
    assert!(second.lets_in("ssh", CLIENT));
    let _second_script = site.fleet(&site.twin, "gate-b", &["busybox", "sh"], &second);
    second.wait("it learns of it", |daemon| !daemon.lets_in("ssh", CLIENT));

    drop(broker);
    site.world.client.knock(ROUTER, "31734 9482 50217");
    first.wait("the router itself opens", |daemon| daemon.lets_in("ssh", CLIENT));
    assert!(!second.lets_in("ssh", CLIENT));
    drop(first_script);
}
