//! Firewall tables and sets that are missing, go, or are loaded anew.

use nix::sys::signal::Signal;

use super::support::daemon::{Daemon, Start, ruleset};
use super::support::{CLIENT, FIREWALL, ROUTER, World};
use super::{SSH, assert_time_kept, knock, knock_and_enter, let_some_time_pass};

/// What `ketukd ruleset` prints for the door.
fn sets(world: &World) -> String {
    ruleset(&world.router, &world.scratch.path("ketuk.uci"))
}

/// The daemon starts before the firewall is complete; the client knocks; the rest of the firewall comes.
fn opens_as_soon_as_the_sets_are_there(world: &World, missing: &str, load: impl FnOnce()) {
    world.router.serve(22);
    let daemon = Start::new(&world.router, &world.scratch, SSH).go();
    daemon.wait_for_log(&format!(
        "ssh: {missing} is not there: reload the firewall, or run 'ketukd ruleset --replace | nft -f -'; the door opens as soon as it is"
    ));
    assert_eq!(daemon.status()["doors"][0]["firewall"], "missing");
    knock(world);
    daemon.wait("the knock is judged", |daemon| daemon.grant("ssh", CLIENT).is_some());
    assert!(!daemon.lets_in("ssh", CLIENT));
    assert!(daemon.ask(&["status"]).contains("NOT yet in the firewall"));
    assert_eq!(daemon.counter("firewall_error"), 2, "once for the set, once for the knock");
    let complaints = daemon.log().matches(&format!("{CLIENT}: ssh: ")).count();
    assert_eq!(complaints, 3 + 1, "three stages, one complaint\n{}", daemon.log());
    assert_eq!(daemon.counter("opened"), 0, "it is not open");
    let by_hand = daemon.control(&["open", "ssh", CLIENT, "60"]);
    let said = String::from_utf8_lossy(&by_hand.stderr).into_owned();
    assert_eq!(by_hand.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("not open yet: {missing} is not there")), "{said}");
    load();
    daemon.wait("the door opens", |daemon| daemon.lets_in("ssh", CLIENT));
    assert_eq!(world.client.greeted_by(ROUTER, 22).as_deref(), Some("router"));
    daemon.wait_for_log(&format!("{CLIENT}: ssh: let in, now that the firewall can"));
    daemon.wait_for_log(&format!("{CLIENT}: ssh: opened by hand"));
    assert_eq!(daemon.counter("opened"), 1);
    assert_eq!(daemon.status()["doors"][0]["firewall"], "ready");
    assert_time_kept(world, &daemon, 60);
}

#[test]
fn a_door_opens_as_soon_as_its_sets_are_there() {
    let world = World::with_firewall();
    opens_as_soon_as_the_sets_are_there(&world, "set ketuk_ssh_4 in table inet fw4", || {
        world.router.nft(&sets(&world));
    });
}

#[test]
fn a_door_opens_as_soon_as_its_table_is_there() {
    let world = World::new();
    opens_as_soon_as_the_sets_are_there(&world, "table inet fw4", || {
        world.router.nft(&format!("{FIREWALL}\n{}", sets(&world)));
    });
}

#[test]
fn more_news_than_the_kernel_can_queue_are_no_news_lost() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    knock_and_enter(&world, &daemon);
    let most = let_some_time_pass(&world, &daemon);
    daemon.signal(Signal::SIGSTOP);
    let rules = "add rule ip crowd crowd ip saddr 10.0.0.1 counter accept\n".repeat(5000);
    world.router.nft(&format!("add table ip crowd\nadd chain ip crowd crowd\n{rules}"));
    world.router.nft(&format!("flush ruleset\n{FIREWALL}\n{}", sets(&world)));
    daemon.signal(Signal::SIGCONT);
    daemon.wait("the element is back", |_| super::kernel_seconds_left(&world).is_some());
    assert_time_kept(&world, &daemon, most);
}

/// Whoever is in gets back in, with the time that is left, however the firewall is loaded anew.
fn survives(load_anew: impl Fn(&World)) {
    let world = World::with_firewall();
    world.router.serve(22);
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    knock_and_enter(&world, &daemon);
    let most = let_some_time_pass(&world, &daemon);
    for _ in 0..2 {
        load_anew(&world);
        daemon.wait("the element is back", |_| super::kernel_seconds_left(&world).is_some());
        assert_time_kept(&world, &daemon, most);
        assert_eq!(world.client.greeted_by(ROUTER, 22).as_deref(), Some("router"));
    }
}

#[test]
fn a_table_that_is_deleted_and_loaded_anew() {
    survives(|world| {
        world.router.nft("delete table inet fw4");
        world.router.nft(FIREWALL);
        world.router.nft(&sets(world));
    });
}

#[test]
fn a_firewall_that_is_flushed_and_loaded_anew_in_one_transaction() {
    survives(|world| world.router.nft(&format!("flush ruleset\n{FIREWALL}\n{}", sets(world))));
}

#[test]
fn a_table_that_is_replaced_in_one_transaction_as_fw4_does() {
    // fw4: declare, flush and delete the table, then the whole of it.
    survives(|world| {
        let replace = "table inet fw4\nflush table inet fw4\ndelete table inet fw4\n";
        world.router.nft(&format!("{replace}{FIREWALL}\n{}", sets(world)));
    });
}

#[test]
fn a_set_that_is_replaced() {
    survives(|world| {
        let rules = world.router.stdout("nft", &["-a", "list", "table", "inet", "fw4"]);
        let mut chain = "";
        for line in rules.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("chain ") {
                chain = name.split(' ').next().expect("a name");
            }
            if let (true, Some((_, handle))) = (line.contains("@ketuk_ssh_"), line.split_once("# handle ")) {
                world.router.nft(&format!("delete rule inet fw4 {chain} handle {handle}"));
            }
        }
        world.router.nft("delete set inet fw4 ketuk_ssh_4\ndelete set inet fw4 ketuk_ssh_6");
        world.router.nft(&sets(world));
    });
}

#[test]
fn a_flood_of_other_programs_elements_is_slept_through() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    world.router.nft("add set inet fw4 other { type ipv4_addr; flags timeout; }");
    let mut next = 0;
    daemon.sleeps_through("other programs' elements", || {
        for _ in 0..20 {
            next += 1;
            world.router.nft(&format!("add element inet fw4 other {{ 10.0.{}.{} }}", next / 200, next % 200));
        }
    });
    knock_and_enter(&world, &daemon);
}

/// A set of the wrong type takes no change. When the right one is there, with its elements, who was shut out
/// meanwhile must not stay in it.
#[test]
fn a_door_that_could_not_be_shut_is_shut_as_soon_as_it_can_be() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    knock_and_enter(&world, &daemon);
    let set = |of: &str, elements: &str| {
        world.router.nft(&format!(
            "delete table inet fw4\ntable inet fw4 {{\nset ketuk_ssh_4 {{ type {of}; flags timeout; {elements} }}\n\
             set ketuk_ssh_6 {{ type ipv6_addr; flags timeout; }}\n}}"
        ));
    };
    set("ipv6_addr", "");
    daemon.wait("the set is found useless", |daemon| daemon.counter("firewall_error") > 0);
    daemon.ask(&["close", "ssh", CLIENT]);
    set("ipv4_addr", &format!("elements = {{ {CLIENT} timeout 1h }}"));
    daemon.wait("the door is shut", |daemon| !daemon.lets_in("ssh", CLIENT));
    daemon.wait_for_log(&format!("{CLIENT}: ssh: shut, now that the firewall can"));
}
