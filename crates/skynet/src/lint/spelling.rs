//! Names that are almost right: nothing reads them.

use crate::finding::Finding;
use exo::config::OWN_FILE;
use ondisk::names::{COMPAT, DOWN, FAILURE_CODES, LOG, NO_SETSID, NOTIFY, RUN, START, STOP};
use std::fs;
use std::path::Path;

/// What a service directory has that counts.
fn known() -> impl Iterator<Item = &'static str> {
    let names = [RUN, LOG, DOWN, START, STOP, NOTIFY, NO_SETSID, COMPAT, FAILURE_CODES];
    names.into_iter().filter_map(|name| name.to_str().ok()).chain([OWN_FILE])
}

/// What counts elsewhere, and what stands for it here.
const FOREIGN: [(&str, &str); 3] = [
    ("finish", "stop runs when the service goes down, notify at each death"),
    ("timeout-kill", "svc -k, or shutdown-grace in exo.yaml"),
    ("conf", "exo.yaml, or a folder for envdir"),
];

/// Ends of names that are kept on purpose.
const KEPT: [&str; 9] =
    ["~", ".bak", ".orig", ".old", ".new", ".swp", ".dpkg-old", ".dpkg-dist", ".example"];

/// Looks for names that were meant to be others, which are not there.
#[must_use]
pub fn look(dir: &Path, service: &str) -> Vec<Finding> {
    let Ok(read) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> =
        read.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort_unstable();
    let found = names.iter().filter_map(|name| {
        let found = |what: String| Finding::warning(what).of(service).at(&dir.join(name));
        if let Some((_, instead)) = foreign(name) {
            return Some(found(format!("{name} is not known here: {instead}")));
        }
        let meant = meant(name).filter(|meant| !names.iter().any(|name| name == meant))?;
        let mend = format!("mv {0}/{name} {0}/{meant}", dir.display());
        Some(found(format!("nothing reads {name}; did you mean {meant}?")).mended_by(mend))
    });
    found.collect()
}

fn foreign(name: &str) -> Option<&(&'static str, &'static str)> {
    let is_it = |word: &str| name == word || word.len() > 5 && distance(name, word) == 1;
    FOREIGN.iter().find(|(word, _)| is_it(word))
}

/// Returns the name that was meant by one that is not known.
fn meant(name: &str) -> Option<&'static str> {
    if known().any(|known| known == name) || KEPT.iter().any(|end| name.ends_with(end)) {
        return None;
    }
    let lower = name.to_ascii_lowercase().replace('_', "-");
    let stem = lower.split('.').next().unwrap_or_default();
    known().find(|known| {
        let is_file = *known == OWN_FILE;
        let is_other_end = if is_file { stem == "exo" } else { stem == *known };
        // Of three letters another one is another word: log and lot, run and sun.
        let may_differ = usize::from(known.len() > 3);
        let is_swapped = known.len() == 3 && is_anagram(&lower, known);
        lower == *known || is_other_end || is_swapped || distance(&lower, known) <= may_differ
    })
}

fn is_anagram(a: &str, b: &str) -> bool {
    distance(a, b) == 1 && a.len() == b.len() && a.bytes().all(|byte| b.as_bytes().contains(&byte))
}

fn distance(a: &str, b: &str) -> usize {
    strsim::osa_distance(a, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_almost_a_name_was_meant_to_be_it() {
        for (name, wanted) in [
            ("Run", "run"),
            ("run.sh", "run"),
            ("rnu", "run"),
            ("LOG", "log"),
            ("strat", "start"),
            ("notfy", "notify"),
            ("no_setsid", "no-setsid"),
            ("failure_codes", "failure-codes"),
            ("exo.yml", "exo.yaml"),
            ("Exo.yaml", "exo.yaml"),
            ("down.txt", "down"),
        ] {
            assert_eq!(meant(name), Some(wanted), "{name}");
        }
    }

    #[test]
    fn other_names_are_left_alone() {
        for name in ["run", "sun", "logs", "work", "run.bak", "run~", "main", "env", "supervise"] {
            assert_eq!(meant(name), None, "{name}");
        }
        assert!(foreign("finish").is_some() && foreign("finnish").is_some());
        assert!(foreign("conf.d").is_none() && foreign("polish").is_none());
    }
}
