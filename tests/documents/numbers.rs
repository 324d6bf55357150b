//! The numbers in documents are the constants of the code.

use std::time::Duration;

use ketuk::control::{message, server};
use ketuk::core::first_knock::{FirstKnock, Source};
use ketuk::core::hash_index::HashIndex;
use ketuk::core::ports::Scattered;
use ketuk::core::{
    access, attempts, door, failures, first_knocks, grants, packet, ports, recent, replay, sequence, session,
    tags, totp_knocks, user,
};
use ketuk::protocol::{SPA_PORT, totp};
use ketuk::{config, daemon, linux};

use super::read;

/// The numbers in the value of a private constant, for example `(20, 100)` or `Duration::from_secs(30)`.
fn constant(path: &str, name: &str) -> Vec<u64> {
    let text = read(path);
    let begin = format!("const {name}: ");
    let after = text.split(&begin).nth(1).unwrap_or_else(|| panic!("{path} has no constant {name}"));
    let value = after.split(" = ").nth(1).and_then(|rest| rest.split(';').next()).expect("a value");
    let digits = value.replace('_', "");
    digits.split(|char: char| !char.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// A number as the document writes it: `12,288`.
fn written(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn seconds(time: Duration) -> u64 {
    time.as_secs()
}

/// Asserts that the row with this beginning has these numbers in this order. Words may stand between them.
fn says(document: &str, begin: &str, numbers: &[u64]) {
    let begin = format!("| {begin}");
    let mut rows = document.lines().filter(|line| line.starts_with(&begin));
    let row = rows.next().unwrap_or_else(|| panic!("the document has no row '{begin}'"));
    let mut rest = &row[begin.len()..];
    for number in numbers {
        let number = written(*number);
        let is_digit = |char: char| char.is_ascii_digit() || char == ',';
        let found = rest.match_indices(&number).find(|(at, _)| {
            !rest[..*at].ends_with(|char: char| char.is_ascii_digit())
                && !rest[at + number.len()..].starts_with(|char| is_digit(char) && char != ',')
        });
        let (at, _) = found.unwrap_or_else(|| panic!("the code has {number}, the document says: {row}"));
        rest = &rest[at + number.len()..];
    }
}

#[test]
fn the_numbers_of_the_tables_are_those_of_the_code() {
    let document = read("docs/architecture.md");
    let n = |number: usize| u64::try_from(number).expect("a small number");
    let entry = |path, name| constant(path, name)[0];
    let says = |begin: &str, numbers: &[u64]| says(&document, begin, numbers);
    says("first knocks", &[n(first_knocks::FIRST_KNOCKS), n(size_of::<FirstKnock>())]);
    says("addresses of IPv6 sources", &[n(first_knocks::NAMES_6)]);
    says("attempts with two steps", &[n(attempts::SECOND_KNOCKS)]);
    says("attempts with more steps", &[n(attempts::LATER_KNOCKS)]);
    says("completed", &[n(attempts::COMPLETED)]);
    let (first, later) = (n(totp_knocks::FIRST_KNOCKS), n(totp_knocks::LATER_KNOCKS));
    let [first_bytes, later_bytes] = totp_knocks::ENTRY_BYTES.map(n);
    says("sources in the range of changing sequences", &[first, first_bytes, later, later_bytes]);
    says("packets taken, for each of", &[n(user::MAX_USERS), n(replay::REMEMBERED)]);
    #[cfg(feature = "fwknop")]
    says("sources whose fwknop packets failed", &[n(failures::SOURCES)]);
    let windows = entry("src/core/tags.rs", "MAX_WINDOWS");
    let (users, secrets) = (n(user::MAX_USERS), n(user::MAX_SECRETS));
    says("tags of keys", &[users * secrets * windows, users, secrets, windows]);
    says("changing sequences", &[3 * n(totp_knocks::MAX_PAIRS), n(totp_knocks::MAX_PAIRS), 3]);
    says("grants", &[n(grants::MAX_GRANTS)]);
    says("commands waiting", &[n(daemon::jobs::MAX_JOBS)]);
    says("events for scripts", &[entry("src/daemon/hotplug.rs", "MAX_WAITING")]);
    says("recent judgements", &[n(recent::ENTRIES), n(recent::ENTRIES)]);
}

/// The rows about the quota of each opener, which two documents have.
fn quotas(says: &dyn Fn(&str, &[u64])) {
    let n = |number: usize| u64::try_from(number).expect("a small number");
    let rate = |name| constant("src/core/access/quota.rs", name);
    says(
        "addresses that plain knocks hold open",
        &[n(access::DOOR_KNOCK_GRANTS), n(access::ALL_KNOCK_GRANTS)],
    );
    says("grants of users", &[n(access::USER_GRANTS), n(access::ALL_USER_GRANTS)]);
    says("doors opened by plain knocks", &[rate("DOOR_KNOCK_OPENS"), rate("ALL_KNOCK_OPENS")].concat());
    says("doors opened by one user", &rate("USER_OPENS"));
}

#[test]
fn the_limits_are_those_of_the_code() {
    let document = read("docs/architecture.md");
    let n = |number: usize| u64::try_from(number).expect("a small number");
    let says = |begin: &str, numbers: &[u64]| says(&document, begin, numbers);
    let audience = |name| constant("src/daemon/audience.rs", name);
    says("log lines about what strangers send", &audience("STRANGERS_LINES"));
    says("log lines about packets at", &audience("REFUSED_LINES"));
    says("log lines about one door", &audience("DOOR_LINES"));
    says("log lines about one user", &audience("USER_LINES"));
    quotas(&says);
    says("commands that wait because", &[n(access::DOOR_KNOCK_COMMANDS), n(access::COMMANDS_FOR_USERS)]);
    let renewals = u64::try_from(grants::RENEWAL_SPACING.as_millis()).expect("short");
    says("renewals of one grant", &[renewals]);
    let time = seconds(daemon::jobs::RULE_TIME_LIMIT);
    says("processes", &[time]);
    assert_eq!(constant("src/daemon/hotplug.rs", "TIME_LIMIT"), [time]);
    let printed = [
        constant("src/daemon/jobs/words.rs", "MAX_LINES"),
        vec![n(linux::printed::MAX_PRINTED)],
        audience("PRINTED_LINES"),
    ];
    says("output of a command that fails", &printed.concat());
    let buffer = u64::try_from(linux::capture::RECEIVE_BUFFER).expect("some megabytes") >> 20;
    says("packets waiting in the kernel", &[2 * buffer, buffer]);
    says("HMACs", &constant("src/core/auth/fwknop_packet.rs", "HMACS_PER_SECOND"));
    #[cfg(feature = "fwknop")]
    says(
        "failing fwknop packets of one source, while less than half of these HMACs is left",
        &[failures::MAX_FAILURES.into(), seconds(failures::MEMORY)],
    );
    says("lines to each watcher", &[server::WATCH_LINES_PER_SECOND.into()]);
    says(
        "connections to the control socket",
        &[n(server::MAX_CLIENTS), n(server::MAX_WATCHERS), seconds(server::REQUEST_TIME)],
    );
    assert!(document.contains(&format!("a line of JSON of at most {} bytes", message::MAX_REQUEST)));
    assert!(document.contains(&format!("there are at most {} clients", server::MAX_CLIENTS)));
    assert!(document.contains(&format!("keeps the last {} packets of each user", replay::REMEMBERED)));
}

/// A document as one line, so that a sentence is found wherever its lines end.
fn words(path: &str) -> String {
    read(path).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The numbers outside of the tables. `{}` stands for the number. The document must have each sentence at least once.
#[test]
fn the_numbers_in_sentences_are_those_of_the_code() {
    let document = words("docs/architecture.md");
    let one = |path, name| constant(path, name)[0];
    let n = |number: usize| u64::try_from(number).expect("a small number");
    let millis = |time: Duration| u64::try_from(time.as_millis()).expect("short");
    let first = n(first_knocks::FIRST_KNOCKS);
    let held = n(grants::MAX_GRANTS) + 2 * n(daemon::jobs::MAX_JOBS);
    let one_in = u64::from(u32::MAX / (u32::MAX - Scattered::THRESHOLD));
    let client = one("src/client/arguments.rs", "DEFAULT_DELAY");
    let flood = 100_000;
    assert!(first * 1000 / flood > client, "a client's knocks survive a flood of {flood} packets a second");
    let undo = "src/daemon/monitor/serve/undo.rs";
    assert_eq!(one("src/daemon/gate.rs", "RETRY"), 500, "every half second");
    assert_eq!(seconds(attempts::SWEEP_SPACING * 10), 1, "ten times a second");
    assert_eq!(constant("src/firewall/own/cut.rs", "CUT_TIME"), [3, 3600], "three hours");
    assert_eq!(one("src/firewall/own/mod.rs", "MAX_LOADS"), 8, "eight times");
    assert_eq!(one("src/daemon/gate/own_table.rs", "RETRY"), 500, "half a second later");
    assert_eq!(one("src/daemon/gate/own_chains.rs", "LOOK"), 1, "once a second");
    assert_eq!(one("src/daemon/clock_trust.rs", "LOOK_SPACING"), 1, "one a second");
    assert_eq!(seconds(session::POLL), 1, "once a second");
    assert_eq!(totp::STEPS, 4, "four ports");
    let traps = n(ports::TRAP_PORTS) + (1 << 16) / one_in;
    let guesses = traps * traps / 3;
    let rounded = (guesses + 5_000) / 10_000 * 10_000;
    let bits = 8 * n(size_of::<Source>());
    let hash = (1_u64 << bits) / first;
    let message = "src/daemon/monitor/message.rs";
    let lines = constant("src/log.rs", "FILE_LINES");
    let courier = "src/daemon/monitor/courier.rs";
    assert!(read("tests/scans.rs").contains("map_or(1000,"), "1,000 random sequences");
    for (sentence, number) in [
        ("Some {} lie near the steps", n(ports::TRAP_PORTS)),
        ("Of all TCP ports, one in {} is a trap too", one_in),
        ("which change every {} seconds", totp::WINDOW_S),
        ("Only the {} packets of a user are searched", n(replay::REMEMBERED)),
        ("forgets a first knock after {} others have come", first),
        ("at 100,000 packets a second that is {} ms", (first * 1000).div_ceil(flood)),
        ("longer than the {} ms that a client waits", client),
        ("A first knock is kept until {} others of either family have come", first),
        ("has the hash of one of {} others", first),
        ("The first {} bytes of all receive buffers", n(packet::MAX_HEADERS)),
        ("limits a program to {} instructions", n(linux::bpf::MAX_INSTRUCTIONS)),
        ("the daemon tries again every {} seconds", one("src/daemon/devices.rs", "FILTER_RETRY")),
        ("has a timer of {} seconds", seconds(session::LEASE)),
        ("renewals of one grant | one in {} ms", millis(grants::RENEWAL_SPACING)),
        ("{} start commands, ", one("src/daemon/jobs/lane.rs", "MAX_STARTS")),
        ("start commands, {} of one door", one("src/daemon/jobs/lane.rs", "MAX_STARTS_OF_DOOR")),
        ("and {} commands in all", n(daemon::jobs::MAX_DESCRIPTORS) - 1),
        ("reads at most {} kB of arguments", one("src/cli/rpcd.rs", "MAX_INPUT")),
        ("Each message has {} bytes", one("src/daemon/monitor/message.rs", "LEN")),
        ("{} programs at a time", n(daemon::jobs::MAX_DESCRIPTORS) + 1),
        (" {} openings.", held),
        ("takes at most {} seconds, and ends", one(undo, "UNDO_TIME")),
        ("addresses cut off from one door | {} |", one("src/firewall/own/cut.rs", "MAX_CUT")),
        ("3/T^2: one in {} for ", rounded),
        ("for {} traps. `tests/scans.rs` plays each kind of scan against 1,000 random sequences", traps),
        ("An entry holds its source in {} bits", bits),
        ("one packet in 2^{} has the hash", hash.ilog2().into()),
        ("in parts of {} bytes of printable ASCII", one(message, "LEN") - one(message, "MAX_WORDS")),
        ("printable ASCII, and has at most {}.", one(courier, "MAX_LINE")),
        ("writes at most {} lines a second", lines[0]),
        ("lines a second, {} at once; `src/log.rs`", lines[1]),
        ("if the socket has no room for it within {} ms", one(courier, "PATIENCE")),
    ] {
        let sentence = sentence.replace("{}", &written(number));
        assert!(document.contains(&sentence), "the code has: {sentence}");
    }
}

/// The last cell of a row of benches/results.md.
fn measured(results: &str, row: &str) -> String {
    let row = results.lines().find_map(|line| line.strip_prefix(&format!("| {row} |")));
    let cells = row.unwrap_or_else(|| panic!("the results have no row '{row:?}'")).trim_end_matches(" |");
    cells.rsplit("| ").next().expect("a cell").to_owned()
}

/// The figures that were measured are those of the newest benchmark. The others of memory follow from the tables.
#[test]
fn the_figures_of_memory_and_of_floods_are_those_of_the_benchmark() {
    let document = words("docs/architecture.md");
    let results = read("benches/results.md");
    let memory = document.split("## Memory").nth(1).and_then(|rest| rest.split("## ").next());
    let memory = memory.expect("the section");
    let idle = measured(&results, "resident memory, idle");
    let flooded = measured(&results, "resident memory after a million more, of IPv6");
    let program = results.split("ketukd 0.1.0 (").nth(1).and_then(|rest| rest.split(" KiB").next());
    let kilobytes = |bytes: usize| written(u64::try_from(bytes / 1024).expect("small"));
    let link = size_of::<HashIndex<1024>>() / 1024;
    let table = |entries: usize, bytes: usize| kilobytes(entries * (bytes + link));
    let [first_bytes, later_bytes] = totp_knocks::ENTRY_BYTES;
    for sentence in [
        format!("took {idle} idle and {flooded} after floods of both families"),
        format!("| at most {} | the program", program.expect("the program's size")),
        format!("| {}, after a flood |", table(first_knocks::FIRST_KNOCKS, size_of::<FirstKnock>())),
        format!("fills {} kB, and", table(totp_knocks::FIRST_KNOCKS, first_bytes)),
        format!("fill {} kB more", table(totp_knocks::LATER_KNOCKS, later_bytes)),
    ] {
        assert!(memory.contains(&sentence), "the benchmark and the tables say: {sentence}");
    }
    let flood = measured(&results, "100,000 SYN/s, random ports: processor");
    let sentence = format!("100,000 SYNs a second at random ports costs {flood}");
    for document in [document, words("docs/threat-model.md")] {
        assert!(document.contains(&sentence), "the benchmark says: {sentence}");
    }
}

#[test]
fn the_limits_of_the_threat_model_are_those_of_the_code() {
    let document = read("docs/threat-model.md");
    let n = |number: usize| u64::try_from(number).expect("a small number");
    let says = |begin: &str, numbers: &[u64]| says(&document, begin, numbers);
    quotas(&says);
    let strangers = constant("src/daemon/audience.rs", "STRANGERS_LINES");
    says("log lines about what strangers send", &strangers);
    says("users |", &[n(user::MAX_USERS), n(user::MAX_SECRETS)]);
    let (first, later) = (n(totp_knocks::FIRST_KNOCKS), n(totp_knocks::LATER_KNOCKS));
    says("sources in the middle of a changing sequence", &[first, later]);
    #[cfg(feature = "fwknop")]
    says("sources that fail", &[n(failures::SOURCES)]);
    says("packets remembered", &[n(replay::REMEMBERED)]);
    // A sentence may go on in the next line.
    let document = document.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(document.contains(&format!("keeps the last {} knocks of each source", totp_knocks::REMEMBERED)));
    assert!(document.contains(&format!("remembers the last {} packets", replay::REMEMBERED)));
    let hmacs = written(constant("src/core/auth/fwknop_packet.rs", "HMACS_PER_SECOND")[0]);
    assert_eq!(document.matches(&format!("{hmacs} HMACs a second")).count(), 2);
}

/// The limits in docs/configuration.md. `{}` stands for the number, without separators as in a file.
#[test]
fn the_limits_of_a_configuration_are_those_of_the_code() {
    let document = read("docs/configuration.md").split_whitespace().collect::<Vec<_>>().join(" ");
    let one = |path, name| constant(path, name)[0];
    let n = |number: usize| u64::try_from(number).expect("a small number");
    let audience = |name| constant("src/daemon/audience.rs", name)[0];
    let file = n(config::MAX_FILE) / 1024;
    assert_eq!(constant("src/daemon/one_time.rs", "MAX_FILE"), [file, 1024]);
    assert_eq!(audience("PRINTED_LINES"), audience("REFUSED_LINES"), "60 lines a minute, each");
    let pairs = format!("at most {} pairs of a secret and a door", written(n(totp_knocks::MAX_PAIRS)));
    assert!(document.contains(&pairs), "{pairs}");
    for (sentence, number) in [
        ("A file has at most {} KiB, ", file),
        (" KiB, {} doors and ", n(door::MAX_DOORS)),
        (" doors and {} users.", n(user::MAX_USERS)),
        ("All sequences together name at most {} different ports.", n(ports::MAX_PORTS)),
        ("| `network` | names, at most {} |", n(config::MAX_DEVICES)),
        ("| `device` | names, at most {} |", n(config::MAX_DEVICES)),
        ("| `command_timeout` | 0 to {} |", config::MAX_OPEN_TIME_S.into()),
        ("| `spa_port` | a port | {} |", SPA_PORT.into()),
        ("| `spa_max_age` | 5 to {} |", tags::MAX_SPA_AGE_S),
        ("| `totp_ports` | `port-port`, at least {} ports |", totp::MIN_PORTS.into()),
        ("The globals and all doors together may name {} ports there.", n(config::MAX_TRAP_EXCEPT)),
        ("| `sequence` | 1 to {} of", n(sequence::MAX_STEPS)),
        ("| `seq_timeout` | 1 to {} |", door::MAX_SEQ_TIMEOUT_S.into()),
        ("| `src` | at most {} addresses or networks", n(config::MAX_SRC)),
        ("| `dest_port` | at most {} of", n(config::MAX_PORT_RANGES)),
        ("; at most {}, of which one without a protocol counts twice", n(config::MAX_ALLOW_PORT)),
        ("| `open_time` | 0 to {} (31 days) |", config::MAX_OPEN_TIME_S.into()),
        ("| `start_command` | at most {} bytes |", n(config::MAX_COMMAND)),
        ("| `key` | 32 bytes in base 64; at most {} |", n(user::MAX_SECRETS)),
        ("| `totp` | 16 to 64 bytes in base 32; at most {} |", n(user::MAX_SECRETS)),
        ("at most {} start commands (", one("src/daemon/jobs/lane.rs", "MAX_STARTS")),
        ("start commands ({} of one door)", one("src/daemon/jobs/lane.rs", "MAX_STARTS_OF_DOOR")),
        ("and {} commands in all.", n(daemon::jobs::MAX_DESCRIPTORS) - 1),
        ("at most {} lines with 1024 bytes in all", one("src/daemon/jobs/words.rs", "MAX_LINES")),
        ("lines with {} bytes in all", n(linux::printed::MAX_PRINTED)),
        ("and at most {} lines a minute for each door", 60 * audience("PRINTED_LINES")),
        ("in at most {} lines a second for one user", audience("USER_LINES")),
        ("The scripts of one event have {} seconds together.", one("src/daemon/hotplug.rs", "TIME_LIMIT")),
        ("At most {} events wait.", one("src/daemon/hotplug.rs", "MAX_WAITING")),
    ] {
        let sentence = sentence.replace("{}", &number.to_string());
        assert!(document.contains(&sentence), "the code has: {sentence}");
    }
}
