//! `ketukd doctor` on real hosts: a right set-up is fine, and each point is made wrong once.
#![cfg(all(target_os = "linux", feature = "doctor"))]

#[path = "../support/mod.rs"]
mod support;

mod daemon;
mod network;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use support::daemon::{Daemon, Start};
use support::{
    CLIENT, LAN, LAN_6, ROUTER, Scratch, World, copy_program, is_root_of_the_machine, ketukd, run, wait_until,
};

/// A door of the router that also runs a command, a door to a host behind the router, and a user.
const CONFIG: &str = "
config globals 'globals'
	option backend 'own'
	option trust_clock '1'
config door 'ssh'
	option sequence '31734,9482,50217'
	option proto 'tcp'
	option dest_port '22'
	option open_time '600'
	option start_command 'true'
config door 'nas'
	option sequence '27461,61250,13398'
	option proto 'tcp'
	option src_dport '8443'
	list dest_ip '192.168.1.10'
	list dest_ip '2001:db8:2::10'
	option dest_port '443'
config user 'alice'
	option key 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='
	list door 'ssh'
";

/// Every point, in its order.
const POINTS: [&str; 12] = [
    "configuration",
    "rights",
    "daemon",
    "devices",
    "addresses",
    "services",
    "traps",
    "open_ports",
    "firewall",
    "hosts",
    "clock",
    "knocks",
];

/// The output of the doctor, and whether it found nothing wrong.
struct Said(String, Option<i32>);

impl Said {
    fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = Self(text, output.status.code());
        let wrong = said.0.lines().any(|line| line.contains(": WRONG:"));
        assert_eq!(said.1, Some(i32::from(wrong)), "{}{}", said.0, String::from_utf8_lossy(&output.stderr));
        said
    }

    /// Whether a line begins like this.
    fn has(&self, line: &str) -> bool {
        self.0.lines().any(|said| said.starts_with(line))
    }

    /// A line begins like this.
    fn expect(&self, line: &str) {
        assert!(self.has(line), "no line '{line}' in:\n{}", self.0);
    }
}

/// The doctor with the daemon's configuration and these arguments.
fn doctor(daemon: &Daemon<'_>, arguments: &[&str]) -> Said {
    let config = daemon.config().to_str().expect("a plain path");
    Said::of(&daemon.control(&[&["doctor", "--config", config], arguments].concat()))
}

/// Writes a configuration that nobody else may read.
fn private(scratch: &Scratch, config: &str) -> String {
    scratch.write_secret("doctor.uci", config).to_str().expect("a plain path").to_owned()
}

/// A world whose router has this configuration, with services behind its doors, and a daemon that has heard knocks.
fn router<'w>(world: &'w World, config: &str) -> Daemon<'w> {
    world.router.serve(22);
    world.lan.serve(443);
    for address in [LAN, LAN_6] {
        wait_until("the host behind answers", || world.router.greeted_by(address, 443).is_some());
    }
    let mut start = Start::new(&world.router, &world.scratch, config);
    world.scratch.write_secret("ketuk.uci", config);
    start.with_user_ketuk(&world.scratch);
    let daemon = start.go();
    daemon.wait_until_it_listens();
    daemon
}

#[test]
fn a_right_set_up_is_fine() {
    if !is_root_of_the_machine("other users") {
        return;
    }
    let world = World::new();
    let daemon = router(&world, CONFIG);
    doctor(&daemon, &[]).expect("knocks: not known: no knock has come in the ");
    world.client.knock(ROUTER, "31734 9482 50217");
    daemon.wait("the door is open", |daemon| daemon.lets_in("ssh", CLIENT));
    let said = doctor(&daemon, &["--from", CLIENT]);
    let fine = POINTS.join(": fine\n").replace('_', " ") + ": fine\nfrom: fine\n";
    assert_eq!((said.0.as_str(), said.1), (fine.as_str(), Some(0)));

    let json = daemon.ask(&["doctor", "--json", "--config", daemon.config().to_str().expect("a plain path")]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["wrong"], false);
    let points = json["points"].as_array().expect("a list").iter();
    let text = |value: &serde_json::Value| value.as_str().expect("a word").to_owned();
    let points: Vec<_> = points.map(|point| [text(&point["point"]), text(&point["state"])]).collect();
    assert_eq!(points, POINTS.map(|point| [point, "fine"]));
}

#[test]
fn what_is_wrong_with_the_configuration_and_behind_the_router() {
    let world = World::new();
    let daemon = router(&world, CONFIG);
    daemon.write_config(&CONFIG.replace("dest_port '22'", "dest_prot '22'"));
    let said = doctor(&daemon, &[]);
    let place = format!("{}:8:9: unknown option 'dest_prot' in door 'ssh'", daemon.config().display());
    assert!(said.0.starts_with(&format!("configuration: WRONG:\n{place}\n")), "{}", said.0);
    assert!(said.0.contains("       ^~~~~~~~~\n"), "{}", said.0);
    said.expect("traps: not known: the configuration is wrong");

    daemon.write_config(&CONFIG.replace("31734,9482,50217", "7000,8000,9000"));
    doctor(&daemon, &[]).expect("configuration: WRONG: door 'ssh' has the same distance between its ports");

    daemon.write_config(&CONFIG.replace("192.168.1.10", "192.168.1.77"));
    doctor(&daemon, &[]).expect("hosts: WRONG: door 'nas': 192.168.1.77:443 does not answer: is the host on");
    daemon.write_config(&CONFIG.replace("dest_port '443'", "dest_port '444'"));
    doctor(&daemon, &[]).expect(
        "hosts: WRONG: door 'nas': 2001:db8:2::10 is there, and no program listens at its TCP port 444: ",
    );
    let udp = CONFIG.replace("proto 'tcp'\n	option src_dport", "proto 'udp'\n	option src_dport");
    daemon.write_config(&udp);
    doctor(&daemon, &[]).expect("hosts: fine");
    daemon.write_config(&udp.replace("192.168.1.10", "192.168.1.77"));
    doctor(&daemon, &[]).expect("hosts: not known: door 'nas': 192.168.1.77 answers no TCP");

    let other = private(&world.scratch, CONFIG);
    let said = Said::of(&daemon.control(&["doctor", "--config", &other]));
    said.expect(&format!("daemon: WRONG: it runs with {}, and not with {other}", daemon.config().display()));
}

/// A point that cannot be looked at is not known, and never fine.
#[test]
fn without_privilege() {
    if !is_root_of_the_machine("what an ordinary user is told") {
        return;
    }
    let world = World::new();
    let daemon = router(&world, CONFIG);
    fs::set_permissions(daemon.config(), fs::Permissions::from_mode(0o644)).expect("the owner's file");
    // A folder that nobody may enter.
    let program = world.scratch.path("doctor");
    copy_program(ketukd(), &program);
    let nobody = |config: &Path| {
        let paths = [&program, config, daemon.socket()].map(|path| path.to_str().expect("a plain path"));
        let [program, config, socket] = paths;
        let user = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
        let arguments = [program, "doctor", "--config", config, "--socket", socket];
        Said::of(&world.router.run("setpriv", &[&user[..], &arguments].concat()))
    };
    let said = nobody(daemon.config());
    said.expect("rights: not known: not everything can be looked at without privilege: run it as root");
    said.expect("daemon: not known: ");
    for point in ["open ports", "firewall"] {
        said.expect(&format!("{point}: not known: "));
        assert!(!said.has(&format!("{point}: fine")), "{}", said.0);
    }
    fs::set_permissions(daemon.config(), fs::Permissions::from_mode(0o600)).expect("the owner's file");
    nobody(daemon.config()).expect("configuration: not known: ");
}

#[test]
fn wrong_usage() {
    for arguments in [&["doctor", "ssh"][..], &["doctor", "--frm", "192.0.2.1"]] {
        let output = run(ketukd().to_str().expect("a plain path"), arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}
