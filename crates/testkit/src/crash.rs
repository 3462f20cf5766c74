//! A service that ends as soon as it was started, and when its starts were.

use ondisk::record::Record;
use std::fs;
use std::path::Path;

/// What two starts are apart at least, in nanoseconds.
pub const SPACING: u64 = 1_000_000_000;

/// How much later than its start a process may note it: it may have to wait for a processor.
const LATE: u64 = 500_000_000;

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

/// Checks that no two starts of [`CRASHER`] in a directory were closer than [`SPACING`], and no two with
/// others between them closer than those ask for.
///
/// # Panics
/// Where two were.
#[track_caller]
pub fn assert_spaced(dir: &Path) {
    let starts = start_times(dir);
    let gaps: Vec<u64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // A start that is noted late makes one gap shorter, and as many as follow no shorter than that.
    let are_spaced = |from: usize| {
        let all = starts[from..].iter().map(|start| start - starts[from]);
        all.zip(0..).all(|(since, count)| since + LATE >= count * SPACING)
    };
    assert!((0..starts.len()).all(are_spaced), "starts of {}: {gaps:?}", dir.display());
}
