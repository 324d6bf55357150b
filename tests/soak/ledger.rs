//! The knocks, the faults with their times, and the contents of the firewall. Each promise is judged by these three.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::fault::{Fault, Kind};
use super::support::PATIENCE;

/// The time that a door may be open in the firewall after its end.
const MOST_LATE: Duration = Duration::from_secs(1);

/// The number of broken promises that ends the soak before its time. One cause breaks many promises.
const ENOUGH: usize = 10;

/// Faults that were longer ago than this explain nothing.
const LATELY: Duration = Duration::from_secs(10);

/// A packet that was sent this long before the daemon was stopped may still wait in its socket.
const IN_QUEUE: Duration = Duration::from_millis(200);

/// A door and an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) door: &'static str,
    pub(crate) address: IpAddr,
}

/// Somebody who knocks right.
#[derive(Debug)]
struct Knocker {
    /// The comment that his elements must have.
    comment: String,
    open: Duration,
    /// The end of the grant after the last right knock.
    knocked: Option<Instant>,
    /// The start of the last look that found the address let in.
    seen: Option<Instant>,
}

/// A fault, from its start on.
#[derive(Clone, Copy, Debug)]
struct Window {
    fault: Fault,
    from: Instant,
    until: Option<Instant>,
}

impl Window {
    /// Whether the fault could have effects at some time from `from` to `until`.
    fn is_felt(&self, from: Instant, until: Instant) -> bool {
        self.from <= until && self.until.is_none_or(|end| end + self.fault.settles() >= from)
    }
}

/// The results of the knocks of one kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sent: u32,
    pub(crate) opened: u32,
    pub(crate) lost: BTreeMap<String, u32>,
    /// The longest time that a client was kept out while it knocked again and again.
    pub(crate) longest: Duration,
}

/// An element of a set, as nft lists it.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub(crate) entry: Entry,
    pub(crate) has_timeout: bool,
    pub(crate) comment: String,
}

#[derive(Debug, Default)]
struct Pages {
    knockers: BTreeMap<Entry, Knocker>,
    windows: Vec<Window>,
    tallies: BTreeMap<Kind, Tally>,
    faults: BTreeMap<Fault, u32>,
    /// The start of the last look at the sets.
    looked: Option<Instant>,
    looks: u32,
    worst_late: Duration,
    kept_open: u32,
    broken: Vec<String>,
    is_over: bool,
    /// The story: a line for each event, with the seconds since the first line.
    story: String,
    began: Option<Instant>,
    /// The elements that the last look found.
    found: BTreeSet<Entry>,
}

/// The ledger of one router.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pages: Mutex<Pages>,
    looked: Condvar,
}

/// A fault that goes on until this is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Ongoing<'l> {
    ledger: &'l Ledger,
    window: usize,
}

impl Drop for Ongoing<'_> {
    fn drop(&mut self) {
        let mut pages = self.ledger.pages();
        let window = &mut pages.windows[self.window];
        window.until = Some(Instant::now());
        let name = window.fault.name();
        pages.note(format_args!("fault ends: {name}"));
    }
}

impl Ledger {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a client that may open a door for this time.
    pub(crate) fn enter(&self, entry: Entry, comment: String, open: Duration) {
        let knocker = Knocker { comment, open, knocked: None, seen: None };
        self.pages().knockers.insert(entry, knocker);
    }

    /// A right knock is about to be sent, or was sent just now: the door may be open from now on.
    pub(crate) fn knock(&self, entry: &Entry) -> Instant {
        let mut pages = self.pages();
        let now = Instant::now();
        pages.knockers.get_mut(entry).expect("entered").knocked = Some(now);
        now
    }

    /// Writes an event into the story, which is kept if a promise is broken.
    pub(crate) fn note(&self, what: impl fmt::Display) {
        self.pages().note(what);
    }

    /// The whole story.
    pub(crate) fn story(&self) -> String {
        self.pages().story.clone()
    }

    /// Enters a fault that begins.
    pub(crate) fn begin(&self, fault: Fault) -> Ongoing<'_> {
        let mut pages = self.pages();
        pages.windows.push(Window { fault, from: Instant::now(), until: None });
        *pages.faults.entry(fault).or_default() += 1;
        pages.note(format_args!("fault begins: {}", fault.name()));
        Ongoing { ledger: self, window: pages.windows.len() - 1 }
    }

    /// Enters a look at the sets that began at `begun`.
    pub(crate) fn look(&self, begun: Instant, elements: &[Element]) {
        let mut pages = self.pages();
        pages.looked = Some(begun);
        pages.looks += 1;
        for element in elements {
            pages.judge(begun, element);
        }
        pages.tell_changes(begun, elements);
        drop(pages);
        self.looked.notify_all();
    }

    /// Waits for a look that began after this time.
    pub(crate) fn wait_for_look(&self, after: Instant) {
        let pages = self.pages();
        let not_yet = |pages: &mut Pages| pages.looked.is_none_or(|looked| looked < after);
        let waited = self.looked.wait_timeout_while(pages, PATIENCE, not_yet);
        let (pages, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(pages);
        assert!(!waited.timed_out(), "nobody looks at the sets any more");
    }

    /// Whether a look that began at this time or later found the entry.
    pub(crate) fn was_seen(&self, entry: &Entry, since: Instant) -> bool {
        self.pages().knockers[entry].seen.is_some_and(|seen| seen >= since)
    }

    /// Whether the last look found the door open.
    pub(crate) fn is_open(&self, entry: &Entry) -> bool {
        let pages = self.pages();
        let seen = pages.knockers.get(entry).and_then(|knocker| knocker.seen);
        seen.is_some() && seen >= pages.looked
    }

    /// Whether the door is shut, and no earlier knock can open it any more. The time of the last knock must be over, even if a
    /// stopped daemon heard it late.
    pub(crate) fn is_over(&self, entry: &Entry) -> bool {
        let pages = self.pages();
        let knocker = &pages.knockers[entry];
        let end = knocker.knocked.map(|last| pages.heard(last) + knocker.open);
        let has_looked = pages.looked.is_some_and(|looked| end.is_none_or(|end| looked > end));
        has_looked && knocker.seen < pages.looked
    }

    /// Whether a fault that delays openings could have effects from this time on.
    pub(crate) fn is_delayed(&self, from: Instant) -> bool {
        let now = Instant::now();
        self.pages().windows.iter().any(|window| window.fault.delays() && window.is_felt(from, now))
    }

    /// When the daemon hears a knock at the latest.
    pub(crate) fn heard(&self, sent: Instant) -> Instant {
        self.pages().heard(sent)
    }

    /// The first fault between these times that passes the test: the reason for a loss.
    pub(crate) fn reason(&self, from: Instant, until: Instant, of: impl Fn(Fault) -> bool) -> Option<Fault> {
        let pages = self.pages();
        let mut felt = pages.windows.iter().filter(|window| window.is_felt(from, until));
        felt.find(|window| of(window.fault)).map(|window| window.fault)
    }

    /// The faults of the last seconds. A failed promise prints them.
    pub(crate) fn lately(&self) -> String {
        let pages = self.pages();
        let now = Instant::now();
        let ago = |time: Instant| format!("{:.1}", now.duration_since(time).as_secs_f32());
        let lately =
            pages.windows.iter().filter(|window| window.is_felt(now.checked_sub(LATELY).unwrap_or(now), now));
        let lines = lately.map(|window| {
            let until = window.until.map_or("now".to_owned(), ago);
            format!("\n  {} s to {until} s ago: {}", ago(window.from), window.fault.name())
        });
        lines.collect()
    }

    /// The tally of one kind of knock, to change it.
    pub(crate) fn tally(&self, kind: Kind, change: impl FnOnce(&mut Tally)) {
        change(self.pages().tallies.entry(kind).or_default());
    }

    /// An open door was found open shortly before its time was over.
    pub(crate) fn stayed_open(&self) {
        self.pages().kept_open += 1;
    }

    /// Enters a broken promise.
    pub(crate) fn broken(&self, what: impl fmt::Display) {
        self.pages().break_promise(&what.to_string());
    }

    /// Enters a broken promise after which the soak cannot go on.
    pub(crate) fn give_up(&self, what: &str) {
        let mut pages = self.pages();
        pages.break_promise(what);
        pages.is_over = true;
    }

    /// Whether the soak has to end before its time: it cannot go on, or enough promises are broken.
    pub(crate) fn is_enough(&self) -> bool {
        let pages = self.pages();
        pages.is_over || pages.broken.len() >= ENOUGH
    }

    /// The sums, at the end.
    pub(crate) fn close(&self) -> Summary {
        let pages = self.pages();
        Summary {
            tallies: pages.tallies.clone(),
            faults: pages.faults.clone(),
            looks: pages.looks,
            worst_late: pages.worst_late,
            kept_open: pages.kept_open,
            broken: pages.broken.clone(),
        }
    }
}

/// The sums of the ledger at the end.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) tallies: BTreeMap<Kind, Tally>,
    pub(crate) faults: BTreeMap<Fault, u32>,
    pub(crate) looks: u32,
    pub(crate) worst_late: Duration,
    pub(crate) kept_open: u32,
    pub(crate) broken: Vec<String>,
}

impl Pages {
    fn note(&mut self, what: impl fmt::Display) {
        let began = *self.began.get_or_insert_with(Instant::now);
        let _ = writeln!(self.story, "{:9.3} {what}", began.elapsed().as_secs_f64());
    }

    /// Writes down which elements came and went since the last look.
    fn tell_changes(&mut self, begun: Instant, elements: &[Element]) {
        let now: BTreeSet<Entry> = elements.iter().map(|element| element.entry.clone()).collect();
        let before = std::mem::replace(&mut self.found, now.clone());
        let took = begun.elapsed().as_millis();
        for Entry { door, address } in now.difference(&before) {
            self.note(format_args!("{address} at {door}: in the set (a look of {took} ms)"));
        }
        for Entry { door, address } in before.difference(&now) {
            self.note(format_args!("{address} at {door}: not in the set (a look of {took} ms)"));
        }
    }

    fn break_promise(&mut self, what: &str) {
        eprintln!("BROKEN: {what}");
        self.note(format_args!("BROKEN: {what}"));
        self.broken.push(what.to_owned());
    }

    /// When the daemon hears a knock at the latest. A stopped one hears what waits for it when it goes on.
    fn heard(&self, sent: Instant) -> Instant {
        let stops = self.windows.iter().filter(|window| window.fault == Fault::Frozen);
        stops.fold(sent, |heard, stop| {
            let end = stop.until.unwrap_or_else(Instant::now);
            if stop.from <= heard + IN_QUEUE { heard.max(end) } else { heard }
        })
    }

    /// An element was there at some time after `begun`.
    fn judge(&mut self, begun: Instant, element: &Element) {
        let Entry { door, address } = element.entry;
        let Some(knocker) = self.knockers.get_mut(&element.entry) else {
            let by = &element.comment;
            return self.break_promise(&format!("{door} is open for {address}, who may not open it: '{by}'"));
        };
        let Some(last) = knocker.knocked else {
            return self.break_promise(&format!("{door} is open for {address}, who has not knocked"));
        };
        knocker.seen = Some(begun);
        let (open, comment) = (knocker.open, knocker.comment.clone());
        let late = begun.saturating_duration_since(self.heard(last) + open);
        self.worst_late = self.worst_late.max(late);
        if late > MOST_LATE {
            self.break_promise(&format!("{door} is open for {address} {late:?} after its time"));
        }
        if !element.has_timeout {
            self.break_promise(&format!("{door} is open for {address} without a timer"));
        }
        if element.comment != comment {
            let found = &element.comment;
            self.break_promise(&format!("{door} is open for {address} by '{found}', not by '{comment}'"));
        }
    }
}
