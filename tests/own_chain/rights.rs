//! The rights of the process that reads packets.

use super::support::daemon::{Start, USER_KETUK, capabilities, proc_status};
use super::support::{ROUTER, ROUTER_6, is_root_of_the_machine, wait_until};
use super::{DOORS, rules, shell, without_nf_tables, world};

/// The second process loads the chains, so the process that reads packets has given up all privileges that it does not need.
#[test]
fn the_process_that_reads_packets_is_confined_here_too() {
    let world = world();
    let before = rules(&world);
    let mut start = Start::new(&world.router, &world.scratch, DOORS);
    let has_user = is_root_of_the_machine("other users");
    if has_user {
        start.with_user_ketuk(&world.scratch);
    }
    start.through(&without_nf_tables());
    let daemon = start.go();
    let left = if has_user { &[12, 13][..] } else { &[1, 12, 13] };
    // The program that starts the daemon has bounded its system calls already, so that says nothing here.
    daemon.wait("the capabilities are given up", |daemon| capabilities(daemon.pid(), "CapPrm") == left);
    daemon.wait("new privileges are forbidden", |daemon| proc_status(daemon.pid(), "NoNewPrivs") == "1");
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(capabilities(daemon.pid(), set), left, "{set}");
    }
    if has_user {
        assert_eq!(proc_status(daemon.pid(), "Uid"), [USER_KETUK; 4].map(|user| user.to_string()).join("\t"));
    }
    // Without privileges it has the chains changed at a reload, made again after a flush, and deleted.
    world.client.knock(ROUTER, "7000");
    wait_until("it opens", || world.client.greeted_by(ROUTER, 22).is_some());
    world.router.serve(2222);
    daemon.write_config(&DOORS.replace("dest_port '22'", "dest_port '2222'"));
    daemon.ask(&["reload"]);
    assert!(world.stranger.greeted_by(ROUTER, 22).is_some(), "no door's any more");
    assert_eq!(world.stranger.greeted_by(ROUTER, 2222), None);
    shell(&world, "iptables-legacy -w -F; ip6tables-legacy -w -F");
    for address in [ROUTER, ROUTER_6] {
        daemon.wait("it is shut again", |_| world.stranger.greeted_by(address, 2222).is_none());
    }
    daemon.write_config(&DOORS.replace("\tlist sequence", "\toption enabled '0'\n\tlist sequence"));
    daemon.ask(&["reload"]);
    daemon.wait_for_commands();
    assert_eq!(rules(&world), before, "without a door there is nothing to shut");
    // A door that a later configuration adds opens too.
    daemon.write_config(DOORS);
    daemon.ask(&["reload"]);
    assert_eq!(world.client.greeted_by(ROUTER, 22), None);
    world.client.knock(ROUTER, "7000");
    wait_until("it opens", || world.client.greeted_by(ROUTER, 22).is_some());
}
