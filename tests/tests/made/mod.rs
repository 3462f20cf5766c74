//! Folders that are installed, each a participant of an edition.

// Each file of tests uses a part of it; helpers of tests fail by panicking.
#![allow(dead_code, clippy::unwrap_used)]

use crate::site::{Place, Site};
use std::fs;

/// Puts `fields.n` at 1, and says which edition it is.
pub(crate) fn work(edition: &str) -> String {
    format!(
        "#!/bin/sh\necho edition {edition} at work\n\
         sed 's/\"fields\":{{/\"fields\":{{\"n\":1,/' >&3\n"
    )
}

/// A participant's folder.
pub(crate) fn folder(site: &Site, name: &str, edition: &str) -> String {
    let files = [
        ("exo.yaml", "command: ./work\n"),
        ("work", &work(edition)),
        ("lib/one", edition),
        ("lib/two", edition),
    ];
    site.on_desk(name, &files).display().to_string()
}

/// What there is in the folder of participants.
pub(crate) fn installed(site: &Site) -> Vec<String> {
    let Ok(entries) = fs::read_dir(site.at(Place::Participants)) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// Returns which edition is installed, whole.
#[track_caller]
pub(crate) fn edition(site: &Site, name: &str) -> String {
    let dir = site.dir(name);
    let read = |file: &str| fs::read_to_string(dir.join(file)).unwrap();
    let edition = read("lib/one");
    assert_eq!(read("lib/two"), edition);
    assert_eq!(read("work"), work(&edition));
    for file in ["exo.yaml", "run", "log/run"] {
        assert!(dir.join(file).is_file(), "{edition}: {file}");
    }
    for link in ["supervise", "log/supervise", "log/main"] {
        assert!(dir.join(link).is_symlink(), "{edition}: {link}");
    }
    edition
}
