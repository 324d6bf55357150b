//! The nftables side against the real kernel and the real `nft`, each test in a network namespace of its own.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ketuk::config::{Backend, Config, Door, Family, Forward, Globals, Opening, PortRange, Table};
use ketuk::core::sequence::Protocol;
use ketuk::firewall::error::NftError;
use ketuk::firewall::events::Events;
use ketuk::firewall::ruleset::{self, Zone};
use ketuk::firewall::set_name::AddressFamily::{V4, V6};
use ketuk::firewall::sets::Sets;
use ketuk::linux::netlink::{Received, Socket};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};

/// Longest wait for anything, in every test.
const DEADLINE: Duration = Duration::from_secs(10);

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

/// A table shaped like OpenWrt's, with the sets of a door named ssh.
const FW4: &str = "
table inet fw4 {
	set ketuk_ssh_4 { type ipv4_addr; flags timeout; }
	set ketuk_ssh_6 { type ipv6_addr; flags timeout; }
	set others { type ipv4_addr; flags timeout; }
	chain input { type filter hook input priority filter; policy drop;
		ct state vmap { established : accept, related : accept }
		iifname \"wan0\" jump input_wan
	}
	chain forward { type filter hook forward priority filter; policy drop;
		ct state vmap { established : accept, related : accept }
		iifname \"wan0\" jump forward_wan
	}
	chain dstnat { type nat hook prerouting priority dstnat; policy accept;
		iifname \"wan0\" jump dstnat_wan
	}
	chain input_wan { icmp type echo-request accept; reject; }
	chain forward_wan { drop; }
	chain dstnat_wan { }
}";

#[test]
fn opening_puts_one_element_with_its_time() {
    in_namespace(|| {
        let mut sets = fw4();
        sets.open("ssh", ip("203.0.113.9"), Some(Duration::from_secs(100)), false).expect("open");
        let listed = list("ketuk_ssh_4");
        assert!(listed.contains("203.0.113.9 timeout 1m40s expires 1m"), "{listed}");
        assert_eq!(addresses(&mut sets), [ip("203.0.113.9")]);
        let left = left(&mut sets, "203.0.113.9").expect("a timer");
        assert!(left > Duration::from_secs(95) && left <= Duration::from_secs(100), "{left:?}");
    });
}

#[test]
fn ipv6_goes_to_the_other_set() {
    in_namespace(|| {
        let mut sets = fw4();
        sets.open("ssh", ip("2001:db8::9"), HOUR, false).expect("open");
        assert!(list("ketuk_ssh_6").contains("2001:db8::9 timeout 1h expires"));
        assert!(!list("ketuk_ssh_4").contains("elements"));
        sets.shut("ssh", ip("2001:db8::9")).expect("shut");
        assert!(!list("ketuk_ssh_6").contains("elements"));
    });
}

#[test]
fn renewal_starts_the_timer_afresh() {
    in_namespace(|| {
        let mut sets = fw4();
        let ten = Duration::from_secs(10);
        sets.open("ssh", ip("203.0.113.9"), Some(ten), false).expect("open");
        wait("the timer has run for a while", || {
            left(&mut sets, "203.0.113.9") < Some(Duration::from_millis(9500))
        });
        sets.open("ssh", ip("203.0.113.9"), Some(ten), true).expect("the same time");
        let renewed = left(&mut sets, "203.0.113.9");
        assert!(renewed > Some(Duration::from_millis(9500)) && renewed <= Some(ten), "{renewed:?}");

        sets.open("ssh", ip("203.0.113.9"), Some(10 * ten), true).expect("a longer time");
        assert!(list("ketuk_ssh_4").contains("timeout 1m40s expires 1m"));
        sets.open("ssh", ip("203.0.113.9"), Some(ten), true).expect("a shorter time");
        assert!(list("ketuk_ssh_4").contains("timeout 10s expires"));
        assert!(left(&mut sets, "203.0.113.9") <= Some(ten));
        assert_eq!(addresses(&mut sets).len(), 1);
    });
}

#[test]
fn a_plain_add_would_have_kept_the_timer() {
    // The reason for delete and add: without it the test above must fail.
    in_namespace(|| {
        let mut sets = fw4();
        sets.open("ssh", ip("203.0.113.9"), Some(Duration::from_secs(10)), false).expect("open");
        wait("the timer has run for a while", || {
            left(&mut sets, "203.0.113.9") < Some(Duration::from_millis(9500))
        });
        nft("add element inet fw4 ketuk_ssh_4 { 203.0.113.9 timeout 10s }");
        assert!(left(&mut sets, "203.0.113.9") < Some(Duration::from_millis(9500)));
    });
}

#[test]
fn held_but_gone_and_not_held_but_there() {
    in_namespace(|| {
        let mut sets = fw4();
        sets.open("ssh", ip("203.0.113.9"), HOUR, true).expect("held, but gone");
        assert!(list("ketuk_ssh_4").contains("203.0.113.9 timeout 1h expires"));
        sets.open("ssh", ip("203.0.113.9"), Some(Duration::from_secs(7200)), false)
            .expect("not held, but there");
        assert!(list("ketuk_ssh_4").contains("203.0.113.9 timeout 2h expires"));
        assert_eq!(addresses(&mut sets).len(), 1);
    });
}

#[test]
fn an_element_that_expired_is_no_obstacle() {
    in_namespace(|| {
        let mut sets = fw4();
        let short = Some(Duration::from_millis(50));
        sets.open("ssh", ip("203.0.113.9"), short, false).expect("open");
        wait("it has expired", || addresses(&mut sets).is_empty());
        sets.shut("ssh", ip("203.0.113.9")).expect("shut what is gone");
        sets.open("ssh", ip("203.0.113.9"), short, true).expect("held, but expired");
        wait("it has expired again", || addresses(&mut sets).is_empty());
        sets.open("ssh", ip("203.0.113.9"), HOUR, false).expect("open");
        assert_eq!(addresses(&mut sets), [ip("203.0.113.9")]);
    });
}

#[test]
fn the_shortest_time_is_a_time() {
    in_namespace(|| {
        let mut sets = fw4();
        sets.open("ssh", ip("203.0.113.9"), Some(Duration::ZERO), false).expect("open");
        wait("it has expired", || addresses(&mut sets).is_empty());
    });
}

#[test]
fn no_time_is_until_it_is_shut() {
    in_namespace(|| {
        let mut sets = fw4();
        sets.open("ssh", ip("203.0.113.9"), None, false).expect("open");
        assert!(list("ketuk_ssh_4").contains("elements = { 203.0.113.9 }"));
        assert_eq!(left(&mut sets, "203.0.113.9"), None);
        sets.open("ssh", ip("203.0.113.9"), HOUR, true).expect("from now on with a time");
        assert!(list("ketuk_ssh_4").contains("203.0.113.9 timeout 1h"));
        sets.open("ssh", ip("203.0.113.9"), None, true).expect("and back");
        assert!(list("ketuk_ssh_4").contains("elements = { 203.0.113.9 }"));
        sets.shut("ssh", ip("203.0.113.9")).expect("shut");
        assert!(addresses(&mut sets).is_empty());
        sets.shut("ssh", ip("203.0.113.9")).expect("shut again");
    });
}

#[test]
fn the_longest_time_is_taken() {
    in_namespace(|| {
        let mut sets = fw4();
        sets.open("ssh", ip("203.0.113.9"), Some(Duration::MAX), false).expect("open");
        assert!(left(&mut sets, "203.0.113.9") > Some(Duration::from_secs(99 * 365 * 24 * 3600)));
    });
}

#[test]
fn what_is_missing_is_named() {
    in_namespace(|| {
        let mut sets = Sets::connect(table(Family::Inet, "fw4")).expect("connect");
        let no_table = NftError::MissingTable { table: "inet fw4".into() };
        assert_eq!(sets.table_exists(), Ok(false));
        assert_eq!(missing(&mut sets, "ssh"), ["ketuk_ssh_4", "ketuk_ssh_6"]);
        for held in [false, true] {
            assert_eq!(sets.open("ssh", ip("192.0.2.1"), HOUR, held), Err(no_table.clone()));
        }
        assert_eq!(sets.shut("ssh", ip("192.0.2.1")), Err(no_table.clone()));
        assert_eq!(sets.list("ssh", V4, &mut |_, _| ()), Err(no_table.clone()));

        nft("add table inet fw4; add set inet fw4 ketuk_ssh_6 { type ipv6_addr; flags timeout; }");
        assert_eq!(sets.table_exists(), Ok(true));
        assert_eq!(missing(&mut sets, "ssh"), ["ketuk_ssh_4"]);
        let no_set = |error: Result<(), NftError>| {
            let error = error.expect_err("the set is missing");
            assert!(matches!(error, NftError::MissingSet { .. }), "{error:?}");
            assert!(error.to_string().starts_with("table inet fw4 has no set ketuk_ssh_4: "), "{error}");
        };
        for held in [false, true] {
            no_set(sets.open("ssh", ip("192.0.2.1"), HOUR, held));
        }
        no_set(sets.shut("ssh", ip("192.0.2.1")));
        no_set(sets.list("ssh", V4, &mut |_, _| ()));

        nft("add set inet fw4 ketuk_ssh_4 { type ipv4_addr; flags timeout; }");
        assert_eq!(missing(&mut sets, "ssh"), [""; 0]);
        sets.open("ssh", ip("192.0.2.1"), HOUR, true).expect("now it is there");
        assert_eq!(sets.open("x".repeat(33).as_str(), ip("192.0.2.1"), HOUR, true), Err(NftError::DoorName));
    });
}

#[test]
fn a_set_of_the_wrong_kind_is_explained() {
    in_namespace(|| {
        nft("add table inet fw4; add set inet fw4 ketuk_ssh_4 { type ipv4_addr; }");
        let mut sets = Sets::connect(table(Family::Inet, "fw4")).expect("connect");
        let error = sets.open("ssh", ip("192.0.2.1"), HOUR, false).expect_err("no timeouts there");
        assert!(matches!(error, NftError::Kernel { errno: Errno::EINVAL, .. }), "{error:?}");
        assert!(error.to_string().contains("flags timeout"), "{error}");

        nft("add set inet fw4 ketuk_nas_4 { type ipv4_addr; flags timeout; size 1; }");
        sets.open("nas", ip("192.0.2.1"), HOUR, false).expect("the first fits");
        let error = sets.open("nas", ip("192.0.2.2"), HOUR, false).expect_err("it is full");
        assert!(error.to_string().contains("larger `size`"), "{error}");
        sets.open("nas", ip("192.0.2.1"), HOUR, true).expect("a renewal needs no more room");
    });
}

#[test]
fn tables_of_one_family_have_one_set() {
    in_namespace(|| {
        nft("add table ip filter; add table ip6 filter");
        let mut sets = Sets::connect(table(Family::Ip, "filter")).expect("connect");
        assert_eq!(missing(&mut sets, "ssh"), ["ketuk_ssh_4"]);
        nft("add set ip filter ketuk_ssh_4 { type ipv4_addr; flags timeout; }");
        sets.open("ssh", ip("192.0.2.1"), HOUR, false).expect("open");
        let error = sets.open("ssh", ip("2001:db8::1"), HOUR, false).expect_err("no IPv6 there");
        assert!(matches!(error, NftError::MissingSet { .. }), "{error:?}");
        assert!(error.to_string().contains("only a table of family inet"), "{error}");
        let mut sets = Sets::connect(table(Family::Ip6, "filter")).expect("connect");
        assert_eq!(missing(&mut sets, "ssh"), ["ketuk_ssh_6"]);
    });
}

#[test]
fn thousands_are_listed() {
    in_namespace(|| {
        let mut sets = fw4();
        let all = many(&mut sets, 3000);
        assert_eq!(addresses(&mut sets), all.into_iter().collect::<Vec<_>>());
        // The socket is as good as before.
        sets.shut("ssh", ip("10.0.0.0")).expect("shut");
        assert_eq!(addresses(&mut sets).len(), 2999);
    });
}

#[test]
fn a_listing_that_a_change_interrupts_begins_anew() {
    in_namespace(|| {
        let mut sets = fw4();
        let all = many(&mut sets, 3000);
        let mut other = Sets::connect(table(Family::Inet, "fw4")).expect("connect");
        let (mut seen, mut calls) = (BTreeSet::new(), 0);
        sets.list("ssh", V4, &mut |address, _| {
            calls += 1;
            if calls == 10 {
                other.open("ssh", ip("2001:db8::1"), HOUR, false).expect("a change meanwhile");
            }
            seen.insert(address);
        })
        .expect("list");
        assert_eq!(seen, all);
        assert!(calls > 3000, "the listing went on as if nothing had happened");
        let listed = sets.list("ssh", V4, &mut |_, _| {
            other.open("ssh", ip("2001:db8::1"), HOUR, true).expect("a change each time");
        });
        assert_eq!(listed, Err(NftError::Busy));
        assert_eq!(addresses(&mut sets).len(), 3000);
    });
}

#[test]
fn without_the_capability_it_says_so() {
    const INNER: &str = "KETUK_TEST_WITHOUT_CAPABILITY";
    if std::env::var_os(INNER).is_some() {
        let mut sets = Sets::connect(table(Family::Inet, "fw4")).expect("connect");
        for error in [
            sets.table_exists().map(drop),
            sets.open("ssh", ip("192.0.2.1"), HOUR, true),
            sets.shut("ssh", ip("192.0.2.1")),
            sets.list("ssh", V4, &mut |_, _| ()),
        ] {
            assert_eq!(error, Err(NftError::Denied));
        }
        return;
    }
    // In a user namespace of its own a process has no capability over the network namespace it came from.
    in_namespace(|| {
        let output = Command::new("unshare")
            .arg("--user")
            .arg(std::env::current_exe().expect("this test"))
            .args(["--exact", "without_the_capability_it_says_so", "--nocapture"])
            .env(INNER, "1")
            .output()
            .expect("unshare");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
    });
}

#[test]
fn elements_of_others_wake_nobody() {
    in_namespace(|| {
        let mut sets = fw4();
        let mut events = Events::open().expect("events");
        let unfiltered = Socket::open(libc::NETLINK_NETFILTER, &[7], &[]).expect("a socket to compare with");
        nft("add element inet fw4 others { 192.0.2.1 timeout 1h, 192.0.2.2 }");
        nft("delete element inet fw4 others { 192.0.2.1 }");
        sets.open("ssh", ip("203.0.113.9"), HOUR, false).expect("open");
        sets.open("ssh", ip("203.0.113.9"), HOUR, true).expect("renew");
        sets.shut("ssh", ip("203.0.113.9")).expect("shut");
        assert!(readable(&unfiltered), "nothing was notified at all");
        assert!(!readable(&events));
        assert!(!events.drain());

        nft("add table inet mine");
        assert!(readable(&events));
        assert!(events.drain());
        assert!(!readable(&events));
        assert!(!events.drain());
    });
}

#[test]
fn whatever_makes_or_breaks_a_set_wakes() {
    in_namespace(|| {
        let mut events = Events::open().expect("events");
        for change in [
            FW4,
            "delete table inet fw4",
            &format!("{FW4}\ndelete table inet fw4\n{FW4}"),
            "add set inet fw4 ketuk_nas_4 { type ipv4_addr; flags timeout; }",
            "delete set inet fw4 ketuk_nas_4",
            "add rule inet fw4 input_wan tcp dport 1 accept",
            "add chain inet fw4 another",
            "flush chain inet fw4 input_wan",
            "flush ruleset",
        ] {
            nft(change);
            assert!(readable(&events) && events.drain(), "{change}");
            assert!(!readable(&events), "{change}");
        }
    });
}

#[test]
fn lost_events_are_events() {
    in_namespace(|| {
        let mut events = Events::open().expect("events");
        let twin = Socket::open(libc::NETLINK_NETFILTER, &[7], &[]).expect("a socket to compare with");
        nft("add table inet fw4");
        for batch in 0..10 {
            let mut script = String::new();
            for index in 0..1000 {
                writeln!(script, "add chain inet fw4 c{batch}_{index}").expect("string");
            }
            nft(&script);
        }
        assert_eq!(
            twin.recv(&mut []).expect("recv"),
            Received::Lost,
            "this was not enough to lose something"
        );
        assert!(events.drain());
        wait("the queue is empty", || !events.drain());
        nft("delete table inet fw4");
        wait("events come again", || events.drain());
    });
}

#[test]
fn nft_takes_the_ruleset() {
    in_namespace(|| {
        nft(FW4);
        let fw4 = table(Family::Inet, "fw4");
        let mut text = String::new();
        ruleset::write(&mut text, &config(), &fw4, Zone::WAN).expect("a string takes all");
        nft_with(&["-c", "-f", "-"], &text);
        assert!(!list_table("inet fw4").contains("ketuk: nas"), "-c changed something");
        nft(&text);
        let listed = list_table("inet fw4");
        let chain = |name: &str| -> Vec<&str> {
            let (_, from) = listed.split_once(&format!("chain {name} {{\n")).expect("chain");
            let (rules, _) = from.split_once("\t}").expect("end");
            rules.lines().map(str::trim).collect()
        };
        assert_eq!(
            chain("input_wan"),
            [
                "meta l4proto { tcp, udp } th dport { 53, 6000-6020 } ip6 saddr @ketuk_game_6 counter packets 0 bytes 0 accept comment \"ketuk: game\"",
                "meta l4proto { tcp, udp } th dport { 53, 6000-6020 } ip saddr @ketuk_game_4 counter packets 0 bytes 0 accept comment \"ketuk: game\"",
                "tcp dport 22 ip6 saddr @ketuk_ssh_6 counter packets 0 bytes 0 accept comment \"ketuk: ssh\"",
                "tcp dport 22 ip saddr @ketuk_ssh_4 counter packets 0 bytes 0 accept comment \"ketuk: ssh\"",
                "icmp type echo-request accept",
                "reject",
            ]
        );
        assert_eq!(
            chain("forward_wan"),
            [
                "ip6 daddr 2001:db8:1::10 tcp dport 443 ip6 saddr @ketuk_nas_6 counter packets 0 bytes 0 accept comment \"ketuk: nas\"",
                "ct status dnat ip daddr 192.168.1.10 tcp dport 443 ip saddr @ketuk_nas_4 counter packets 0 bytes 0 accept comment \"ketuk: nas\"",
                "drop",
            ]
        );
        assert_eq!(
            chain("dstnat_wan"),
            [
                "tcp dport 8443 ip saddr @ketuk_nas_4 counter packets 0 bytes 0 dnat ip to 192.168.1.10:443 comment \"ketuk: nas\""
            ]
        );

        let mut sets = Sets::connect(fw4).expect("connect");
        for door in ["ssh", "nas", "game"] {
            assert_eq!(missing(&mut sets, door), [""; 0]);
            for address in ["203.0.113.9", "2001:db8::9"] {
                sets.open(door, ip(address), HOUR, false).expect("open");
            }
            assert!(list(&format!("ketuk_{door}_4")).contains("203.0.113.9 timeout 1h"));
            assert!(list(&format!("ketuk_{door}_6")).contains("2001:db8::9 timeout 1h"));
        }
    });
}

#[test]
fn nft_takes_the_ruleset_of_other_tables() {
    in_namespace(|| {
        for (family, name) in [(Family::Ip, "ip"), (Family::Ip6, "ip6"), (Family::Inet, "inet")] {
            nft(&format!(
                "table {name} plain {{
                    chain input {{ type filter hook input priority filter; policy drop; }}
                    chain forward {{ type filter hook forward priority filter; policy drop; }}
                    chain dstnat {{ type nat hook prerouting priority dstnat; }}
                }}"
            ));
            let plain = table(family, "plain");
            let mut text = String::new();
            ruleset::write(&mut text, &config(), &plain, Zone::NONE).expect("a string takes all");
            nft(&text);
            let listed = list_table(&format!("{name} plain"));
            assert_eq!(listed.contains("dnat"), family != Family::Ip6, "{listed}");
            let mut sets = Sets::connect(plain).expect("connect");
            assert_eq!(missing(&mut sets, "nas"), [""; 0]);
        }
    });
}

/// Runs `body` in a thread with a network namespace of its own, which what it starts inherits. The namespace
/// goes with the last of them.
fn in_namespace(body: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET)
            .expect("this test needs a network namespace: run it as root, or under `unshare -rn`");
        body();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn fw4() -> Sets {
    nft(FW4);
    Sets::connect(table(Family::Inet, "fw4")).expect("connect")
}

fn table(family: Family, name: &str) -> Table {
    Table { family, name: name.into() }
}

/// Fills the set of door ssh.
fn many(sets: &mut Sets, count: u32) -> BTreeSet<IpAddr> {
    let all: BTreeSet<IpAddr> =
        (0..count).map(|index| Ipv4Addr::from(0x0a00_0000 + index * 3).into()).collect();
    for &address in &all {
        sets.open("ssh", address, HOUR, false).expect("open");
    }
    all
}

/// Who is in at door ssh by IPv4, in order.
fn addresses(sets: &mut Sets) -> Vec<IpAddr> {
    let mut all = Vec::new();
    sets.list("ssh", V4, &mut |address, _| all.push(address)).expect("list");
    all.sort_unstable();
    all
}

/// The time that an address has left at door ssh, which must be there.
fn left(sets: &mut Sets, address: &str) -> Option<Duration> {
    let address = ip(address);
    let family = if address.is_ipv4() { V4 } else { V6 };
    let mut found = None;
    sets.list("ssh", family, &mut |listed, left| {
        if listed == address {
            found = Some(left);
        }
    })
    .expect("list");
    found.expect("the address is in the set")
}

fn missing(sets: &mut Sets, door: &str) -> Vec<String> {
    sets.missing(door).expect("missing").iter().map(ToString::to_string).collect()
}

fn readable(socket: &impl AsFd) -> bool {
    poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).expect("poll") == 1
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < deadline, "after {DEADLINE:?} not yet: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Runs nft on a script.
fn nft(script: &str) {
    nft_with(&["-f", "-"], script);
}

fn list(set: &str) -> String {
    nft_with(&["list", "set", "inet", "fw4", set], "")
}

fn list_table(table: &str) -> String {
    nft_with(&[&["list", "table"], &table.split(' ').collect::<Vec<_>>()[..]].concat(), "")
}

fn nft_with(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs nft (Debian's package nftables)");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("nft reads its script");
    let output = child.wait_with_output().expect("nft");
    assert!(output.status.success(), "nft {arguments:?} on:\n{input}");
    String::from_utf8(output.stdout).expect("nft prints UTF-8")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("address")
}

fn config() -> Config {
    let nas = Forward {
        src_dport: ports(&[(8443, 8443)]),
        dest_ip: vec![ip("192.168.1.10"), ip("2001:db8:1::10")],
    };
    Config {
        users: Vec::new(),
        globals: Globals { backend: Backend::Nft, ..Globals::default() },
        doors: vec![
            door("ssh", &[Protocol::Tcp], &[(22, 22)], None),
            door("nas", &[Protocol::Tcp], &[(443, 443)], Some(nas)),
            door("game", &[Protocol::Tcp, Protocol::Udp], &[(53, 53), (6005, 6020), (6000, 6010)], None),
        ],
    }
}

fn door(name: &str, protocols: &[Protocol], dest_port: &[(u16, u16)], forward: Option<Forward>) -> Door {
    Door {
        opening: Some(Opening { protocols: protocols.to_vec(), dest_port: ports(dest_port), forward }),
        ..Door::named(name)
    }
}

fn ports(ports: &[(u16, u16)]) -> Vec<PortRange> {
    ports.iter().map(|&(first, last)| PortRange { first, last }).collect()
}
