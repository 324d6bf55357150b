//! The iptables backend, from a knock to a connection.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::support::daemon::{Daemon, Start};
use super::support::{CLIENT, CLIENT_6, ROUTER, ROUTER_6, World};
use super::{knock, ssh_for};

/// A router that lets nobody in, with iptables.
fn world() -> World {
    let world = World::new();
    for iptables in ["iptables -w", "ip6tables -w"] {
        world.router.shell(&format!(
            "{iptables} -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT; \
             {iptables} -A INPUT -p tcp -j REJECT --reject-with tcp-reset"
        ));
    }
    world.router.serve(22);
    world
}

fn config(seconds: u32) -> String {
    ssh_for(seconds).replace("'fw4'", "'iptables'")
}

fn rules(world: &World) -> Vec<String> {
    let listed = world.router.shell("iptables -w -S INPUT; ip6tables -w -S INPUT");
    listed.lines().filter(|rule| rule.contains("ketuk:")).map(str::to_owned).collect()
}

fn wait_for_rules(world: &World, daemon: &Daemon<'_>, count: usize) {
    daemon.wait(&format!("there are {count} rules"), |_| rules(world).len() == count);
    daemon.wait_for_commands();
}

#[test]
fn a_rule_with_a_comment_lets_the_knocker_in_alone_for_his_time() {
    let world = world();
    let daemon = Start::new(&world.router, &world.scratch, &config(6)).go();
    assert_eq!(world.client.greeted_by(ROUTER, 22), None);
    let before = Instant::now();
    knock(&world);
    wait_for_rules(&world, &daemon, 1);
    let [rule] = &rules(&world)[..] else { panic!("{:?}", rules(&world)) };
    for part in ["-s 198.51.100.10/32", "-p tcp", "--dport 22", "--comment \"ketuk:ssh\"", "-j ACCEPT"] {
        assert!(rule.contains(part) || rule.contains(&part.replace('"', "")), "{rule}");
    }
    assert_eq!(world.client.greeted_by(ROUTER, 22).as_deref(), Some("router"));
    assert_eq!(world.stranger.greeted_by(ROUTER, 22), None);
    wait_for_rules(&world, &daemon, 0);
    assert!(before.elapsed() >= Duration::from_secs(6), "it was open for all of its time");
    assert_eq!(world.client.greeted_by(ROUTER, 22), None);
}

#[test]
fn ipv6_goes_by_ip6tables() {
    let world = world();
    let daemon = Start::new(&world.router, &world.scratch, &config(60)).go();
    world.client.stdout("knock", &["-6", "-d", "20", ROUTER_6, "7000", "8000", "9000"]);
    wait_for_rules(&world, &daemon, 1);
    assert!(rules(&world)[0].contains(CLIENT_6));
    assert_eq!(world.client.greeted_by(ROUTER_6, 22).as_deref(), Some("router"));
    assert_eq!(world.stranger.greeted_by(ROUTER_6, 22), None);
    assert_eq!(world.client.greeted_by(ROUTER, 22), None);
    daemon.end(Signal::SIGTERM);
    assert_eq!(rules(&world), Vec::<String>::new());
}

#[test]
fn knocking_again_renews_and_does_not_double() {
    let world = world();
    let daemon = Start::new(&world.router, &world.scratch, &config(60)).go();
    knock(&world);
    wait_for_rules(&world, &daemon, 1);
    daemon
        .wait("some seconds pass", |daemon| super::daemon_seconds_left(daemon).is_some_and(|left| left < 56));
    knock(&world);
    daemon.wait("renewed", |daemon| super::daemon_seconds_left(daemon).is_some_and(|left| left > 57));
    daemon.wait_for_commands();
    assert_eq!(rules(&world).len(), 1);
    daemon.ask(&["close", "ssh", CLIENT]);
    wait_for_rules(&world, &daemon, 0);
}

#[test]
fn what_a_crash_left_is_swept_at_the_next_start() {
    let world = world();
    world.router.shell("iptables -w -I INPUT -s 10.1.2.3 -m comment --comment ketuk-is-not-ours -j ACCEPT");
    let daemon = Start::new(&world.router, &world.scratch, &config(600)).go();
    knock(&world);
    world.client.stdout("knock", &["-6", "-d", "20", ROUTER_6, "7000", "8000", "9000"]);
    wait_for_rules(&world, &daemon, 2);
    daemon.crash();
    assert_eq!(rules(&world).len(), 2, "iptables knows no timeout");
    let daemon = Start::new(&world.router, &world.scratch, &config(600)).go();
    assert_eq!(rules(&world), Vec::<String>::new());
    assert!(world.router.shell("iptables -w -S INPUT").contains("ketuk-is-not-ours"));
    daemon.wait_for_log("iptables: deleted 1 stale rules");
    daemon.wait_for_log("ip6tables: deleted 1 stale rules");
}

#[test]
fn a_second_daemon_does_not_sweep_the_rules_of_the_first() {
    let world = world();
    let daemon = Start::new(&world.router, &world.scratch, &config(600)).go();
    knock(&world);
    wait_for_rules(&world, &daemon, 1);
    let mut second = Start::new(&world.router, &world.scratch, &config(600)).spawn();
    assert_eq!(second.wait_for_end().code(), Some(1));
    assert_eq!(rules(&world).len(), 1);
}

#[test]
fn a_door_under_another_name_leaves_no_rule_of_the_old_one() {
    let world = world();
    let daemon = Start::new(&world.router, &world.scratch, &config(600)).go();
    knock(&world);
    wait_for_rules(&world, &daemon, 1);
    daemon.write_config(&config(600).replace("'ssh'", "'shell'"));
    daemon.ask(&["reload"]);
    wait_for_rules(&world, &daemon, 0);
    // A clean stop deletes the rules of iptables even with on_stop 'keep', because nothing else would delete them.
    daemon.write_config(&(config(600) + "\toption on_stop 'keep'\n"));
    daemon.ask(&["reload"]);
    knock(&world);
    wait_for_rules(&world, &daemon, 1);
    daemon.end(Signal::SIGTERM);
    assert_eq!(rules(&world), Vec::<String>::new());
}

/// The requests of two operators wait for programs at once. Each gets the answer for the address that it asked for.
#[test]
fn who_asked_for_another_address_gets_no_answer_of_this_one() {
    let world = world();
    let programs = world.scratch.path("programs");
    std::fs::create_dir(&programs).expect("a folder");
    let real = world.router.shell("command -v ip6tables");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *{CLIENT_6}*) sleep 1; exit 1;; esac\nexec {} \"$@\"\n",
        real.trim()
    );
    let program = programs.join("ip6tables");
    std::fs::write(&program, script).expect("a file");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let mut start = Start::new(&world.router, &world.scratch, &config(600));
    let path = std::env::var("PATH").expect("a path");
    start.command().env("PATH", format!("{}:{path}", programs.display()));
    let daemon = start.go();
    let open = |address| daemon.control(&["open", "ssh", address]).status.success();
    let answers = std::thread::scope(|scope| {
        let ipv6 = scope.spawn(|| open(CLIENT_6));
        std::thread::sleep(Duration::from_millis(300));
        [open(CLIENT), ipv6.join().expect("an answer")]
    });
    assert_eq!(answers, [true, false], "{}", daemon.log());
    assert_eq!(rules(&world).len(), 1);
}
