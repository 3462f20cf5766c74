//! `--exit-with NAME`: svscan, as the first process of a container, ends with one service.

use crate::observe;
use crate::svpath::Paths;
use ondisk::names::RECORD;
use ondisk::record::{Exit, Phase};
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use sys::linux::watch::{APPEARED, CHANGED, Watcher};

/// The service that everything stands and falls with.
pub(super) struct Once {
    /// Its name in the folder.
    pub(super) name: CString,
    watcher: Option<Watcher>,
}

impl Once {
    /// Begins without knowing anything of it.
    #[must_use]
    pub(super) fn new(name: &OsStr) -> Option<Self> {
        Some(Self { name: CString::new(name.as_bytes()).ok()?, watcher: Watcher::new().ok() })
    }

    /// Returns the descriptor that tells of changes.
    #[must_use]
    pub(super) fn raw(&self) -> Option<i32> {
        self.watcher.as_ref().map(Watcher::raw)
    }

    /// Begins to watch its supervise folder, once that is there.
    pub(super) fn watch(&mut self) {
        let mut paths = self.paths();
        let folder = paths.in_folder(c".");
        if let Some(watcher) = &self.watcher {
            // Not there yet: what makes it is told of by the folder that is scanned.
            let _ = watcher.add(folder, APPEARED | CHANGED);
        }
    }

    /// Returns the exit code of the service, if its one life is over: its own, or 128 and the
    /// signal that ended it, as shells have it; 111 where nobody knows.
    pub(super) fn verdict(&mut self) -> Option<i32> {
        if let Some(watcher) = &self.watcher {
            watcher.reports(|_| {});
        }
        let mut paths = self.paths();
        let record = observe::read_record(&mut paths, RECORD)?;
        if !matches!(record.phase, Phase::Down | Phase::Failed) || record.died.is_none() {
            return None;
        }
        Some(match record.last_exit {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
            Exit::None | Exit::Unknown | Exit::NotRun(_) => 111,
        })
    }

    fn paths(&self) -> Paths {
        let mut paths = Paths::from_environment();
        // A name that cannot be used shows when its record cannot be read.
        let _ = paths.set(OsStr::from_bytes(self.name.to_bytes()));
        paths
    }
}
