//! Many right knocks at once: one element, one rule, and a few commands at a time.

use std::fs;

use ketuk::daemon::jobs::MAX_STARTS_OF_DOOR;

use super::support::World;
use super::support::daemon::{Daemon, Start};
use super::support::wire::Wire;
use super::{SSH, play};

#[test]
fn a_one_step_door_knocked_two_hundred_times_is_one_element_and_no_process() {
    let world = World::with_firewall();
    let config = SSH.to_owned()
        + "config door 'one'\n list sequence '5000'\n option dest_port '80'\n option open_time '600'\n";
    let daemon = Daemon::start(&world.router, &world.scratch, &config);
    let mut wire = Wire::new(&world);
    play(&mut wire, &daemon, "one", &[(&["5000"; 200].join(" "), true)]);
    let set = world.router.nft_list("set inet fw4 ketuk_one_4");
    assert_eq!(set.matches("expires").count(), 1, "{set}");
    // cminflt: page faults of children that were waited for; 0 exactly as long as there was none.
    assert_eq!(daemon.stat(11), 0, "no process was started");
}

#[test]
fn an_iptables_door_knocked_two_hundred_times_is_one_rule() {
    let world = World::new();
    let config = "
config globals 'globals'
	option backend 'iptables'
config door 'ssh'
	option sequence '7000 8000 9000'
	option dest_port '22'
	option proto 'tcp'
config door 'one'
	list sequence '5000'
	option dest_port '80'
	option proto 'tcp'
	option open_time '600'
";
    let daemon = Start::new(&world.router, &world.scratch, config).go();
    let mut wire = Wire::new(&world);
    play(&mut wire, &daemon, "one", &[(&["5000"; 200].join(" "), true)]);
    let ours = || world.router.shell("iptables -S INPUT").matches("ketuk:one").count();
    daemon.wait_for_commands();
    assert_eq!(ours(), 1);
}

/// Each command counts the commands that run beside it, and reports if they are too many.
fn burst_of_commands(sequence: &str, knock: &str) {
    let world = World::new();
    let log = world.scratch.path("commands");
    let command = format!(
        "cd {}; mkdir -p at_work/$$; [ $(ls at_work | wc -l) -le {MAX_STARTS_OF_DOOR} ] || echo too many >>commands; sleep 0.02; rmdir at_work/$$; echo %IP% >>commands",
        world.scratch.path("").display()
    );
    let config = format!(
        "config globals 'globals'\n option backend 'none'\n\
         config door 'ssh'\n option sequence '7000 8000 9000'\n option start_command 'true'\n \
         option stop_command 'true'\n\
         config door 'run'\n list sequence '{sequence}'\n option start_command '{command}'\n \
         option stop_command 'true'\n option open_time '600'\n"
    );
    let daemon = Start::new(&world.router, &world.scratch, &config).go();
    let mut wire = Wire::new(&world);
    let sources: Vec<String> = (1..=40).map(|n| format!("10.9.0.{n}")).collect();
    for _ in 0..5 {
        for source in &sources {
            wire.knock(source, knock);
        }
    }
    play(&mut wire, &daemon, "run", &[]);
    daemon.wait_for_commands();
    let ran = fs::read_to_string(log).expect("written by the commands");
    let mut ran: Vec<&str> = ran.lines().collect();
    ran.sort_unstable();
    let mut expected: Vec<&str> = sources.iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(ran, expected, "once for each source, and never more than the bound");
}

#[test]
fn commands_of_a_burst_run_a_few_at_a_time() {
    burst_of_commands("5000", "5000");
}

#[test]
fn commands_of_a_burst_of_datagrams_run_a_few_at_a_time() {
    burst_of_commands("5000:udp", "5000:udp");
}
