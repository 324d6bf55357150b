//! The table at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Outcome;
use super::fault::Kind;

/// A row's place, and its name.
type Row = (usize, String);

/// Each router's figures in each row.
type Cells = BTreeMap<Row, BTreeMap<&'static str, String>>;

/// The place of the first row that is not about one kind of knock.
const AFTER_KNOCKS: usize = 100;

/// Prints the table.
pub(crate) fn print(length: Duration, seed: u64, outcomes: &[Outcome]) {
    let mut cells = Cells::new();
    for outcome in outcomes {
        fill(&mut cells, outcome);
    }
    println!("{} s, SEED={seed}.\n", length.as_secs());
    let heads: Vec<_> = outcomes.iter().map(|outcome| outcome.name).collect();
    println!("| what | {} |\n| --- |{}", heads.join(" | "), " --- |".repeat(outcomes.len()));
    for ((_, name), of_row) in &cells {
        let cell = |outcome: &Outcome| of_row.get(outcome.name).map_or("-", String::as_str);
        let cells: Vec<_> = outcomes.iter().map(cell).collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
}

fn fill(cells: &mut Cells, outcome: &Outcome) {
    let summary = &outcome.summary;
    let mut put = |place: usize, name: String, cell: String| {
        cells.entry((place, name)).or_default().insert(outcome.name, cell);
    };
    for (number, kind) in [Kind::Packet, Kind::Changing, Kind::Plain, Kind::Renewal].into_iter().enumerate() {
        let (place, name) = (number * 10, kind.name());
        let Some(tally) = summary.tallies.get(&kind) else { continue };
        put(place, format!("{name}: sent"), tally.sent.to_string());
        put(place + 1, format!("{name}: opened"), tally.opened.to_string());
        for (reason, count) in &tally.lost {
            put(place + 2, format!("{name}: lost, {reason}"), count.to_string());
        }
        if kind != Kind::Renewal {
            put(
                place + 3,
                format!("{name}: longest time that a client was kept out while it knocked again"),
                seconds(tally.longest),
            );
        }
    }
    let mut place = AFTER_KNOCKS;
    let mut next = |name: &str, cell: String| {
        place += 1;
        put(place, name.to_owned(), cell);
    };
    next("doors found open until their time was nearly over", summary.kept_open.to_string());
    next("wrong knocks, of which none opened", outcome.wrong_knocks.to_string());
    next("latest that a door was seen open after its time", seconds(summary.worst_late));
    next("looks at the sets with nft", summary.looks.to_string());
    next("messages of netlink that were lost (ENOBUFS)", outcome.netlink_drops.to_string());
    let growth = outcome.growth;
    for (when, held) in [("when it had settled", growth.early), ("at the end", growth.late)] {
        let cell = format!("{} kB, {} kB, {}", held.resident_kb, held.anonymous_kb, held.files);
        next(&format!("the daemon {when}: VmRSS, RssAnon, open files"), cell);
    }
    next("promises broken", summary.broken.len().to_string());
    // This row comes after all others, whichever rows a router had.
    for (fault, count) in &summary.faults {
        put(2 * AFTER_KNOCKS, fault.name().to_owned(), count.to_string());
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
