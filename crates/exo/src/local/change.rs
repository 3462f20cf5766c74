//! Files of a directory that change.

use std::ffi::CString;
use std::path::Path;
use std::time::Duration;
use sys::linux::errno::Result;
use sys::linux::fd::{self, PollFd};
use sys::linux::signal::{self, Set, numbers};
use sys::linux::watch::{APPEARED, CHANGED, VANISHED, Watcher};

/// Whoever saves a file does so in several steps: all of them are one change.
const QUIET: Duration = Duration::from_millis(200);

/// Watches a directory and the folders in it, hidden ones apart.
pub(super) struct Changes {
    watcher: Watcher,
    signals: fd::Fd,
}

impl Changes {
    pub(super) fn watch(directory: &Path) -> Result<Self> {
        let watcher = Watcher::new()?;
        add(&watcher, directory)?;
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if !is_hidden && entry.path().is_dir() {
                add(&watcher, &entry.path())?;
            }
        }
        let signals = Set::of(&[numbers::SIGINT, numbers::SIGTERM]).descriptor()?;
        Ok(Self { watcher, signals })
    }

    /// Waits for a change; `false` where it is told to end instead.
    pub(super) fn wait(&mut self) -> bool {
        // What changed while the last run was under way.
        let mut seen = self.reported();
        loop {
            let timeout = seen.then_some(QUIET.as_nanos() as u64);
            let mut list =
                [PollFd::readable(self.watcher.raw()), PollFd::readable(self.signals.raw())];
            if fd::poll(&mut list, timeout).is_err() || signal::next(&self.signals).is_some() {
                return false;
            }
            let more = self.reported();
            if seen && !more {
                return true;
            }
            seen |= more;
        }
    }

    /// Tells whether something that counts was reported.
    fn reported(&self) -> bool {
        let mut seen = false;
        self.watcher.reports(|report| {
            let is_hidden = report.name.starts_with(b".") || report.name.ends_with(b"~");
            // What the run itself makes.
            let is_made = report.name.ends_with(b".pyc") || report.name == b"__pycache__";
            seen |= !is_hidden && !is_made;
        });
        seen
    }
}

fn add(watcher: &Watcher, folder: &Path) -> Result<i32> {
    let path = CString::new(folder.as_os_str().as_encoded_bytes()).unwrap_or_default();
    watcher.add(&path, APPEARED | VANISHED | CHANGED)
}
