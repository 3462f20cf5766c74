//! Queues at work, for the length of one measurement.

pub(crate) mod exo;
pub(crate) mod huey;
pub(crate) mod plain;
pub(crate) mod rabbit;

use crate::namespace;
use crate::stage::Lab;
use crate::trouble::{Result, Trouble, Unable};
use linux::time::{SECOND, monotonic};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::cgroups;

/// What an item costs at most, and whatever begins or ends besides.
const LONGEST: u64 = SECOND / 100;
const SPARE: u64 = 30 * SECOND;

/// What a commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Safe {
    /// Power cuts: it is on the disk.
    Power,
    /// The death of every process.
    Kill,
}

/// Two folders. Dropped, everything that runs is ended and they are removed.
pub(crate) struct Bed {
    /// On a disk, as a rule: the queue's.
    pub(crate) disk: PathBuf,
    /// On the run's tmpfs: configuration, programs.
    pub(crate) memory: PathBuf,
}

impl Bed {
    /// Makes them.
    pub(crate) fn new(lab: &Lab) -> Result<Self> {
        let bed = Self { disk: lab.built.join("disk/bed"), memory: lab.root.join("bed") };
        for folder in [&bed.disk, &bed.memory] {
            // An interrupted run leaves it.
            remove(folder);
            fs::create_dir_all(folder).unable(|| format!("make {}", folder.display()))?;
        }
        Ok(bed)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Err(trouble) = namespace::kill_all() {
            eprintln!("bench: warning: {trouble}");
        }
        for folder in [&self.disk, &self.memory] {
            remove(folder);
        }
    }
}

/// Removes a folder, and before it the cgroups of exos whose store it has: killed, they leave them.
fn remove(folder: &Path) {
    cgroups::remove_of(folder);
    let _ = fs::remove_dir_all(folder);
}

/// Waits until `holds`, as long as `items` may take.
fn wait_until(items: u64, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = monotonic() + SPARE + items * LONGEST;
    while !holds()? {
        if monotonic() > end {
            return Err(Trouble::new("it takes too long"));
        }
        // Looking costs next to nothing, and must.
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
