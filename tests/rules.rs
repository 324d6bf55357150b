//! Doors for some addresses and some hours only.
#![cfg(target_os = "linux")]

mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use support::daemon::{Daemon, Start};
use support::{CLIENT, CLIENT_6, ROUTER, ROUTER_6, World};

/// The doors of this configuration that open for a client of either family when the router's clock shows this hour.
/// The weekday replaces `{today}` in the text.
fn opened(hour: i64, doors: &str) -> Vec<String> {
    let world = World::with_firewall();
    let (zone, today) = zone(hour);
    let config =
        format!("config globals 'globals'\n\toption backend 'fw4'\n{}", doors.replace("{today}", today));
    let mut start = Start::new(&world.router, &world.scratch, &config);
    let config = world.scratch.path("ketuk.uci");
    world.router.nft(&support::daemon::ruleset(&config));
    start.command().env("TZ", zone);
    let daemon = start.go();
    let mut knocks = 0;
    for line in doors.lines() {
        let Some(port) = line.trim().strip_prefix("list sequence ") else { continue };
        world.client.shell(&format!("knock {ROUTER} {port}; knock -6 {ROUTER_6} {port}"));
        knocks += 2;
    }
    let refused = |daemon: &Daemon<'_>| daemon.counter("not_from_src") + daemon.counter("not_in_hours");
    daemon.wait("every knock is judged", |daemon| daemon.counter("opened") + refused(daemon) == knocks);
    let status = daemon.status();
    let grants = status["grants"].as_array().expect("grants");
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let mut opened: Vec<_> =
        grants.iter().map(|grant| format!("{} {}", text(&grant["door"]), text(&grant["address"]))).collect();
    opened.sort();
    let expected = knocks - u64::try_from(opened.len()).expect("few");
    assert_eq!(refused(&daemon), expected, "{}", daemon.log());
    assert_eq!(daemon.log().matches("OPEN SESAME").count(), opened.len(), "{}", daemon.log());
    opened
}

/// A time zone, in POSIX's form, in which it is about this hour now, and the weekday there.
fn zone(hour: i64) -> (String, &'static str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let now = i64::try_from(now).expect("not too late");
    let offset = hour * 3600 - now % 86400;
    // POSIX counts west of Greenwich as positive.
    let sign = if offset < 0 { "+" } else { "-" };
    let zone = format!("HERE{sign}{:02}:{:02}:00", offset.abs() / 3600, offset.abs() / 60 % 60);
    // The first day of 1970 was a Thursday.
    let days = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"];
    (zone, days[usize::try_from((now + offset).div_euclid(86400) % 7).expect("0 to 6")])
}

#[test]
fn a_door_for_one_network() {
    let door = "
config door 'src'
	list sequence 7000
	option dest_port '22'
	list src '198.51.100.0/24'
";
    assert_eq!(opened(12, door), [format!("src {CLIENT}")]);
}

#[test]
fn doors_for_some_days() {
    let doors = "
config door 'today'
	list sequence 7000
	option dest_port '22'
	option weekdays '{today}'
config door 'other_days'
	list sequence 7001
	option dest_port '22'
	option weekdays '!{today}'
";
    assert_eq!(opened(12, doors), [format!("today {CLIENT}"), format!("today {CLIENT_6}")]);
}

#[test]
fn doors_for_some_hours() {
    let doors = "
config door 'day'
	list sequence 7000
	option dest_port '22'
	option start_time '09:00'
	option stop_time '17:00:00'
config door 'night'
	list sequence 7001
	option dest_port '22'
	option start_time '22:00'
	option stop_time '06:00'
";
    assert_eq!(opened(12, doors), [format!("day {CLIENT}"), format!("day {CLIENT_6}")]);
    assert_eq!(opened(23, doors), [format!("night {CLIENT}"), format!("night {CLIENT_6}")]);
    assert_eq!(opened(19, doors), [""; 0]);
}
