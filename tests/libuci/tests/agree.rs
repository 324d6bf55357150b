//! ketuk and libuci read the same files alike.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ketuk::config::uci::{self, SyntaxFault, Value};
use ketuk_libuci::{Section, read};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

/// Generated files per test.
const CASES: u32 = 20_000;

/// The pieces of generated files. Each means something to one of the parsers, or nearly does.
const PIECES: &[&str] = &[
    "config",
    "option",
    "list",
    "package",
    "c",
    "o",
    "l",
    "p",
    "conf",
    "optional",
    "a",
    "b",
    "ketuk",
    "door",
    "7000",
    "a_b",
    "a-b",
    "@",
    "cfg01",
    "é",
    "\u{feff}",
    " ",
    " ",
    " ",
    "\t",
    "\n",
    "\n",
    "\n",
    "\r\n",
    "\r",
    "\x0b",
    "\x0c",
    "'",
    "\"",
    "''",
    "\"\"",
    "'x y'",
    "\"x y\"",
    "\\",
    "\\\n",
    "\\\r\n",
    "\\'",
    "\\\"",
    ";",
    ";",
    "#",
    "# x\n",
    "\nconfig a b\n",
    "\nconfig a\n",
    "\noption a b\n",
    "\n\tlist a 'x'\n",
    "\nconfig b b\n",
    "\n\toption a ''\n",
    "\x7f",
    "\x01",
];

#[test]
fn the_corpus() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directories = [here.join("corpus"), here.join("../../uci"), here.join("../../uci/examples")];
    let mut seen = 0;
    for entry in directories.iter().flat_map(|directory| fs::read_dir(directory).unwrap()) {
        let file = entry.unwrap().path();
        if file.is_dir() {
            continue;
        }
        let text = fs::read(&file).unwrap();
        let outcome = compare(&text).unwrap_or_else(|difference| panic!("{}: {difference}", file.display()));
        // The name of a file says whether it is refused.
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(outcome.is_some(), name.starts_with("bad-"), "{name}: {outcome:?}");
        seen += 1;
    }
    assert!(seen > 20, "only {seen} files");
}

/// Each of these lines is tried as a whole file, alone and after a section.
#[test]
fn lines() {
    let lines = include_str!("lines.txt");
    let mut refused = 0;
    for line in lines.lines().filter(|line| !line.starts_with("//")) {
        // In this list, ␤ is a newline and ␍ a carriage return.
        let line = line.replace('␤', "\n").replace('␍', "\r");
        for text in [
            line.clone(),
            format!("{line}\n"),
            format!("config t s\n{line}"),
            format!("config t s\n{line}\n"),
        ] {
            let outcome =
                compare(text.as_bytes()).unwrap_or_else(|difference| panic!("{text:?}: {difference}"));
            refused += usize::from(outcome.is_some());
        }
    }
    assert!(refused > 20, "only {refused} refused");
}

#[test]
fn files_of_any_pieces() {
    let pieces = vec(select(PIECES), 0..40).prop_map(|pieces| pieces.concat().into_bytes());
    let seen = generate(&pieces);
    let all = [
        SyntaxFault::UnknownCommand,
        SyntaxFault::PackageWithoutName,
        SyntaxFault::ConfigWithoutName,
        SyntaxFault::OptionWithoutName,
        SyntaxFault::TooFewArguments,
        SyntaxFault::TooManyArguments,
        SyntaxFault::InvalidName,
        SyntaxFault::InvalidType,
        SyntaxFault::NoSection,
        SyntaxFault::TypeDiffers,
        SyntaxFault::UnterminatedSingleQuote,
        SyntaxFault::UnterminatedDoubleQuote,
    ];
    let missing: Vec<_> =
        all.iter().filter(|reason| !seen.reasons.contains(&format!("{reason:?}"))).collect();
    assert!(missing.is_empty(), "never seen: {missing:?}");
}

#[test]
fn files_that_are_nearly_right() {
    let seen = generate(&files());
    assert!(seen.accepted > CASES / 4, "only {} accepted", seen.accepted);
    assert!(seen.reasons.len() > 6, "only {:?}", seen.reasons);
}

/// Any bytes but NUL, which ketuk refuses and libuci reads wrong.
#[test]
fn files_of_any_bytes() {
    generate(&vec(1..=u8::MAX, 0..60));
}

/// The numbers of results for the generated files.
#[derive(Default)]
struct Seen {
    accepted: u32,
    reasons: BTreeSet<String>,
}

/// Compares [`CASES`] files, the same in every run. A file with a difference is made as short as possible, and shown.
fn generate(files: &impl Strategy<Value = Vec<u8>>) -> Seen {
    let seen = std::cell::RefCell::new(Seen::default());
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let outcome = TestRunner::new_with_rng(config, rng).run(files, |text| {
        let outcome = compare(&text)
            .map_err(|difference| TestCaseError::fail(format!("{difference} in {}", text.escape_ascii())))?;
        let mut seen = seen.borrow_mut();
        match outcome {
            None => seen.accepted += 1,
            Some(reason) => _ = seen.reasons.insert(format!("{reason:?}")),
        }
        Ok(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(difference, _)) => panic!("{difference}"),
        Err(TestError::Abort(why)) => panic!("not tested: {why}"),
    }
    seen.into_inner()
}

/// Files like those that people write, with up to two faults anywhere.
fn files() -> impl Strategy<Value = Vec<u8>> {
    let blank = select(&[" ", " ", "\t", "  ", " \t"][..]);
    let end = select(&["\n", "\n", "\n", "\r\n", " # note\n", " ; ", ";", " ;\n", " \n"][..]);
    let name = select(&["a", "b", "x_1", "'a'", "\"b\"", "cfg02b619", "cfg03b619"][..]);
    let value = select(
        &[
            "1",
            "7000",
            "'x y'",
            "\"x y\"",
            "'it'\\''s'",
            "\"a\\\"b\"",
            "''",
            "a'b c'd",
            "\"a\\\nb\"",
            "'a\nb'",
            "a\\ b",
            "é",
            "",
        ][..],
    );
    let indent = select(&["", "\t", "    "][..]);
    let line = (
        indent,
        prop_oneof![
            2 => (select(&["config", "c"][..]), blank.clone(), select(&["t", "u-1", "'t'"][..]), blank.clone(), prop_oneof![name.clone(), Just("")])
                .prop_map(|(a, b, c, d, e)| [a, b, c, d, e].concat()),
            5 => (select(&["option", "o", "list", "l"][..]), blank.clone(), name, blank, value)
                .prop_map(|(a, b, c, d, e)| [a, b, c, d, e].concat()),
            1 => select(&["# note", "", "package x"][..]).prop_map(str::to_owned),
        ],
        end,
    )
        .prop_map(|(indent, line, end)| [indent, line.as_str(), end].concat());
    let faults = vec((any::<prop::sample::Index>(), select(PIECES), any::<bool>()), 0..3);
    (vec(line, 0..12), faults).prop_map(|(lines, faults)| {
        let mut text = ["config t a\n", &lines.concat()].concat().into_bytes();
        for (at, piece, insert) in faults {
            let at = at.index(text.len());
            if insert {
                text.splice(at..at, piece.bytes());
            } else {
                text.remove(at);
            }
        }
        text
    })
}

/// The reason why both refuse the text, `None` if both read the same, or the difference as an error.
fn compare(text: &[u8]) -> Result<Option<SyntaxFault>, String> {
    match (uci::parse(text), read(text)) {
        (Ok(ours), Ok(theirs)) => {
            let ours: Vec<_> = ours.iter().map(plain).collect();
            if same(&ours, &theirs, text) {
                Ok(None)
            } else {
                Err(format!("ketuk reads {ours:?}, libuci {theirs:?}"))
            }
        }
        (Err(ours), Err(theirs)) if libuci_says(ours.reason) == theirs => {
            let span = ours.span;
            if span.start <= span.end && span.end <= text.len() {
                Ok(Some(ours.reason))
            } else {
                Err(format!("ketuk refuses at {span:?}"))
            }
        }
        (_, Err(theirs)) if theirs == libuci_says(SyntaxFault::NoSection) && thrice(text) => {
            Ok(Some(SyntaxFault::NoSection))
        }
        (ours, theirs) => Err(format!("ketuk: {ours:?}, libuci: {theirs:?}")),
    }
}

/// A section that ketuk has read, in libuci's form.
fn plain(section: &uci::Section) -> Section {
    let option = |entry: &uci::UciOption| {
        let (list, words) = match &entry.value {
            Value::One(word) => (false, std::slice::from_ref(word)),
            Value::List(words) => (true, words.as_slice()),
        };
        (entry.name.bytes.clone(), list, words.iter().map(|word| word.bytes.clone()).collect())
    };
    Section {
        kind: section.kind.bytes.clone(),
        name: section.name.bytes.clone(),
        anonymous: section.anonymous,
        options: section.options.iter().map(option).collect(),
    }
}

/// Equality with one exception: if an option is given again, or turned into a list, the libuci of 2021 moves it to the end of
/// its section. Later versions leave it in its place (commits b7ceda9, b2f3417).
fn same(ours: &[Section], theirs: &[Section], text: &[u8]) -> bool {
    if ours == theirs {
        return true;
    }
    // A section may be written in several parts.
    let text: Vec<u8> = text.iter().copied().filter(|byte| !b"'\"\\\r\n".contains(byte)).collect();
    let repeated = |name: &[u8]| text.windows(name.len()).filter(|window| *window == name).count() > 1;
    let sorted = |sections: &[Section]| {
        let mut sections = sections.to_vec();
        for section in &mut sections {
            section.options.sort();
        }
        sections
    };
    sorted(ours) == sorted(theirs)
        && ours.iter().zip(theirs).all(|(ours, theirs)| {
            // Options that are written once must be in order nevertheless.
            let once = |section: &Section| -> Vec<_> {
                section.options.iter().filter(|(name, ..)| !repeated(name)).cloned().collect()
            };
            once(ours) == once(theirs)
        })
}

/// Whether the libuci of 2021 may lose the current section. It does if a section is written for the third time (fixed in
/// commit 5781664).
fn thrice(text: &[u8]) -> bool {
    text.split(|byte| b"\n; \t".contains(byte)).filter(|word| *word == b"config" || *word == b"c").count() > 2
}

/// libuci's text for this error.
fn libuci_says(reason: SyntaxFault) -> &'static str {
    match reason {
        SyntaxFault::UnknownCommand => "invalid command",
        SyntaxFault::PackageWithoutName => "package without name",
        SyntaxFault::ConfigWithoutName => "config without name",
        SyntaxFault::OptionWithoutName => "option without name",
        SyntaxFault::TooFewArguments => "insufficient arguments",
        SyntaxFault::TooManyArguments => "too many arguments",
        SyntaxFault::InvalidName => "invalid character in name field",
        SyntaxFault::InvalidType => "invalid character in type field",
        SyntaxFault::NoSection => "option/list command found before the first section",
        SyntaxFault::TypeDiffers => "section of different type overwrites prior section with same name",
        SyntaxFault::UnterminatedSingleQuote => "EOF with unterminated '",
        SyntaxFault::UnterminatedDoubleQuote => "EOF with unterminated \"",
        SyntaxFault::Nul => "(libuci knows no NUL)",
    }
}
