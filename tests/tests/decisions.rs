//! The table of decisions names tests that exist.

#![allow(clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

const COLUMNS: usize = 7;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

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
        let last = cells[COLUMNS - 1].split(',').map(|name| name.trim().replace('`', ""));
        rows.push(Row { line: i + 1, topic, tests: last.collect() });
    }
    rows
}

fn rust_files(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder of the tree") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(fs::read_to_string(&path).expect("a source file"));
        }
    }
}

#[test]
fn every_test_that_the_decisions_name_exists() {
    let text = fs::read_to_string(root().join("crates/daemontools/README.md")).expect("the table");
    let mut sources = Vec::new();
    for folder in ["crates", "tests"] {
        rust_files(&root().join(folder), &mut sources);
    }
    let rows = rows(&text);
    assert!(rows.len() > 80, "the table is not where it was");
    for row in rows {
        for test in row.tests {
            assert!(
                sources.iter().any(|source| source.contains(&format!("fn {test}("))),
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
    assert!(rows[1].tests.is_empty());
}
