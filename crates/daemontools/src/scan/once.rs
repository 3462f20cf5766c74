//! `--exit-with NAME`: svscan, as the first process of a container, ends with one service.

use crate::observe::{self, Boot};
use crate::svpath::Paths;
use machine::time::{Mono, earlier};
use ondisk::names::RECORD;
use ondisk::record::{Exit, Phase};
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;
use sys::linux::time;
use sys::linux::watch::{APPEARED, CHANGED, Watcher};

/// How often the record is read while nobody tells of its changes.
const LOOK: Duration = Duration::from_secs(1);
/// How long supervise may need to learn how a process ended that was not its child.
const DOUBT: Duration = Duration::from_secs(4);

/// The service that everything stands and falls with.
pub(super) struct Once {
    /// Its name in the folder.
    pub(super) name: CString,
    watcher: Option<Watcher>,
    /// To look at this moment, whatever is told.
    look_at: Option<Mono>,
    /// It is over, and until then we wait to be told how.
    doubt_until: Option<Mono>,
}

impl Once {
    /// Begins without knowing anything of it.
    #[must_use]
    pub(super) fn new(name: &OsStr) -> Option<Self> {
        let name = CString::new(name.as_bytes()).ok()?;
        let watcher = Watcher::new().ok();
        Some(Self { name, watcher, look_at: None, doubt_until: None })
    }

    /// Returns the descriptor that tells of changes.
    #[must_use]
    pub(super) fn raw(&self) -> Option<i32> {
        self.watcher.as_ref().map(Watcher::raw)
    }

    /// Returns when to look whatever is told.
    #[must_use]
    pub(super) fn deadline(&self) -> Option<Mono> {
        earlier(self.look_at, self.doubt_until)
    }

    /// Watches its supervise folder; until there is one, the directory that it will appear in.
    pub(super) fn watch(&mut self) {
        let mut paths = self.paths();
        let told = self.watcher.as_ref().is_some_and(|watcher| {
            let _ = watcher.add(paths.in_dir(c"."), APPEARED);
            watcher.add(paths.in_folder(c"."), APPEARED | CHANGED).is_ok()
        });
        self.look_at = (!told).then(|| Mono(time::monotonic()).after(LOOK));
    }

    /// Returns the exit code of the service, if its one life is over: its own, or 128 and the
    /// signal that ended it, as shells have it; 111 where nobody knows. `ended`: the pid of its
    /// supervise, if that is over too.
    pub(super) fn verdict(&mut self, boot: &Boot, ended: Option<i32>) -> Option<i32> {
        if let Some(watcher) = &self.watcher {
            watcher.reports(|_| {});
        }
        if self.watcher.is_none() || self.look_at.is_some() {
            // First the watch, then the look: nothing falls between them.
            self.watch();
        }
        let mut paths = self.paths();
        let record = observe::read_record(&mut paths, RECORD)?;
        let over = if boot.is_of(&record) {
            matches!(record.phase, Phase::Down | Phase::Failed)
        } else {
            // The last words of a supervise that let go of it; another's are of no matter.
            ended.is_some_and(|pid| u32::try_from(pid) == Ok(record.supervisor.pid))
        };
        if !over || record.died.is_none() {
            return None;
        }
        match record.last_exit {
            Exit::Code(code) => Some(code),
            Exit::Signal(signal) => Some(128 + signal),
            Exit::Unknown if ended.is_none() && !self.has_waited() => None,
            Exit::None | Exit::Unknown | Exit::NotRun(_) => Some(111),
        }
    }

    fn has_waited(&mut self) -> bool {
        let now = Mono(time::monotonic());
        *self.doubt_until.get_or_insert(now.after(DOUBT)) <= now
    }

    fn paths(&self) -> Paths {
        let mut paths = Paths::from_environment();
        // A name that cannot be used shows when its record cannot be read.
        let _ = paths.set(self.name.to_bytes());
        paths
    }
}
