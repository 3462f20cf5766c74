//! The names of all tests of the tree, for the documents that name some.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the names of all functions with `#[test]` in front.
pub(crate) fn tests_of_the_tree() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in ["crates", "tests"] {
        collect(&root().join(folder), &mut found);
    }
    found
}

fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of the tree") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.extend(tests(&fs::read_to_string(&path).expect("a source file")));
        }
    }
}

/// Returns the names of the tests in a source text; other attributes may stand in between.
pub(crate) fn tests(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line == "#[test]" {
            is_test = true;
        } else if !line.starts_with("#[") && !line.starts_with("//") {
            let name = line.strip_prefix("fn ").and_then(|rest| rest.split_once('('));
            names.extend(name.filter(|_| is_test).map(|(name, _)| name.to_owned()));
            is_test = false;
        }
    }
    names
}

/// Returns the names between backquotes in the cell of a table.
pub(crate) fn quoted(cell: &str) -> Vec<String> {
    cell.split(',').map(|name| name.trim().replace('`', "")).collect()
}
