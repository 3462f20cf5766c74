//! The cgroups that an exo which was killed has left.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Removes those of the exos whose store lay in `folder`, which is still there: an exo names its cgroup
/// after device and inode of its store. What somebody is still in stays.
pub fn remove_of(folder: &Path) {
    let Some(left) = own().and_then(|own| fs::read_dir(own).ok()) else { return };
    let left = left.filter_map(|entry| Some(entry.ok()?.path()));
    let is_exo_s = |path: &PathBuf| name_of(path).starts_with("exo.");
    let left: Vec<PathBuf> = left.filter(is_exo_s).collect();
    if left.is_empty() {
        return;
    }
    let mut ids = Vec::new();
    collect(folder, &mut ids);
    for path in left.iter().filter(|path| ids.iter().any(|id| name_of(path).ends_with(id))) {
        let rooms = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
        for room in rooms.filter(|room| room.path().is_dir()) {
            let _ = fs::remove_dir(room.path());
        }
        let _ = fs::remove_dir(path);
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Finds the folder of the cgroup v2 in which this process is, and what it starts.
#[must_use]
pub fn own() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
    let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let mut all = mounts.iter().map(|mount| Path::new(mount).join(&path));
    all.find(|folder| folder.join("cgroup.controllers").exists())
}

/// Adds what the names of cgroups end with for each folder in this one.
fn collect(folder: &Path, ids: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        // Of a symlink what leads elsewhere is not ours.
        let Ok(found) = entry.metadata() else { continue };
        if found.is_dir() {
            ids.push(format!(".{:x}-{:x}", found.dev(), found.ino()));
            collect(&entry.path(), ids);
        }
    }
}
