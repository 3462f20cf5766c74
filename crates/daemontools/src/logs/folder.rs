//! The files of a log directory, through a handle on it: where it is moved to does not matter.

use super::{Trouble, Why};
use ondisk::logdir::{CURRENT, PREVIOUS, PROCESSED, is_closed, label};
use ondisk::tai64n::Stamp;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use sys::linux::directory;
use sys::linux::errno::{Errno, Result};
use sys::linux::fd::Fd;
use sys::linux::file::{self, HERE};
use sys::linux::watch::{APPEARED, CHANGED, OVERFLOW, VANISHED, Watcher};

/// What names a file whatever it is called: device and inode.
pub type Id = (u64, u64);

/// An open log directory.
#[derive(Debug)]
pub struct Folder {
    dir: Fd,
    path: OsString,
    watcher: Option<Watcher>,
}

/// A file that is open.
#[derive(Clone, Debug)]
pub struct Opened {
    /// It; while somebody holds it, no other file gets its [`Id`].
    pub fd: Rc<Fd>,
    /// What names it.
    pub id: Id,
    /// The name it had.
    pub name: CString,
}

/// What the path of a directory leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leads {
    /// The directory that was opened.
    Here,
    /// Nothing: it was moved. Its logger may still write there.
    Away,
    /// Another one: it was made anew.
    Elsewhere,
    /// Nothing: it was removed.
    Nowhere,
}

/// What there is at a moment.
#[derive(Debug, Default)]
pub struct Listing {
    /// What is being written.
    pub current: Option<Opened>,
    /// What is on its way from `current` to a rotated name.
    pub previous: Option<Opened>,
    /// The same where only what a processor made of it is left.
    pub processed: Option<Opened>,
    /// The rotated files, one name for each moment.
    pub rotated: BTreeMap<Stamp, CString>,
    /// What is there and cannot be opened.
    pub troubles: Vec<Trouble>,
}

impl Folder {
    /// Opens the directory `path`.
    ///
    /// # Errors
    /// As open(2); `ENOTDIR` where it is none.
    pub fn open(path: &OsStr) -> Result<Self> {
        let name = CString::new(path.as_bytes()).map_err(|_| Errno(libc::ENOENT))?;
        let dir = file::open(HERE, &name, libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        Ok(Self { dir, path: path.to_owned(), watcher: None })
    }

    /// Returns the path by which it was opened.
    #[must_use]
    pub fn path(&self) -> &OsStr {
        &self.path
    }

    /// Asks to be told of changes from now on. Where that cannot be had (a network's file system,
    /// no inotify, no /proc) one has to look from time to time.
    pub fn watch(&mut self) {
        // By its handle: the path may lead elsewhere by now.
        let path = CString::new(format!("/proc/self/fd/{}", self.dir.raw())).unwrap_or_default();
        if !file::tells_changes(&path) {
            return;
        }
        self.watcher = Watcher::new()
            .ok()
            .filter(|watcher| watcher.add(&path, APPEARED | VANISHED | CHANGED).is_ok());
    }

    /// Returns the descriptor that is readable when something changed; `None` = one has to look.
    #[must_use]
    pub fn raw_watcher(&self) -> Option<i32> {
        self.watcher.as_ref().map(Watcher::raw)
    }

    /// Hands over the names of rotated files that appeared since this was asked last, and tells
    /// whether the kernel has dropped some.
    #[must_use]
    pub fn told(&self, mut each: impl FnMut(Stamp, CString)) -> bool {
        let mut overflow = false;
        let Some(watcher) = &self.watcher else { return false };
        watcher.reports(|report| {
            overflow |= report.what & OVERFLOW != 0;
            if report.what & APPEARED == 0 {
                return;
            }
            if let Some((stamp, end)) = label(report.name)
                && rank(end).is_some()
                && let Ok(name) = CString::new(report.name)
            {
                each(stamp, name);
            }
        });
        overflow
    }

    /// Tells what its path leads to now.
    #[must_use]
    pub fn path_leads(&self) -> Leads {
        let Ok(own) = file::stat_fd(self.dir.raw()) else { return Leads::Here };
        let name = CString::new(self.path.as_bytes()).unwrap_or_default();
        match file::stat(HERE, &name, true) {
            Ok(there) if there.id() == own.id() => Leads::Here,
            Ok(there) if there.is_dir() => Leads::Elsewhere,
            _ if !own.has_no_name() => Leads::Away,
            _ => Leads::Nowhere,
        }
    }

    /// Opens a file for reading: a regular one, and no symbolic link.
    ///
    /// # Errors
    /// As open(2); `EINVAL` where it is no regular file.
    pub fn open_file(&self, name: &CStr) -> Result<Opened> {
        let flags = libc::O_RDONLY | libc::O_NOCTTY;
        let (fd, stat) = file::open_regular(self.dir.raw(), name, flags, 0)?;
        Ok(Opened { fd: fd.into(), id: stat.id(), name: name.to_owned() })
    }

    /// Opens a rotated file; under another name with the same moment, where it was given one:
    /// compressed, or by svlogd's processor.
    ///
    /// # Errors
    /// As [`Folder::open_file`].
    pub fn open_rotated(&self, stamp: Stamp, name: &CStr) -> Result<Opened> {
        match self.open_file(name) {
            Err(Errno(libc::ENOENT)) => {
                let mut rotated = BTreeMap::new();
                self.names(&mut rotated)?;
                let other = rotated.get(&stamp).filter(|other| other.as_c_str() != name);
                other.map_or(Err(Errno(libc::ENOENT)), |other| self.open_file(other))
            }
            answer => answer,
        }
    }

    /// Returns what names the file that is called so now.
    #[must_use]
    pub fn id_of(&self, name: &CStr) -> Option<Id> {
        file::stat(self.dir.raw(), name, false).ok().map(|stat| stat.id())
    }

    /// Looks at what there is.
    ///
    /// A file is renamed or linked from `current` to `previous`, from there (or from `processed`,
    /// once that is complete and `previous` gone) to a rotated name. The names are looked at in
    /// this order, so that no file is missed on its way; one that is met twice has one [`Id`].
    ///
    /// # Errors
    /// As getdents64(2).
    pub fn list(&self) -> core::result::Result<Listing, Trouble> {
        let mut listing = Listing::default();
        let troubles = &mut listing.troubles;
        listing.current = self.look(CURRENT, troubles);
        listing.previous = self.look(PREVIOUS, troubles);
        if listing.previous.is_none() {
            let closed =
                |it: &Opened| file::stat_fd(it.fd.raw()).is_ok_and(|stat| is_closed(stat.mode()));
            listing.processed = self.look(PROCESSED, troubles).filter(closed);
        }
        self.names(&mut listing.rotated).map_err(|why| Trouble {
            verb: "read directory",
            file: CString::default(),
            why: Some(Why::System(why)),
        })?;
        Ok(listing)
    }

    /// Tells whether `current` and `previous` are still what they were.
    #[must_use]
    pub fn is_as(&self, listing: &Listing) -> bool {
        let same = |name, open: &Option<Opened>| self.id_of(name) == open.as_ref().map(|o| o.id);
        let unreadable = listing.troubles.iter().any(|trouble| trouble.file.as_c_str() != c"");
        unreadable || same(CURRENT, &listing.current) && same(PREVIOUS, &listing.previous)
    }

    fn look(&self, name: &CStr, troubles: &mut Vec<Trouble>) -> Option<Opened> {
        match self.open_file(name) {
            Ok(file) => Some(file),
            Err(Errno(libc::ENOENT)) => None,
            Err(why) => {
                troubles.push(Trouble {
                    verb: "open",
                    file: name.to_owned(),
                    why: Some(Why::System(why)),
                });
                None
            }
        }
    }

    fn names(&self, rotated: &mut BTreeMap<Stamp, CString>) -> Result<()> {
        // Of its own, since a descriptor remembers how far it was read.
        let dir = file::open(self.dir.raw(), c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        directory::for_each(dir.raw(), |name| {
            if let Some((stamp, end)) = label(name.to_bytes())
                && let Some(rank) = rank(end)
            {
                let other = rotated.get(&stamp).and_then(|other| label(other.to_bytes()));
                if other.and_then(|(_, end)| self::rank(end)).is_none_or(|other| rank < other) {
                    rotated.insert(stamp, name.to_owned());
                }
            }
            None::<()>
        })?;
        Ok(())
    }
}

/// Ranks what stands behind the moment in a name. Of two names with the same moment the lower
/// counts: svlogd keeps `.u` until its processor has made `.s` of it, and gzip(1) the file until
/// all of it is compressed. `None`: it is not complete.
fn rank(end: &[u8]) -> Option<u8> {
    let ends_in = |ends: &[&str]| ends.iter().any(|known| end.ends_with(known.as_bytes()));
    match end {
        b"s" => Some(0),
        b"u" => Some(1),
        b"t" | b"" => None,
        _ if ends_in(&[".tmp", ".part", ".new", ".t"]) => None,
        _ if ends_in(&[".gz", ".zst", ".xz", ".bz2"]) => Some(3),
        // daemontools-encore's `w` may ask for any other.
        _ => Some(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_what_is_complete_are_ranked() {
        let ends = [&b"s"[..], b"u", b"old.log", b"s.gz"];
        let ranks = ends.map(|end| rank(end).unwrap());
        assert!(ranks.is_sorted_by(|a, b| a < b));
        for end in [&b""[..], b"t", b"s.tmp", b"s.gz.part"] {
            assert_eq!(rank(end), None);
        }
    }
}
