//! What is watched: the service folder, the supervise folders of services and loggers, the control
//! sockets, the configuration. The kernel tells; nothing is polled but what cannot be watched.

use crate::failure::{Failure, warn};
use crate::here::Here;
use crate::life;
use crate::life::care;
use crate::service;
use daemontools::observe;
use daemontools::svpath::Paths;
use ondisk::names::RECORD;
use ondisk::record::Record;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::linux::errno::{Errno, Result};
use sys::linux::file::flags::{ENOENT, ENOTDIR};
use sys::linux::watch::{APPEARED, CHANGED, LOST, OVERFLOW, VANISHED, Watcher};

/// A service, or a logger.
#[derive(Clone, Debug, Default)]
pub struct Member {
    /// Its directory, without links.
    pub dir: PathBuf,
    /// What is taken from, where it is a participant.
    pub queue: Option<String>,
    /// The control socket of its exo.
    pub socket: Option<PathBuf>,
    watch: Option<i32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Services,
    Run,
    Config,
    Member(String),
}

/// What has happened.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Services came or went.
    pub services: bool,
    /// A file of the configuration.
    pub config: bool,
    /// Records that may say something new.
    pub members: BTreeSet<String>,
    /// Names of files that appeared in the run folder.
    pub sockets: BTreeSet<Vec<u8>>,
}

/// All that is watched.
pub struct Watch {
    watcher: Watcher,
    what: HashMap<i32, What>,
    paths: Paths,
    members: BTreeMap<String, Member>,
    /// It was said what cannot be watched.
    has_complained: bool,
}

impl Watch {
    /// Begins with the folders of the instance.
    ///
    /// # Errors
    /// There is no way to be told.
    pub fn new(here: &Here) -> std::result::Result<Self, Failure> {
        let watcher = Watcher::new().map_err(|why| Failure::errno("watch", "anything", why))?;
        let mut watch = Self {
            watcher,
            what: HashMap::new(),
            paths: life::paths(),
            members: BTreeMap::new(),
            has_complained: false,
        };
        let places = here.places();
        let changes = APPEARED | VANISHED;
        watch.folder(&places.service, changes, &What::Services);
        watch.folder(&places.run, APPEARED, &What::Run);
        if let Some(config) = &places.config {
            for folder in [config.clone(), config.join("conf.d")] {
                watch.folder(&folder, changes | CHANGED, &What::Config);
            }
        }
        Ok(watch)
    }

    fn folder(&mut self, path: &Path, what: u32, means: &What) {
        let name = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
        match self.watcher.add(&name, what) {
            Ok(watch) => drop(self.what.insert(watch, means.clone())),
            // Whoever has no configuration has nothing to change in it.
            Err(Errno(ENOENT | ENOTDIR)) => {}
            Err(why) => warn(&format!("unable to watch {}: {why}", path.display())),
        }
    }

    /// Returns the descriptor that tells of changes.
    #[must_use]
    pub fn raw(&self) -> i32 {
        self.watcher.raw()
    }

    /// Returns services and loggers.
    #[must_use]
    pub const fn members(&self) -> &BTreeMap<String, Member> {
        &self.members
    }

    /// Looks which services there are. Tells whether one cannot be watched yet.
    ///
    /// # Errors
    /// The folders cannot be read.
    pub fn scan(&mut self, here: &Here) -> std::result::Result<bool, Failure> {
        let mut found = BTreeMap::new();
        for service in service::all(here)? {
            if !service.is_linked || service.is_own() {
                continue;
            }
            let dir = service.real_dir();
            let settings = service.is_participant.then(|| service.load().ok()).flatten();
            let settings = settings.map(|loaded| loaded.settings);
            let log = dir.join("log");
            if log.is_dir() {
                let member = Member { dir: log, ..Member::default() };
                found.insert(format!("{}/log", service.name), member);
            }
            let socket = settings.as_ref().and_then(care::socket_of);
            let queue = settings.map(|settings| settings.queue);
            found.insert(service.name, Member { dir, queue, socket, watch: None });
        }
        for (name, old) in std::mem::take(&mut self.members) {
            match found.get_mut(&name) {
                Some(new) if new.dir == old.dir => new.watch = old.watch,
                _ => self.forget(old.watch),
            }
        }
        self.members = found;
        Ok(self.watch_all())
    }

    fn forget(&mut self, watch: Option<i32>) {
        if let Some(watch) = watch {
            self.watcher.remove(watch);
            self.what.remove(&watch);
        }
    }

    fn watch_all(&mut self) -> bool {
        let mut is_one_missing = false;
        for (name, member) in &mut self.members {
            if member.watch.is_some() {
                continue;
            }
            let added: Result<i32> = self
                .paths
                .set(member.dir.as_os_str().as_bytes())
                .and_then(|()| self.watcher.add(self.paths.in_folder(c""), APPEARED | CHANGED));
            match added {
                Ok(watch) => {
                    member.watch = Some(watch);
                    self.what.insert(watch, What::Member(name.clone()));
                }
                Err(why) => {
                    is_one_missing = true;
                    if !matches!(why, Errno(ENOENT | ENOTDIR)) && !self.has_complained {
                        self.has_complained = true;
                        warn(&format!("unable to watch {name}: {why}; looking every 5 s instead"));
                    }
                }
            }
        }
        is_one_missing
    }

    /// Reads the record of a service or a logger.
    pub fn record(&mut self, name: &str) -> Option<Record> {
        let member = self.members.get(name)?;
        self.paths.set(member.dir.as_os_str().as_bytes()).ok()?;
        observe::read_record(&mut self.paths, RECORD)
    }

    /// Hears what has happened.
    pub fn changes(&mut self) -> Changes {
        let mut changes = Changes::default();
        let mut lost = Vec::new();
        let what = &self.what;
        self.watcher.reports(|report| {
            if report.what & OVERFLOW != 0 {
                changes.services = true;
                changes.config = true;
                changes.members.extend(what.values().filter_map(|what| match what {
                    What::Member(name) => Some(name.clone()),
                    What::Services | What::Run | What::Config => None,
                }));
            }
            if report.what & LOST != 0 {
                lost.push(report.watch);
            }
            match what.get(&report.watch) {
                Some(What::Services) => changes.services |= !report.name.starts_with(b"."),
                Some(What::Config) => changes.config = true,
                Some(What::Run) => drop(changes.sockets.insert(report.name.to_owned())),
                Some(What::Member(name)) if report.name == RECORD.to_bytes() => {
                    changes.members.insert(name.clone());
                }
                Some(What::Member(_)) | None => {}
            }
        });
        for watch in lost {
            if let Some(What::Member(name)) = self.what.get(&watch) {
                if let Some(member) = self.members.get_mut(name) {
                    member.watch = None;
                }
                changes.services = true;
            }
            self.forget(Some(watch));
        }
        changes
    }
}
