//! `ketukd import`: the results for other programs' configurations, and a daemon that uses them.
#![cfg(all(target_os = "linux", feature = "import"))]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use support::daemon::Daemon;
use support::{CLIENT, ROUTER, Scratch, World, ketukd, run, succeeded, wait_until};

/// Standard output and standard error of an import, which must succeed.
fn import(file: &str) -> (String, String) {
    let output = run(ketukd().to_str().expect("a plain path"), &["import", file]);
    let out = succeeded("ketukd import", &[file], &output);
    (out, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn fixture(name: &str) -> String {
    // It runs in the project's root, so that the messages name no path of this machine.
    assert!(Path::new("Cargo.toml").exists(), "tests run in the project's root");
    format!("tests/import/{name}")
}

/// Each file, with the expected configuration and the expected warnings.
#[test]
fn golden() {
    let (mut seen, mut wrong) = (0, String::new());
    for entry in fs::read_dir("tests/import").unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = file.strip_suffix(".conf") else { continue };
        seen += 1;
        let (uci, warnings) = import(&fixture(&file));
        for (extension, got) in [("uci", uci), ("warnings", warnings)] {
            let path = fixture(&format!("{name}.{extension}"));
            if fs::read_to_string(&path).unwrap_or_default() != got {
                writeln!(wrong, "=== {path}\n{got}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "these read otherwise now:\n{wrong}");
    assert!(seen >= 4, "only {seen} files");
}

#[test]
fn check_accepts_what_comes_out() {
    let scratch = Scratch::new();
    for name in ["everyones", "manual", "commands", "nft", "access"] {
        let (uci, _) = import(&fixture(&format!("{name}.conf")));
        let file = scratch.write("imported", &uci);
        support::stdout(ketukd().to_str().unwrap(), &["check", "--config", file.to_str().unwrap()]);
    }
}

#[test]
fn what_is_no_knockd_conf_is_refused() {
    for (file, code) in [("Cargo.lock.missing", 1), ("/dev/null", 2), ("/dev/zero", 2)] {
        let output = run(ketukd().to_str().unwrap(), &["import", file]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{file}: {said}");
        assert!(said.contains(file) && output.stdout.is_empty(), "{said}");
    }
}

/// The example that everyone copies: one sequence opens without a time limit, and another one shuts.
#[test]
fn everyones_example_opens_and_shuts() {
    let world = World::with_firewall();
    world.router.serve(22);
    let (uci, warnings) = import(&fixture("everyones.conf"));
    assert_eq!(
        warnings,
        "tests/import/everyones.conf: door 'openSSH' has the same distance between its ports: a scan with this stride opens it: 'ketukd keygen' prints a random sequence\n"
    );
    // The log file that the configuration names belongs to the machine.
    let log = world.scratch.path("knockd.log");
    let uci = uci.replace("/var/log/knockd.log", log.to_str().unwrap());
    let daemon = Daemon::start(&world.router, &world.scratch, &uci);

    assert_eq!(world.client.greeted_by(ROUTER, 22), None, "shut before the knock");
    let knock = |ports: &str| world.client.knock(ROUTER, ports);
    knock("7000 8000 9000");
    daemon.wait_for_log("openSSH: OPEN SESAME");
    assert_eq!(world.client.greeted_by(ROUTER, 22).as_deref(), Some("router"));
    let set = world.router.nft_list("set inet fw4 ketuk_openSSH_4");
    assert!(set.contains(CLIENT) && !set.contains("expires"), "no timer shuts it: {set}");
    assert!(daemon.ask(&["status"]).contains("open openSSH for 198.51.100.10: until it is shut"));

    knock("9000 8000 7000");
    daemon.wait_for_log("198.51.100.10: openSSH: shut");
    wait_until("the door is shut", || world.client.greeted_by(ROUTER, 22).is_none());
    assert!(fs::read_to_string(log).unwrap().contains("198.51.100.10: openSSH: Stage 1"));
}

/// A closing knock shuts the door for the knocker only, and no other door.
#[test]
fn a_closing_knock_is_the_knockers_own() {
    let config = "
config globals 'globals'
	option backend 'fw4'
config door 'ssh'
	list sequence '7000'
	option dest_port '22'
	option open_time '0'
config door 'web'
	list sequence '7001'
	option dest_port '80'
	option open_time '0'
config door 'out'
	list sequence '9000'
	option action 'close'
	list door 'ssh'
";
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, config);
    for host in [&world.client, &world.stranger] {
        host.knock(ROUTER, "7000 7001");
    }
    daemon.wait("four are in", |daemon| daemon.status()["grants"].as_array().unwrap().len() == 4);
    world.client.shell(&format!("knock {ROUTER} 9000"));
    daemon.wait_for_log("198.51.100.10: ssh: shut");
    let status = daemon.status();
    let mut left: Vec<_> = status["grants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|grant| format!("{} {}", grant["door"], grant["address"]))
        .collect();
    left.sort();
    assert_eq!(left, [r#""ssh" "192.0.2.10""#, r#""web" "192.0.2.10""#, r#""web" "198.51.100.10""#]);
    let refused = daemon.control(&["open", "out", CLIENT]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}
