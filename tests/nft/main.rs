//! The nftables backend against the real kernel and the real `nft`. Each test has a network namespace of its own.
#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

mod apply;
mod events;
mod own;
mod ruleset;
mod sets;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ketuk::config::{NftTable, TableFamily};
use ketuk::core::network::AddressFamily::{V4, V6};
use ketuk::firewall::error::NftError;
use ketuk::firewall::events::Events;
use ketuk::firewall::nft::{OpenedBy, SecretsId};
use ketuk::firewall::sets::{AddressState, Change, Sets};
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

/// Runs `body` in a thread with a network namespace of its own. Programs that it starts inherit the namespace, which ends
/// with the last of them.
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
    Sets::connect(table(TableFamily::Inet, "fw4")).expect("connect")
}

fn table(family: TableFamily, name: &str) -> NftTable {
    NftTable { family, name: name.into() }
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

/// The IPv4 addresses in the set of door ssh, in order.
fn addresses(sets: &mut Sets) -> Vec<IpAddr> {
    let mut all = Vec::new();
    sets.list("ssh", V4, &mut |element| all.push(element.passage.address)).expect("list");
    all.sort_unstable();
    all
}

/// The time that an address has left at door ssh, which must be there.
fn left(sets: &mut Sets, address: &str) -> Option<Duration> {
    let address = ip(address);
    let family = if address.is_ipv4() { V4 } else { V6 };
    let mut found = None;
    sets.list("ssh", family, &mut |element| {
        if element.passage.address == address {
            found = Some(element.left);
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
