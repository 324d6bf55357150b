//! A door with `any_port` opens the port that an fwknop client asks for, for the client's address alone.
#![cfg(all(target_os = "linux", feature = "fwknop"))]

mod support;

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use support::daemon::{Daemon, Start};
use support::{CLIENT, ROUTER, World, ketukd, succeeded, wait_until};

const KEY: &str = "c3BhLXRlc3Qta2V5LTAxMjM0NTY3ODlhYmNkZWY=";
const HMAC_KEY: &str = "c3BhLXRlc3QtaG1hYy1rZXktMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk=";

/// The program that makes the sets in the firewall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    /// `ketukd ruleset` is loaded.
    ByRuleset,
    /// fw4 makes them from the service's data. Its sets hold no protocol.
    ByFw4,
    /// The daemon makes them itself.
    ByDaemon,
}

/// The rules that fw4 makes of the output of `ketukd ruleset --fw4`.
const OF_FW4: &str = "table inet fw4 {
    set ketuk_any_tcp4 { type ipv4_addr . inet_service; flags timeout; }
    set ketuk_any_udp4 { type ipv4_addr . inet_service; flags timeout; }
    set ketuk_any_tcp6 { type ipv6_addr . inet_service; flags timeout; }
    set ketuk_any_udp6 { type ipv6_addr . inet_service; flags timeout; }
}
insert rule inet fw4 input_wan meta nfproto ipv4 ip saddr . tcp dport @ketuk_any_tcp4 accept
insert rule inet fw4 input_wan meta nfproto ipv4 ip saddr . udp dport @ketuk_any_udp4 accept
";

fn config(backend: &str, more: &str) -> String {
    format!(
        "config globals 'globals'
	option backend '{backend}'
	option trust_clock '1'
config door 'any'
	option any_port '1'
	list allow_port 'tcp/20-80'
	list allow_port '53:udp'
	option open_time '60'
{more}config user 'fred'
	option fwknop_key '{KEY}'
	option fwknop_hmac_key '{HMAC_KEY}'
	option other_address '1'
	list door 'any'
"
    )
}

fn fwknop(world: &World, ports: &str) {
    let home = world.scratch.path("home");
    std::fs::create_dir_all(&home).expect("a folder");
    let home = format!("HOME={}", home.display());
    let keys = ["--key-base64-rijndael", KEY, "--key-base64-hmac", HMAC_KEY, "--use-hmac"];
    let fixed = [home.as_str(), "fwknop", "--no-save-args", "--no-rc-file", "-D", ROUTER, "-s", "-A", ports];
    let arguments = [&fixed[..], &keys[..]].concat();
    succeeded("fwknop", &arguments, &world.client.run("env", &arguments));
}

/// The ports that are open, with their addresses.
fn ports(daemon: &Daemon<'_>) -> Vec<String> {
    let status = daemon.status();
    let grants = status["grants"].as_array().expect("a list");
    let mut ports: Vec<_> = grants
        .iter()
        .map(|grant| {
            assert_eq!((grant["address"].as_str(), grant["user"].as_str()), (Some(CLIENT), Some("fred")));
            grant["port"].as_str().expect("a port").to_owned()
        })
        .collect();
    ports.sort();
    ports
}

fn start<'w>(world: &'w World, backend: &str, made: Made, more: &str) -> Daemon<'w> {
    for port in [22, 80, 443] {
        world.router.serve(port);
    }
    world.router.serve_udp(53);
    let start = Start::new(&world.router, &world.scratch, &config(backend, more));
    let ruleset = || {
        let config = world.scratch.path("ketuk.uci");
        let arguments = ["ruleset", "--config", config.to_str().expect("a plain path")];
        world.router.stdout(ketukd().to_str().expect("a plain path"), &arguments)
    };
    match made {
        Made::ByRuleset => world.router.nft(&ruleset()),
        Made::ByFw4 => world.router.nft(OF_FW4),
        Made::ByDaemon => {}
    }
    let daemon = start.go();
    // Packets that are as old as the start are not taken.
    thread::sleep(Duration::from_millis(2_100));
    daemon
}

fn opens(world: &World, backend: &str, made: Made) {
    let daemon = start(world, backend, made, "");
    let is_open = |port| world.client.greeted_by(ROUTER, port).is_some();
    assert!(!is_open(22) && !is_open(80), "shut before the knock");

    fwknop(world, "tcp/22");
    daemon.wait_for_log(&format!("{CLIENT}: any: OPEN SESAME, user fred, port 22:tcp"));
    assert!(is_open(22) && !is_open(80));
    assert_eq!(world.stranger.greeted_by(ROUTER, 22), None, "shut for everybody else");
    assert_eq!(ports(&daemon), ["22:tcp"]);
    fwknop(world, "udp/53,tcp/80");
    daemon.wait("both are in", |daemon| ports(daemon) == ["22:tcp", "53:udp", "80:tcp"]);
    wait_until("both are open", || is_open(80) && world.client.answered_by(ROUTER, 53).is_some());
    assert!(daemon.ask(&["status"]).contains("open any for 198.51.100.10, port 53:udp, user fred: "));

    // A port that allow_port does not name stays shut, also if the same request asks for a port that it names.
    fwknop(world, "tcp/22,tcp/443");
    daemon.wait("it is refused", |daemon| daemon.counter("auth_door") == 1);
    // The own table shuts the ports that allow_port names, and no others.
    assert_eq!(is_open(443), backend == "own");
    // The operator's request names no port.
    let by_hand = daemon.control(&["open", "any", CLIENT]);
    assert_eq!(by_hand.status.code(), Some(2), "{by_hand:?}");
    assert!(String::from_utf8_lossy(&by_hand.stderr).contains("the port that an fwknop client asks for"));

    let daemon = if made == Made::ByDaemon && backend == "iptables" {
        daemon
    } else {
        // After a crash the next daemon knows the ports and their users.
        daemon.end(Signal::SIGKILL);
        let daemon = Start::new(&world.router, &world.scratch, &config(backend, "")).go();
        assert_eq!(ports(&daemon), ["22:tcp", "53:udp", "80:tcp"]);
        assert!(is_open(22) && is_open(80));
        daemon
    };
    daemon.ask(&["close", "any", CLIENT]);
    wait_until("all are shut", || !is_open(22) && !is_open(80));
    assert_eq!(ports(&daemon), [""; 0]);
}

/// The output of `ketukd check` for this file on the router.
fn check(world: &World, config: &str) -> String {
    let file = world.scratch.write("checked.uci", config);
    let ketukd = ketukd().to_str().expect("a plain path");
    world.router.stdout(ketukd, &["check", file.to_str().expect("a plain path")])
}

#[test]
fn a_port_that_everybody_reaches_is_said() {
    let world = World::with_firewall();
    for port in [22, 443] {
        world.router.serve(port);
    }
    let bounded = config("fw4", "").replace("backend", "device 'wan0'\n\toption backend");
    let said = || check(&world, &bounded);
    assert!(!said().contains("without a knock"), "{}", said());
    // A service on a port of allow_port, and one on another port.
    world.router.nft("insert rule inet fw4 input_wan tcp dport { 22, 443 } accept");
    let open =
        "warning: door 'any': tcp port 22 can be reached without a knock on wan0: close it in the firewall";
    assert!(said().contains(open), "{}", said());
    assert!(!said().contains("443"), "{}", said());
    // Without allow_port, a service for everybody is no fault. A firewall that shuts nobody out is one.
    let unbounded = |config: &str| {
        let lines = config.lines().filter(|line| !line.contains("allow_port"));
        lines.map(|line| line.to_owned() + "\n").collect::<String>()
    };
    let said = || check(&world, &unbounded(&bounded));
    assert!(!said().contains("without a knock"), "{}", said());
    world.router.nft("insert rule inet fw4 input_wan accept");
    assert!(said().contains("door 'any': tcp port 1 can be reached without a knock on wan0"), "{}", said());
    // The own table shuts all ports, and check says so.
    let own = unbounded(&config("own", ""));
    let shut = "without allow_port, backend 'own' shuts every port except UDP 68 and 546 for every address";
    assert!(check(&world, &own).contains(shut), "{}", check(&world, &own));
    assert!(!check(&world, &config("own", "")).contains(shut));
}

#[test]
fn in_a_table_that_the_ruleset_is_loaded_into() {
    opens(&World::with_firewall(), "fw4", Made::ByRuleset);
}

#[test]
fn in_sets_that_fw4_has_declared() {
    opens(&World::with_firewall(), "fw4", Made::ByFw4);
}

#[test]
fn in_the_daemons_own_table() {
    opens(&World::new(), "own", Made::ByDaemon);
}

#[test]
fn by_iptables() {
    let world = World::new();
    for program in ["iptables", "ip6tables"] {
        let established = ["-A", "INPUT", "-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT"];
        world.router.stdout(program, &established);
        world.router.stdout(program, &["-P", "INPUT", "DROP"]);
    }
    opens(&world, "iptables", Made::ByDaemon);
}

/// With `close 'session'` a port stays open while its own connection lives; `kill` cuts this connection and no other.
#[test]
fn a_session_holds_its_own_port_and_kill_cuts_its_own_connections() {
    let world = World::with_firewall();
    let more = "\toption close 'session'\n\toption kill 'on'\n";
    let config = config("fw4", more).replace("open_time '60'", "open_time '4'");
    for port in [22, 80] {
        world.router.serve(port);
    }
    let daemon = Daemon::start(&world.router, &world.scratch, &config);
    thread::sleep(Duration::from_millis(2_100));
    fwknop(&world, "tcp/22,tcp/80");
    daemon.wait("both are in", |daemon| ports(daemon).len() == 2);
    let (mut ssh, _) = world.client.connect(ROUTER, 22).expect("open");
    daemon.wait("the port without a connection shuts", |daemon| ports(daemon) == ["22:tcp"]);
    daemon.wait("the other is held", |daemon| daemon.status()["grants"][0]["held"] == true);
    daemon.ask(&["close", "any", CLIENT]);
    daemon.wait_for_log("1 connection cut");
    ssh.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
    // The next packet of the connection is refused. A reset comes, which the write or the read reports.
    let written = ssh.write_all(b"x");
    let mut said = Vec::new();
    // The end of the greeting may come before the reset.
    let read = ssh.read_to_end(&mut said);
    assert!(!said.contains(&b'x'), "the service has answered");
    let is_reset = |error: &std::io::Error| {
        matches!(error.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe)
    };
    assert!(
        written.as_ref().is_err_and(is_reset) || read.as_ref().is_err_and(is_reset),
        "written: {written:?}, read: {read:?}"
    );
}
