//! Each block of a document fits its kind: docs/testing.md lists the kinds. The Indonesian documents have the same headings
//! and blocks as the English ones.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test says what it expected by panicking")]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use support::daemon::Start;
use support::document::{Block, blocks, documents, read, root};
use support::host::Host;
use support::{ROUTER, Scratch, World, ketuk, ketukd, run, run_with_input, stdout, wait_until};

/// Each English document and its translation.
const TRANSLATED: [[&str; 2]; 3] = [
    ["README.md", "README.id.md"],
    ["docs/router.md", "docs/id/router.md"],
    ["docs/debian.md", "docs/id/debian.md"],
];

/// The words that a block may begin with: kinds that this file checks, and kinds that need no check.
const KINDS: [&str; 8] = ["uci", "sh", "nft", "ini", "json", "yaml", "ssh-config", "text"];

/// Seconds after which a command that does not end is killed. It has read its arguments by then.
const LONG_ENOUGH: &str = "2";

/// Commands of ketukd that need no daemon, and must succeed.
const DO_SUCCEED: [&str; 6] = ["check", "ruleset", "import", "keygen", "invite", "--version"];

/// All blocks whose first line says this.
fn all_blocks(info: &str) -> Vec<Block> {
    let blocks: Vec<_> =
        documents().iter().flat_map(|document| blocks(document)).filter(|block| block.info == info).collect();
    assert!(!blocks.is_empty(), "no document has a block '{info}'");
    blocks
}

#[test]
fn each_block_says_what_it_is() {
    let all = documents().into_iter().flat_map(|document| blocks(&document));
    let silent = all.filter(|block| !block.info.split(' ').next().is_some_and(|kind| KINDS.contains(&kind)));
    let places: Vec<_> = silent.map(|block| format!("{}: '{}'", block.place(), block.info)).collect();
    assert!(places.is_empty(), "{places:#?}");
}

#[test]
fn the_readme_is_short() {
    for document in ["README.md", "README.id.md"] {
        let lines = read(document).lines().count();
        assert!(lines < 150, "{document}: {lines} lines");
    }
}

#[test]
fn configurations_are_accepted() {
    let scratch = Scratch::new();
    for block in all_blocks("uci") {
        let file = scratch.write("ketuk.conf", &block.text);
        let output = run(ketukd().to_str().unwrap(), &["check", "--config", file.to_str().unwrap()]);
        assert!(output.status.success(), "{}: {}", block.place(), String::from_utf8_lossy(&output.stderr));
    }
}

/// The block after another program's file is the output of `ketukd import` for that file.
#[test]
fn imports_are_what_import_prints() {
    let scratch = Scratch::new();
    let mut count = 0;
    for document in ["docs/from-knockd.md", "docs/from-fwknop.md"] {
        let blocks = blocks(document);
        let (at, name) = (0..)
            .zip(&blocks)
            .find_map(|(at, block)| Some((at, block.info.split(" import ").nth(1)?)))
            .unwrap_or_else(|| panic!("{document} imports nothing"));
        let file = scratch.write(name, &blocks[at].text);
        let printed = stdout(ketukd().to_str().unwrap(), &["import", file.to_str().unwrap()]);
        let printed = Block { text: printed, ..blocks[at].clone() }.without_comments();
        let shown = blocks[at..].iter().find(|block| block.info == "uci").unwrap();
        assert_eq!(printed, shown.without_comments(), "{}", shown.place());
        count += 1;
    }
    assert_eq!(count, 2);
}

#[test]
fn rules_are_accepted_by_nft() {
    let host = Host::new("empty");
    for block in all_blocks("nft") {
        let output = host.enter(|| run_with_input("nft", &["-c", "-f", "-"], &block.text));
        assert!(output.status.success(), "{}: {}", block.place(), String::from_utf8_lossy(&output.stderr));
    }
}

/// The recipe of docs/from-nft.md opens a port, and so does the door that takes its place, in the table that is left.
#[test]
fn rules_become_a_door() {
    let nft: Vec<_> = blocks("docs/from-nft.md").into_iter().filter(|block| block.info == "nft").collect();
    let [recipe, rest] = &nft[..] else { panic!("two tables") };
    let world = World::new();
    world.router.serve(22);
    let knock = || {
        world.client.shell(&format!("knock -d 50 {ROUTER} 24817 51203 38466"));
        wait_until("the client is let in", || world.client.greeted_by(ROUTER, 22).is_some());
        assert_eq!(world.stranger.greeted_by(ROUTER, 22), None);
    };
    world.router.nft(&recipe.text);
    assert_eq!(world.client.greeted_by(ROUTER, 22), None);
    knock();

    world.router.nft(&format!("flush ruleset\n{}", rest.text));
    let config = blocks("docs/from-nft.md").into_iter().find(|block| block.info == "uci").unwrap();
    let start = Start::on(&world.router, &world.scratch, &config.text.replace("eth0", "wan0"), &[]);
    let file = world.scratch.path("ketuk.uci").display().to_string();
    let rules = ["ruleset", "--config", &file, "--zone", "none"];
    world.router.nft(&world.router.stdout(ketukd().to_str().unwrap(), &rules));
    let _daemon = start.go();
    assert_eq!(world.client.greeted_by(ROUTER, 22), None);
    knock();
}

/// A machine with the documents' example as its configuration, without a network, where ssh and nft do nothing.
struct Machine {
    host: Host,
    scratch: Scratch,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { host: Host::new("empty"), scratch: Scratch::new() };
        for folder in ["bin", "etc/config", "etc/fwknop", "profiles"] {
            fs::create_dir_all(machine.scratch.path(folder)).unwrap();
        }
        for name in ["ssh", "nft"] {
            machine.program(name, "exit 0\n");
        }
        for (name, path) in [("ketukd", ketukd().display().to_string()), ("ketuk", ketuk().to_owned())] {
            // A command that fails does not stop the ones after it.
            let results = machine.scratch.path("results").display().to_string();
            let (line, timeout) = (machine.scratch.path("line").display().to_string(), "/usr/bin/timeout");
            let run = format!("{timeout} {LONG_ENOUGH} {path} \"$@\" <{line} 2>>{results}.said");
            machine.program(name, &format!("{run}\necho \"$? {name} $*\" >>{results}\nexit 0\n"));
        }
        machine.reset();
        let invited = machine.shell("ketukd invite alice --host router.example.org");
        let line = String::from_utf8(invited.stdout).unwrap();
        let line =
            line.lines().find(|line| line.starts_with("ketuk:") || line.contains("ketuk1")).unwrap_or(&line);
        machine.scratch.write("line", line);
        machine.shell("ketuk add - home");
        machine
    }

    fn program(&self, name: &str, text: &str) {
        self.scratch.write_program(&format!("bin/{name}"), &format!("#!/bin/sh\n{text}"));
    }

    /// Undoes the changes that a block may have made.
    fn reset(&self) {
        let example = blocks("README.md").into_iter().find(|block| block.info == "uci").unwrap();
        let user =
            |name, secret| format!("config user '{name}'\n\tlist door 'ssh'\n\toption totp '{secret}'\n");
        let alice = user("alice", "FOGICVDKT54JD7SELVTBIBX2277IIAJO");
        let config = example.text + &alice + &user("fred", "SBLUOFCGO35FTBD764ZTTSLVVVCY7FIH");
        for file in ["etc/config/ketuk", "ketuk.conf"] {
            self.scratch.write(file, &config);
        }
        for (document, folder) in [("docs/from-knockd.md", "etc"), ("docs/from-fwknop.md", "etc/fwknop")] {
            for block in blocks(document) {
                if let Some(name) = block.info.split(" import ").nth(1) {
                    self.scratch.write(&format!("{folder}/{name}"), &block.text);
                }
            }
        }
        for file in ["results", "results.said", "line"] {
            self.scratch.write(file, "");
        }
    }

    fn shell(&self, text: &str) -> Output {
        let [etc, folder] = ["etc", ""].map(|name| self.scratch.path(name).display().to_string());
        let hide = "mount --bind \"$1\" /etc && cd \"$2\" && export KETUK_PROFILES=\"$2\"/profiles PATH=\"$2\"/bin && eval \"$3\"";
        self.host.enter(|| run("unshare", &["-m", "/bin/sh", "-c", hide, "sh", &etc, &folder, text]))
    }
}

/// The commands and options exist, and the shell can read the blocks.
#[test]
fn commands_are_taken_by_the_programs() {
    let machine = Machine::new();
    let line = fs::read_to_string(machine.scratch.path("line")).unwrap();
    for block in all_blocks("sh") {
        machine.reset();
        machine.scratch.write("line", &line);
        let output = machine.shell(&block.text);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && errors.is_empty(), "{}: {errors}", block.place());
        let results = fs::read_to_string(machine.scratch.path("results")).unwrap();
        let said = fs::read_to_string(machine.scratch.path("results.said")).unwrap();
        assert!(!results.is_empty(), "{}: it has no command of ours", block.place());
        for result in results.lines() {
            let words: Vec<&str> = result.split(' ').collect();
            let [code, program, command, ..] = words[..] else { panic!("{}: {result}", block.place()) };
            assert_ne!(
                code,
                "2",
                "{}: {program} takes this for wrong usage: {result}\n{said}",
                block.place()
            );
            let must_succeed = program == "ketukd" && DO_SUCCEED.contains(&command);
            assert!(!must_succeed || code == "0", "{}: {result}\n{said}", block.place());
        }
    }
}

/// Commands within sentences: the subcommand exists, and has these options.
#[test]
fn commands_in_sentences_are_there() {
    let mut commands = 0;
    for document in documents() {
        for span in read(&document).split('`').skip(1).step_by(2) {
            let Some(rest) = span.strip_prefix("ketukd ") else { continue };
            let words: Vec<&str> = rest.split_whitespace().collect();
            let is_word = |word: &&str| word.chars().all(|char| char.is_ascii_lowercase());
            let Some(command) = words.first().filter(|word| is_word(word)) else { continue };
            // An unknown option makes the parser name the command in its error.
            let options = words.iter().copied().filter(|word| word.starts_with("--")).chain(["--zzz"]);
            for option in options {
                let option = option.split('=').next().unwrap();
                let output = run(ketukd().to_str().unwrap(), &[command, option]);
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(!said.contains("there is no command"), "{document}: `{span}`: {said}");
                assert!(option == "--zzz" || !said.contains("has no option"), "{document}: `{span}`: {said}");
            }
            commands += 1;
        }
    }
    assert!(commands > 30, "{commands}");
}

/// A block that another test runs names that test. A shell must be able to read every block.
#[test]
fn other_commands_say_who_runs_them() {
    for document in documents() {
        for block in blocks(&document) {
            let Some(mark) = block.info.strip_prefix("sh ") else { continue };
            let place = block.place();
            let output = run("sh", &["-n", "-c", &block.text]);
            assert!(output.status.success(), "{place}: {}", String::from_utf8_lossy(&output.stderr));
            if let Some(test) = mark.strip_prefix("run by ") {
                // The words after the file's name tell the test where to run the block.
                let file = test.split(' ').next().unwrap();
                let text = read(file);
                assert!(
                    text.contains(&block.document) && text.contains(&block.info),
                    "{place}: {test} does not"
                );
            } else {
                assert_eq!(mark, "not run", "{place}");
            }
        }
    }
}

/// scripts/session.py makes the picture from the demonstration's commands, as wide as its longest line.
#[test]
fn the_picture_is_of_the_demonstration_and_fills_its_width() {
    let picture = read("docs/session.svg");
    let number = |text: &str| text.split('"').next().unwrap().parse::<f64>().unwrap();
    let after = |name: &str| picture.split(name).skip(1).map(number).collect::<Vec<_>>();
    let width = after("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"")[0];
    let longest = after("textLength=\"").into_iter().fold(0.0, f64::max);
    let margin = after("<text x=\"")[0];
    assert!((width - longest - 2.0 * margin).abs() < 1.0, "{width} {longest} {margin}");
    let commands: Vec<_> = picture.split("<tspan fill=\"#ffffff\">").skip(1).collect();
    assert!(commands.len() > 4, "{commands:?}");
    let demonstration = read("scripts/demo.sh");
    let knock = commands.iter().find_map(|text| text.strip_prefix("ketuk ")?.split('<').next()).unwrap();
    assert!(demonstration.contains(&format!("show client ketuk {knock}\n")), "{knock}");
}

/// The levels of a document's headings, in order.
fn levels(document: &str) -> Vec<usize> {
    let text = read(document);
    let mut is_inside = false;
    let headings = text.lines().filter(|line| {
        is_inside ^= line.starts_with("```");
        !is_inside && line.starts_with('#')
    });
    headings.map(|line| line.chars().take_while(|char| *char == '#').count()).collect()
}

#[test]
fn both_languages_say_the_same() {
    for [english, indonesian] in TRANSLATED {
        assert_eq!(levels(english), levels(indonesian), "{english}: headings");
        let (ours, theirs) = (blocks(english), blocks(indonesian));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let (left, right) = (ours.place(), theirs.place());
            assert_eq!(ours.info, theirs.info, "{left} and {right}");
            assert_eq!(ours.without_comments(), theirs.without_comments(), "{left} and {right}");
        }
        assert_eq!(ours.len(), theirs.len(), "{english}: blocks");
        let rows = |document| read(document).lines().filter(|line| line.starts_with('|')).count();
        assert_eq!(rows(english), rows(indonesian), "{english}: rows of tables");
        let numbers = |document| numbers(&read(document));
        assert_eq!(numbers(english), numbers(indonesian), "{english}: numbers in tables");
    }
}

/// The digits in the rows of a document's tables, in order. Separators differ between the languages.
fn numbers(text: &str) -> Vec<String> {
    let rows = text.lines().filter(|line| line.starts_with('|'));
    rows.map(|row| row.chars().filter(char::is_ascii_digit).collect()).collect()
}

/// A link in a translated document goes to a translated one where there is one.
#[test]
fn links_of_translations_lead_somewhere() {
    for [_, document] in TRANSLATED {
        let folder = PathBuf::from(document).parent().unwrap().to_owned();
        for part in read(document).split("](").skip(1) {
            let link = part.split([')', '#']).next().unwrap();
            let exists = link.is_empty() || link.contains("://") || root().join(&folder).join(link).exists();
            assert!(exists, "{document}: {link}");
        }
    }
}
