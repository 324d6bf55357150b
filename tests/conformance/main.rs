//! The same expectations against Debian's knockd and fwknopd, and against ketukd. docs/testing.md has the table, and README.md
//! the rows in which the programs differ. The test fails if the table is wrong about ketukd or about another program.
//!
//! ```text
//!   cargo test --test conformance -- --nocapture      prints the table
//! ```
#![cfg(all(target_os = "linux", feature = "fwknop"))]

#[path = "../support/mod.rs"]
mod support;

mod stage;
mod statements;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use stage::Program;
use statements::{STATEMENTS, Statement};
use support::is_root_of_the_machine;

/// The number of routers that work side by side. A statement takes most of its time for waiting.
const SIDE_BY_SIDE: usize = 8;

/// The row of README.md for a statement.
fn row(statement: &Statement) -> String {
    let word = |program| match statement.expected.iter().find(|(about, _)| *about == program) {
        None => "-",
        Some((_, true)) => "yes",
        Some((_, false)) => "no",
    };
    let [knockd, fwknopd, ketukd] = [Program::Knockd, Program::Fwknopd, Program::Ketukd].map(word);
    format!("| {} | {knockd} | {fwknopd} | {ketukd} |", statement.text)
}

#[test]
fn the_table_is_what_is_seen() {
    if !is_root_of_the_machine("knockd and fwknopd, which only root may run") {
        return;
    }
    let trials: Vec<_> = STATEMENTS
        .iter()
        .flat_map(|statement| {
            statement.expected.iter().map(move |(program, holds)| (statement, *program, *holds))
        })
        .collect();
    let next = AtomicUsize::new(0);
    let wrong: String = thread::scope(|scope| {
        let work = || {
            let mut wrong = String::new();
            while let Some((statement, program, expected)) = trials.get(next.fetch_add(1, Ordering::Relaxed))
            {
                if (statement.holds)(*program) != *expected {
                    writeln!(wrong, "{program:?}: '{}' is {}", statement.text, !expected)
                        .expect("a String takes everything");
                }
            }
            wrong
        };
        let threads: Vec<_> = (0..SIDE_BY_SIDE).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("it ended")).collect()
    });
    for statement in STATEMENTS {
        println!("{}", row(statement));
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_documents_have_the_table() {
    let (all, readme) = (include_str!("../../docs/testing.md"), include_str!("../../README.md"));
    for statement in STATEMENTS {
        let row = row(statement);
        assert!(all.contains(&row), "docs/testing.md does not have this row:\n{row}");
        if statement.expected.iter().any(|(_, holds)| !holds) {
            assert!(readme.contains(&row), "README.md does not have this row:\n{row}");
        }
    }
}
