//! The faults of a router. The soak chooses them at random and causes one after the other.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::sys::signal::Signal;

use super::fault::Fault;
use super::site::Site;
use super::support::wire::Lcg;
use super::support::{ROUTER_6, not_tested};
use super::watching;

/// The shortest and the longest time between two faults of one sequence, in milliseconds.
const GAP_MS: (usize, usize) = (1000, 6000);

/// The longest time that a firewall is missing, in milliseconds. A door is open for longer.
const AWAY_MS: usize = 1500;

/// The number of rules in one change of another program. An ordinary user's nft may send only 200 kB at once.
const RULES: usize = 500;

/// The number of another program's changes while the daemon is stopped: more than its socket has room for.
const CHANGES: usize = 12;

/// The connections that fill the kernel's table. `nf_conntrack_max` is not larger, unless somebody has raised it.
const CONNECTIONS: u32 = 1 << 18;

/// The jumps of the clock, some years each, in seconds.
const YEARS_S: [i64; 4] = [94_608_000, -94_608_000, 315_360_000, -1_500_000_000];

/// Causes faults of the daemon and its host until the time is over. Returns the number of kernel messages that the daemon lost.
pub(crate) fn trouble_daemon(site: &Site<'_>, random: &mut Lcg, until: Instant) -> u64 {
    let mut faults =
        vec![Fault::Frozen, Fault::Reloaded, Fault::ReloadedWrong, Fault::DiskFull, Fault::OthersSets];
    if site.restarts {
        faults.extend([Fault::Killed, Fault::Killed, Fault::Restarted]);
    } else {
        faults.push(Fault::ClockJump);
    }
    let mut dropped = 0;
    while gap(site, random, until) {
        let fault = faults[random.below(faults.len())];
        let ongoing = site.ledger.begin(fault);
        match fault {
            Fault::Killed => {
                site.stop(Signal::SIGKILL);
                pause(random, 1500);
                site.start();
            }
            Fault::Restarted => {
                site.stop(Signal::SIGTERM);
                site.ledger.wait_for_look(Instant::now());
                let sets = site.nft_sets();
                if sets.contains("elements") {
                    site.ledger.broken(format!("a clean stop leaves doors open: {sets}"));
                }
                site.start();
            }
            Fault::Frozen => dropped += freeze(site),
            Fault::Reloaded => reload(site, random),
            Fault::ReloadedWrong => reload_wrong(site, random),
            Fault::DiskFull => {
                site.fill_disk();
                pause(random, 3000);
                site.clear_disk();
            }
            Fault::ClockJump => {
                site.set_clock(YEARS_S[random.below(YEARS_S.len())]);
                pause(random, 3000);
                site.set_clock(0);
            }
            Fault::OthersSets => others_sets(site),
            _ => unreachable!("the network's"),
        }
        drop(ongoing);
    }
    dropped
}

/// The faults of the firewall and the network.
pub(crate) fn trouble_network(site: &Site<'_>, random: &mut Lcg, until: Instant) {
    let mut faults = vec![
        Fault::FirewallReplaced,
        Fault::FirewallDeleted,
        Fault::FirewallFlushed,
        Fault::CarrierLost,
        Fault::DeviceDown,
    ];
    let most = most_connections();
    if most <= CONNECTIONS {
        faults.push(Fault::ConnectionsFull);
    } else {
        not_tested(&format!("{}: nf_conntrack_max is {most}", Fault::ConnectionsFull.name()));
    }
    let router = &site.world.router;
    while gap(site, random, until) {
        let fault = faults[random.below(faults.len())];
        let ongoing = site.ledger.begin(fault);
        match fault {
            // fw4 does it in this way.
            Fault::FirewallReplaced => {
                site.load_firewall("table inet fw4\nflush table inet fw4\ndelete table inet fw4");
            }
            Fault::FirewallDeleted => {
                router.nft("delete table inet fw4");
                pause(random, AWAY_MS);
                site.load_firewall("");
            }
            Fault::FirewallFlushed => {
                router.nft("flush ruleset");
                pause(random, AWAY_MS);
                site.load_firewall("");
            }
            Fault::CarrierLost => {
                let isp = &site.world.isp;
                isp.ip("link set router0 down");
                pause(random, AWAY_MS);
                isp.ip("link set router0 up");
                isp.addresses("router0", &["2001:db8:1::fe/64"]);
                site.know_router();
            }
            Fault::DeviceDown => {
                router.ip("link set wan0 down");
                pause(random, AWAY_MS);
                router.ip("link set wan0 up");
                router.addresses("wan0", &[&format!("{ROUTER_6}/64")]);
                router.gateways("203.0.113.254", "2001:db8:1::fe");
            }
            Fault::ConnectionsFull => fill_connections(site, random),
            _ => unreachable!("the daemon's"),
        }
        drop(ongoing);
    }
}

/// The number of connections that each network namespace of this machine can have.
fn most_connections() -> u32 {
    let most = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max")
        .expect("connection tracking is loaded");
    most.trim().parse().expect("a number")
}

/// Fills the kernel's table of connections with others' connections that it may not drop, and empties it later. While it is
/// full, the kernel drops the first packet of each new connection.
fn fill_connections(site: &Site<'_>, random: &mut Lcg) {
    let mut others = String::new();
    for number in 0..CONNECTIONS {
        let from = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + number);
        let _ = writeln!(
            others,
            "-I -p udp -s {from} -d 192.0.2.1 --sport 500 --dport 500 -t 600 -u SEEN_REPLY,ASSURED"
        );
    }
    let router = &site.world.router;
    let file = site.world.scratch.write("connections", &others);
    // The kernel refuses the connections that find no room.
    router.run("conntrack", &["-R", file.to_str().expect("a plain path")]);
    pause(random, 2000);
    let count: u32 = router.stdout("conntrack", &["-C"]).trim().parse().expect("a number");
    if count < most_connections() {
        site.ledger.broken(format!("the table of connections is not full: {count}"));
    }
    router.run("conntrack", &["-F"]);
}

/// Waits for the next fault. Returns whether there is one.
fn gap(site: &Site<'_>, random: &mut Lcg, until: Instant) -> bool {
    let ms = GAP_MS.0 + random.below(GAP_MS.1 - GAP_MS.0);
    thread::sleep(Duration::from_millis(u64::try_from(ms).expect("a short time")));
    Instant::now() < until && !site.ledger.is_enough()
}

fn pause(random: &mut Lcg, most_ms: usize) {
    let ms = u64::try_from(random.below(most_ms)).expect("a short time");
    thread::sleep(Duration::from_millis(ms));
}

/// Stops the daemon while its netlink socket overflows (ENOBUFS). Returns how many messages were lost.
fn freeze(site: &Site<'_>) -> u64 {
    let pid = site.pid().expect("it is started");
    let before = watching::netlink_drops(pid);
    site.with_daemon(|daemon| daemon.signal(Signal::SIGSTOP));
    for _ in 0..CHANGES {
        others_rules(site);
    }
    site.world.router.nft(&no_table("ip"));
    site.with_daemon(|daemon| daemon.signal(Signal::SIGCONT));
    watching::netlink_drops(pid).saturating_sub(before)
}

/// Deletes the other program's table. A change of the firewall may have deleted it already.
fn no_table(family: &str) -> String {
    format!("add table {family} crowd\ndelete table {family} crowd")
}

fn others_rules(site: &Site<'_>) {
    let rules = "add rule ip crowd crowd ip saddr 10.0.0.1 counter accept\n".repeat(RULES);
    site.world.router.nft(&format!("add table ip crowd\nadd chain ip crowd crowd\n{rules}"));
}

/// Another program changes its sets and rules again and again, so that lists which the daemon asks for at its reloads are
/// interrupted (EINTR).
fn others_sets(site: &Site<'_>) {
    let router = &site.world.router;
    let mut script =
        "add table inet crowd\nadd set inet crowd crowd { type ipv4_addr; flags timeout; }\n".to_owned();
    for number in 0..200 {
        let _ = writeln!(
            script,
            "add element inet crowd crowd {{ 10.7.{}.{} timeout 1h }}",
            number / 100,
            number % 100
        );
    }
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            for _ in 0..15 {
                router.nft(&script);
                router.nft(&format!("add table inet crowd\nadd chain inet crowd one\n{}", no_table("inet")));
            }
        });
        while !flood.is_finished() {
            if !site.reload(site.config()) {
                site.ledger.broken("a right configuration is refused during other programs' changes");
            }
        }
    });
    router.nft(&no_table("inet"));
}

fn reload(site: &Site<'_>, random: &mut Lcg) {
    let more = format!(
        "config door 'more{}'\n\toption sequence '1{:03} 2{:03}:udp 3123'\n\toption proto 'tcp'\n\toption dest_port '80'\n",
        random.below(3),
        random.below(1000),
        random.below(1000),
    );
    if !site.reload(&format!("{}{more}", site.config())) {
        site.ledger.broken("a right configuration is refused");
    }
    pause(random, 1000);
    if !site.reload(site.config()) {
        site.ledger.broken("the first configuration is refused");
    }
}

fn reload_wrong(site: &Site<'_>, random: &mut Lcg) {
    let config = site.config();
    let wrong = match random.below(3) {
        0 => "broken".to_owned(),
        1 => String::from(&config[..config.len() / 2 + random.below(config.len() / 4)]) + "\n\toption '",
        _ => config.replace("dest_port '443'", "dest_port '70000'"),
    };
    if site.reload(&wrong) {
        site.ledger.broken("a wrong configuration is taken");
    }
    // A crash would find the right one.
    site.with_daemon(|daemon| daemon.write_config(config));
}
