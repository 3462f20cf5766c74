//! The walks of packaging/doc for administrators and for process writers: what they type, typed.

#![allow(clippy::unwrap_used, clippy::panic)]

mod site;

use site::Site;
use std::fs;
use std::path::Path;
use testkit::run_within;

/// Returns what a page types, and what it shows behind each.
fn typed(page: &str) -> Vec<(String, Vec<String>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/doc").join(page);
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        let Some(line) = line.strip_prefix("    ") else { continue };
        match (line.strip_prefix("$ "), all.last_mut()) {
            (Some(command), _) => all.push((command.to_owned(), Vec::new())),
            (None, Some((_, shown))) => shown.push(line.to_owned()),
            (None, None) => panic!("{line:?} belongs to nothing"),
        }
    }
    all
}

/// Returns the words of a line that are the same each time: numbers, times and names of users are not.
fn lasting(line: &str) -> Vec<&str> {
    let changes = |word: &&str| word.contains(|c: char| c.is_ascii_digit()) || *word == "nobody";
    line.split_whitespace().filter(|word| !changes(word)).collect()
}

/// Types everything of a page; `between` is done before the line of this number.
fn walk(site: &Site, page: &str, between: impl Fn(usize)) {
    let desk = site.desk();
    for (number, (command, shown)) in typed(page).iter().enumerate() {
        between(number);
        let script = "cd \"$1\" && eval \"$2\"";
        let args = ["-c", script, "sh", desk.to_str().unwrap(), command];
        let said = run_within(site::SOON, &mut site.command("sh", &args));
        assert_eq!(said.code, Some(0), "{page}: {command}: {said:?}");
        let out = said.out();
        let words: Vec<&str> = out.split_whitespace().collect();
        for line in shown {
            let missing = lasting(line).into_iter().find(|word| !words.contains(word));
            assert_eq!(missing, None, "{page}: {command} shows {line:?}, and now:\n{out}");
        }
    }
}

#[test]
fn the_administrators_walk_finds_out_why_one_fails_and_mends_it() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let commands = typed("administrator.md");
        let is_boot = |(command, _): &(String, _)| command == "skynet boot";
        let reboot = commands.iter().rposition(is_boot).unwrap();
        walk(&site, "administrator.md", |number| {
            if number == reboot {
                site.well(&["wait", "--all", "--state", "idle"]);
                site.lose_power();
            }
        });
    });
}

#[test]
fn the_process_writers_walk_follows_one_process_across_two_participants() {
    Site::each(|kind| {
        let site = Site::new(kind);
        walk(&site, "process-writer.md", |_| {});
    });
}
