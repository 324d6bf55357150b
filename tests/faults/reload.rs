//! Reloads of the configuration.

use nix::sys::signal::Signal;

use super::support::daemon::Daemon;
use super::support::wire::Wire;
use super::support::{CLIENT, ROUTER, STRANGER, World};
use super::{SSH, knock_and_enter};

const BROKEN: &str = "config door 'ssh'\n\toption dest_prot '22'\n";

/// A second door.
const WEB: &str = "
config door 'web'
	list sequence '1100'
	list sequence '1200'
	option proto 'tcp'
	option dest_port '80'
	option open_time '60'
";

#[test]
fn a_broken_file_changes_nothing() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    daemon.write_config(BROKEN);

    let answer = daemon.control(&["reload"]);
    assert_eq!(answer.status.code(), Some(2));
    let message = String::from_utf8_lossy(&answer.stderr);
    for part in ["ketuk.uci:2:9: unknown option 'dest_prot' in door 'ssh'", "^~~~~~~~~", "'dest_port'"] {
        assert!(message.contains(part), "{message}");
    }
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("the configuration stays as it was: ");
    daemon.wait_for_log("ketuk.uci:2:9: unknown option 'dest_prot'");
    std::fs::remove_file(world.scratch.path("ketuk.uci")).expect("the file");
    let answer = daemon.control(&["reload"]);
    assert_eq!(answer.status.code(), Some(2), "a file that is not there is no empty file");
    knock_and_enter(&world, &daemon);
}

#[test]
fn what_did_not_change_keeps_its_progress_and_its_grants() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, &format!("{SSH}{WEB}"));
    let mut wire = Wire::new(&world);
    for source in [CLIENT, STRANGER] {
        daemon.ask(&["open", "web", source]);
        daemon.ask(&["open", "ssh", source, "600"]);
    }
    daemon.ask(&["close", "ssh", CLIENT]);
    wire.knock(CLIENT, "7000 8000");
    wire.send();
    daemon.wait_for_log("ssh: Stage 2");

    // The doors have another order, one is removed, and one is added.
    let other = WEB.replace("'web'", "'new'").replace("'1200'", "'1300'").replace("'80'", "'81'");
    daemon.write_config(&format!("{other}{}", SSH.replace("'60'", "'120'")));
    daemon.ask(&["reload"]);
    assert!(daemon.lets_in("ssh", STRANGER), "an unchanged door keeps its grants");
    let web = world.router.nft_list("set inet fw4 ketuk_web_4");
    assert!(!web.contains("elements"), "a door that is gone is shut: {web}");
    let status = daemon.status();
    let names: Vec<_> =
        status["doors"].as_array().expect("a list").iter().map(|door| &door["name"]).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    wire.knock(CLIENT, "9000");
    wire.send();
    daemon.wait("the third knock completes the two from before", |daemon| daemon.lets_in("ssh", CLIENT));
    let left = super::daemon_seconds_left(&daemon).expect("open");
    assert!(left > 60, "the new time counts: {left}");
}

#[test]
fn a_changed_sequence_begins_anew_and_what_opens_otherwise_is_shut() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    let mut wire = Wire::new(&world);
    daemon.ask(&["open", "ssh", STRANGER]);
    wire.knock(CLIENT, "7000 8000");
    wire.send();
    daemon.wait_for_log("ssh: Stage 2");
    daemon.write_config(&SSH.replace("'8000'", "'8100'").replace("'22'", "'2222'"));
    daemon.signal(Signal::SIGHUP);
    daemon.wait("the door opens something else now", |daemon| !daemon.lets_in("ssh", STRANGER));
    let set = world.router.nft_list(super::SET);
    assert!(!set.contains("elements"), "{set}");
    wire.knock(CLIENT, "9000 7000 8100 9000");
    wire.knock(STRANGER, "7000 8000 9000");
    wire.knock("10.9.0.1", "7000 8100 9000");
    wire.send();
    daemon.wait("the control opens", |daemon| daemon.lets_in("ssh", "10.9.0.1"));
    assert!(daemon.lets_in("ssh", CLIENT) && !daemon.lets_in("ssh", STRANGER));
}

#[test]
fn a_door_under_another_name_is_another_door() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    knock_and_enter(&world, &daemon);
    daemon.write_config(&SSH.replace("'ssh'", "'shell'"));
    daemon.ask(&["reload"]);
    let set = world.router.nft_list(super::SET);
    assert!(!set.contains("elements"), "nobody looks after the old set any more: {set}");
    assert_eq!(daemon.status()["grants"].as_array().map(Vec::len), Some(0));
}

#[test]
fn devices_change_with_the_configuration() {
    let world = World::with_firewall();
    let device = |name: &str| SSH.replace("'fw4'", &format!("'fw4'\n\tlist device '{name}'"));
    let start = super::support::daemon::Start::on(&world.router, &world.scratch, &device("lan0"), &[]);
    world.router.nft(&super::support::daemon::ruleset(&world.scratch.path("ketuk.uci")));
    let daemon = start.go();
    super::knock(&world);
    world.lan.stdout("knock", &["-d", "20", ROUTER, "7000", "8000", "9000"]);
    daemon.wait("heard on lan0", |daemon| daemon.lets_in("ssh", super::support::LAN));
    assert!(!daemon.lets_in("ssh", CLIENT), "not on wan0");
    daemon.write_config(&device("wan0"));
    daemon.ask(&["reload"]);
    assert!(daemon.lets_in("ssh", super::support::LAN), "who is in stays in");
    knock_and_enter(&world, &daemon);
}
