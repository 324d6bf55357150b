//! What `check`, the log and the status say of the own table, and of tables beside it.

use super::support::daemon::{Daemon, Start};
use super::support::{ROUTER, World, ketukd, wait_until};
use super::{DOORS, start};

/// The configuration names a device that does not exist, as a file from another host may: the port is shut on that device alone.
#[test]
fn a_port_that_is_not_shut_where_strangers_come_in_is_said_to_be() {
    let world = World::with_servers();
    let doors = DOORS.replace("config globals", "config globals\n\tlist device 'eth9'");
    let daemon = Start::on(&world.router, &world.scratch, &doors, &[]).go();
    assert!(world.stranger.greeted_by(ROUTER, 22).is_some());
    let said = "the doors' ports are NOT shut on wan0, lan0: ketukd shuts them only on the named devices, and eth9 \
                is not on this host: name the device that strangers come in by";
    assert!(daemon.log().contains(said), "{}", daemon.log());
    let config = daemon.config().to_str().expect("a plain path");
    let checked = world.router.stdout(ketukd().to_str().expect("a plain path"), &["check", config]);
    for said in ["there is no device 'eth9' on this host", said] {
        assert!(checked.contains(&format!("warning: {said}")), "{checked}");
    }
    let doctor = daemon.control(&["doctor", "--config", config]);
    assert!(
        String::from_utf8_lossy(&doctor.stdout)
            .contains(&format!("devices: WRONG: {said}: 'ip address' lists the devices")),
        "{doctor:?}"
    );
    // The command that the advice names exists in iproute2 and in OpenWrt's busybox.
    for (program, arguments) in [("ip", &["address"][..]), ("busybox", &["ip", "address"])] {
        let listed = world.router.stdout(program, arguments);
        assert!(listed.contains("wan0") && listed.contains(ROUTER), "{program}: {listed}");
    }
    // With the right device the port is shut, and there is no more warning.
    daemon.write_config(&doors.replace("eth9", "wan0"));
    daemon.ask(&["reload"]);
    assert_eq!(world.stranger.greeted_by(ROUTER, 22), None);
    let checked = world.router.stdout(ketukd().to_str().expect("a plain path"), &["check", config]);
    assert!(!checked.contains("NOT shut") && !checked.contains("no device"), "{checked}");
}

#[test]
fn another_firewall_that_drops_what_the_door_lets_in_is_named() {
    let world = World::with_servers();
    world.router.nft("table inet filter {\nchain input {\ntype filter hook input priority 0; policy drop\nicmpv6 type != echo-request accept\n}\n}");
    let daemon = start(&world, DOORS);
    let said = "door 'ssh': tcp port 22 stays shut on wan0 even after a knock: chain input of table inet filter drops";
    daemon.wait_for_log(said);
    assert!(daemon.ask(&["status"]).contains(said), "{}", daemon.ask(&["status"]));
    // The log says when a fault is over, and when it comes back.
    world.router.nft("add rule inet filter input tcp dport 22 accept");
    daemon.wait_for_log("door 'ssh': tcp port 22 is right again");
    assert!(!daemon.ask(&["status"]).contains(said));
    assert_eq!(world.client.greeted_by(ROUTER, 22), None, "the door shuts what the other lets in");
    world.client.knock(ROUTER, "7000");
    wait_until("it opens", || world.client.greeted_by(ROUTER, 22).is_some());
}

/// The running daemon's table does not have a door that has just been written.
#[test]
fn a_new_door_is_said_to_be_shut_at_the_reload() {
    let world = World::with_servers();
    let daemon = start(&world, DOORS);
    let on_wan = DOORS.replace("config globals", "config globals\n\tlist device 'wan0'");
    daemon.write_config(&on_wan.replace("option dest_port '22'", "option dest_port '2222'"));
    let config = daemon.config().to_str().expect("a plain path");
    let check = || world.router.stdout(ketukd().to_str().expect("a plain path"), &["check", config]);
    let said = "door 'ssh': tcp port 2222 can be reached without a knock on wan0 (nothing listens on it now): if ketukd listens on wan0, a reload shuts it";
    assert!(check().contains(said), "{}", check());
    daemon.ask(&["reload"]);
    assert!(!check().contains("without a knock"), "{}", check());
}

/// If another table accepts the port for everybody, a warning says that the door is open without a knock.
#[test]
fn a_door_that_is_open_to_everybody_is_said_to_be() {
    let world = World::with_firewall();
    world.router.serve(22);
    let doors = DOORS.replace("backend 'own'", "backend 'nft'\n\toption nft_table 'inet fw4'");
    let daemon = Daemon::start(&world.router, &world.scratch, &doors);
    assert!(!daemon.log().contains("without a knock"), "{}", daemon.log());
    world.router.nft("insert rule inet fw4 input_wan tcp dport 22 accept");
    daemon.wait_for_log("door 'ssh': tcp port 22 can be reached without a knock on wan0");
    let config = daemon.config().to_str().expect("a plain path").to_owned();
    std::fs::write(&config, doors.replace("config globals", "config globals\n\tlist device 'wan0'"))
        .expect("the file");
    let checked =
        world.router.stdout(ketukd().to_str().expect("a plain path"), &["check", "--config", &config]);
    assert!(
        checked.contains("warning: door 'ssh': tcp port 22 can be reached without a knock on wan0"),
        "{checked}"
    );
    assert_eq!(checked.matches("without a knock").count(), 1, "{checked}");
    // Sets that vanish are noticed.
    world.router.nft("flush chain inet fw4 input_wan\ndelete set inet fw4 ketuk_ssh_4");
    daemon.wait_for_log("ssh: set ketuk_ssh_4 in table inet fw4 does not exist");
}

/// The command that the log recommends works on Debian's own table, also several times, and so do README's lines.
#[test]
fn the_recommended_line_can_be_run_again_and_again() {
    let world = World::new();
    world.router.serve(22);
    let shell = |line: &str| {
        let path = ketukd().parent().expect("a folder").display();
        world.router.shell(&format!(
            "set -e; cd {}; export PATH={path}:$PATH; {line}",
            world.scratch.path(".").display()
        ))
    };
    world.router.nft(
        "table inet filter {\nchain input {\ntype filter hook input priority 0; policy drop\nicmpv6 type != echo-request accept\n}
        chain forward {\ntype filter hook forward priority 0; policy drop\n}\n}",
    );
    shell("nft list ruleset >base.nft");
    let doors = DOORS.replace("backend 'own'", "backend 'nft'\n\toption nft_table 'inet filter'");
    world.scratch.write("ketuk.conf", &doors);
    let readme = include_str!("../../README.md");
    let line = readme
        .lines()
        .find(|line| line.starts_with("ketukd ruleset --config ketuk.conf"))
        .expect("README's line");
    assert!(readme.contains("\nketukd check --config ketuk.conf\n"));
    shell("ketukd check --config ketuk.conf");
    shell(line);
    let rules = |listed: &str| listed.matches("comment \"ketuk: ").count();
    let once = world.router.nft_list("table inet filter");
    assert_eq!(rules(&once), 2 + 2 + 3, "{once}");
    for again in [
        line,
        "ketukd ruleset --config ketuk.conf | nft -f -",
        "ketukd ruleset --replace --config ketuk.conf | nft -f -",
    ] {
        shell(again);
        assert_eq!(world.router.nft_list("table inet filter"), once, "{again}");
    }
    // The output in a file is for a firewall that is loaded anew, with a table of its own.
    shell(
        "ketukd ruleset --config ketuk.conf >ketuk.nft
         (echo flush ruleset; cat base.nft ketuk.nft) >whole.nft; nft -f whole.nft; nft -f whole.nft",
    );
    assert_eq!(rules(&world.router.nft_list("table inet filter")), rules(&once));
    let daemon = start(&world, &doors);
    assert!(!daemon.log().contains("does not exist"), "{}", daemon.log());
    world.client.knock(ROUTER, "7000");
    wait_until("it opens", || world.client.greeted_by(ROUTER, 22).is_some());
    assert_eq!(world.stranger.greeted_by(ROUTER, 22), None);
}
