//! The folder in which everybody may leave an item for a queue.

mod own;
#[cfg(test)]
mod tests;
mod unread;

use crate::change::{Applied, Change, NewJob};
use crate::envelope;
use crate::item::{self, Invalid};
use crate::store::{Error, Store};
use crate::trouble::{Trouble, reason};
use linux::process;
use machine::work::Fault;
use std::ffi::OsStr;
use std::fs::{self, DirEntry, File, Metadata, OpenOptions, ReadDir};
use std::io::{self, ErrorKind, Read};
use std::iter::Chain;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use unread::Unreads;

pub use unread::Unread;

/// Everybody may put a file there; only the folder's owner can list it or take another's away;
/// the files' group is the folder's.
const FOLDER_MODE: u32 = 0o3733;
/// Ours alone.
const TAKEN: &str = ".taken";
/// Names that are looked at in one go: a flood of whatever kind keeps nobody from their turn.
const AT_ONCE: usize = 64;
/// Characters of the reason that are told for many.
const TOLD: usize = 500;
/// Of what is no item, this much is kept with the reason.
const KEPT: usize = 64 << 10;

/// A queue's drop folder.
#[derive(Debug)]
pub struct DropFolder {
    path: PathBuf,
    queue: String,
    limit: usize,
    /// It was there once.
    is_made: bool,
    /// What is left of the look that is under way: what is in `.taken`, then what is in the folder.
    rest: Option<Chain<ReadDir, ReadDir>>,
    unreads: Unreads,
    /// Why the first of those is a dead item that were buried since that was told.
    first_why: Option<String>,
}

impl Clone for DropFolder {
    /// The copy looks for itself.
    fn clone(&self) -> Self {
        let Self { path, queue, limit, is_made, .. } = self;
        let (path, queue) = (path.clone(), queue.clone());
        let (limit, is_made) = (*limit, *is_made);
        let (unreads, first_why) = (Unreads::default(), None);
        Self { path, queue, limit, is_made, rest: None, unreads, first_why }
    }
}

/// What was found in a drop folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Items that are jobs now.
    pub submitted: usize,
    /// Items that had been jobs before.
    pub known: usize,
    /// What is no item, too long, no plain file, or has a second name: dead items now.
    pub buried: usize,
    /// Older dead items of the same owners that went for those.
    pub gone: usize,
    /// What cannot be taken away, such as folders with something in them: left where it is.
    pub odd: usize,
    /// Files that cannot be read: left where they are until they can.
    pub unread: usize,
    /// The look at the folder is not over: the next call goes on with it.
    pub more: bool,
}

impl DropFolder {
    /// Names a queue's folder; makes it where there is none, and can be made: else that is tried again
    /// with each look. An item has `limit` bytes at most.
    #[must_use]
    pub fn open(path: &Path, queue: &str, limit: usize) -> Self {
        let (path, queue) = (path.to_owned(), queue.to_owned());
        let (unreads, first_why) = (Unreads::default(), None);
        let mut folder =
            Self { path, queue, limit, is_made: false, rest: None, unreads, first_why };
        // The first look says why not.
        let _ = folder.make();
        folder
    }

    fn make(&mut self) -> Result<(), Trouble> {
        // One that is gone later was taken away by somebody.
        if !self.is_made {
            own::make(&self.path).map_err(|why| match why {
                Trouble::Io { verb, path, source } => self.trouble(verb, &path, source),
                other => other,
            })?;
            self.is_made = true;
        }
        Ok(())
    }

    fn taken(&self) -> PathBuf {
        self.path.join(TAKEN)
    }

    /// Tells whether a look at the folder was begun and is not over. It may miss files that came
    /// since: whoever hears of such looks again.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        self.rest.is_some()
    }

    /// Makes jobs of the files that are there: of a portion of them with each call.
    ///
    /// A file is moved to a folder of ours, recorded, and removed, in this order: whoever dies in
    /// between leaves it to be found again, and it is recorded under the same name. What is wrong
    /// with one file ends with that file: it is a dead item, with the reason.
    ///
    /// # Errors
    /// [`Trouble`] of the machine or of the folder: what was not recorded is still there.
    pub fn collect(&mut self, store: &mut Store) -> Result<Collected, Trouble> {
        self.make()?;
        let mut collected = Collected::default();
        let mut rest = match self.rest.take() {
            Some(rest) => rest,
            None => self.begin()?,
        };
        // What cannot be taken away stands before the others each time, so a look goes on where
        // the last portion ended.
        for _ in 0..AT_ONCE {
            let Some(entry) = rest.next() else {
                self.unreads.end_look();
                return Ok(collected);
            };
            let entry = entry.map_err(|e| self.trouble("read", &self.path, e))?;
            self.look_at(&entry, store, &mut collected)?;
        }
        self.rest = Some(rest);
        Ok(Collected { more: true, ..collected })
    }

    /// Begins a look.
    fn begin(&mut self) -> Result<Chain<ReadDir, ReadDir>, Trouble> {
        let taken = self.taken();
        if let Err(why) = own::check(&taken) {
            // Ours is made once somebody has moved away what is in its place; one that is gone with all of
            // the folder was taken away.
            self.is_made = !self.path.is_dir();
            return Err(self.trouble("use", &taken, why));
        }
        // In `.taken`: left by a life that was killed, or another's who is at it right now.
        Ok(self.list(&taken)?.chain(self.list(&self.path)?))
    }

    /// Returns the files that cannot be read and of which that was not told before.
    pub fn unread(&mut self) -> Vec<Unread> {
        self.unreads.news()
    }

    /// Returns why the first became a dead item of those that did since this was asked.
    pub fn first_why(&mut self) -> Option<String> {
        self.first_why.take()
    }

    fn look_at(
        &mut self,
        entry: &DirEntry,
        store: &mut Store,
        collected: &mut Collected,
    ) -> Result<(), Trouble> {
        let path = entry.path();
        if path.parent() == Some(&self.taken()) {
            self.record(&path, None, store, collected)
        } else if entry.file_name().as_bytes().starts_with(b".") {
            Ok(())
        } else if let Some((taken, file)) = self.take_away(entry, store, collected)? {
            self.record(&taken, Some(file), store, collected)
        } else {
            Ok(())
        }
    }

    /// Opens a file and moves it to where nobody else can touch its name. `None` = there is nothing to
    /// record.
    fn take_away(
        &mut self,
        entry: &DirEntry,
        store: &mut Store,
        collected: &mut Collected,
    ) -> Result<Option<(PathBuf, File)>, Trouble> {
        let path = entry.path();
        let Some(found) = self.find(&path, collected)? else { return Ok(None) };
        if !is_plain(&found) {
            return self.reject(&path, &found, store, collected).map(|()| None);
        }
        let file = match open(&path) {
            Ok(file) => file,
            // Where it is, its owner can let us read it.
            Err(why) => return self.unread_or_gone(&path, &found, why, collected).map(|()| None),
        };
        let written = (found.mtime(), found.mtime_nsec());
        let name = taken_name(found.ino(), written, &entry.file_name());
        let taken = self.taken().join(OsStr::from_bytes(&name));
        match fs::rename(&path, &taken) {
            Ok(()) => Ok(Some((taken, file))),
            // Another exo of the queue was faster, or its owner took it back.
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) if self.is_of_all(&e) => Err(self.trouble("move", &path, e)),
            Err(_) => {
                collected.odd += 1;
                Ok(None)
            }
        }
    }

    /// Looks what a file is; `None` = it is gone, or nobody can tell, as where its owner mounted something.
    /// One that cannot be looked at for a moment is looked for again: nobody tells of it a second time.
    fn find(&self, path: &Path, collected: &mut Collected) -> Result<Option<Metadata>, Trouble> {
        match fs::symlink_metadata(path) {
            Ok(found) => Ok(Some(found)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) if self.is_of_all(&e) => Err(self.trouble("look at", path, e)),
            Err(_) => {
                collected.odd += 1;
                Ok(None)
            }
        }
    }

    /// Returns why a file cannot be read, where that is for the file; `None` = it is gone.
    fn unless_gone(&self, path: &Path, why: io::Error) -> Result<Option<io::Error>, Trouble> {
        match why.kind() {
            ErrorKind::NotFound => Ok(None),
            _ if is_of_machine(&why) => Err(self.trouble("read", path, why)),
            _ => Ok(Some(why)),
        }
    }

    /// Notes that a file cannot be read, unless it is gone.
    fn unread_or_gone(
        &mut self,
        path: &Path,
        found: &Metadata,
        why: io::Error,
        collected: &mut Collected,
    ) -> Result<(), Trouble> {
        let Some(why) = self.unless_gone(path, why)? else { return Ok(()) };
        let group = fs::metadata(&self.path).map(|folder| folder.gid()).ok();
        self.unreads.meet(path, found, group, &why);
        collected.unread += 1;
        Ok(())
    }

    /// Records a file that was taken away, and removes it. `file`: opened under the name that it had,
    /// which others could change, so that it may be another's.
    fn record(
        &mut self,
        path: &Path,
        file: Option<File>,
        store: &mut Store,
        collected: &mut Collected,
    ) -> Result<(), Trouble> {
        let Some(found) = self.find(path, collected)? else { return Ok(()) };
        if !is_plain(&found) {
            // Its owner put it in the place of the file that was looked at.
            return self.reject(path, &found, store, collected);
        }
        let file = file.filter(|file| is_same(file, &found)).map_or_else(|| open(path), Ok);
        match file.and_then(|file| read(file, self.limit)) {
            Ok(bytes) => {
                let change = self.change(path, &found, bytes);
                self.keep(path, &found, change, store, collected)?;
                self.remove(path, &found, collected).map(drop)
            }
            // Its owner put another in the place of the one that was opened, or took our right to
            // read it. Here they can do nothing about it any more.
            Err(why) => {
                let Some(why) = self.unless_gone(path, why)? else { return Ok(()) };
                let why = format!("it could not be read once it was taken: {}", reason(&why));
                let change = self.burial(&found, why, &[]);
                self.keep(path, &found, change, store, collected)?;
                self.remove(path, &found, collected).map(drop)
            }
        }
    }

    /// Records what a file is, unless that was done.
    fn keep(
        &mut self,
        path: &Path,
        found: &Metadata,
        change: Change,
        store: &mut Store,
        collected: &mut Collected,
    ) -> Result<(), Trouble> {
        let once = |change| Change::Dropped { file: sum_of(path, found), change: Box::new(change) };
        let mut change = once(change);
        let mut made = store.apply(&change);
        if let (Err(Error::Refused(why)), Change::Dropped { change: asked, .. }) = (&made, &change)
            && let Change::Submit(job) = &**asked
        {
            change = once(self.burial(found, why.to_string(), &job.item));
            made = store.apply(&change);
        }
        match made {
            // Whoever did that died before it was removed, or is about to remove it.
            Ok(Applied::Seen) => {}
            Ok(Applied::Known(_)) => collected.known += 1,
            Ok(Applied::Buried { gone, .. }) => self.buried(&change, gone, collected),
            Ok(_) => collected.submitted += 1,
            Err(Error::Trouble(trouble)) => return Err(trouble),
            Err(Error::Refused(_)) => collected.odd += 1,
        }
        Ok(())
    }

    /// Counts a dead item, and those that went for it.
    fn buried(&mut self, change: &Change, gone: usize, collected: &mut Collected) {
        collected.buried += 1;
        collected.gone += gone;
        let change = if let Change::Dropped { change, .. } = change { change } else { change };
        if let Change::Bury { reason, .. } = change {
            self.first_why.get_or_insert_with(|| reason.chars().take(TOLD).collect());
        }
    }

    /// Keeps that something was there which is not read: it may be a way to another's file.
    fn note(
        &mut self,
        path: &Path,
        found: &Metadata,
        store: &mut Store,
        collected: &mut Collected,
    ) -> Result<(), Trouble> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let why = format!("{name} is no plain file, or has a second name");
        let burial = self.burial(found, why, &[]);
        match store.apply(&burial) {
            Err(Error::Trouble(trouble)) => return Err(trouble),
            Err(Error::Refused(_)) => collected.odd += 1,
            Ok(Applied::Buried { gone, .. }) => self.buried(&burial, gone, collected),
            Ok(_) => {}
        }
        Ok(())
    }

    /// Removes what is never read, and keeps that it was there.
    fn reject(
        &mut self,
        path: &Path,
        found: &Metadata,
        store: &mut Store,
        collected: &mut Collected,
    ) -> Result<(), Trouble> {
        if self.remove(path, found, collected)? {
            self.note(path, found, store, collected)?;
        }
        Ok(())
    }

    /// Tells whether it has removed something. A folder that is not empty stays: it is not ours to search.
    fn remove(
        &self,
        path: &Path,
        found: &Metadata,
        collected: &mut Collected,
    ) -> Result<bool, Trouble> {
        let gone = if found.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
        match gone {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) if self.is_of_all(&e) => Err(self.trouble("remove", path, e)),
            Err(_) => {
                collected.odd += 1;
                Ok(false)
            }
        }
    }

    fn list(&self, folder: &Path) -> Result<ReadDir, Trouble> {
        fs::read_dir(folder).map_err(|e| self.trouble("read", folder, e))
    }

    fn trouble(&self, verb: &'static str, path: &Path, source: io::Error) -> Trouble {
        let (folder, path) = (self.path.clone(), path.to_owned());
        Trouble::Drops { folder, verb, path, source }
    }

    /// Tells whether it would be so with every name there: else the look goes on without the one.
    fn is_of_all(&self, why: &io::Error) -> bool {
        is_of_machine(why) || self.is_closed(why)
    }

    /// Tells whether it is for the folders that something cannot be done: we may not write there, or they
    /// are another's, who alone may take away what belongs to others. What a folder in one is, its owner
    /// decides: that it may not be moved is for that folder alone.
    fn is_closed(&self, why: &io::Error) -> bool {
        let is_ours = |path: &Path| {
            fs::metadata(path)
                .is_ok_and(|found| found.uid() == process::euid() && found.mode() & 0o300 == 0o300)
        };
        matches!(why.raw_os_error(), Some(libc::EACCES | libc::EPERM))
            && !(is_ours(&self.path) && is_ours(&self.taken()))
    }

    /// Returns what is to be recorded of a file's bytes.
    fn change(&self, path: &Path, found: &Metadata, bytes: Vec<u8>) -> Change {
        let kept = bytes.get(..KEPT).unwrap_or(&bytes).to_vec();
        let name = path.file_name().unwrap_or_default().as_bytes();
        let owner = Some(found.uid());
        match NewJob::from_item(&self.queue, bytes, self.limit, &job_name(name)) {
            Ok(job) => match item::flaw_of_process(&job.wfid) {
                Some(why) => self.burial(found, why, &kept),
                None => Change::Submit(Box::new(NewJob { owner, ..job })),
            },
            Err(why) => {
                let why = match why {
                    // No more was read than shows that it is too long.
                    Invalid::TooLong { bytes, limit } => {
                        let whole = usize::try_from(found.len()).unwrap_or(usize::MAX);
                        Invalid::TooLong { bytes: bytes.max(whole), limit }
                    }
                    other @ Invalid::NotAnItem(_) => other,
                };
                self.burial(found, why.to_string(), &kept)
            }
        }
    }

    /// Returns how a file is kept that becomes no job.
    fn burial(&self, found: &Metadata, reason: String, bytes: &[u8]) -> Change {
        Change::Bury {
            queue: self.queue.clone(),
            owner: Some(found.uid()),
            fault: Fault::INVALID,
            reason,
            bytes: bytes.get(..KEPT).unwrap_or(bytes).to_vec(),
        }
    }
}

/// Tells whether it is a file that whoever put it there can only have written.
fn is_plain(found: &Metadata) -> bool {
    found.is_file() && found.nlink() == 1
}

/// Returns the name of a file once it is taken: by what it is, and its own name.
fn taken_name(inode: u64, (seconds, nanos): (i64, i64), name: &OsStr) -> Vec<u8> {
    let mut taken = format!("{inode}.{seconds}.{nanos}.").into_bytes();
    taken.extend_from_slice(name.as_bytes());
    // A name may have 255 bytes; the beginning tells ours apart.
    taken.truncate(255);
    taken
}

/// Returns what tells a file that was taken from all others, also from one that is put there again
/// with the same number, time and name: nobody changes it any more, so it says when it was moved.
fn sum_of(taken: &Path, found: &Metadata) -> i64 {
    let mut whole = format!("{}.{}.", found.ctime(), found.ctime_nsec()).into_bytes();
    whole.extend_from_slice(taken.file_name().unwrap_or_default().as_bytes());
    item::checksum(&whole)
}

/// Returns what names the job of a file that was taken, where its item does not.
fn job_name(taken: &[u8]) -> String {
    format!("drop!{}", String::from_utf8_lossy(taken))
}

/// Returns what names the job that is made of a file in a drop folder, where its item has no name:
/// `written` is when it was written last, in seconds and nanoseconds.
#[must_use]
pub fn drop_name(inode: u64, written: (i64, i64), name: &OsStr) -> String {
    job_name(&taken_name(inode, written, name))
}

fn open(path: &Path) -> io::Result<File> {
    // Its owner could have us wait: by a lease on it, which must not be waited for.
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Tells whether an open file is the one that was looked at.
fn is_same(file: &File, found: &Metadata) -> bool {
    file.metadata().is_ok_and(|open| (open.dev(), open.ino()) == (found.dev(), found.ino()))
}

/// Reads a file, at most one byte more than an item in its envelope may have.
fn read(file: File, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = limit.saturating_add(envelope::AROUND + 1);
    file.take(most as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Tells whether it is the machine that cannot, rather than that the one file is odd.
fn is_of_machine(error: &io::Error) -> bool {
    use libc::{EDQUOT, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, EROFS};
    const ALL: [i32; 7] = [EDQUOT, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, EROFS];
    error.raw_os_error().is_some_and(|code| ALL.contains(&code))
}
