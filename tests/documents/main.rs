//! The documents are true: their numbers are the constants of the code, the files and headings that they name exist, and
//! `unsafe` is only where docs/architecture.md says.
#![cfg(target_os = "linux")]

mod numbers;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ketuk::core::auth::Refusal;
use ketuk::core::sequence::{Protocol, Step};
use ketuk::core::weakness::{Weakness, weakness};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
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
    assert!(found.len() > 50, "{}", found.len());
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
        .filter(|path| !path.ends_with("tests.rs") && path.iter().all(|part| part != "tests"))
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

/// The files that a document links to, or names by their path, exist.
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

/// The anchors of the headings in a text, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings =
        text.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#'));
    let anchor = |heading: &str| {
        let plain = heading.trim().to_lowercase().replace(' ', "-");
        plain.chars().filter(|char| char.is_alphanumeric() || "-_".contains(*char)).collect()
    };
    headings.map(anchor).collect()
}

/// A link to a heading leads to a heading that is there.
#[test]
fn the_headings_that_links_name_are_there() {
    let mut documents: Vec<_> = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
        .map(|name| root().join(name))
        .to_vec();
    for folder in ["docs", "docs/id"] {
        let entries = fs::read_dir(root().join(folder)).expect("a folder");
        let files = entries.map(|entry| entry.expect("an entry").path());
        documents.extend(files.filter(|path| path.extension().is_some_and(|it| it == "md")));
    }
    let (mut seen, mut missing) = (0, Vec::new());
    for document in &documents {
        let text = fs::read_to_string(document).expect("a document");
        for link in text.split("](").skip(1).filter_map(|part| part.split_once(')')).map(|(link, _)| link) {
            let Some((file, heading)) = link.split_once('#').filter(|_| !link.contains("://")) else {
                continue;
            };
            let folder = document.parent().expect("a folder");
            let target = if file.is_empty() { document.clone() } else { folder.join(file) };
            let target = fs::read_to_string(target);
            seen += 1;
            if !target.is_ok_and(|target| anchors(&target).contains(heading)) {
                missing.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(seen > 30, "{seen}");
}

/// Each promise names its tests, and the tests exist.
#[test]
fn each_promise_of_the_threat_model_has_a_test() {
    let document = read("docs/threat-model.md");
    let section = document.split("## Promises").nth(1).and_then(|rest| rest.split("\n## ").next());
    let rows = section.expect("the section").lines().filter(|line| line.starts_with("| ")).skip(2);
    let code: String = ["src", "tests"]
        .into_iter()
        .flat_map(sources)
        .map(|path| fs::read_to_string(path).expect("a source file"))
        .collect();
    let (mut named, mut wrong) = (0, Vec::new());
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, _, promise, tests] = cells[..] else { panic!("four cells: {row}") };
        let tests: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        named += tests.len();
        if tests.is_empty() && !promise.starts_with("nothing") {
            wrong.push(format!("no test: {promise}"));
        }
        let is_missing = |test: &&&str| {
            !code.contains(&format!("#[test]\nfn {test}()"))
                && !code.contains(&format!("#[test]\n    fn {test}()"))
        };
        wrong.extend(tests.iter().filter(is_missing).map(|test| format!("no such test: {test}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(named > 40, "{named}");
}

/// The table of results has a row for each attack in the tree, in its words, and README.md has their number.
#[test]
fn the_results_are_of_the_attacks_in_the_tree() {
    let document = read("docs/threat-model.md");
    let section = document.split("## Results").nth(1).and_then(|rest| rest.split("\n## ").next());
    let section = section.expect("the section");
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    let told: BTreeSet<_> = rows
        .map(|row| {
            let mut cells = row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned());
            (cells.next().expect("an attacker"), cells.next().expect("what he tries"))
        })
        .collect();
    let mut tried = BTreeSet::new();
    for entry in fs::read_dir(root().join("tests/attacks")).expect("a folder") {
        let code = fs::read_to_string(entry.expect("an entry").path()).expect("a source file");
        for call in code.split("Attack::new(").skip(1) {
            let mut texts = call.split('"').skip(1).step_by(2).map(str::to_owned);
            tried.insert((texts.next().expect("an attacker"), texts.next().expect("what he tries")));
        }
    }
    assert_eq!(told, tried, "left: the document; right: the code");
    let count = tried.len();
    assert!(section.contains(&format!("\n{count} attacks, none succeeded.")), "{count}");
    assert!(read("README.md").contains(&format!("({count}, of which none succeeded)")), "{count}");
}

/// The refusals that docs/from-fwknop.md lists, and those that the filter for fail2ban matches, begin as the code's do.
#[test]
fn the_refusals_that_are_named_are_those_of_the_code() {
    let (document, filter) = (read("docs/from-fwknop.md"), read("packaging/fail2ban/filter.conf"));
    let table = document.split("| the log says |").nth(1).expect("the table");
    let rows = table.lines().skip(2).map_while(|row| row.strip_prefix("| `")?.split('`').next());
    let matched = filter.split("not opened: (?:").skip(1).filter_map(|rest| rest.split(')').next());
    let named: Vec<_> = rows.chain(matched.flat_map(|words| words.split('|'))).collect();
    let is_known = |begin: &str| Refusal::ALL.iter().any(|refusal| refusal.to_string().starts_with(begin));
    let unknown: Vec<_> = named.iter().copied().filter(|begin: &&str| !is_known(begin)).collect();
    assert!(named.len() > 15 && unknown.is_empty(), "{named:?}: {unknown:?}");
}

/// The sequences of configurations in a text, step by step.
fn sequences(text: &str) -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = Vec::new();
    let mut list = Vec::new();
    for line in text.lines().chain([""]) {
        let line = line.trim_start_matches(['#', '\t', ' ']);
        if let Some(step) = line.strip_prefix("list sequence '") {
            list.push(step.trim_end_matches('\'').to_owned());
            continue;
        }
        found.extend(Some(std::mem::take(&mut list)).filter(|list| !list.is_empty()));
        if let Some((steps, _)) =
            line.strip_prefix("option sequence '").and_then(|rest| rest.split_once('\''))
        {
            found.push(steps.split([',', ' ']).map(str::to_owned).collect());
        }
    }
    found
}

/// No scan opens the sequence of an example. A printed sequence is no secret, so `ketukd check` warns about each of them.
#[test]
fn the_sequences_of_examples_look_random_and_are_warned_of() {
    let mut files: Vec<PathBuf> =
        ["README.md", "uci/ketuk", "packaging/ketuk.host", "openwrt/ketuk/files/ketuk.config"]
            .map(PathBuf::from)
            .to_vec();
    for (folder, extension) in [("docs", "md"), ("uci/examples", "uci")] {
        for entry in fs::read_dir(root().join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|it| it == extension) {
                files.push(path.strip_prefix(root()).expect("below").to_owned());
            }
        }
    }
    let (mut seen, mut wrong) = (0, Vec::new());
    for file in files {
        for steps in sequences(&read(file.to_str().expect("a plain path"))) {
            seen += 1;
            let step = |text: &String| {
                let port = text.split(':').next().and_then(|port| port.parse().ok());
                Step { protocol: Protocol::Tcp, port: port.unwrap_or_else(|| panic!("{steps:?}")) }
            };
            if weakness(&steps.iter().map(step).collect::<Vec<_>>()) != Some(Weakness::WellKnown) {
                wrong.push(format!("{}: {}", file.display(), steps.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "not among the ports of examples in src/core/weakness.rs: {wrong:#?}");
    assert!(seen > 15, "{seen}");
}
