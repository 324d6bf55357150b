//! Looks at the router while the soak runs: at the sets with the real nft, and at the daemon's memory.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::ledger::{Element, Entry};
use super::site::Site;

/// The time between two looks at the sets.
const LOOK: Duration = Duration::from_millis(200);

/// The time between two looks at the daemon's log.
const FOLLOW: Duration = Duration::from_millis(20);

/// The time between two looks at the memory.
const MEASURE: Duration = Duration::from_secs(1);

/// The memory and the descriptors of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    /// All resident memory, the program's own pages included, in kB.
    pub(crate) resident_kb: u64,
    /// Its own memory alone: heap, stack and tables, in kB.
    pub(crate) anonymous_kb: u64,
    pub(crate) files: usize,
}

impl Held {
    /// The memory and the descriptors of a process now; `None` if it is gone.
    pub(crate) fn by(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
        };
        let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        Some(Self { resident_kb: field("VmRSS")?, anonymous_kb: field("RssAnon")?, files })
    }
}

/// The memory and the descriptors of a daemon at two times.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Growth {
    pub(crate) early: Held,
    pub(crate) late: Held,
}

/// Looks at the sets until told to stop.
pub(crate) fn look_at_sets(site: &Site<'_>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let listed = site.nft_sets();
        site.ledger.look(begun, &elements(&listed));
        thread::sleep(LOOK.saturating_sub(begun.elapsed()));
    }
}

/// Copies the daemon's log into the story until told to stop. The lines' own times are of a clock that jumps.
pub(crate) fn follow_log(site: &Site<'_>, stop: &AtomicBool) {
    let Ok(mut log) = fs::File::open(site.log()).map(BufReader::new) else { return };
    let mut line = String::new();
    while !stop.load(Ordering::Relaxed) {
        match log.read_line(&mut line) {
            Ok(_) if line.ends_with('\n') => {
                site.ledger.note(format_args!("ketukd: {}", line.trim_end()));
                line.clear();
            }
            _ => thread::sleep(FOLLOW),
        }
    }
}

/// Measures the daemon until told to stop: once after `settled`, and once at the end.
pub(crate) fn measure(site: &Site<'_>, settled: Instant, stop: &AtomicBool) -> Growth {
    let mut growth = Growth::default();
    while !stop.load(Ordering::Relaxed) && !site.has_died() {
        if let Some(held) = site.pid().and_then(Held::by) {
            if Instant::now() < settled {
                growth.early = held;
            }
            growth.late = held;
        }
        thread::sleep(MEASURE);
    }
    growth
}

/// The number of messages that found no room in this process's netlink sockets (/proc/net/netlink, the last column but one).
pub(crate) fn netlink_drops(pid: u32) -> u64 {
    let sockets: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned))
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/netlink")).unwrap_or_default();
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let own = rows.filter(|row| row.last().is_some_and(|inode| sockets.iter().any(|socket| socket == inode)));
    own.filter_map(|row| row.get(row.len().checked_sub(2)?)?.parse::<u64>().ok()).sum()
}

/// The elements in what `nft list sets` prints.
fn elements(listed: &str) -> Vec<Element> {
    let mut found = Vec::new();
    let mut door = None;
    let mut lines = listed.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if let Some(set) = line.strip_prefix("set ") {
            door = door_of(set);
        }
        let Some(mut rest) = line.strip_prefix("elements = { ").map(str::to_owned) else { continue };
        while !rest.contains('}') {
            rest.push(' ');
            rest.push_str(lines.next().expect("a list has an end"));
        }
        let Some(door) = door else { continue };
        let listed =
            rest.trim_end_matches('}').split(',').map(str::trim).filter(|element| !element.is_empty());
        found.extend(listed.map(|element| {
            let (address, rest) = element.split_once(' ').unwrap_or((element, ""));
            let comment =
                rest.split_once("comment \"").map_or("", |(_, comment)| comment.trim_end_matches('"'));
            Element {
                entry: Entry { door, address: address.parse().expect("an address") },
                has_timeout: rest.contains("expires "),
                comment: comment.to_owned(),
            }
        }));
    }
    found
}

/// The door whose set this is.
fn door_of(set: &str) -> Option<&'static str> {
    ["plain", "ssh", "web"].into_iter().find(|door| set.starts_with(&format!("ketuk_{door}_")))
}
