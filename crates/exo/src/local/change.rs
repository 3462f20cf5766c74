//! Files of a directory that change.
//!
//! inotify does not say who changed a file. So while a participant runs only files of the program count
//! that were there before; it may write all others itself, and each run would be the reason for the next.
//! What these were like at its end is what later changes are held against.

use super::session::SCRATCH;
use super::told_to_end;
use crate::settings::Settings;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{CString, OsStr};
use std::fs::DirEntry;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use sys::linux::errno::Result;
use sys::linux::fd::{self, PollFd};
use sys::linux::signal;
use sys::linux::watch::{APPEARED, CHANGED, VANISHED, Watcher};

/// Whoever saves a file does so in several steps: all of them are one change.
const QUIET: Duration = Duration::from_millis(200);

/// Folders that are watched at most, how deep they lie, and names that are remembered.
const MOST: usize = 1000;
const DEPTH: usize = 10;

/// Names in one message.
const SHOWN: usize = 5;

/// How names of what a program is made of end, its configuration included. What has no ending is of the
/// program if it can be executed.
const OF_PROGRAMS: [&str; 17] = [
    "py", "pl", "pm", "rb", "sh", "js", "mjs", "ts", "lua", "php", "jar", "so", "yaml", "yml",
    "toml", "conf", "ini",
];

/// Watches a directory and all folders in it, hidden ones apart, and some files elsewhere.
pub(super) struct Changes {
    watcher: Watcher,
    signals: fd::Fd,
    directory: PathBuf,
    files: Vec<PathBuf>,
    /// The folders of which all counts, and where they are in the directory.
    folders: HashMap<i32, PathBuf>,
    /// What of the program is in them.
    program: HashSet<(i32, Vec<u8>)>,
    /// What counts of others.
    single: HashSet<(i32, Vec<u8>)>,
    /// What goes on.
    run: Option<Run>,
    /// What was passed over in an earlier run, and told.
    told: BTreeSet<PathBuf>,
    /// Something has changed that nobody has waited for yet.
    seen: bool,
}

/// A participant that runs.
struct Run {
    /// The name of its program, whatever it ends with.
    program: Vec<u8>,
    /// What changed and does not count.
    others: BTreeSet<PathBuf>,
}

impl Changes {
    pub(super) fn new(directory: &Path, files: Vec<PathBuf>) -> Result<Self> {
        Ok(Self {
            watcher: Watcher::new()?,
            signals: told_to_end().descriptor()?,
            directory: directory.to_owned(),
            files,
            folders: HashMap::new(),
            program: HashSet::new(),
            single: HashSet::new(),
            run: None,
            told: BTreeSet::new(),
            seen: false,
        })
    }

    /// Watches what is there by now.
    pub(super) fn look(&mut self) -> Result<()> {
        self.folders.clear();
        self.program.clear();
        self.single.clear();
        let watch = add(&self.watcher, &self.directory)?;
        self.look_into(watch, PathBuf::new(), DEPTH);
        for file in &self.files {
            let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
            let name = file.file_name().unwrap_or_default().as_bytes().to_vec();
            self.single.insert((add(&self.watcher, parent.unwrap_or(Path::new(".")))?, name));
        }
        Ok(())
    }

    /// A folder that is gone again, or that we may not read, is passed over.
    fn look_into(&mut self, watch: i32, folder: PathBuf, depth: usize) {
        let path = self.directory.join(&folder);
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.as_bytes().starts_with(b".") {
                continue;
            }
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if is_of_program(&entry) {
                    self.program.insert((watch, name.into_vec()));
                }
            } else if depth > 0
                && self.folders.len() + 1 < MOST
                && let Ok(below) = add(&self.watcher, &entry.path())
            {
                self.look_into(below, folder.join(name), depth - 1);
            }
        }
        self.folders.insert(watch, folder);
    }

    /// What is ready once there is something to look at.
    pub(super) fn interest(&self) -> PollFd {
        PollFd::readable(self.watcher.raw())
    }

    /// A participant is started.
    pub(super) fn begin(&mut self, settings: &Settings) {
        let program =
            settings.command.first().map(|word| Path::new(OsStr::from_bytes(word.to_bytes())));
        let name = program.and_then(Path::file_name).unwrap_or_default();
        self.run = Some(Run { program: name.as_bytes().to_vec(), others: BTreeSet::new() });
    }

    /// The participant has ended. Returns what to say of files that changed meanwhile and did not count,
    /// and are there; of each once.
    pub(super) fn end(&mut self) -> Result<Option<String>> {
        self.is_seen();
        let others = self.run.take().map(|run| run.others).unwrap_or_default();
        // Of folders that are new, later changes count.
        self.look()?;
        let is_new = |path: &PathBuf| {
            !self.told.contains(path) && self.directory.join(path).symlink_metadata().is_ok()
        };
        let fresh: Vec<PathBuf> = others.into_iter().filter(is_new).collect();
        let shown: Vec<_> =
            fresh.iter().take(SHOWN).map(|path| path.display().to_string()).collect();
        let more = fresh.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let said = (!fresh.is_empty()).then(|| {
            format!(
                "exo: changed during the run and no file of the program, so it may be the participant's \
                 own: {}{more}; from now on a change counts",
                shown.join(", ")
            )
        });
        if self.told.len() < MOST {
            self.told.extend(fresh);
        }
        Ok(said)
    }

    /// Tells whether something has changed; whoever waits next need not wait for that.
    pub(super) fn is_seen(&mut self) -> bool {
        self.seen |= self.reported();
        self.seen
    }

    /// Waits for a change, and until nothing changes any more; `false` where it is told to end instead.
    pub(super) fn wait(&mut self) -> bool {
        // What changed since, and what of the program did while it ran.
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
    fn reported(&mut self) -> bool {
        let mut seen = false;
        self.watcher.reports(|report| {
            let is_hidden = report.name.starts_with(b".") || report.name.ends_with(b"~");
            // What the run itself makes.
            let is_made = report.name.ends_with(b".pyc")
                || report.name == b"__pycache__"
                || report.name.starts_with(SCRATCH.as_bytes());
            let key = (report.watch, report.name.to_vec());
            if self.single.contains(&key) {
                seen = true;
            }
            let Some(folder) = self.folders.get(&report.watch).filter(|_| !is_hidden && !is_made)
            else {
                return;
            };
            match &mut self.run {
                Some(run) if !self.program.contains(&key) && report.name != run.program => {
                    if !report.name.is_empty() && run.others.len() < MOST {
                        run.others.insert(folder.join(OsStr::from_bytes(report.name)));
                    }
                }
                _ => seen = true,
            }
        });
        seen
    }
}

fn is_of_program(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    match Path::new(&name).extension() {
        Some(ending) => OF_PROGRAMS.iter().any(|known| ending == *known),
        None => entry
            .path()
            .metadata()
            .is_ok_and(|stat| stat.is_file() && stat.permissions().mode() & 0o111 != 0),
    }
}

fn add(watcher: &Watcher, folder: &Path) -> Result<i32> {
    let path = CString::new(folder.as_os_str().as_encoded_bytes()).unwrap_or_default();
    watcher.add(&path, APPEARED | VANISHED | CHANGED)
}
