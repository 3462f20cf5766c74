//! The scanned folder: its names, and being told when they change.

use super::SVSCAN;
use super::entries::{Entries, Id};
use machine::time::Mono;
use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;
use sys::linux::errno::Errno;
use sys::linux::file::{self, HERE};
use sys::linux::time;
use sys::linux::watch::{APPEARED, LOST, OVERFLOW, VANISHED, Watcher};

/// How often the folder is read where nobody tells of changes; daemontools' five seconds.
const RESCAN: Duration = Duration::from_secs(5);

/// The current directory, scanned.
pub(super) struct Folder {
    watcher: Option<(Watcher, i32)>,
    /// Names that cannot be looked at now: nobody tells when that changes.
    broken: BTreeSet<CString>,
    unreadable: bool,
    /// One name that is not scanned: the service that gets our output.
    except: Option<CString>,
    rescan_at: Option<Mono>,
}

impl Folder {
    /// Begins to watch. Without inotify, or on a network, the folder is read every five seconds.
    pub(super) fn new(except: Option<CString>) -> Self {
        let watcher = Watcher::new().and_then(|watcher| {
            let watch = watcher.add(c".", APPEARED | VANISHED)?;
            Ok((watcher, watch))
        });
        let watcher = watcher.ok().filter(|_| file::tells_changes(c"."));
        Self { watcher, broken: BTreeSet::new(), unreadable: false, except, rescan_at: None }
    }

    /// Watches no more. The kernel takes some 15 ms to tidy up: while others end, not behind them.
    pub(super) fn close(&mut self) {
        if let Some((watcher, watch)) = &self.watcher {
            watcher.remove(*watch);
        }
        self.rescan_at = None;
    }

    /// Returns the descriptor that tells of changes.
    pub(super) fn raw(&self) -> Option<i32> {
        self.watcher.as_ref().map(|(watcher, _)| watcher.raw())
    }

    /// Returns when the folder is to be read again whatever is told.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.rescan_at
    }

    /// Reads the whole folder.
    pub(super) fn scan(&mut self, entries: &mut Entries) {
        match read_names() {
            Ok(names) => {
                self.unreadable = false;
                let mut gone: BTreeSet<CString> = entries.names().into_iter().collect();
                self.broken.retain(|name| names.contains(name));
                for name in names {
                    gone.remove(&name);
                    self.look(name, entries);
                }
                for name in gone {
                    entries.named(name, None);
                }
                entries.forget_nameless();
            }
            Err(why) => {
                // Nobody is forgotten because of it.
                if !self.unreadable {
                    SVSCAN.warning(&["unable to read directory".as_ref()], why);
                }
                self.unreadable = true;
            }
        }
        self.arm();
    }

    /// Looks at the names that are told of.
    pub(super) fn changed(&mut self, entries: &mut Entries) {
        let mut names = BTreeSet::new();
        let mut all = false;
        if let Some((watcher, _)) = &self.watcher {
            let mut lost = false;
            watcher.reports(|report| {
                all |= report.what & OVERFLOW != 0;
                lost |= report.what & LOST != 0;
                names.extend(CString::new(report.name));
            });
            if lost {
                SVSCAN.warning_plain(&["the directory was moved or removed".as_ref()]);
                self.watcher = None;
                all = true;
            }
        }
        if all {
            self.scan(entries);
            return;
        }
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            self.look(name, entries);
        }
        entries.forget_nameless();
        self.arm();
    }

    fn arm(&mut self) {
        let blind = self.watcher.is_none() || self.unreadable || !self.broken.is_empty();
        self.rescan_at = blind.then(|| Mono(time::monotonic()).after(RESCAN));
    }

    fn look(&mut self, name: CString, entries: &mut Entries) {
        if name.to_bytes().starts_with(b".") || self.except.as_ref() == Some(&name) {
            return;
        }
        match file::stat(HERE, &name, true) {
            Ok(stat) => {
                self.broken.remove(&name);
                let id: Option<Id> = stat.is_dir().then(|| stat.id());
                entries.named(name, id);
            }
            Err(Errno(libc::ENOENT)) if file::stat(HERE, &name, false).is_err() => {
                self.broken.remove(&name);
                entries.named(name, None);
            }
            Err(why) => {
                if self.broken.insert(name.clone()) {
                    let shown = OsStr::from_bytes(name.to_bytes());
                    SVSCAN.warning(&["unable to stat ".as_ref(), shown], why);
                }
                entries.named(name, None);
            }
        }
    }
}

fn read_names() -> Result<BTreeSet<CString>, Errno> {
    let errno = |e: std::io::Error| Errno(e.raw_os_error().unwrap_or(libc::EIO));
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(".").map_err(errno)? {
        let name = entry.map_err(errno)?.file_name();
        names.extend(CString::new(name.into_vec()));
    }
    Ok(names)
}
