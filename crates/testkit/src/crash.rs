//! A service that ends as soon as it was started, and when its starts were.

use ondisk::record::Record;
use std::fs;
use std::path::Path;

/// What two starts are apart at least, in nanoseconds.
pub const SPACING: u64 = 1_000_000_000;

/// How much later than its start a process may note it: it may have to wait for a processor.
const LATE: u64 = 100_000_000;

/// A `run` that keeps a copy of the record which the process wrote itself before it ran, and ends.
pub const CRASHER: &str = "#!/bin/sh\n\
                           cp supervise/record start.$$.new && mv start.$$.new start.$$\nexit 1\n";

/// Returns the moments of the starts of [`CRASHER`] in a directory (`CLOCK_BOOTTIME`, nanoseconds).
///
/// # Panics
/// Where the directory cannot be read.
#[must_use]
pub fn start_times(dir: &Path) -> Vec<u64> {
    let all = fs::read_dir(dir).expect("a service directory").filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        (name.starts_with("start.") && name.rsplit('.').next() != Some("new"))
            .then(|| Record::from_bytes(&fs::read(entry.path()).ok()?))?
    });
    let mut all: Vec<u64> = all.map(|record| record.process.alive_at).collect();
    all.sort_unstable();
    all
}

/// Checks that no two starts of [`CRASHER`] in a directory were closer than [`SPACING`].
///
/// # Panics
/// Where two were.
#[track_caller]
pub fn assert_spaced(dir: &Path) {
    let starts = start_times(dir);
    let gaps: Vec<u64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| gap + LATE >= SPACING), "starts of {}: {gaps:?}", dir.display());
}
