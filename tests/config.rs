//! Whole files: the examples load, errors have the expected texts, and no input makes the parser panic.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ketuk::config::{self, Error, MAX_FILE};
use proptest::prelude::*;

#[test]
fn the_default_file_is_off_and_so_is_its_example_of_a_door() {
    let config = config::load(&root("uci/ketuk")).unwrap();
    assert!(!config.globals.enabled);
    assert_eq!(config.globals.networks, ["wan", "wan6"]);
    let doors: Vec<_> = config.doors.iter().map(|door| (door.name.as_str(), door.enabled)).collect();
    assert_eq!(doors, [("ssh", false)]);
}

#[test]
fn every_example_loads() {
    let mut seen = 0;
    for entry in fs::read_dir(root("uci/examples")).unwrap() {
        let path = entry.unwrap().path();
        let config = config::load(&path).unwrap_or_else(|error| panic!("{error}"));
        assert!(config.globals.enabled, "{}: not enabled", path.display());
        assert!(config.doors.iter().any(|door| door.enabled), "{}: no door", path.display());
        seen += 1;
    }
    assert!(seen >= 4, "only {seen} examples");
}

#[test]
fn the_example_in_the_document_loads() {
    let document = fs::read_to_string(root("docs/configuration.md")).unwrap();
    let example = document.split("```uci\n").nth(1).unwrap().split("```").next().unwrap();
    let config = config::parse("docs", example.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.doors[0].knock.sequence.len(), 3);
}

/// Every error as the user sees it: `tests/config/errors.txt`.
#[test]
fn errors_say_what_where_and_what_to_do() {
    let cases = include_str!("config/errors.txt");
    let (mut names, mut wrong) = (BTreeSet::new(), String::new());
    for case in cases.split("=== ").skip(1) {
        let (name, case) = case.split_once('\n').unwrap();
        let (text, expected) = case.split_once("---\n").unwrap();
        let got = match config::parse("/etc/config/ketuk", text.as_bytes()) {
            Ok(config) => format!("{config:?}"),
            Err(error) => error.to_string(),
        };
        if got != expected.trim_end_matches('\n') {
            wrong.extend(["=== ", name, "\n", text, "---\n", &got, "\n"]);
        }
        assert!(names.insert(name), "{name}: twice");
    }
    assert!(wrong.is_empty(), "these read otherwise now:\n{wrong}");
    assert!(names.len() > 50, "only {} cases", names.len());
}

#[test]
fn a_file_that_is_not_there() {
    let error = config::load(Path::new("/nonexistent/ketuk")).unwrap_err().to_string();
    assert_eq!(
        error,
        "there is no configuration /nonexistent/ketuk: write it, or name another with --config FILE"
    );
}

#[test]
fn a_file_that_is_too_large() {
    let text = vec![b'\n'; MAX_FILE + 1];
    assert!(config::parse("f", &text[1..]).is_ok());
    let error = config::parse("f", &text).unwrap_err();
    assert_eq!(error.to_string(), "f: larger than 256 KiB, the most a configuration may have");
    // load() stops reading at the limit, even if the file has no end.
    assert!(matches!(config::load(Path::new("/dev/zero")), Err(Error::TooLarge { .. })));
}

#[test]
fn bytes_that_are_not_utf8_have_a_place() {
    let text = b"config door 'a'\n\tlist sequence '7'\n\toption start_command 'echo \xff'\n";
    let expected = "f:3:29: this is not UTF-8
    3 | \toption start_command 'echo \u{fffd}'
      | \t                           ^
      = save the file as UTF-8";
    assert_eq!(config::parse("f", text).unwrap_err().to_string(), expected);
}

/// The parts of the generated files.
const PIECES: &[&str] = &[
    "config door 'a'\n",
    "config globals\n",
    "\toption ",
    "\tlist ",
    "sequence",
    "dest_port",
    "src_dport",
    "dest_ip",
    "proto",
    "tcpflags",
    "open_time",
    "max_time",
    "nft_table",
    "trap_except",
    "target",
    "device",
    " '",
    "'\n",
    "7000",
    "8000:udp",
    "-",
    ",",
    ":",
    "!",
    "syn",
    "0",
    "65535",
    "192.0.2.1",
    "::1",
    "inet x",
    " ",
    "\t",
    "\n",
    "\\",
    "\"",
    "é",
    "\u{3000}",
    "#",
    ";",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused_at_a_place(text in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&text)?;
    }

    #[test]
    fn any_pieces_are_read_or_refused_at_a_place(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        check(pieces.concat().as_bytes())?;
    }
}

/// There is no panic, and the error's place is within the file.
fn check(text: &[u8]) -> Result<(), TestCaseError> {
    let Err(error) = config::parse("f", text) else { return Ok(()) };
    let shown = error.to_string();
    let Error::Wrong(fault) = error else { return Err(TestCaseError::fail(shown)) };
    let line = text.split(|&byte| byte == b'\n').nth(fault.line() - 1);
    let line = line.ok_or_else(|| TestCaseError::fail(format!("no such line: {shown}")))?;
    prop_assert!(
        fault.column() >= 1 && fault.column() <= String::from_utf8_lossy(line).chars().count() + 1,
        "{shown}"
    );
    // A printed error has no control characters except tabs and newlines.
    prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\t' && c != '\n'), "{shown:?}");
    Ok(())
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
