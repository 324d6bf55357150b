//! What docs/architecture.md says is so: its numbers are the constants of the code, the files that it names are there,
//! and `unsafe` is where it says.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ketuk::control::{message, server};
use ketuk::core::{access, attempts, failures, first_knocks, grants, recent, replay, totp_knocks, user};
use ketuk::{daemon, linux};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The numbers in the value of a constant that only its file can see: `(20, 100)`, `Duration::from_secs(30)`.
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

/// The numbers of the row that begins with these words are these, in this order; words may stand between them.
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
    says("first knocks", &[n(first_knocks::FIRST_KNOCKS)]);
    says("addresses of IPv6 sources", &[n(first_knocks::NAMES_6)]);
    says("two steps taken", &[n(attempts::SECOND_KNOCKS)]);
    says("further on", &[n(attempts::LATER_KNOCKS)]);
    says("completed", &[n(attempts::COMPLETED)]);
    let (first, later) = (n(totp_knocks::FIRST_KNOCKS), n(totp_knocks::LATER_KNOCKS));
    says("sources in the range of changing sequences", &[first, later]);
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
    says("last judgements", &[n(recent::ENTRIES), n(recent::ENTRIES)]);
}

/// The rows on what each opener may use, which two documents have.
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
    says("log lines about one door", &audience("DOOR_LINES"));
    says("log lines about one user", &audience("USER_LINES"));
    quotas(&says);
    says("commands that wait because", &[n(access::DOOR_KNOCK_COMMANDS), n(access::COMMANDS_FOR_USERS)]);
    let renewals = u64::try_from(grants::RENEWAL_SPACING.as_millis()).expect("short");
    says("renewals of one grant", &[renewals]);
    let time = seconds(daemon::jobs::RULE_TIME_LIMIT);
    says("processes", &[time]);
    assert_eq!(constant("src/daemon/hotplug.rs", "TIME_LIMIT"), [time]);
    let buffer = u64::try_from(linux::capture::RECEIVE_BUFFER).expect("some megabytes") >> 20;
    says("packets waiting in the kernel", &[2 * buffer, buffer]);
    says("HMACs", &constant("src/core/auth.rs", "HMACS_PER_SECOND"));
    #[cfg(feature = "fwknop")]
    says("failing fwknop packets", &[failures::MAX_FAILURES.into(), seconds(failures::MEMORY)]);
    says("lines to those who watch", &[server::WATCH_LINES_PER_SECOND.into()]);
    says("connections to the control socket", &[n(server::MAX_CLIENTS), seconds(server::REQUEST_TIME)]);
    assert!(document.contains(&format!("a line of JSON of at most {} bytes", message::MAX_REQUEST)));
    assert!(document.contains(&format!("there are at most {} clients", server::MAX_CLIENTS)));
    assert!(document.contains(&format!("keeps the last {} packets of each user", replay::REMEMBERED)));
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
    assert!(document.contains(&format!("keeps the last {} knocks of each source", totp_knocks::REMEMBERED)));
    assert!(document.contains(&format!("remembers the last {} packets", replay::REMEMBERED)));
    let hmacs = written(constant("src/core/auth.rs", "HMACS_PER_SECOND")[0]);
    assert_eq!(document.matches(&format!("{hmacs} HMACs a second")).count(), 2);
}

/// Every Rust file under a folder.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join(folder)];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 100, "{}", found.len());
    found
}

#[test]
fn unsafe_is_where_the_document_says() {
    let document = read("docs/architecture.md");
    let section = document.split("## Where unsafe is").nth(1).expect("the section");
    let section = section.split("\n## ").next().expect("the section");
    let said: BTreeSet<_> = section
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .collect();
    let used: BTreeSet<_> = sources("src")
        .into_iter()
        .filter(|path| !path.ends_with("tests.rs"))
        .filter(|path| {
            let text = fs::read_to_string(path).expect("a source file");
            ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|word| text.contains(word))
        })
        .map(|path| {
            let inner = path.strip_prefix(root().join("src/linux"));
            inner.unwrap_or_else(|_| panic!("{} has unsafe code", path.display())).display().to_string()
        })
        .collect();
    assert_eq!(used, said, "left: the code; right: the document");
}

/// Each document's links to files, and the files that it names by their path, are there.
#[test]
fn the_files_that_documents_name_are_there() {
    let mut documents: Vec<_> = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(PathBuf::from).to_vec();
    for entry in fs::read_dir(root().join("docs")).expect("docs") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|it| it == "md") {
            documents.push(path.strip_prefix(root()).expect("below").to_owned());
        }
    }
    let mut missing = Vec::new();
    for document in &documents {
        let text = read(document.to_str().expect("a plain path"));
        let folder = root().join(document).parent().expect("a folder").to_owned();
        for part in text.split("](").skip(1) {
            let link = part.split([')', '#']).next().expect("the first part");
            if !link.is_empty() && !link.contains("://") && !link.contains(' ') && !folder.join(link).exists()
            {
                missing.push(format!("{}: {link}", document.display()));
            }
        }
        for name in text.split('`').skip(1).step_by(2) {
            let is_path = ["src/", "tests/", "scripts/", "docs/", "benches/", "openwrt/"];
            let is_plain = name.chars().all(|char| char.is_ascii_alphanumeric() || "_-./".contains(char));
            if is_plain && is_path.iter().any(|begin| name.starts_with(begin)) && !root().join(name).exists()
            {
                missing.push(format!("{}: {name}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
