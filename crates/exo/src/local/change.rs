//! Files of a directory that change.

use super::session::SCRATCH;
use super::told_to_end;
use std::collections::HashSet;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use sys::linux::errno::Result;
use sys::linux::fd::{self, PollFd};
use sys::linux::signal;
use sys::linux::watch::{APPEARED, CHANGED, VANISHED, Watcher};

/// Whoever saves a file does so in several steps: all of them are one change.
const QUIET: Duration = Duration::from_millis(200);

/// Folders that are watched at most, and how deep they lie.
const MOST: usize = 1000;
const DEPTH: usize = 10;

/// Watches a directory and all folders in it, hidden ones apart, and some files elsewhere.
pub(super) struct Changes {
    watcher: Watcher,
    signals: fd::Fd,
    directory: PathBuf,
    files: Vec<PathBuf>,
    /// The folders of which all counts.
    folders: HashSet<i32>,
    /// What counts of others.
    single: HashSet<(i32, Vec<u8>)>,
    /// Something has changed that nobody has waited for yet.
    seen: bool,
}

impl Changes {
    pub(super) fn new(directory: &Path, files: Vec<PathBuf>) -> Result<Self> {
        Ok(Self {
            watcher: Watcher::new()?,
            signals: told_to_end().descriptor()?,
            directory: directory.to_owned(),
            files,
            folders: HashSet::new(),
            single: HashSet::new(),
            seen: false,
        })
    }

    /// Watches what is there by now.
    pub(super) fn look(&mut self) -> Result<()> {
        self.folders.clear();
        self.single.clear();
        self.folders.insert(add(&self.watcher, &self.directory)?);
        self.look_below(&self.directory.clone(), DEPTH);
        for file in &self.files {
            let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
            let name = file.file_name().unwrap_or_default().as_bytes().to_vec();
            self.single.insert((add(&self.watcher, parent.unwrap_or(Path::new(".")))?, name));
        }
        Ok(())
    }

    /// A folder that is gone again, or that we may not read, is passed over.
    fn look_below(&mut self, folder: &Path, depth: usize) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if !is_hidden && is_folder && depth > 0 && self.folders.len() < MOST {
                self.folders.extend(add(&self.watcher, &entry.path()));
                self.look_below(&entry.path(), depth - 1);
            }
        }
    }

    /// What is ready once there is something to look at.
    pub(super) fn interest(&self) -> PollFd {
        PollFd::readable(self.watcher.raw())
    }

    /// Tells whether something has changed; whoever waits next need not wait for that.
    pub(super) fn is_seen(&mut self) -> bool {
        self.seen |= self.reported();
        self.seen
    }

    /// Waits for a change, and until nothing changes any more; `false` where it is told to end instead.
    pub(super) fn wait(&mut self) -> bool {
        // What changed while the last run was under way.
        self.is_seen();
        loop {
            let timeout = self.seen.then_some(QUIET.as_nanos() as u64);
            let mut list = [self.interest(), PollFd::readable(self.signals.raw())];
            if fd::poll(&mut list, timeout).is_err() || signal::next(&self.signals).is_some() {
                return false;
            }
            let more = self.reported();
            if self.seen && !more {
                self.seen = false;
                return true;
            }
            self.seen |= more;
        }
    }

    /// Tells whether something that counts was reported.
    fn reported(&self) -> bool {
        let mut seen = false;
        self.watcher.reports(|report| {
            let is_hidden = report.name.starts_with(b".") || report.name.ends_with(b"~");
            // What the run itself makes.
            let is_made = report.name.ends_with(b".pyc")
                || report.name == b"__pycache__"
                || report.name.starts_with(SCRATCH.as_bytes());
            let is_ours = self.folders.contains(&report.watch) && !is_hidden && !is_made;
            seen |= is_ours || self.single.contains(&(report.watch, report.name.to_vec()));
        });
        seen
    }
}

fn add(watcher: &Watcher, folder: &Path) -> Result<i32> {
    let path = CString::new(folder.as_os_str().as_encoded_bytes()).unwrap_or_default();
    watcher.add(&path, APPEARED | VANISHED | CHANGED)
}
