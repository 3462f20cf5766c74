//! An engine on disk: a file for each process, one for the registry, and the lock of who serves.

use super::machine::Engine;
use super::process::Process;
use super::registry::{self, Registry};
use crate::failure::Failure;
use crate::here::Here;
use crate::items::hand::Own;
use crate::kept;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use sys::linux::fd::Fd;

const ENDING: &str = ".json";
/// As the store: for its owner, and for the group to read.
const FOLDER_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;

/// The folder of an engine, within that of the store.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

/// Becomes whoever the store belongs to, for good, where we are root: what lies there may be changed
/// by them while we look.
///
/// # Errors
/// That cannot be.
pub fn become_owner(here: &Here) -> Result<(), Failure> {
    if here.uid == 0 && here.places().store.exists() {
        Own::open(here)?;
    }
    Ok(())
}

impl Folder {
    /// Returns it, which need not be there.
    #[must_use]
    pub fn of(here: &Here) -> Self {
        Self { path: here.places().store.join("engine") }
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it where there is none.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make(&self) -> Result<(), Failure> {
        match DirBuilder::new().mode(FOLDER_MODE).create(&self.path) {
            Err(why) if why.kind() == ErrorKind::AlreadyExists => return Ok(()),
            made => made.and_then(|()| mode(&self.path, FOLDER_MODE)),
        }
        .map_err(|why| Failure::io("make", self.path.display(), &why))
    }

    /// Becomes the one that serves; `None` = another does. As long as what is returned lives.
    ///
    /// # Errors
    /// The lock cannot be opened.
    pub fn lock(&self) -> Result<Option<Fd>, Failure> {
        kept::lock(&self.path)
    }

    /// Reads everything.
    ///
    /// # Errors
    /// A file cannot be used, which is named.
    pub fn load(&self) -> Result<Engine, Failure> {
        let registry = self.read::<Registry>(registry::NAME)?.unwrap_or_default();
        let mut processes = std::collections::BTreeMap::new();
        for name in self.names()? {
            if let Some(process) = self.process(&name)? {
                processes.insert(name, process);
            }
        }
        Ok(Engine { registry, processes, ..Engine::default() })
    }

    /// Returns the names of all processes.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn names(&self) -> Result<Vec<String>, Failure> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(why) => return Err(Failure::io("read", self.path.display(), &why)),
        };
        let name = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            let name = name.strip_suffix(ENDING)?;
            super::machine::flaw(name).is_none().then(|| name.to_owned())
        };
        let mut names: Vec<String> = entries.flatten().filter_map(name).collect();
        names.sort();
        Ok(names)
    }

    /// Reads a process; `None` = there is none of this name.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn process(&self, wfid: &str) -> Result<Option<Process>, Failure> {
        self.read(wfid)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}{ENDING}"))
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Failure> {
        let path = self.file(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(Failure::io("read", path.display(), &why)),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|why| {
            let path = path.display();
            Failure::trouble(format!("unable to use {path}: {why}; move it away to go on without"))
        })
    }

    /// Keeps a process. `safely`: it is on disk when this returns.
    ///
    /// # Errors
    /// It cannot be written; what was kept before stays.
    pub fn keep(&self, process: &Process, safely: bool) -> Result<(), Failure> {
        self.write(&process.wfid, process, safely)
    }

    /// Keeps the registry.
    ///
    /// # Errors
    /// As of [`keep`](Self::keep).
    pub fn keep_registry(&self, registry: &Registry) -> Result<(), Failure> {
        self.write(registry::NAME, registry, true)
    }

    /// Forgets a process.
    ///
    /// # Errors
    /// Its file cannot be removed.
    pub fn forget(&self, wfid: &str) -> Result<(), Failure> {
        let path = self.file(wfid);
        fs::remove_file(&path).map_err(|why| Failure::io("remove", path.display(), &why))
    }

    fn write<T: Serialize>(&self, name: &str, what: &T, safely: bool) -> Result<(), Failure> {
        let put = || -> io::Result<()> {
            let bytes = serde_json::to_vec(what)?;
            kept::replace(&self.path, &format!("{name}{ENDING}"), FILE_MODE, &bytes, safely)
        };
        put().map_err(|why| Failure::io("write", self.file(name).display(), &why))
    }
}

/// Gives this mode, whatever the umask.
fn mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}
