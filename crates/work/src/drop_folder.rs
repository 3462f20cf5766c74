//! The folder in which everybody may leave an item for a queue.

use crate::change::{Applied, Change, NewJob};
use crate::item::Invalid;
use crate::place::make_folder;
use crate::store::{Error, Store};
use crate::trouble::Trouble;
use machine::work::Fault;
use std::ffi::OsStr;
use std::fs::{self, DirEntry, File};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Everybody may put a file there; only the folder's owner can list it or take another's away;
/// the files' group is the folder's.
const FOLDER_MODE: u32 = 0o3733;
const TAKEN_MODE: u32 = 0o700;
/// Files that are taken in one go: a flood keeps nobody from their turn.
const AT_ONCE: usize = 64;
/// Of what is no item, this much is kept with the reason.
const KEPT: usize = 64 << 10;

/// A queue's drop folder.
#[derive(Clone, Debug)]
pub struct DropFolder {
    path: PathBuf,
    queue: String,
    limit: usize,
}

/// What was found in a drop folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Items that are jobs now.
    pub submitted: usize,
    /// Items that had been jobs before.
    pub known: usize,
    /// Files that are no items, or too long: dead items now.
    pub buried: usize,
    /// What is no file, or has a second name: removed, or left where that cannot be.
    pub odd: usize,
    /// There may be more.
    pub more: bool,
}

impl DropFolder {
    /// Opens a queue's folder; makes it where there is none. An item has `limit` bytes at most.
    ///
    /// # Errors
    /// [`Trouble`]: it cannot be made.
    pub fn open(path: &Path, queue: &str, limit: usize) -> Result<Self, Trouble> {
        make_folder(path, FOLDER_MODE)?;
        make_folder(&path.join(".taken"), TAKEN_MODE)?;
        Ok(Self { path: path.to_owned(), queue: queue.to_owned(), limit })
    }

    fn taken(&self) -> PathBuf {
        self.path.join(".taken")
    }

    /// Makes jobs of the files that are there.
    ///
    /// A file is moved to a folder of ours, recorded, and removed, in this order: whoever dies in
    /// between leaves it to be found again, and it is recorded under the same name.
    ///
    /// # Errors
    /// [`Trouble`]: what was not recorded is still there.
    pub fn collect(&self, store: &mut Store) -> Result<Collected, Trouble> {
        let mut collected = Collected::default();
        // Left by a life that was killed, or another's who is at it right now.
        for entry in list(&self.taken())? {
            self.record(&entry.path(), store, &mut collected)?;
        }
        for entry in list(&self.path)? {
            if entry.file_name().as_bytes().starts_with(b".") {
                continue;
            }
            if collected.submitted + collected.known + collected.buried >= AT_ONCE {
                collected.more = true;
                break;
            }
            if let Some(taken) = self.take_away(&entry, &mut collected)? {
                self.record(&taken, store, &mut collected)?;
            }
        }
        Ok(collected)
    }

    /// Moves a file to where nobody else can touch its name. `None` = there is nothing to record.
    fn take_away(
        &self,
        entry: &DirEntry,
        collected: &mut Collected,
    ) -> Result<Option<PathBuf>, Trouble> {
        let path = entry.path();
        let Ok(found) = fs::symlink_metadata(&path) else { return Ok(None) };
        if !found.is_file() || found.nlink() != 1 {
            collected.odd += 1;
            // A folder that is not empty stays: it is not ours to search.
            let _ = if found.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) };
            return Ok(None);
        }
        let mut name =
            format!("{}.{}.{}.", found.ino(), found.mtime(), found.mtime_nsec()).into_bytes();
        name.extend_from_slice(entry.file_name().as_bytes());
        // A name may have 255 bytes; the beginning tells ours apart.
        name.truncate(255);
        let taken = self.taken().join(OsStr::from_bytes(&name));
        match fs::rename(&path, &taken) {
            Ok(()) => Ok(Some(taken)),
            // Another exo of the queue was faster, or its owner took it back.
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Trouble::io("move", &path, e)),
        }
    }

    fn record(
        &self,
        path: &Path,
        store: &mut Store,
        collected: &mut Collected,
    ) -> Result<(), Trouble> {
        // It was looked at under a name that others could change; now it is not.
        let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
        if !found.is_file() || found.nlink() != 1 {
            collected.odd += 1;
            return remove(path);
        }
        let mut bytes = Vec::new();
        let most = self.limit as u64 + 1;
        let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
        match read {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Trouble::io("read", path, e)),
            Ok(_) => {}
        }
        let change = self.change(path, found.uid(), found.len(), bytes);
        match store.apply(&change) {
            Ok(Applied::Known(_)) => collected.known += 1,
            Ok(Applied::Buried(_)) => collected.buried += 1,
            Ok(_) => collected.submitted += 1,
            Err(Error::Trouble(trouble)) => return Err(trouble),
            Err(Error::Refused(_)) => collected.odd += 1,
        }
        remove(path)
    }

    /// Returns what is to be recorded of a file's bytes.
    fn change(&self, path: &Path, owner: u32, size: u64, bytes: Vec<u8>) -> Change {
        let kept = bytes.get(..KEPT).unwrap_or(&bytes).to_vec();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let owner = Some(owner);
        match NewJob::from_item(&self.queue, bytes, self.limit, &format!("drop!{name}")) {
            Ok(job) => Change::Submit(Box::new(NewJob { owner, ..job })),
            Err(why) => {
                let why = match why {
                    // No more was read than shows that it is too long.
                    Invalid::TooLong { limit, .. } => {
                        let bytes = usize::try_from(size).unwrap_or(usize::MAX);
                        Invalid::TooLong { bytes, limit }
                    }
                    other @ Invalid::NotAnItem(_) => other,
                };
                Change::Bury {
                    queue: self.queue.clone(),
                    owner,
                    fault: Fault::INVALID,
                    reason: why.to_string(),
                    bytes: kept,
                }
            }
        }
    }
}

fn remove(path: &Path) -> Result<(), Trouble> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Trouble::io("remove", path, e)),
        _ => Ok(()),
    }
}

fn list(folder: &Path) -> Result<impl Iterator<Item = DirEntry>, Trouble> {
    let entries = fs::read_dir(folder).map_err(|e| Trouble::io("read", folder, e))?;
    Ok(entries.filter_map(Result::ok))
}
