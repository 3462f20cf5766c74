//! Being told that services stand otherwise than before: by what appears in their supervise folders.

use super::Sight;
use crate::here::Here;
use ondisk::names::SUPERVISE;
use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use sys::linux::watch::{APPEARED, LOST, OVERFLOW, VANISHED, Watcher};

/// What is watched.
pub struct Changes {
    /// `None` = the system has none to give: one looks from time to time.
    watcher: Option<Watcher>,
    folders: HashSet<PathBuf>,
    are_there: bool,
}

impl Changes {
    /// Watches nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { watcher: Watcher::new().ok(), folders: HashSet::new(), are_there: false }
    }

    /// Watches these services, and the folder in which others appear; forgets what was told.
    pub fn follow(&mut self, here: &Here, sight: &Sight) {
        let supervise = OsStr::from_bytes(SUPERVISE.to_bytes());
        self.are_there = false;
        let own = sight.services.iter().map(|seen| seen.service.dir.join(supervise));
        for folder in own.chain([here.places().service.clone()]) {
            self.add(folder);
        }
    }

    fn add(&mut self, folder: PathBuf) {
        let Some(watcher) = &self.watcher else { return };
        if self.folders.contains(&folder) {
            return;
        }
        let path = CString::new(folder.as_os_str().as_bytes()).unwrap_or_default();
        // One that is not there yet is tried again the next time.
        if watcher.add(&path, APPEARED | VANISHED).is_ok() {
            self.folders.insert(folder);
        }
    }

    /// Returns what becomes readable with a change.
    #[must_use]
    pub fn raw(&self) -> Option<i32> {
        self.watcher.as_ref().map(Watcher::raw)
    }

    /// Takes what is told.
    pub fn hear(&mut self) {
        let Some(watcher) = &self.watcher else { return };
        let (folders, are_there) = (&mut self.folders, &mut self.are_there);
        watcher.reports(|report| {
            *are_there = true;
            if report.what & (LOST | OVERFLOW) != 0 {
                // Which one does not matter: to watch a folder again costs little.
                folders.clear();
            }
        });
    }

    /// Tells whether there was a change since they were followed last.
    #[must_use]
    pub const fn has_any(&self) -> bool {
        self.are_there
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self::new()
    }
}
