//! The table of promises in tests/README.md names tests that exist.

#![allow(clippy::expect_used)]

mod named;

use named::{quoted, root, tests_of_the_tree};
use std::fs;

/// Every promise that this suite makes.
const PROMISES: &[&str] = &[
    "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "S12", "S13", "S14", "S15",
    "L1", "L2", "L3", "L4", "L5", "L6", "L7", "L8", "L9", "L10", "X1", "X2", "X3", "X4", "X5",
    "X6", "X7", "X8", "X9", "X10", "X11", "X12", "X13", "J1", "J2", "J3", "J4", "J5", "J6", "J7",
    "E1", "E2", "E3", "E4", "C1", "C2", "N1", "P1", "P2", "P3", "P3b", "P4", "P5", "P6", "P6b",
    "P7", "P8", "P9", "P10", "P11", "P12", "P14", "P15", "D1", "D2", "D3", "D4", "D5", "D6", "D7",
];

/// Returns the rows of the tables of promises: the promise, its text, the tests.
fn rows(text: &str) -> Vec<(String, String, Vec<String>)> {
    let (_, tables) = text.split_once("\n## Promises\n").expect("the section");
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "other columns: {line}");
        (cells[0].to_owned(), cells[1].to_owned(), quoted(cells[2]))
    };
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| promise |");
    tables.lines().filter(is_row).map(row).collect()
}

#[test]
fn every_promise_is_shown_by_tests_that_exist() {
    let text = fs::read_to_string(root().join("tests/README.md")).expect("the table");
    let all = tests_of_the_tree();
    let rows = rows(&text);
    let promises: Vec<&str> = rows.iter().map(|(promise, ..)| promise.as_str()).collect();
    assert_eq!(promises, PROMISES);
    for (promise, text, tests) in &rows {
        assert!(!text.is_empty(), "{promise} says nothing");
        assert!(tests.iter().any(|test| !test.is_empty()), "{promise} names no test");
        for test in tests {
            assert!(all.contains(test), "{promise}: no test is called {test}");
        }
    }
}

#[test]
fn a_promise_without_a_test_names_none() {
    let text = "\n## Promises\n| promise | | tests |\n|---|---|---|\n| A1 | Yes. |  |\n";
    let row = ("A1".to_owned(), "Yes.".to_owned(), vec![String::new()]);
    assert_eq!(rows(text), [row]);
}

/// P15, as far as the workspace's manifest decides it; `tests/check` looks at the sources.
#[test]
fn released_programs_check_for_overflow_and_crates_are_safe_unless_they_say_so() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    let section = |name: &str| {
        let (_, rest) = manifest.split_once(&format!("\n[{name}]\n")).expect("the section");
        rest.split("\n[").next().expect("its lines").lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(section("profile.release").contains(&"overflow-checks = true".to_owned()));
    let lints = section("workspace.lints.rust");
    assert!(lints.contains(&"unsafe_code = \"deny\"".to_owned()));
}
