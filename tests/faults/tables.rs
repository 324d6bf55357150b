//! Firewall tables and sets that are missing, are deleted, or are loaded again.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::support::daemon::{Daemon, Start, ruleset};
use super::support::{CLIENT, FIREWALL, ROUTER, STRANGER, World, ketukd, stdout, wait_until};
use super::{SSH, assert_time_kept, knock, knock_and_enter, let_some_time_pass};

/// The time that a busy machine may need between reading the clock and the kernel's timer. Listing the long set takes some
/// tenths of a second.
const BUSY: Duration = Duration::from_millis(200);

/// The output of `ketukd ruleset` for the door.
fn sets(world: &World) -> String {
    ruleset(&world.scratch.path("ketuk.uci"))
}

/// The daemon starts before the firewall is complete. Then the client knocks, and then the rest of the firewall is loaded.
fn opens_as_soon_as_the_sets_are_there(world: &World, missing: &str, load: impl FnOnce()) {
    world.router.serve(22);
    let daemon = Start::new(&world.router, &world.scratch, SSH).go();
    daemon.wait_for_log(&format!(
        "ssh: {missing} does not exist: reload the firewall, or run 'ketukd ruleset | nft -f -'; then the door opens"
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
    assert!(said.contains(&format!("not open yet: {missing} does not exist")), "{said}");
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

/// If a door was never open, the log does not say that it shut.
#[test]
fn what_the_firewall_never_had_does_not_end_as_if_it_had_been_open() {
    let world = World::with_firewall();
    let daemon =
        Start::new(&world.router, &world.scratch, &SSH.replace("open_time '60'", "open_time '2'")).go();
    knock(&world);
    daemon.wait_for_log(&format!("{CLIENT}: ssh: not opened: the firewall does not have the entry"));
    assert!(daemon.grant("ssh", CLIENT).is_none(), "it is over");
    assert!(!daemon.log().contains("command timeout"));
    assert_eq!(daemon.counter("opened"), 0);
}

#[test]
fn a_door_opens_as_soon_as_its_table_is_there() {
    let world = World::new();
    opens_as_soon_as_the_sets_are_there(&world, "table inet fw4", || {
        world.router.nft(&format!("{FIREWALL}\n{}", sets(&world)));
    });
}

/// A `sendto` that refuses to ask for the elements of a set (`NFT_MSG_GETSETELEM`), as a kernel without memory may do.
const NO_LISTS: &str = "
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
ssize_t sendto(int fd, const void *message, size_t len, int flags, const struct sockaddr *to, socklen_t to_len) {
	uint16_t type = 0;
	if (to && to->sa_family == AF_NETLINK && len > 6) memcpy(&type, (const char *)message + 4, 2);
	if (type == (10 << 8 | 13)) return errno = ENOMEM, -1;
	return syscall(SYS_sendto, fd, message, len, flags, to, to_len);
}
";

/// A library with these functions of C, which a program loads before its own.
pub(super) fn library(world: &World, functions: &str) -> String {
    let source = world.scratch.write("library.c", functions).display().to_string();
    let library = world.scratch.path("library.so").display().to_string();
    stdout("cc", &["-shared", "-fPIC", "-o", &library, &source]);
    library
}

#[test]
fn sets_that_cannot_be_listed_at_a_start_are_warned_of_and_keep_no_daemon_from_starting() {
    let world = World::with_firewall();
    let first = Daemon::start(&world.router, &world.scratch, SSH);
    knock_and_enter(&world, &first);
    first.end(Signal::SIGKILL);
    let mut start = Start::new(&world.router, &world.scratch, SSH);
    start.command().env("LD_PRELOAD", library(&world, NO_LISTS));
    let daemon = start.go();
    daemon.wait_for_log("ssh: addresses that were let in before this start may stay in: ");
    assert!(super::kernel_seconds_left(&world).is_some(), "the client is still in");
    assert!(daemon.grant("ssh", CLIENT).is_none(), "and the daemon does not know it");
    world.stranger.knock(ROUTER, "7000 8000 9000");
    daemon.wait("knocks open the door", |daemon| daemon.lets_in("ssh", STRANGER));
    // The client's own element has another timer.
    knock_and_enter(&world, &daemon);
}

#[test]
fn more_news_than_the_kernel_can_queue_are_no_news_lost() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    knock_and_enter(&world, &daemon);
    let most = let_some_time_pass(&world, &daemon);
    daemon.signal(Signal::SIGSTOP);
    // The elements are added in parts, because an ordinary user's nft may send only 200 kB at once.
    let rules = "add rule ip crowd crowd ip saddr 10.0.0.1 counter accept\n".repeat(500);
    for _ in 0..10 {
        world.router.nft(&format!("add table ip crowd\nadd chain ip crowd crowd\n{rules}"));
    }
    world.router.nft(&format!("flush ruleset\n{FIREWALL}\n{}", sets(&world)));
    daemon.signal(Signal::SIGCONT);
    daemon.wait("the element is back", |_| super::kernel_seconds_left(&world).is_some());
    assert_time_kept(&world, &daemon, most);
}

/// Open doors come back with their remaining time after each way to load the firewall again.
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
    assert_eq!(daemon.counter("firewall_error"), 0, "a firewall that comes back was no error");
    assert!(!daemon.log().contains(" has no "), "a moment is not logged\n{}", daemon.log());
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
    // fw4 declares, flushes and deletes the table, and then makes all of it.
    survives(|world| {
        let replace = "table inet fw4\nflush table inet fw4\ndelete table inet fw4\n";
        world.router.nft(&format!("{replace}{FIREWALL}\n{}", sets(world)));
    });
}

/// The daemon lists all sets before it puts an element back, which takes a while for a long set. The element's timer must not
/// become longer by this time: if the daemon is killed, only the timer shuts the door.
#[test]
fn an_element_that_is_put_back_after_a_long_list_ends_when_its_grant_does() {
    let world = World::with_firewall();
    let long = "config door 'long'\n\toption sequence '4000 5000'\n\toption dest_port '80'\n";
    let daemon = Daemon::start(&world.router, &world.scratch, &format!("{SSH}{long}"));
    daemon.ask(&["open", "long", CLIENT, "600"]);
    daemon.ask(&["open", "ssh", CLIENT, "600"]);
    for part in 0..100 {
        let elements: String = (0..1000).fold(String::new(), |all, number| {
            all + &format!("10.{part}.{}.{}, ", number / 250, number % 250)
        });
        world.router.nft(&format!("add element inet fw4 ketuk_long_4 {{ {elements} }}"));
    }
    let (_, latest) = end_of_element(&world).expect("it is open");
    world.router.nft(&format!(
        "add set inet fw4 another {{ type ipv4_addr; }}\ndelete element inet fw4 ketuk_ssh_4 {{ {CLIENT} }}"
    ));
    daemon.wait("the element is back", |_| end_of_element(&world).is_some());
    let (earliest, _) = end_of_element(&world).expect("it is back");
    assert!(earliest <= latest + BUSY, "it ends {:?} later", earliest - latest);
}

/// The kernel takes some hundredths of a second to refuse a change. With many open doors that must not add up: knocks and clients
/// would wait.
#[test]
fn the_daemon_answers_at_once_while_many_open_doors_have_no_table() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    for number in 0..240 {
        daemon.ask(&["open", "ssh", &format!("10.9.0.{number}"), "600"]);
    }
    world.router.nft("delete table inet fw4");
    let begun = Instant::now();
    daemon.wait("the elements are missed", |daemon| !daemon.lets_in("ssh", "10.9.0.1"));
    assert!(begun.elapsed() < Duration::from_secs(1), "it was busy for {:?}", begun.elapsed());
}

/// When the client's element ends: not before the first time, not after the second. `None` if it is not there.
fn end_of_element(world: &World) -> Option<(Instant, Instant)> {
    let before = Instant::now();
    let listed = world.router.nft_list(super::SET);
    let after = Instant::now();
    let (_, rest) = listed.split_once("expires ")?;
    // For example 9m58s123ms.
    let time = rest.split([' ', '}']).next()?.trim_end_matches("ms");
    let (minutes, time) = time.split_once('m').unwrap_or(("0", time));
    let (seconds, ms) = time.split_once('s').unwrap_or(("0", time));
    let number = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u64>().ok() };
    let left_ms = (number(minutes)? * 60 + number(seconds)?) * 1000 + number(ms)?;
    let left = Duration::from_millis(left_ms);
    Some((before + left, after + left))
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

/// A daemon that is to end while the firewall takes no change tries again until it does.
#[test]
fn a_daemon_that_ends_shuts_as_soon_as_it_can() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    knock_and_enter(&world, &daemon);
    load_sets(&world, "ipv6_addr", "");
    daemon.wait("the set is found useless", |daemon| daemon.counter("firewall_error") > 0);
    let errors = || daemon.log().matches(&format!("{CLIENT}: ssh: ")).count();
    let before = errors();
    daemon.signal(Signal::SIGTERM);
    wait_until("it could not be shut", || errors() > before);
    load_sets(&world, "ipv4_addr", &format!("elements = {{ {CLIENT} timeout 1h }}"));
    wait_until("the client is out", || super::kernel_seconds_left(&world).is_none());
}

/// A set of the wrong type takes no change, so the door cannot be shut. Then the firewall is set right.
fn is_shut_once(set_right: impl FnOnce(&World)) {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    knock_and_enter(&world, &daemon);
    load_sets(&world, "ipv6_addr", "");
    daemon.wait("the set is found useless", |daemon| daemon.counter("firewall_error") > 0);
    daemon.ask(&["close", "ssh", CLIENT]);
    let (before, shut) = (daemon.times_waited(), format!("{CLIENT}: ssh: shut, now that the firewall can"));
    daemon.wait("it has tried again", |daemon| daemon.times_waited() > before + 2);
    assert!(!daemon.log().contains(&shut), "the set takes no change yet");
    set_right(&world);
    daemon.wait_for_log(&shut);
    let sets = world.router.stdout("nft", &["list", "table", "inet", "fw4"]);
    assert!(!sets.contains(CLIENT), "{sets}");
    assert!(!daemon.lets_in("ssh", CLIENT));
}

/// Replaces the table by one whose set for IPv4 has this type and these elements.
fn load_sets(world: &World, of: &str, elements: &str) {
    world.router.nft(&format!(
        "delete table inet fw4\ntable inet fw4 {{\nset ketuk_ssh_4 {{ type {of}; flags timeout; {elements} }}\n\
         set ketuk_ssh_6 {{ type ipv6_addr; flags timeout; }}\n}}"
    ));
}

/// When the right set is back with its old elements, an address that was shut out meanwhile must not stay in it.
#[test]
fn a_door_that_could_not_be_shut_is_shut_as_soon_as_it_can_be() {
    is_shut_once(|world| {
        load_sets(world, "ipv4_addr", &format!("elements = {{ {CLIENT} timeout 1h }}"));
    });
}

#[test]
fn a_door_that_could_not_be_shut_is_shut_when_its_set_is_gone() {
    is_shut_once(|world| world.router.nft("delete set inet fw4 ketuk_ssh_4"));
}

/// Before the operator loads the doors' rules, the table drops the knockers' packets. A rule that accepts the port there would
/// open it to everybody. So the advice is to load the doors' rules.
#[test]
fn who_has_not_loaded_the_rules_of_his_table_is_told_to() {
    let world = World::with_servers();
    world.router.nft(
        "table inet filter {\nchain input {\ntype filter hook input priority 0; policy drop\n\
         icmpv6 type != echo-request accept\nct state established accept\n}\n}",
    );
    let config = SSH.replace("backend 'fw4'", "nft_table 'inet filter'\n\tlist device 'wan0'");
    let file = world.scratch.write("unloaded.uci", &config);
    let words = ["check", file.to_str().expect("a plain path")];
    let checked = world.router.stdout(ketukd().to_str().expect("a plain path"), &words);
    let said = "tcp port 22 stays shut on wan0 even after a knock: chain input of table inet filter drops the packets that the \
                door lets in; load the rules of the doors: 'ketukd ruleset | nft -f -'";
    assert!(checked.contains(said), "{checked}");
    let daemon = Start::new(&world.router, &world.scratch, &config).go();
    world.router.nft(&sets(&world));
    knock_and_enter(&world, &daemon);
    assert_eq!(world.client.greeted_by(ROUTER, 22).as_deref(), Some("router"));
    assert!(!daemon.log().contains("stays shut"), "the operator has some seconds\n{}", daemon.log());
}
