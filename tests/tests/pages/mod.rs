//! What pages of packaging/doc type, typed, and held against what they show.

// Each file of tests uses a part of it; helpers of tests fail by panicking.
#![allow(dead_code, clippy::panic, clippy::unwrap_used)]

use crate::site::{self, Site};
use std::fs;
use std::path::{Path, PathBuf};
use testkit::run_within;

/// Returns the path of a page of packaging/doc.
pub(crate) fn doc(page: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/doc").join(page)
}

/// Returns what a page types, and what it shows behind each.
pub(crate) fn typed(page: &str) -> Vec<(String, Vec<String>)> {
    typed_in(&fs::read_to_string(doc(page)).unwrap())
}

/// The same of a part of a page.
pub(crate) fn typed_in(text: &str) -> Vec<(String, Vec<String>)> {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines() {
        let Some(line) = line.strip_prefix("    ") else { continue };
        match (line.strip_prefix("$ "), all.last_mut()) {
            (Some(command), _) => all.push((command.to_owned(), Vec::new())),
            (None, Some((_, shown))) => shown.push(line.to_owned()),
            (None, None) => panic!("{line:?} belongs to nothing"),
        }
    }
    all
}

/// Returns the words of a line that are the same each time: numbers, times and names of users are not,
/// nor what is cut.
fn lasting(line: &str) -> Vec<&str> {
    let changes =
        |word: &&str| word.contains(|c: char| c.is_ascii_digit() || c == '…') || *word == "nobody";
    line.split_whitespace().filter(|word| !changes(word)).collect()
}

/// Types everything of a page; `between` is done before the line of this number.
pub(crate) fn walk(site: &Site, page: &str, between: impl Fn(usize)) {
    for (number, (command, shown)) in typed(page).iter().enumerate() {
        between(number);
        shows(site, page, command, shown);
    }
}

/// Types a line of a page, which must come to a good end and show what it shows there; returns what
/// it says on both descriptors.
#[track_caller]
pub(crate) fn shows(site: &Site, page: &str, command: &str, shown: &[String]) -> String {
    let script = "cd \"$1\" && eval \"$2\"";
    let desk = site.desk();
    let args = ["-c", script, "sh", desk.to_str().unwrap(), command];
    let said = run_within(site::SOON, &mut site.command("sh", &args));
    assert_eq!(said.code, Some(0), "{page}: {command}: {said:?}");
    let out = said.out() + &said.err();
    let words: Vec<&str> = out.split_whitespace().collect();
    for line in shown {
        let missing = lasting(line).into_iter().find(|word| !words.contains(word));
        assert_eq!(missing, None, "{page}: {command} shows {line:?}, and now:\n{out}");
    }
    out
}
