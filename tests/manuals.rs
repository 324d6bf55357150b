//! The manual pages as `make install` puts them: they say what `--help` and docs/configuration.md say, no more and no less.
#![cfg(target_os = "linux")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use support::{Scratch, installed, ketuk, ketukd, run, stdout};

/// A page as text, by its headings. A line is never broken.
fn page(prefix: &Path, name: &str) -> BTreeMap<String, String> {
    let path = prefix.join("share/man").join(name).display().to_string();
    let file = prefix.join("page").display().to_string();
    stdout("sh", &["-c", "gzip -dc \"$1\" >\"$2\"", "sh", &path, &file]);
    let lint = run("mandoc", &["-Tlint", &file]);
    assert!(lint.status.success() && lint.stdout.is_empty(), "{name}: {lint:?}");

    let printed = stdout("mandoc", &["-Tascii", "-Owidth=1000", &file]);
    // A printer makes a character bold by printing it twice.
    let mut text = String::new();
    for character in printed.chars() {
        if character == '\u{8}' {
            text.pop();
        } else {
            text.push(character);
        }
    }
    let (mut heading, mut sections) = (String::new(), BTreeMap::<String, String>::new());
    for line in text.lines() {
        let depth = line.len() - line.trim_start().len();
        if depth <= 3 && !line.is_empty() {
            line.trim().clone_into(&mut heading);
        } else {
            sections.entry(heading.clone()).or_default().extend([line, "\n"]);
        }
    }
    sections
}

/// The words of a text, in any layout.
fn words(text: &str) -> Vec<&str> {
    let set = ["usage:", "example:", "Example:"];
    text.split_whitespace().filter(|word| !set.contains(word)).collect()
}

#[test]
fn a_page_says_what_help_says() {
    let scratch = Scratch::new();
    let prefix = installed(&scratch);
    let daemon = stdout(ketukd().to_str().expect("a plain path"), &["--help"]);
    let listed = daemon.lines().filter_map(|line| line.strip_prefix("  ketukd ")?.split(' ').next());
    let client: Vec<_> = ketuk::client::help::COMMANDS.iter().map(|(name, _)| *name).collect();
    for (program, name, commands) in [
        (ketukd().to_str().expect("a plain path"), "man8/ketukd.8.gz", listed.collect()),
        (ketuk(), "man1/ketuk.1.gz", client),
    ] {
        let mut page = page(&prefix, name);
        let mut section = |name: &str| page.remove(name).unwrap_or_else(|| panic!("no section {name}"));
        let all = stdout(program, &["--help"]);
        let lines = all.lines().filter(|line| line.starts_with("  -") || line.starts_with("example: "));
        let lines: Vec<_> = lines.collect();
        assert_eq!(words(&section("OPTIONS")), words(&lines.join("\n")), "{name}");
        let codes = all.lines().find_map(|line| line.strip_prefix("exit codes: ")).expect("exit codes");
        assert_eq!(words(&section("EXIT STATUS")).join(" "), codes.replace(',', ""), "{name}");
        let usages = all.lines().filter(|line| line.contains(" ketuk"));
        let usages = usages.filter_map(|line| line.strip_prefix("usage: ").or(line.strip_prefix("       ")));
        let usages: Vec<_> = usages.map(|line| line.split("   ").next().expect("one")).collect();
        assert_eq!(words(&section("SYNOPSIS")), words(&usages.join(" ")), "{name}");
        for command in commands {
            assert_eq!(words(&section(command)), words(&stdout(program, &[command, "--help"])), "{command}");
        }
        let rest: Vec<_> =
            page.keys().filter(|key| !key.starts_with("KETUK") && !key.starts_with("ketuk ")).collect();
        assert_eq!(rest, ["DESCRIPTION", "NAME", "SEE ALSO"], "{name}");
    }
}

#[test]
fn the_page_of_the_configuration_has_every_option() {
    let scratch = Scratch::new();
    let page = page(&installed(&scratch), "man5/ketuk.5.gz");
    let document = include_str!("../docs/configuration.md");
    let headings = document.lines().filter_map(|line| line.strip_prefix("## ").or(line.strip_prefix("### ")));
    let (mut heading, mut options) = (String::new(), 0);
    for line in document.lines() {
        if let Some(title) = headings.clone().find(|title| line.ends_with(*title) && line.starts_with('#')) {
            heading = title.replace('`', "");
            assert!(page.contains_key(&heading), "{heading}");
        }
        if !line.starts_with("| `") {
            continue;
        }
        let cells = line.replace('`', "");
        let mut cells = cells.trim_matches('|').split('|').map(str::trim);
        let option = cells.next().expect("one");
        let at = page[&heading]
            .split_once(&format!("       {option}\n"))
            .or_else(|| page[&heading].split_once(&format!("       {option} ")));
        let (_, entry) = at.unwrap_or_else(|| panic!("{heading}: no option {option}"));
        let entry: String = entry.split("\n\n").next().expect("one").split_whitespace().collect();
        for cell in cells {
            // The text up to the first link.
            let cell: String = cell.split('[').next().expect("one").split_whitespace().collect();
            assert!(entry.contains(&cell), "{option}: {cell}: {entry}");
        }
        options += 1;
    }
    assert!(options > 60, "{options}");
}
