//! Configurations like those that people use. Each file runs in the stock knockd or fwknopd, and, imported, in ketukd, on a
//! router that drops everything. [`cases::CASES`] is the table.
#![cfg(all(target_os = "linux", feature = "import", feature = "fwknop"))]

#[path = "../support/mod.rs"]
mod support;

mod cases;
mod fail2ban;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cases::{CASES, Case, Seen, Stock};
use support::daemon::Start;
use support::{Process, ROUTER, World, is_root_of_the_machine, ketukd, succeeded};

/// The time that a door may need to open after the last knock, or to shut after the closing knock.
const SOON: Duration = Duration::from_secs(4);

/// A time that is longer than the time of every door of the table that shuts by itself.
const LATER: Duration = Duration::from_secs(8);

/// The number of routers that work side by side. A case takes most of its time for waiting.
const SIDE_BY_SIDE: usize = 20;

/// A router whose ports cannot be reached from outside unless a rule lets a client in.
fn world(case: &Case) -> World {
    let world = World::new();
    if case.is_nft() {
        world.router.nft(
            "table inet filter { chain input { type filter hook input priority 0; policy drop; ct state established accept; \
             iif lo accept; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; }; }",
        );
    } else {
        for program in ["iptables", "ip6tables"] {
            world.router.stdout(
                program,
                &["-A", "INPUT", "-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT"],
            );
            world.router.stdout(program, &["-P", "INPUT", "DROP"]);
        }
    }
    world.router.serve(22);
    world.router.serve(80);
    world
}

/// Waits until the port is open or shut, as asked, for at most `patience`. Returns whether that happened.
fn becomes(world: &World, port: u16, open: bool, patience: Duration) -> bool {
    let begin = Instant::now();
    loop {
        if world.client.greeted_by(ROUTER, port).is_some() == open {
            return true;
        }
        if begin.elapsed() >= patience {
            return false;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// The behaviour of the port when the knock of the case comes.
fn knock_and_look(world: &World, case: &Case) -> Seen {
    let knock = |ports: &str| world.client.shell(&format!("knock -d 30 {ROUTER} {ports}"));
    assert!(world.client.greeted_by(ROUTER, case.port).is_none(), "{}: open before the knock", case.name);
    match case.stock {
        Stock::Knockd { open, .. } => drop(knock(open)),
        Stock::Fwknopd { client, .. } => {
            let home = format!("HOME={}", world.scratch.path("home").display());
            let fixed =
                [home.as_str(), "fwknop", "--no-save-args", "--no-rc-file", "--use-hmac", "-D", ROUTER];
            let arguments: Vec<_> = fixed.into_iter().chain(client.split_whitespace()).collect();
            succeeded("fwknop", &arguments, &world.client.run("env", &arguments));
        }
    }
    if !becomes(world, case.port, true, SOON) {
        return Seen::Shut;
    }
    if let Stock::Knockd { close: Some(close), .. } = case.stock {
        knock(close);
        return if becomes(world, case.port, false, SOON) { Seen::UntilKnock } else { Seen::Open };
    }
    if becomes(world, case.port, false, LATER) { Seen::ForItsTime } else { Seen::Open }
}

fn with_stock(case: &Case) -> Seen {
    let world = world(case);
    let scratch = &world.scratch;
    std::fs::create_dir_all(scratch.path("home")).expect("a folder");
    let file = scratch.path("stock.conf");
    std::fs::write(&file, case.file()).expect("written");
    let file = file.to_str().expect("a plain path");
    let _daemon = match case.stock {
        Stock::Knockd { .. } => world.router.enter(|| Process::start("knockd", &["-i", "wan0", "-c", file])),
        Stock::Fwknopd { .. } => {
            // Debian 13's fwknopd does not capture packets. It receives them at a socket, after the firewall.
            world.router.shell("iptables -A INPUT -p udp --dport 62201 -j ACCEPT");
            let run = scratch.path("run");
            let text =
                format!("PCAP_INTF wan0;\nENABLE_IPT_FORWARDING Y;\nFWKNOP_RUN_DIR {};\n", run.display());
            let conf = scratch.write("fwknopd.conf", &text);
            let conf = conf.to_str().expect("a plain path").to_owned();
            world.router.enter(|| Process::start("fwknopd", &["-f", "-c", &conf, "-a", file]))
        }
    };
    // Neither program says when it is ready, and some of these files are refused.
    thread::sleep(Duration::from_secs(3));
    knock_and_look(&world, case)
}

fn with_ketukd(case: &Case) -> (Seen, String) {
    let world = world(case);
    let scratch = &world.scratch;
    std::fs::create_dir_all(scratch.path("home")).expect("a folder");
    let file = scratch.path("foreign.conf");
    std::fs::write(&file, case.file()).expect("written");
    let arguments = ["import", file.to_str().expect("a plain path")];
    let output = support::run(ketukd().to_str().expect("a plain path"), &arguments);
    let uci = succeeded("ketukd", &arguments, &output);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // The firewall that the file was written for, and a clock that the test vouches for.
    let backend = if case.is_nft() { "nft'\n\toption nft_table 'inet filter" } else { "iptables" };
    let head = "config globals 'globals'\n";
    let config =
        uci.replacen(head, &format!("{head}\toption trust_clock '1'\n\toption backend '{backend}'\n"), 1);
    let start = Start::new(&world.router, scratch, &config);
    if case.is_nft() {
        let config = scratch.path("ketuk.uci");
        let arguments = ["ruleset", "--zone", "none", "--config", config.to_str().expect("a plain path")];
        world.router.nft(&world.router.stdout(ketukd().to_str().expect("a plain path"), &arguments));
    }
    let _daemon = start.go();
    // Packets that are as old as the start are not taken.
    thread::sleep(Duration::from_millis(2_100));
    (knock_and_look(&world, case), said)
}

/// With each file the port opens, stays shut and shuts as with the program that the file was written for. If there is a
/// difference, the table names it, and the door stays shut.
#[test]
fn files_from_the_field() {
    if !is_root_of_the_machine("the stock daemons, which only root may run") {
        return;
    }
    assert!(CASES.len() >= 30);
    let next = AtomicUsize::new(0);
    let wrong = thread::scope(|scope| {
        let work = || {
            let mut wrong = String::new();
            while let Some(case) = CASES.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (stock, (ketuk, said)) = (with_stock(case), with_ketukd(case));
                if (stock, ketuk) != (case.with_stock, case.with_ketukd) {
                    writeln!(
                        wrong,
                        "{}: {stock:?} with the stock program (expected {:?}), {ketuk:?} with ketukd (expected {:?})\n{said}",
                        case.name, case.with_stock, case.with_ketukd
                    )
                    .expect("a String takes everything");
                }
                if ketuk != stock && said.is_empty() && ketuk != Seen::Shut {
                    writeln!(wrong, "{}: it differs, and nothing is said", case.name)
                        .expect("a String takes everything");
                }
            }
            wrong
        };
        let threads: Vec<_> = (0..SIDE_BY_SIDE).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("it ended")).collect::<String>()
    });
    assert!(wrong.is_empty(), "{wrong}");
}
