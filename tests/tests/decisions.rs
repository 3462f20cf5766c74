//! The table of decisions names tests that exist.

#![allow(clippy::expect_used)]

mod named;

use named::{quoted, root, tests, tests_of_the_tree};
use std::fs;

const COLUMNS: usize = 7;

/// A decision: its topic and the names in its last column.
struct Row {
    line: usize,
    topic: String,
    tests: Vec<String>,
}

/// Reads the rows of all tables; headings and rulers are none.
fn rows(text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with('|')) {
        let inner = line.trim_end().trim_start_matches('|');
        let cells: Vec<&str> = inner.strip_suffix('|').unwrap_or(inner).split('|').collect();
        assert_eq!(cells.len(), COLUMNS, "line {} has other columns: {line}", i + 1);
        let topic = cells[0].trim().to_owned();
        if topic == "topic" || topic.starts_with("---") {
            continue;
        }
        rows.push(Row { line: i + 1, topic, tests: quoted(cells[COLUMNS - 1]) });
    }
    rows
}

#[test]
fn every_test_that_the_decisions_name_exists() {
    let text = fs::read_to_string(root().join("crates/daemontools/README.md")).expect("the table");
    let all = tests_of_the_tree();
    let rows = rows(&text);
    assert!(rows.len() > 80, "the table is not where it was");
    for row in rows {
        let any = row.tests.iter().any(|test| !test.is_empty());
        assert!(any, "line {}, {}: names no test", row.line, row.topic);
        for test in row.tests {
            assert!(
                all.contains(&test),
                "line {}, {}: no test is called {test}",
                row.line,
                row.topic
            );
        }
    }
}

#[test]
fn every_decision_is_made_once_and_says_what_we_do() {
    let text = fs::read_to_string(root().join("crates/daemontools/README.md")).expect("the table");
    let mut topics: Vec<String> = rows(&text).into_iter().map(|row| row.topic).collect();
    let count = topics.len();
    topics.sort();
    topics.dedup();
    assert_eq!(topics.len(), count, "a topic stands there twice");
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        for (i, what) in [(5, "ours"), (6, "ours under encore"), (7, "the test")] {
            assert!(!cells[i].is_empty(), "without {what}: {line}");
        }
    }
}

#[test]
fn a_row_is_read_to_its_test_names() {
    let table = "| topic |a|b|c|d|e| test |\n|---|---|---|---|---|---|---|\n\
                 | x |  |  |  | o | same | `first`, `second` |\n| y |  |  |  | o | same | - |\n";
    let rows = rows(table);
    assert_eq!(rows[0].tests, ["first", "second"]);
    assert_eq!((rows[0].line, rows[0].topic.as_str()), (3, "x"));
    // Which is the name of no test.
    assert_eq!(rows[1].tests, ["-"]);
}

#[test]
fn only_what_is_run_as_a_test_is_one() {
    let source = "#[test]\nfn one() {}\n\nfn helper() {}\n\n#[test]\n#[should_panic]\n\
                  // Why.\nfn two() {\n    fn inner() {}\n}\n// #[test]\nfn three() {}\n";
    assert_eq!(tests(source), ["one", "two"]);
}
