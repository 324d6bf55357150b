//! A soak: users and strangers knock at two routers for some minutes, while faults happen at random. `make soak` runs it and
//! prints its table. It fails if a door is open for somebody who has not knocked, or for more than a second past
//! its time, if a right knock is lost without a reason, or if the daemon grows.
//!
//! `SECONDS` is its length. `SEED` plays the same faults and knocks again, but the machine decides when each happens.
#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

mod fault;
mod faults;
mod knocking;
mod ledger;
mod site;
mod table;
mod watching;

use std::env;
use std::fs;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::sched::{CloneFlags, unshare};

use ledger::Summary;
use site::{Crowd, Site};
use support::wire::Lcg;
use support::{World, stdout};
use watching::Growth;

/// After this time, or after a third of a shorter soak, the daemon has used all the memory that it needs.
const SETTLED: Duration = Duration::from_secs(60);

/// The most that the daemon's own memory may grow after that, because its tables for strangers and users fill late. The tables
/// have 500 kB.
const GROWTH_KB: u64 = 512;

/// The most files that it may have open in addition at the end: those of a client of its socket.
const MORE_FILES: usize = 2;

/// The knockers: a hundred users, and some clients that know a plain sequence.
const STEADY: Crowd = Crowd { packet: 30, changing: 30, plain: 10 };
const RESTARTED: Crowd = Crowd { packet: 40, changing: 0, plain: 10 };

/// The figures of a router at the end.
#[derive(Debug)]
struct Outcome {
    name: &'static str,
    summary: Summary,
    growth: Growth,
    wrong_knocks: u32,
    netlink_drops: u64,
}

fn main() -> ExitCode {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let length = Duration::from_secs(number("SECONDS").unwrap_or(600));
    let seed = number("SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        now.as_secs() ^ u64::from(now.subsec_nanos())
    });
    eprintln!("soak: {} s with SEED={seed}", length.as_secs());
    unshare(CloneFlags::CLONE_NEWNS).expect("this needs root, or `unshare -rmn`");
    stdout("mount", &["--make-rprivate", "/"]);
    let mut random = Lcg::new(seed);
    let worlds = [World::with_firewall(), World::with_firewall()];
    let steady = Site::new("steady", &worlds[0], STEADY, false, &mut random);
    let restarted = Site::new("restarted", &worlds[1], RESTARTED, true, &mut random);
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let soaks = [&steady, &restarted].map(|site| {
            let random = branch(&mut random);
            scope.spawn(move || soak(site, random, length))
        });
        soaks.into_iter().map(|soak| soak.join().expect("the soak itself works")).collect()
    });
    table::print(length, seed, &outcomes);
    let broken: usize = outcomes.iter().map(|outcome| outcome.summary.broken.len()).sum();
    if broken > 0 {
        eprintln!("soak: {broken} PROMISES BROKEN: see above; SEED={seed}");
        return ExitCode::FAILURE;
    }
    eprintln!("soak: every promise was kept");
    ExitCode::SUCCESS
}

/// Random numbers for one part of the soak.
fn branch(random: &mut Lcg) -> Lcg {
    Lcg::new(u64::try_from(random.below(1 << 31)).expect("31 bits"))
}

/// Stops the threads that look at a router, also when a part of the soak fails.
#[derive(Debug)]
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn soak(site: &Site<'_>, mut random: Lcg, length: Duration) -> Outcome {
    let begun = Instant::now();
    let until = begun + length;
    let stop = AtomicBool::new(false);
    let overheard = knocking::Overheard::default();
    let mut branch = || branch(&mut random);
    let (wrong_knocks, netlink_drops, growth) = thread::scope(|scope| {
        let end = End(&stop);
        scope.spawn(|| watching::look_at_sets(site, &stop));
        scope.spawn(|| watching::follow_log(site, &stop));
        let measured = scope.spawn(|| watching::measure(site, begun + SETTLED.min(length / 3), &stop));
        let (mut daemons, mut networks) = (branch(), branch());
        let daemon = scope.spawn(move || faults::trouble_daemon(site, &mut daemons, until));
        let network = scope.spawn(move || faults::trouble_network(site, &mut networks, until));
        // Threads begin in the namespace of the thread that starts them.
        let wrong_knocks = site.world.client.enter(|| {
            thread::scope(|scope| {
                let overheard = &overheard;
                for user in &site.users {
                    let mut random = branch();
                    scope.spawn(move || knocking::knock_on(site, user, overheard, &mut random, until));
                }
                let mut random = branch();
                let wrong = scope.spawn(move || knocking::knock_wrong(site, overheard, &mut random, until));
                wrong.join().expect("it knocks")
            })
        });
        let dropped = daemon.join().expect("faults of the daemon");
        network.join().expect("faults of the network");
        drop(end);
        (wrong_knocks, dropped, measured.join().expect("measured"))
    });
    let Growth { early, late } = growth;
    if !site.restarts
        && (late.anonymous_kb > early.anonymous_kb + GROWTH_KB || late.files > early.files + MORE_FILES)
    {
        site.ledger.broken(format!("the daemon grows: {early:?}, later {late:?}"));
    }
    if !site.has_died() {
        site.finish();
    }
    let summary = site.ledger.close();
    if !summary.broken.is_empty() {
        let story = env::temp_dir().join(format!("ketuk-soak-{}.log", site.name));
        fs::write(&story, site.ledger.story()).expect("a file");
        eprintln!("{}: what happened is in {}", site.name, story.display());
    }
    Outcome { name: site.name, summary, growth, wrong_knocks, netlink_drops }
}
