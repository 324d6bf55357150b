//! Rules of other programs that leave a door open, or drop what a door lets in.

use super::support::daemon::Start;
use super::support::ketukd;
use super::{DOORS, run, shell, world};

/// Rules of the older kind beside the daemon's own table: they may drop what the door lets in.
#[test]
fn a_chain_of_the_older_iptables_that_drops_what_the_door_lets_in_is_named() {
    let world = world();
    shell(&world, "iptables-legacy -P INPUT DROP");
    let daemon = Start::new(&world.router, &world.scratch, DOORS).go();
    assert_eq!(daemon.status()["daemon"]["backend"], "own");
    let said = "door 'ssh': tcp port 22 stays shut on wan0 even after a knock: chain INPUT of table filter of \
                iptables-legacy drops the packets that the door lets in";
    assert!(daemon.log().contains(said), "{}", daemon.log());
    // A daemon that can start no programs reads these rules too.
    shell(&world, "iptables-legacy -P INPUT ACCEPT");
    // Nothing tells the daemon, so it looks for the status, if it has not looked in the last two seconds.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let status = daemon.ask(&["status"]);
    assert!(!status.contains("even after a knock"), "{status}");
    shell(&world, "iptables-legacy -A INPUT -p tcp --dport 22 -j DROP");
    daemon.wait("it is said again", |daemon| daemon.ask(&["status"]).contains(said));
}

/// `check` reads the rules of the older kind: open, shut, and not known.
#[test]
fn check_says_what_the_older_iptables_leaves_open() {
    const OPEN: &str = "tcp port 22 can be reached without a knock on wan0";
    let world = world();
    let doors = DOORS.replace("config globals", "config globals\n\tlist device 'wan0'");
    for (backend, without) in [("iptables", false), ("auto", true)] {
        let config = world.scratch.write("check.uci", &doors.replace("'auto'", &format!("'{backend}'")));
        let config = config.to_str().expect("a plain path");
        let ketukd = ketukd().to_str().expect("a plain path");
        let check = || {
            if without {
                run(&world, &["check", config])
            } else {
                world.router.stdout(ketukd, &["check", config])
            }
        };
        for (rules, open, unknown) in [
            ("", true, false),
            ("-A INPUT -p tcp --dport 22 -j DROP", false, false),
            ("-A INPUT -p tcp --dport 22 -m statistic --mode random --probability 0.5 -j DROP", false, true),
        ] {
            shell(&world, "iptables-legacy -F; ip6tables-legacy -F");
            if !rules.is_empty() {
                shell(&world, &format!("iptables-legacy {rules}; ip6tables-legacy {rules}"));
            }
            let said = check();
            let said: String = said.lines().filter(|line| line.contains("door 'ssh': tcp")).collect();
            assert_eq!(said.contains(OPEN), open, "{backend}, {rules}: {said}");
            let not_known =
                said.contains("it is not known whether it can be reached without a knock on wan0");
            assert_eq!(not_known, unknown, "{backend}, {rules}: {said}");
            assert_eq!(
                said.contains("ketukd makes chain ketuk_input at its start"),
                open && without,
                "{said}"
            );
        }
    }
}

/// With iptables, too, the daemon names another table that drops the packets that the door lets in.
#[test]
fn another_table_that_drops_what_an_iptables_rule_lets_in_is_named() {
    let world = world();
    world
        .router
        .nft("table inet more {\nchain input {\ntype filter hook input priority 10; tcp dport 22 drop\n}\n}");
    world
        .router
        .shell("iptables -P INPUT DROP; ip6tables -P INPUT DROP; ip6tables -A INPUT -p ipv6-icmp -j ACCEPT");
    let doors = DOORS.replace("'auto'", "'iptables'");
    let daemon = Start::new(&world.router, &world.scratch, &doors).go();
    let log = daemon.log();
    assert!(
        log.contains("door 'ssh': tcp port 22 stays shut on wan0 even after a knock: chain input of table inet more drops"),
        "{log}"
    );
    assert!(!log.contains("'dns': udp port 53"), "{log}");
}
