//! The svscan of the instance. It has no lock of its own: it is found among the processes.

use crate::here::Here;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Its name, as a process.
pub const SVSCAN: &str = "svscan";
/// The name that its process has before.
pub const BEFORE: &str = "pgrphack";
/// Where the init system that starts the system's svscan shows that it runs.
const SYSTEMD: &str = "/run/systemd/system";

/// Returns the pid of the svscan that watches the service folder.
///
/// Folders are compared, not their names: another root may have the same names. Of a process that
/// is not ours to look into, all that can be had is the name that it was given.
#[must_use]
pub fn find(here: &Here) -> Option<i32> {
    find_among(here, named(&[SVSCAN]))
}

/// The same among the processes of its name.
#[must_use]
pub fn find_among(here: &Here, named: impl Iterator<Item = i32>) -> Option<i32> {
    watching(here, named).next()
}

/// Returns the pids of all svscans that watch the service folder.
#[must_use]
pub fn all(here: &Here) -> Vec<i32> {
    watching(here, named(&[SVSCAN])).collect()
}

/// Returns the pid of a process that is about to watch the service folder, or to become what does:
/// whoever started it was killed before it could be found.
#[must_use]
pub fn coming(here: &Here) -> Option<i32> {
    let folder = here.places().service.as_os_str().as_bytes();
    let is_svscan =
        |word: &[u8]| word.rsplit(|byte| *byte == b'/').next() == Some(SVSCAN.as_bytes());
    named(&[BEFORE, SVSCAN]).find(|pid| {
        let process = process(*pid);
        let words = fs::read(process.join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = words.split(|byte| *byte == 0).collect();
        fs::metadata(&process).is_ok_and(|stat| stat.uid() == here.owner())
            && words.windows(2).any(|pair| is_svscan(pair[0]) && pair[1] == folder)
    })
}

/// Lists the processes that have one of these names.
fn named(names: &'static [&'static str]) -> impl Iterator<Item = i32> {
    let processes = fs::read_dir("/proc").into_iter().flatten();
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let name = fs::read_to_string(process(*pid).join("comm"));
        name.is_ok_and(|name| names.contains(&name.trim_end()))
    })
}

/// Of these, those that watch the service folder.
fn watching(here: &Here, named: impl Iterator<Item = i32>) -> impl Iterator<Item = i32> {
    let id = |path: &Path| fs::metadata(path).ok().map(|stat| (stat.dev(), stat.ino()));
    let folder = id(&here.places().service);
    let is_told = |process: &Path| {
        let words = fs::read(process.join("cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).nth(1) == Some(here.places().service.as_os_str().as_bytes())
    };
    named.filter(move |pid| {
        let process = process(*pid);
        folder.is_some()
            && fs::metadata(&process).is_ok_and(|stat| stat.uid() == here.owner())
            && match id(&process.join("cwd")) {
                Some(cwd) => Some(cwd) == folder,
                None => here.uid != here.owner() && is_told(&process),
            }
    })
}

fn process(pid: i32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

/// Tells whether the init system is to start the system's svscan.
#[must_use]
pub fn is_left_to_init(here: &Here) -> bool {
    here.is_system() && Path::new(SYSTEMD).is_dir()
}

/// Returns what to do where none runs.
#[must_use]
pub fn advice(here: &Here) -> &'static str {
    if is_left_to_init(here) {
        "no svscan runs; start it with: systemctl start skynet"
    } else {
        "no svscan runs; start it with: skynet boot"
    }
}
