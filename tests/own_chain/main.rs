//! `auto` on a kernel without `nf_tables`: the daemon's own chains of iptables shut the doors' ports and open them to
//! knockers.
#![cfg(target_os = "linux")]

mod findings;
mod loading;
mod rights;
#[path = "../support/mod.rs"]
mod support;

use nix::sys::signal::Signal;
use support::daemon::{Daemon, Start};
use support::shut::ports_are_shut_and_open_for_the_knocker_alone;
use support::{CLIENT, LAN_6, OWN_RUN, ROUTER, ROUTER_6, World, ketukd, wait_until};

const DOORS: &str = "
config globals
	option backend 'auto'
config door 'ssh'
	list sequence '7000'
	option proto 'tcp'
	option dest_port '22'
	option open_time '4'
config door 'dns'
	list sequence '7500'
	option proto 'udp'
	option dest_port '53'
	option open_time '60'
config door 'six'
	list sequence '8000'
	option proto 'tcp'
	option src_dport '443'
	option dest_ip '2001:db8:2::10'
	option dest_port '443'
	option open_time '60'
";

/// Runs a command as on a kernel without `nf_tables`.
fn without_nf_tables() -> Vec<&'static str> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/no_nf_tables.py");
    OWN_RUN.into_iter().chain(["python3", script]).collect()
}

/// Runs a line of shell on the router.
fn shell(world: &World, line: &str) -> String {
    world.router.shell(&world.own_lock(line))
}

fn world() -> World {
    let world = World::with_servers();
    let works = world.own_lock("iptables-legacy -S INPUT && ip6tables-legacy -S INPUT");
    let works = world.router.run("bash", &["-c", &works]);
    assert!(
        works.status.success(),
        "this test needs a kernel with the older iptables (CONFIG_IP_NF_IPTABLES_LEGACY)"
    );
    world
}

fn start<'w>(world: &'w World, doors: &str) -> Daemon<'w> {
    let mut start = Start::new(&world.router, &world.scratch, doors);
    start.through(&without_nf_tables());
    start.go()
}

/// `ketukd` with these arguments, on a router without `nf_tables`.
fn run(world: &World, arguments: &[&str]) -> String {
    let mut words = without_nf_tables();
    words.push(ketukd().to_str().expect("a plain path"));
    words.extend(arguments);
    world.router.stdout(words[0], &words[1..])
}

/// The rules of both families.
fn rules(world: &World) -> String {
    shell(world, "iptables-legacy -w -S; ip6tables-legacy -w -S")
}

#[test]
fn a_port_is_shut_and_opened_for_the_knocker_alone() {
    let world = world();
    let daemon = ports_are_shut_and_open_for_the_knocker_alone(&world, |world| start(world, DOORS));
    assert_eq!(daemon.status()["daemon"]["backend"], "iptables");
    assert_eq!(world.client.greeted_by(LAN_6, 443), None, "a host behind the router the same");
    world.client.knock(ROUTER_6, "8000");
    wait_until("it opens", || world.client.greeted_by(LAN_6, 443).is_some());
    assert_eq!(world.stranger.greeted_by(LAN_6, 443), None);
}

#[test]
fn it_stays_shut_without_a_daemon_and_unload_opens() {
    let world = world();
    let before = rules(&world);
    let daemon = start(&world, DOORS);
    daemon.ask(&["open", "ssh", CLIENT, "60"]);
    assert!(world.client.greeted_by(ROUTER, 22).is_some());
    daemon.end(Signal::SIGKILL);
    assert_eq!(world.stranger.greeted_by(ROUTER, 22), None, "shut after a crash");
    // The programs that change the chains note what they are told.
    let programs = world.scratch.path("bin");
    std::fs::create_dir(&programs).expect("a folder");
    world.router.shell(&format!(
        "cd {}; for name in iptables-legacy-restore ip6tables-legacy-restore; do \
         printf '#!/bin/sh\\ntee -a %s/told | %s \"$@\"\\n' \"$PWD\" \"$(command -v $name)\" >$name; chmod +x $name; done",
        programs.display()
    ));
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let mut again = Start::new(&world.router, &world.scratch, DOORS);
    again.through(&without_nf_tables()).command().env("PATH", path);
    let daemon = again.go();
    let told = std::fs::read_to_string(programs.join("told")).expect("the chains are loaded");
    assert!(told.contains("ketuk_input") && !told.contains("-X"), "open for no moment: {told}");
    assert!(!rules(&world).contains("ketuk:ssh"), "what a crash left is gone: {}", rules(&world));
    assert_eq!(world.client.greeted_by(ROUTER, 22), None);
    daemon.ask(&["open", "ssh", CLIENT, "60"]);
    // The daemon looks at its chains after a second.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let (_, log) = daemon.end(Signal::SIGTERM);
    assert!(!log.contains("by another program"), "nobody has changed the chains: {log}");
    for address in [ROUTER, ROUTER_6] {
        assert_eq!(world.client.greeted_by(address, 22), None, "a stop shuts");
    }
    run(&world, &["unload"]);
    assert_eq!(rules(&world), before, "as before the start");
    run(&world, &["unload"]);
}

#[test]
fn a_reload_brings_the_chains_up_to_date() {
    let world = world();
    let before = rules(&world);
    world.router.serve(2222);
    let daemon = start(&world, DOORS);
    daemon.ask(&["open", "dns", CLIENT, "60"]);
    daemon.write_config(&DOORS.replace("dest_port '22'", "dest_port '2222'"));
    daemon.ask(&["reload"]);
    assert!(world.stranger.greeted_by(ROUTER, 22).is_some(), "no door's any more");
    assert_eq!(world.stranger.greeted_by(ROUTER, 2222), None);
    assert!(world.client.answered_by(ROUTER, 53).is_some(), "who is in stays in");
    let listed = rules(&world);
    for jump in
        ["-A INPUT -j ketuk_input\n", "-A FORWARD -j ketuk_forward\n", "-A ketuk_input -j ketuk_input_open\n"]
    {
        assert_eq!(listed.matches(jump).count(), 2, "once for each family: {listed}");
    }
    daemon.write_config(&DOORS.replace("\tlist sequence", "\toption enabled '0'\n\tlist sequence"));
    daemon.ask(&["reload"]);
    daemon.wait_for_commands();
    assert_eq!(rules(&world), before, "without a door there is nothing to shut");
}

#[test]
fn chains_that_were_flushed_are_put_back_with_knockers() {
    let world = world();
    let daemon = start(&world, DOORS);
    for change in [
        "-F",
        "-F ketuk_input_open; iptables-legacy -w -F ketuk_forward_open",
        "-F ketuk_input",
        "-D INPUT -j ketuk_input",
        "-I INPUT -p tcp -j ACCEPT",
        "-I ketuk_input -p tcp -j ACCEPT",
        "-F; iptables-legacy -w -X",
    ] {
        daemon.ask(&["open", "ssh", CLIENT, "60"]);
        assert!(world.client.greeted_by(ROUTER, 22).is_some());
        shell(&world, &format!("iptables-legacy -w {change}"));
        daemon.wait("it is shut again for others", |_| world.stranger.greeted_by(ROUTER, 22).is_none());
        daemon.wait("each family is led there once", |_| {
            let listed = rules(&world);
            listed.matches("-A INPUT -j ketuk_input\n").count() == 2
        });
        daemon.wait("who was in is in", |_| rules(&world).contains(&format!("-s {CLIENT}/32")));
        daemon.wait_for_commands();
        assert!(world.client.greeted_by(ROUTER, 22).is_some(), "{change}");
        daemon.ask(&["close", "ssh"]);
        daemon.wait_for_commands();
        assert_eq!(world.client.greeted_by(ROUTER, 22), None, "{change}");
    }
    daemon.wait_for_log("were changed or deleted by another program: they are made again");
}

/// If the programs cannot make the chains, no message says that the port is shut.
#[test]
fn what_could_not_be_shut_is_not_said_to_be() {
    let world = world();
    let programs = world.scratch.path("bin");
    std::fs::create_dir(&programs).expect("a folder");
    let programs = programs.to_str().expect("a plain path").to_owned();
    // All programs are real except ip6tables-restore.
    world.router.shell(&format!(
        "cd {programs}; printf '#!/bin/sh\nexit 2\n' >ip6tables-legacy-restore; chmod +x ip6tables-legacy-restore"
    ));
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap_or_default());
    let mut start = Start::new(&world.router, &world.scratch, DOORS);
    start.through(&without_nf_tables()).command().env("PATH", path);
    let daemon = start.go();
    assert!(
        daemon.log().contains("the doors' ports are NOT shut: ip6tables-legacy, chains"),
        "{}",
        daemon.log()
    );
    assert!(!daemon.log().contains("is shut on"), "{}", daemon.log());
    assert_eq!(daemon.status()["doors"][0]["firewall"], "missing");
    assert_eq!(world.client.greeted_by(ROUTER, 22), None, "what could be shut is");
    assert!(world.client.greeted_by(ROUTER_6, 22).is_some());
    world.router.shell(&format!("rm {programs}/ip6tables-legacy-restore"));
    daemon.wait_for_log("chains ketuk_input and ketuk_forward are made: the doors' ports are shut");
    assert_eq!(world.client.greeted_by(ROUTER_6, 22), None);
    assert_eq!(daemon.status()["doors"][0]["firewall"], "ready");
}

/// If the configuration names iptables, the host's firewall shuts the ports. Chains of an earlier run are deleted.
#[test]
fn with_iptables_by_name_the_daemon_shuts_nothing() {
    let world = world();
    start(&world, DOORS).end(Signal::SIGTERM);
    assert!(rules(&world).contains("ketuk_input"));
    // The two kinds of iptables are two firewalls. Here `iptables` is the older one.
    let programs = world.scratch.path("bin");
    std::fs::create_dir(&programs).expect("a folder");
    let programs = programs.to_str().expect("a plain path").to_owned();
    for program in ["iptables", "ip6tables"] {
        for end in ["", "-save", "-restore"] {
            let older = program.to_owned() + "-legacy" + end;
            world.router.shell(&format!("ln -s $(command -v {older}) {programs}/{program}{end}"));
        }
    }
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap_or_default());
    let mut start = Start::new(&world.router, &world.scratch, &DOORS.replace("'auto'", "'iptables'"));
    start.through(&OWN_RUN).command().env("PATH", path);
    let daemon = start.go();
    let log = daemon.log();
    let (_, log) = log.split_once("shutting down").expect("the first daemon's end");
    assert!(!log.contains("is shut on"), "{log}");
    assert!(!rules(&world).contains("ketuk_input"), "{}", rules(&world));
    assert!(world.client.greeted_by(ROUTER, 22).is_some());
}
