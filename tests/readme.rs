//! README's examples, with README's own lines, word for word. (README.id.md has the same blocks; tests/commands.rs compares them.)
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test says what it expected by panicking")]

mod support;

use std::fs;

use support::daemon::Daemon;
use support::document::{blocks, read};
use support::host::Host;
use support::{Process, ROUTER, ROUTER_6, World, ketukd, wait_until};

/// A connection in the place of ssh: the server greets.
const SSH: &str = "#!/bin/bash
read -t 5 line <>\"/dev/tcp/${1#*@}/22\" && echo \"$line\"
";

/// A table that fits README's text.
const TABLE: &str = "table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		iifname lan0 accept
	}
}
";

/// The blocks of README.md that say this, each with its lines.
fn lines(info: &str) -> Vec<Vec<String>> {
    let blocks = blocks("README.md").into_iter().filter(|block| block.info == info);
    blocks.map(|block| block.text.lines().map(str::to_owned).collect()).collect()
}

/// README's configuration.
fn config() -> String {
    let [config] = &lines("uci")[..] else { panic!("one configuration") };
    config.join("\n") + "\n"
}

/// The commands of a section.
fn commands(info: &str) -> Vec<String> {
    let [commands] = &lines(info)[..] else { panic!("one block '{info}'") };
    commands.clone()
}

/// A line for a shell that finds the programs, the router's name, the configuration in its place, and no socket of another
/// daemon.
fn prepared(world: &World, line: &str) -> String {
    for folder in ["bin", "etc/config"] {
        fs::create_dir_all(world.scratch.path(folder)).unwrap();
    }
    world.scratch.write_program("bin/ssh", SSH);
    let hosts = format!("{ROUTER} router.example.org\n{ROUTER_6} router.example.org\n");
    world.scratch.write("etc/hosts", &hosts);
    world.scratch.write("etc/nsswitch.conf", "hosts: files\n");
    // The router's name has addresses of both families.
    world.scratch.write("etc/host.conf", "multi on\n");
    world.scratch.write("etc/config/ketuk", &config());
    let (here, programs) =
        (world.scratch.path("").display().to_string(), ketukd().parent().unwrap().display());
    format!(
        "mount --bind {here}/etc /etc; mount -t tmpfs tmpfs /run
         cd {here}; export PATH={here}/bin:{programs}:$PATH; {line}"
    )
}

/// Whether a line works on a host.
fn works(world: &World, host: &Host, line: &str) -> bool {
    let output = host.run("unshare", &["--mount", "bash", "-ec", &prepared(world, line)]);
    eprintln!("{line}: {output:?}");
    output.status.success()
}

/// The sequence of a door, as `ketuk` takes it.
fn sequence(config: &str, door: &str) -> String {
    let (_, section) = config.split_once(&format!("config door '{door}'")).unwrap();
    let section = section.split("\nconfig ").next().unwrap();
    let steps = section.lines().filter_map(|line| line.trim().strip_prefix("list sequence '"));
    steps.map(|step| step.trim_end_matches('\'')).collect::<Vec<_>>().join(" ")
}

/// The door to a host on the LAN opens for the knocker alone.
fn the_nas_opens(world: &World) {
    for host in [&world.client, &world.stranger] {
        assert_eq!(host.greeted_by(ROUTER, 8443), None);
    }
    let knock = format!("ketuk router.example.org {}", sequence(&config(), "nas"));
    assert!(works(world, &world.client, &knock));
    wait_until("it opens", || world.client.greeted_by(ROUTER, 8443).as_deref() == Some("lan"));
    assert_eq!(world.stranger.greeted_by(ROUTER, 8443), None);
}

/// On OpenWrt, where the service starts the daemon and fw4 loads the sets.
#[test]
fn a_door_in_two_commands() {
    let world = World::with_firewall();
    world.router.serve(22);
    world.lan.serve(443);
    let _daemon = Daemon::start(&world.router, &world.scratch, &config());
    let [check, knock_and_log_in] = &commands("sh run by tests/readme.rs on router and client")[..] else {
        panic!("two commands")
    };
    let (_, log_in) = knock_and_log_in.split_once(" && ").unwrap();
    assert!(works(&world, &world.router, check));
    for host in [&world.client, &world.stranger] {
        assert!(!works(&world, host, log_in), "shut before the knock");
    }
    assert!(works(&world, &world.client, knock_and_log_in));
    assert!(!works(&world, &world.stranger, log_in), "for the knocker alone");
    the_nas_opens(&world);
}

/// The same beside a table of the host's, with the options of the globals that the text names.
#[test]
fn a_firewall_of_ones_own() {
    let world = World::new();
    world.router.serve(22);
    world.lan.serve(443);
    // The lines name this device.
    world.router.ip("link delete wan0");
    world.isp.wire("router0", &world.router, "eth0");
    world.isp.addresses("router0", &["203.0.113.254/24", "2001:db8:1::fe/64"]);
    world.router.addresses("eth0", &["203.0.113.1/24", "2001:db8:1::1/64"]);
    world.router.gateways("203.0.113.254", "2001:db8:1::fe");
    for address in [ROUTER, ROUTER_6] {
        wait_until("the hosts reach each other", || world.client.greeted_by(address, 22).is_some());
    }
    world.router.nft(TABLE);
    let options = ["option backend 'nft'", "option nft_table 'inet filter'"];
    for option in options {
        assert!(read("README.md").contains(&format!("`{option}`")), "{option}");
    }
    let globals = "config globals 'globals'\n";
    let with = format!("{globals}\t{}\n\t{}\n", options[0], options[1]);
    world.scratch.write("ketuk.conf", &config().replace(globals, &with));

    let [check, load, start] = &commands("sh run by tests/readme.rs on the router")[..] else {
        panic!("three commands")
    };
    assert!(works(&world, &world.router, check));
    assert!(works(&world, &world.router, load));
    let once = world.router.nft_list("ruleset");
    assert!(works(&world, &world.router, load), "it can be loaded twice");
    assert_eq!(world.router.nft_list("ruleset"), once);
    let start = prepared(&world, &format!("exec {start}"));
    let _daemon = world.router.enter(|| Process::start("unshare", &["--mount", "bash", "-ec", &start]));

    for address in [ROUTER, ROUTER_6] {
        assert_eq!(world.client.greeted_by(address, 22), None, "shut before the knock");
    }
    let knock = format!("ketuk router.example.org {}", sequence(&config(), "ssh"));
    for address in [ROUTER, ROUTER_6] {
        wait_until("the daemon hears, and opens", || {
            works(&world, &world.client, &knock) && world.client.greeted_by(address, 22).is_some()
        });
        assert_eq!(world.stranger.greeted_by(address, 22), None, "for the knocker alone");
    }
    the_nas_opens(&world);
}
