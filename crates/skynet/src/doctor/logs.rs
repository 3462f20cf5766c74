//! Log directories.

use super::{Patient, Ward};
use crate::finding::Finding;
use std::fs;
use std::path::Path;
use work::units::Bytes;

/// Bytes of a script that are read.
const MOST: usize = 64 << 10;
/// multilog's own, where its script does not say.
const FILE: u64 = 99_999;
const FILES: u64 = 10;
/// A file is a line longer than its limit at most, and one more is there for a moment.
const SLACK: u64 = 1 << 20;

pub(super) fn look(ward: &Ward<'_>, findings: &mut Vec<Finding>) {
    for patient in &ward.patients {
        findings.extend(grown(ward, patient).map(|found| found.of(&patient.service.name)));
    }
}

fn grown(ward: &Ward<'_>, patient: &Patient) -> Option<Finding> {
    let name = &patient.service.name;
    let log = patient.dir.join("log");
    let script = fs::read(log.join("run")).ok()?;
    let script = String::from_utf8_lossy(&script[..script.len().min(MOST)]).into_owned();
    let main = log.join("main");
    let main = if main.is_dir() { main } else { ward.here.places().logs.join(name) };
    let kept = limit(&script)?.saturating_add(SLACK);
    let size = size(&main)?;
    if size <= kept {
        return None;
    }
    let what =
        format!("holds {}, more than the {} that its logger keeps", rounded(size), rounded(kept));
    let why = "its logger is down or cannot remove old files, or other files are there";
    let found = Finding::warning(what).at(&main).because(why);
    Some(found.mended_by(format!("ls -lS {}; skynet restart {name}", main.display())))
}

/// In the unit in which three digits are enough.
fn rounded(bytes: u64) -> Bytes {
    let unit = [1_u64 << 30, 1 << 20, 1 << 10, 1].into_iter().find(|unit| bytes >= 10 * unit);
    let unit = unit.unwrap_or(1);
    Bytes(bytes / unit * unit)
}

/// Returns how many bytes the multilog of a script keeps in a directory; `None` = it has none, or
/// has no limit.
fn limit(script: &str) -> Option<u64> {
    let lines = script.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut most = None;
    for line in lines {
        let mut words = line.split_whitespace();
        let is_it = |word: &str| word.rsplit('/').next() == Some("multilog");
        if !words.any(is_it) {
            continue;
        }
        let (mut file, mut files) = (FILE, FILES);
        for word in words {
            let number =
                |letter: char| word.strip_prefix(letter).and_then(|n: &str| n.parse().ok());
            file = number('s').unwrap_or(file);
            files = number('n').unwrap_or(files);
        }
        // Of several, the one that keeps most may be the one that runs.
        most = most.max(Some(file.saturating_mul(files + 1)));
    }
    most
}

fn size(folder: &Path) -> Option<u64> {
    let entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let files = entries.filter_map(|entry| entry.metadata().ok()).filter(fs::Metadata::is_file);
    Some(files.map(|stat| stat.len()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_logger_keeps_is_read_from_its_script() {
        for (script, wanted) in [
            ("#!/bin/sh\nexec multilog t s1000000 n10 ./main\n", Some(11_000_000)),
            ("exec /usr/bin/multilog t ./main\n", Some(99_999 * 11)),
            ("# multilog s1 n1\nexec cat >/dev/null\n", None),
            ("a || exec multilog s10 n1 x\nexec multilog s5 n1 x\n", Some(20)),
        ] {
            assert_eq!(limit(script), wanted, "{script}");
        }
    }

    #[test]
    fn sizes_are_told_in_a_unit_that_fits() {
        assert_eq!(rounded(12_345_678).to_string(), Bytes(11 << 20).to_string());
        assert_eq!(rounded(5).to_string(), Bytes(5).to_string());
    }
}
