//! `ketukd metrics`: Prometheus' own tool reads the metrics, and a collector gives them to OpenWrt's exporter.
#![cfg(all(target_os = "linux", feature = "metrics"))]

mod support;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::{env, fs};

use support::daemon::Daemon;
use support::{CLIENT, ROUTER, Scratch, World, ketukd, run, run_with_input, stdout, succeeded};

const CONFIG: &str = "
config globals 'globals'
	option backend 'fw4'
	option trust_clock '1'
config door 'ssh'
	option sequence '31734,9482,50217'
	option proto 'tcp'
	option dest_port '22'
	option open_time '600'
config user 'alice'
	option key 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='
	list door 'ssh'
";

/// The complaints of `promtool check metrics` about these metrics; empty if it has none.
fn faults(metrics: &str) -> String {
    let output = run_with_input("promtool", &["check", "metrics"], metrics);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), said.is_empty(), "{output:?}");
    said
}

/// The value of a sample.
fn value(metrics: &str, sample: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {sample} in:\n{metrics}"))
}

#[test]
fn promtool_reads_the_state_of_a_daemon() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    daemon.wait_until_it_listens();
    world.client.knock(ROUTER, "31734 9482 50217");
    daemon.wait("the door is open", |daemon| daemon.lets_in("ssh", CLIENT));
    let metrics = daemon.ask(&["metrics"]);
    assert_eq!(faults(&metrics), "");
    for (sample, expected) in [
        ("ketuk_up", 1),
        ("ketuk_clock_trusted", 1),
        ("ketuk_device_listening{device=\"wan0\"}", 1),
        ("ketuk_grants{door=\"ssh\"}", 1),
        ("ketuk_door_ready{door=\"ssh\"}", 1),
        ("ketuk_door_warning{door=\"ssh\"}", 0),
        ("ketuk_packets_total{result=\"opened\"}", 1),
        ("ketuk_packets_total{result=\"advanced\"}", 2),
        ("ketuk_events_total{event=\"socket_drops\"}", 0),
    ] {
        assert_eq!(value(&metrics, sample), expected, "{sample}");
    }

    world.router.nft("delete table inet fw4");
    world.router.ip("link set wan0 down");
    daemon.wait("both are told", |daemon| {
        let metrics = daemon.ask(&["metrics"]);
        value(&metrics, "ketuk_door_ready{door=\"ssh\"}") == 0
            && value(&metrics, "ketuk_device_listening{device=\"wan0\"}") == 0
    });
}

/// Promtool complains about wrong metrics, so its silence proves something.
#[test]
fn promtool_finds_faults() {
    assert_ne!(faults("# TYPE ketuk_up gauge\nketuk_up 1\n"), "", "no help");
    assert_ne!(faults("ketuk_up{a=\"\"\"} 1\n"), "", "a quote that is not escaped");
}

#[test]
fn a_daemon_that_does_not_run_is_a_metric() {
    let scratch = Scratch::new();
    let socket = scratch.path("nobody");
    let arguments = ["metrics", "--socket", socket.to_str().unwrap()];
    let output = run(ketukd().to_str().unwrap(), &arguments);
    let metrics = succeeded("ketukd", &arguments, &output);
    assert_eq!(faults(&metrics), "");
    assert_eq!(value(&metrics, "ketuk_up"), 0);
    assert!(String::from_utf8_lossy(&output.stderr).contains("no daemon answers at "), "{output:?}");
}

/// The part of prometheus-node-exporter-lua that a collector uses: the functions that it may call, and the text for a collector
/// that fails.
const EXPORTER: &str = r##"
output = print
local collector = dofile(arg[1])
local status, err = pcall(collector.scrape)
if not status then io.stderr:write(err) end
print("# HELP node_scrape_collector_success -\n# TYPE node_scrape_collector_success gauge")
print('node_scrape_collector_success{collector="ketuk"} ' .. (status and 1 or 0))
"##;

#[test]
fn a_collector_for_openwrts_exporter() {
    let collector = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/fleet/ketuk.lua");
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    let exporter = world.scratch.write("exporter.lua", EXPORTER);
    // The collector runs `ketukd` without a socket's path.
    let program = world.scratch.write_program(
        "ketukd",
        &format!("#!/bin/sh\nexec {} \"$@\" --socket {}\n", ketukd().display(), daemon.socket().display()),
    );
    let path = format!("PATH={}:{}", world.scratch.path("").display(), env::var("PATH").unwrap());
    let scrape = || stdout("env", &[&path, "lua5.1", exporter.to_str().unwrap(), collector]);
    let metrics = scrape();
    assert_eq!(faults(&metrics), "");
    assert_eq!(value(&metrics, "ketuk_up"), 1);
    assert_eq!(value(&metrics, "node_scrape_collector_success{collector=\"ketuk\"}"), 1);

    fs::remove_file(&program).unwrap();
    symlink("/bin/false", &program).unwrap();
    let metrics = scrape();
    assert!(!metrics.contains("ketuk_up"), "{metrics}");
    assert_eq!(value(&metrics, "node_scrape_collector_success{collector=\"ketuk\"}"), 0);
}

/// Runs the command of the timer's unit in a folder of this test.
#[test]
fn the_timer_writes_a_whole_file() {
    let unit = include_str!("../packaging/fleet/ketuk-metrics.service");
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/bin/sh -c ")).unwrap();
    let scratch = Scratch::new();
    let folder = scratch.path("");
    symlink(ketukd(), folder.join("ketukd")).unwrap();
    let line = format!(
        "cd {0} && PATH={0}:$PATH && sh -c {command}",
        folder.to_str().unwrap().trim_end_matches('/')
    );
    stdout("sh", &["-c", &line]);
    let metrics = fs::read_to_string(folder.join("ketuk.prom")).unwrap();
    assert!(metrics.contains("\nketuk_up "), "{metrics}");
    assert!(!Path::new(&folder.join("ketuk.prom.new")).exists());
}
