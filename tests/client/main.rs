//! `ketuk` against a host of its own, in two network namespaces joined by a cable: the packets that it sends
//! are read at the other end.
#![cfg(target_os = "linux")]

mod host;
mod profiles;

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ketuk::core::sequence::flag;

use self::host::{HOST_4, HOST_6, NAME, Packet, name_the_host, with_host};

/// Longest wait for anything, in every test.
const DEADLINE: Duration = Duration::from_secs(10);

/// A firewall that answers no SYN, and counts them.
const DROP_ALL: &str = "
table inet t {
	chain input { type filter hook input priority filter;
		tcp flags syn counter drop
	}
}";

/// No datagram to port 8000 leaves.
const DROP_LOCALLY: &str = "
table inet t {
	chain output { type filter hook output priority filter;
		udp dport 8000 drop
	}
}";

#[test]
fn each_knock_is_one_packet_in_order() {
    with_host(|host| {
        host.inside(|| run("nft", DROP_ALL));
        for (written, address) in [(HOST_4, HOST_4), (HOST_6, HOST_6), ("[2001:db8::1]", HOST_6)] {
            // The delay is the usual one, because packets without a delay may overtake one another on the cable too.
            let output = ketuk(&[written, "7000", "8000:udp", "9000:tcp", "9000", "7000:udp"]);
            succeeded(&output, "");
            let seen = host.seen_until(|seen| seen.len() == 5);
            let steps: Vec<_> = seen.iter().map(|packet| packet.step.as_str()).collect();
            assert_eq!(steps, ["tcp 7000", "udp 8000", "tcp 9000", "tcp 9000", "udp 7000"], "{written}");
            let sources: BTreeSet<_> = seen.iter().map(|packet| packet.source_port).collect();
            assert_eq!(sources.len(), 5, "{written}: a source port twice");
            for packet in seen {
                assert_eq!(packet.destination, ip(address));
                let (flags, payload): (u8, &[u8]) =
                    if packet.step.starts_with("tcp") { (flag::SYN, &[]) } else { (0, &[0]) };
                assert_eq!((packet.flags, &packet.payload[..]), (flags, payload), "{}", packet.step);
            }
        }
        // The firewall has counted the SYNs.
        let listing = host.inside(|| run("nft", "list ruleset"));
        assert!(listing.contains("counter packets 9 "), "{listing}");
    });
}

#[test]
fn nothing_is_left_that_would_send_again() {
    with_host(|host| {
        host.inside(|| run("nft", DROP_ALL));
        for (address, sockets) in [(HOST_4, "tcp"), (HOST_6, "tcp6")] {
            let mut child = command(&["-d", "60000", address, "7000", "8000"]).spawn().expect("ketuk");
            host.seen_until(|seen| seen.len() == 1);
            // A socket in SYN_SENT would stay for two minutes.
            wait("the socket is closed", || {
                let list = fs::read_to_string(format!("/proc/thread-self/net/{sockets}")).expect("sockets");
                list.lines().count() == 1 // the heading
            });
            assert_eq!(child.try_wait().expect("wait"), None, "it did not wait for the second knock");
            child.kill().expect("kill");
            child.wait().expect("wait");
            assert_eq!(host.seen_until(|_| true).len(), 0);
        }
    });
}

#[test]
fn an_open_port_gets_a_reset() {
    with_host(|host| {
        let listeners = host.inside(|| [HOST_4, HOST_6].map(|host| bind(host, 7000)));
        for listener in &listeners {
            let address = listener.local_addr().expect("address").ip().to_string();
            succeeded(&ketuk(&[&address, "7000"]), "");
            let seen = host.seen_until(|seen| seen.iter().any(|packet| packet.flags & flag::RST != 0));
            assert_eq!(seen[0].flags, flag::SYN);
            assert!(seen.iter().all(|packet| packet.flags & flag::FIN == 0));
            assert!(seen.iter().all(|packet| packet.source_port == seen[0].source_port));
        }
    });
}

#[test]
fn a_refusal_is_no_failure() {
    with_host(|host| {
        for address in [HOST_4, HOST_6] {
            let ports = ["7000", "7000", "8000:udp", "8000:udp", "9000"];
            succeeded(&ketuk(&[&[address][..], &ports].concat()), "");
            let seen = host.seen_until(|seen| seen.len() == 5);
            let steps: Vec<_> = seen.iter().map(|packet| packet.step.as_str()).collect();
            assert_eq!(steps, ["tcp 7000", "tcp 7000", "udp 8000", "udp 8000", "tcp 9000"]);
        }
    });
}

#[test]
fn every_address_of_a_name_at_once() {
    with_host(|host| {
        name_the_host();
        let steps = |family: &str, seen: &[Packet]| {
            let seen = seen.iter().filter(|packet| packet.destination == ip(family));
            seen.map(|packet| packet.step.clone()).collect::<Vec<_>>()
        };
        succeeded(&ketuk(&["-d200", NAME, "7000,8000:udp", "9000"]), "");
        let seen = host.seen_until(|seen| seen.len() == 6);
        for family in [HOST_4, HOST_6] {
            assert_eq!(steps(family, &seen), ["tcp 7000", "udp 8000", "tcp 9000"], "{family}");
        }
        // The second knock comes after the first has been sent to both addresses.
        assert!(seen[..2].iter().all(|packet| packet.step == "tcp 7000"));
        for (option, other) in [("-4", HOST_6), ("-6", HOST_4)] {
            succeeded(&ketuk(&[option, NAME, "7000"]), "");
            let seen = host.seen_until(|seen| !seen.is_empty());
            assert_eq!((seen.len(), steps(other, &seen).len()), (1, 0), "{option}");
        }
        // If only one family has no route to the host, that is no failure. If both have none, it is.
        run("ip", "-6 route del 2001:db8::/64 dev cable");
        succeeded(&ketuk(&[NAME, "7000", "8000"]), "");
        assert_eq!(host.seen_until(|seen| seen.len() == 2).len(), 2);
        run("ip", "route del 192.0.2.0/24 dev cable");
        let output = ketuk(&[NAME, "7000", "8000"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    });
}

#[test]
fn from_an_address_or_a_device() {
    with_host(|host| {
        name_the_host();
        run("ip", "address add 192.0.2.3/24 dev cable");
        let seen = |arguments: &[&str], packets| {
            succeeded(&ketuk(arguments), "");
            host.seen_until(|seen| seen.len() == packets)
        };
        // The source has no address of the other family.
        for packet in seen(&["-s", "192.0.2.3", NAME, "7000", "8000:udp"], 2) {
            assert_eq!(packet.source, ip("192.0.2.3"), "{}", packet.step);
        }
        seen(&["--source=cable", NAME, "7000", "8000:udp"], 4);
        failed(
            &ketuk(&["-s", "192.0.2.99", HOST_4, "7000"]),
            1,
            "cannot knock at tcp 192.0.2.1:7000: Cannot assign requested address (os error 99)",
        );
        failed(
            &ketuk(&["-s", "nowhere", HOST_4, "7000"]),
            1,
            "cannot knock at tcp 192.0.2.1:7000: No such device (os error 19)",
        );
        failed(
            &ketuk(&["-s", "192.0.2.3", HOST_6, "7000"]),
            1,
            "'2001:db8::1': no address of the family of 192.0.2.3",
        );
        assert_eq!(host.seen_until(|_| true).len(), 0);
    });
}

#[test]
fn verbose_says_each_knock() {
    with_host(|_| {
        let output = ketuk(&["-vd0", HOST_4, "7000", "8000:udp"]);
        succeeded(&output, "hitting tcp 192.0.2.1:7000\nhitting udp 192.0.2.1:8000\n");
        let output = ketuk(&["-uvd0", HOST_6, "7000", "8000:tcp"]);
        succeeded(&output, "hitting udp [2001:db8::1]:7000\nhitting udp [2001:db8::1]:8000\n");
        let output = ketuk(&["-v4", "localhost", "7000"]);
        succeeded(&output, "hitting tcp 127.0.0.1:7000\n");
    });
}

#[test]
fn it_waits_between_knocks_and_a_moment_after_the_last() {
    with_host(|_| {
        for (arguments, least) in [(&["-d", "300"][..], 700), (&[], 300)] {
            let start = Instant::now();
            succeeded(&ketuk(&[arguments, &[HOST_4, "7000", "7000:udp", "7000"]].concat()), "");
            let elapsed = start.elapsed();
            assert!(elapsed >= Duration::from_millis(least), "{arguments:?}: {elapsed:?}");
        }
    });
}

#[test]
fn no_way_is_a_failure() {
    with_host(|host| {
        for (target, step) in
            [("198.51.100.1", "tcp 198.51.100.1:7000"), ("2001:db8:1::1", "tcp [2001:db8:1::1]:7000")]
        {
            let error = format!("cannot knock at {step}: Network is unreachable (os error 101)");
            failed(&ketuk(&[target, "7000", "8000"]), 1, &error);
            let error = error.replace("tcp", "udp");
            failed(&ketuk(&[target, "7000:udp", "8000"]), 1, &error);
        }
        run("ip", "route add unreachable 198.51.100.0/24");
        let error = "cannot knock at tcp 198.51.100.1:7000: No route to host (os error 113)";
        failed(&ketuk(&["198.51.100.1", "7000"]), 1, error);

        // After a knock that cannot be sent there are no more knocks.
        run("nft", DROP_LOCALLY);
        let error = "cannot knock at udp 192.0.2.1:8000: Operation not permitted (os error 1)";
        failed(&ketuk(&[HOST_4, "7000", "8000:udp", "9000"]), 1, error);
        let seen = host.seen_until(|seen| !seen.is_empty());
        assert_eq!(seen.len(), 1);
    });
}

#[test]
fn no_address_is_a_failure() {
    failed(&ketuk(&["-6", "192.0.2.1", "7000"]), 1, "'192.0.2.1': no IPv6 address, but -6 asks for one");
    failed(&ketuk(&["-4", "::1", "7000"]), 1, "'::1': no IPv4 address, but -4 asks for one");
    with_host(|_| {
        let output = ketuk(&["nosuch.invalid", "7000"]);
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(stderr.starts_with("ketuk: 'nosuch.invalid': failed to lookup address"), "{stderr}");
    });
}

#[test]
fn wrong_usage_is_explained() {
    let output = ketuk(&["localhost", "7000", "70000"]);
    let error = "'70000' is no port: a number from 1 to 65535, then ':tcp', ':udp' or nothing";
    failed(&output, 2, &format!("{error}\ntry 'ketuk --help'"));
    failed(&ketuk(&[]), 2, "no host and no ports are given\ntry 'ketuk --help'");
    let error = "the profile is missing: 'ketuk list' lists the profiles\ntry 'ketuk remove --help'";
    failed(&ketuk(&["remove"]), 2, error);
}

#[test]
fn version_and_help_are_no_failure() {
    let version = format!("ketuk {}\n", env!("CARGO_PKG_VERSION"));
    succeeded(&ketuk(&["-V"]), &version);
    succeeded(&ketuk(&["--version"]), &version);
    let help = ketuk(&["--help"]);
    let text = String::from_utf8(help.stdout).expect("UTF-8");
    assert!(
        help.status.success() && text.contains("usage: ketuk [options] HOST PORT[:tcp|:udp]..."),
        "{text}"
    );
}

/// Runs `ip` on words, or `nft` on a script, and returns the output.
fn run(program: &str, text: &str) -> String {
    let words = if program == "ip" { text.split(' ').collect() } else { vec![text] };
    let output = Command::new(program).args(words).output().expect("needs iproute2 and nftables");
    assert!(output.status.success(), "{program} {text}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ketuk"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn ketuk(arguments: &[&str]) -> Output {
    command(arguments).output().expect("ketuk")
}

fn succeeded(output: &Output, stdout: &str) {
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout);
}

fn failed(output: &Output, code: i32, error: &str) {
    assert_eq!(String::from_utf8_lossy(&output.stderr), format!("ketuk: {error}\n"));
    assert_eq!(output.status.code(), Some(code));
    assert!(output.stdout.is_empty(), "{output:?}");
}

fn bind(host: &str, port: u16) -> TcpListener {
    TcpListener::bind(SocketAddr::new(ip(host), port)).expect("bind")
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < deadline, "after {DEADLINE:?} not yet: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("address")
}
