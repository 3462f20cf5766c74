//! Where an installed directory is made before it gets its name, and where one goes that loses it.
//!
//! Everything lies in the folder of participants, under names that begin with a dot: in `.NAME.new` the
//! next one, in `.NAME.work` what a build works on, in `.NAME.old.N` one that was replaced while its
//! supervise still runs in it. Whoever holds the folder's lock may take away what is left of others.

use crate::failure::{Failure, warn};
use crate::here::Here;
use crate::instance;
use std::ffi::{CString, OsStr};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use sys::linux::errno::Errno;
use sys::linux::file::flags::{EEXIST, EINVAL, ENOENT};
use sys::linux::{file, process};

/// The folder of participants, locked.
pub struct Installed {
    folder: PathBuf,
    lock: File,
}

impl Installed {
    /// Makes it where it is missing, waits for whoever else installs or removes, and takes away what
    /// was left by one that was killed.
    ///
    /// # Errors
    /// It cannot be made or locked.
    pub fn lock(here: &Here) -> Result<Self, Failure> {
        let folder = here.places().participants.clone();
        // Whatever the caller's is: who runs what is installed must be able to read it.
        file::set_umask(0o022);
        instance::make_place(here, &folder)?;
        let unable = |why: &std::io::Error| Failure::io("lock", folder.display(), why);
        let lock = File::open(&folder).map_err(|why| unable(&why))?;
        if file::lock_now(lock.as_raw_fd()).is_err() {
            warn("waiting for another skynet that installs or removes something");
            let locked = file::lock_wait(lock.as_raw_fd());
            locked.map_err(|why| Failure::errno("lock", folder.display(), why))?;
        }
        let installed = Self { folder, lock };
        installed.sweep();
        Ok(installed)
    }

    /// Returns where the directory of this name is.
    #[must_use]
    pub fn dir(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Begins the next directory of this name: empty, and nobody else can reach it.
    ///
    /// # Errors
    /// As mkdir(2).
    pub fn stage(&self, name: &str) -> Result<Stage<'_>, Failure> {
        let top = self.folder.join(format!(".{name}.new"));
        let dir = top.join(name);
        let made = DirBuilder::new().mode(0o700).create(&top);
        let made = made.and_then(|()| DirBuilder::new().mode(0o700).create(&dir));
        made.map_err(|why| Failure::io("make", dir.display(), &why))?;
        Ok(Stage { installed: self, name: name.to_owned(), top, dir })
    }

    /// Makes a folder for a build.
    ///
    /// # Errors
    /// As mkdir(2).
    pub fn workplace(&self, name: &str) -> Result<Workplace, Failure> {
        let dir = self.folder.join(format!(".{name}.work"));
        let made = DirBuilder::new().mode(0o700).create(&dir);
        made.map_err(|why| Failure::io("make", dir.display(), &why))?;
        Ok(Workplace { dir })
    }

    /// Takes a directory's name away, and then the directory.
    ///
    /// # Errors
    /// As rename(2) and unlink(2).
    pub fn remove(&self, name: &str) -> Result<(), Failure> {
        let dir = self.dir(name);
        let old = self.set_aside(&dir, name)?;
        self.sync()?;
        fs::remove_dir_all(&old).map_err(|why| Failure::io("remove", old.display(), &why))
    }

    fn set_aside(&self, dir: &Path, name: &str) -> Result<PathBuf, Failure> {
        for number in process::pid().. {
            let old = self.folder.join(format!(".{name}.old.{number}"));
            match fs::rename(dir, &old) {
                Ok(()) => return Ok(old),
                // The one of that number is still in use.
                Err(why)
                    if matches!(
                        why.kind(),
                        ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists
                    ) => {}
                Err(why) => return Err(Failure::io("rename", dir.display(), &why)),
            }
        }
        Err(Failure::trouble(format!("no name is free for what {} was", dir.display())))
    }

    /// Takes away what nobody needs any more. What cannot be taken away now is, the next time.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        for name in names.filter(|name| name.starts_with('.')) {
            let path = self.folder.join(&name);
            let is_work = name.strip_suffix(".work").is_some();
            let new = name.strip_suffix(".new").filter(|name| name.len() > 1);
            // A kill between the exchange and what follows leaves a running service there.
            let is_unused = || !is_in_use(&path);
            if is_work || (new.is_some() || name.contains(".old.")) && is_unused() {
                let _ = fs::remove_dir_all(&path);
            } else if let Some(name) = new {
                let _ = self.set_aside(&path, &name[1..]);
            }
        }
    }

    fn sync(&self) -> Result<(), Failure> {
        let synced = self.lock.sync_all();
        synced.map_err(|why| Failure::io("sync", self.folder.display(), &why))
    }
}

/// Takes away directories that were replaced and are not in use any more, unless somebody installs
/// right now.
pub fn sweep(here: &Here) {
    let folder = &here.places().participants;
    let Ok(lock) = File::open(folder) else { return };
    if file::lock_now(lock.as_raw_fd()).is_ok() {
        Installed { folder: folder.clone(), lock }.sweep();
    }
}

/// Tells whether a process of ours that can be looked at is in a folder or below.
fn is_in_use(folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else { return false };
    let Ok(processes) = fs::read_dir("/proc") else { return true };
    let here = |entry: fs::DirEntry| fs::read_link(entry.path().join("cwd")).ok();
    processes.filter_map(|entry| here(entry.ok()?)).any(|cwd| cwd.starts_with(&folder))
}

/// A folder for a build; it is gone with this.
pub struct Workplace {
    /// It.
    pub dir: PathBuf,
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The next directory of a name. It is gone with this, unless it was put in its place.
pub struct Stage<'a> {
    installed: &'a Installed,
    name: String,
    top: PathBuf,
    /// The directory.
    pub dir: PathBuf,
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        // Where something failed behind the exchange, a service may run there.
        if is_in_use(&self.top) {
            let _ = self.installed.set_aside(&self.top, &self.name);
        } else {
            let _ = fs::remove_dir_all(&self.top);
        }
    }
}

impl Stage<'_> {
    /// Returns where the directory of this name is that it replaces.
    #[must_use]
    pub fn before(&self) -> PathBuf {
        self.installed.dir(&self.name)
    }

    /// Puts the directory in its place, all of it on disk: a kill leaves the old one or this. Where the
    /// supervise of the old one runs in it, that is kept aside until it has ended.
    ///
    /// # Errors
    /// As renameat2(2).
    pub fn put(self) -> Result<(), Failure> {
        self.settle().map_err(|why| Failure::io("sync", self.dir.display(), &why))?;
        let below = Path::new(self.top.file_name().unwrap_or_default()).join(&self.name);
        let new = c_string(below.as_os_str());
        let name = c_string(OsStr::new(&self.name));
        let lock = self.installed.lock.as_raw_fd();
        match file::exchange(lock, &new, &name) {
            Ok(()) => {}
            Err(Errno(ENOENT)) => {
                file::rename_new(lock, &new, &name).map_err(|why| self.unput(why))?;
            }
            Err(why) => return Err(self.unput(why)),
        }
        self.installed.sync()?;
        if is_in_use(&self.dir) {
            self.installed.set_aside(&self.top, &self.name)?;
        }
        Ok(())
    }

    fn unput(&self, why: Errno) -> Failure {
        let dir = self.installed.dir(&self.name);
        match why {
            Errno(EEXIST) => Failure::refused(format!("{} is there already", dir.display())),
            Errno(EINVAL) => Failure::trouble(format!(
                "unable to replace {}: its file system cannot exchange two folders; uninstall it first",
                dir.display()
            )),
            why => Failure::errno("put", dir.display(), why),
        }
    }

    fn settle(&self) -> std::io::Result<()> {
        fs::set_permissions(&self.dir, Permissions::from_mode(0o755))?;
        for folder in [&self.dir, &self.top] {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

fn c_string(name: &OsStr) -> CString {
    CString::new(name.as_bytes()).unwrap_or_default()
}
