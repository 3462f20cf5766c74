//! Copies a folder that others may have made and may be changing: nothing of it leads elsewhere.
//!
//! The source is walked by handles, and no link is followed. What it is copied to is ours alone.

use crate::failure::Failure;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use sys::linux::errno::Errno;
use sys::linux::fd::{self, Fd};
use sys::linux::file::flags::{ENOSPC, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY};
use sys::linux::file::{self, HERE, Stat};
use sys::linux::{directory, folder};

/// Most entries, and most folders in one another: more is no participant.
const MOST: usize = 100_000;
const DEEPEST: usize = 64;
/// What is left of permission bits: nothing that lets others write, nothing that lends rights.
const KEPT: u32 = 0o755;

/// Opens the folder to copy from.
///
/// # Errors
/// As open(2).
pub fn open(path: &Path) -> Result<Fd, Failure> {
    let c_path = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
    let opened = file::open(HERE, &c_path, O_RDONLY | O_DIRECTORY, 0);
    opened.map_err(|why| Failure::errno("open", path.display(), why))
}

/// Copies what is in the folder `from`, called `shown`, into `to`, which is there; `leaves_out` is
/// asked about each path below it.
///
/// # Errors
/// Something cannot be read or written, or is neither file, folder nor link; a link leads out of the
/// folder, or nowhere.
pub fn copy(
    from: &Fd,
    shown: &Path,
    to: &Path,
    leaves_out: &dyn Fn(&Path) -> bool,
) -> Result<(), Failure> {
    let mut copier = Copier { shown, to, leaves_out, entries: 0, links: Vec::new() };
    copier.folder(from, Path::new(""), 0)?;
    copier.look_at_links()
}

struct Copier<'a> {
    shown: &'a Path,
    to: &'a Path,
    leaves_out: &'a dyn Fn(&Path) -> bool,
    entries: usize,
    links: Vec<PathBuf>,
}

impl Copier<'_> {
    fn folder(&mut self, from: &Fd, below: &Path, depth: usize) -> Result<(), Failure> {
        let unable = |why| Failure::errno("read", self.shown.join(below).display(), why);
        if depth > DEEPEST {
            return Err(self.refuse(below, "lies too deep, in more than 64 folders"));
        }
        let mut names: Vec<CString> = Vec::new();
        directory::for_each(from.raw(), |name| {
            names.push(name.to_owned());
            (names.len() > MOST).then_some(())
        })
        .map_err(unable)?;
        names.sort_unstable();
        for name in names {
            let path = below.join(OsStr::from_bytes(name.to_bytes()));
            if (self.leaves_out)(&path) {
                continue;
            }
            self.entries += 1;
            if self.entries > MOST {
                return Err(self.refuse(&path, "is one too many: there are more than 100000 files"));
            }
            self.entry(from, &name, &path, depth)?;
        }
        let synced = File::open(self.to.join(below)).and_then(|folder| folder.sync_all());
        synced.map_err(|why| self.unwritten(below, &why))
    }

    fn entry(&mut self, from: &Fd, name: &CStr, path: &Path, depth: usize) -> Result<(), Failure> {
        let unable = |why| Failure::errno("read", self.shown.join(path).display(), why);
        let entry = file::open(from.raw(), name, O_PATH | O_NOFOLLOW, 0).map_err(unable)?;
        let stat = file::stat_fd(entry.raw()).map_err(unable)?;
        if stat.is_symlink() {
            let mut room = [0; folder::PATH_MAX];
            let target = file::readlink_fd(entry.raw(), &mut room).map_err(unable)?;
            let target = OsString::from_vec(target.to_bytes().to_vec());
            symlink(target, self.to.join(path)).map_err(|why| self.unwritten(path, &why))?;
            self.links.push(path.to_owned());
            Ok(())
        } else if stat.is_dir() {
            let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
            let inner = file::open(from.raw(), name, flags, 0).map_err(unable)?;
            let made = DirBuilder::new().mode(0o700).create(self.to.join(path));
            made.map_err(|why| self.unwritten(path, &why))?;
            self.folder(&inner, path, depth + 1)?;
            let bits = Permissions::from_mode(stat.mode() & KEPT | 0o700);
            let set = fs::set_permissions(self.to.join(path), bits);
            set.map_err(|why| self.unwritten(path, &why))
        } else if stat.is_file() {
            let (source, stat) =
                file::open_regular(from.raw(), name, O_RDONLY, 0).map_err(unable)?;
            self.file(&source, &stat, path)
        } else {
            Err(self.refuse(path, "is neither a file, a folder nor a link"))
        }
    }

    fn file(&self, source: &Fd, stat: &Stat, path: &Path) -> Result<(), Failure> {
        let unwritten = |why: &std::io::Error| self.unwritten(path, why);
        let place = self.to.join(path);
        let mut out = OpenOptions::new();
        let out = out.write(true).create_new(true).mode(0o600).open(place);
        let mut out = out.map_err(|why| unwritten(&why))?;
        // A hole of any size is a file of that size when it is copied.
        let free = file::free_bytes(out.as_raw_fd());
        if free.is_ok_and(|free| u64::try_from(stat.size()).unwrap_or(0) > free) {
            return Err(unwritten(&std::io::Error::from_raw_os_error(ENOSPC)));
        }
        let mut room = vec![0; 1 << 16];
        loop {
            let read = fd::read(source.raw(), &mut room);
            match read
                .map_err(|why| Failure::errno("read", self.shown.join(path).display(), why))?
            {
                0 => break,
                n => out.write_all(&room[..n]).map_err(|why| unwritten(&why))?,
            }
        }
        let mode = Permissions::from_mode(stat.mode() & KEPT | 0o600);
        let done = out.set_permissions(mode).and_then(|()| {
            // For tools that go by what is newer than what.
            let times = file::set_times(out.as_raw_fd(), stat.times());
            times.map_err(|Errno(why)| std::io::Error::from_raw_os_error(why))
        });
        done.and_then(|()| out.sync_all()).map_err(|why| unwritten(&why))
    }

    /// Looked at in the copy, in which nobody changes anything.
    fn look_at_links(&self) -> Result<(), Failure> {
        let unable = |why| Failure::io("open", self.to.display(), &why);
        let top = self.to.canonicalize().map_err(unable)?;
        for link in &self.links {
            match self.to.join(link).canonicalize() {
                Ok(end) if end.starts_with(&top) => {}
                Ok(_) => return Err(self.refuse(link, "is a link that leads out of the folder")),
                Err(_) => {
                    return Err(self.refuse(link, "is a link that leads nowhere in the folder"));
                }
            }
        }
        Ok(())
    }

    fn refuse(&self, path: &Path, why: &str) -> Failure {
        Failure::refused(format!("{} {why}", self.shown.join(path).display()))
    }

    fn unwritten(&self, path: &Path, why: &std::io::Error) -> Failure {
        Failure::io("write", self.to.join(path).display(), why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use testkit::Scratch;

    fn copied(scratch: &Scratch) -> Result<PathBuf, String> {
        let (from, to) = (scratch.join("from"), scratch.join("to"));
        let _ = fs::remove_dir_all(&to);
        fs::create_dir(&to).unwrap();
        let out = |path: &Path| path.ends_with("skipped");
        let done = open(&from).and_then(|source| copy(&source, &from, &to, &out));
        done.map(|()| to).map_err(|why| why.lines.join("; "))
    }

    fn source() -> Scratch {
        let scratch = Scratch::new();
        fs::create_dir_all(scratch.join("from/sub/skipped")).unwrap();
        fs::write(scratch.join("from/sub/file"), "x").unwrap();
        scratch
    }

    #[test]
    fn files_folders_and_links_within_are_copied_without_what_lets_others_write() {
        let scratch = source();
        let file = scratch.join("from/sub/file");
        fs::set_permissions(&file, Permissions::from_mode(0o6777)).unwrap();
        symlink("sub/file", scratch.join("from/link")).unwrap();
        symlink("../link", scratch.join("from/sub/back")).unwrap();
        let to = copied(&scratch).unwrap();
        let stat = to.join("sub/file").metadata().unwrap();
        assert_eq!(stat.mode() & 0o7777, 0o755);
        assert_eq!(stat.mtime_nsec(), file.metadata().unwrap().mtime_nsec());
        assert_eq!(fs::read_to_string(to.join("sub/back")).unwrap(), "x");
        assert!(!to.join("sub/skipped").exists());
    }

    #[test]
    fn whatever_leads_out_of_the_folder_or_is_none_of_these_is_refused() {
        for (target, why) in [
            ("/etc/passwd", "leads out"),
            ("../../from/sub/file", "leads out"),
            ("../..", "leads out"),
            // Out by way of another link: no name in it has more dots than folders.
            ("here/../..", "leads out"),
            ("nothing", "leads nowhere"),
            ("trap", "leads nowhere"),
        ] {
            let scratch = source();
            symlink(".", scratch.join("from/sub/here")).unwrap();
            symlink(target, scratch.join("from/sub/trap")).unwrap();
            let told = copied(&scratch).unwrap_err();
            assert!(told.contains("sub/trap") && told.contains(why), "{target}: {told}");
        }
        let scratch = source();
        let fifo = scratch.join("from/fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        assert!(copied(&scratch).unwrap_err().ends_with("neither a file, a folder nor a link"));
    }

    #[test]
    fn what_has_no_room_is_refused_before_it_fills_the_disk() {
        let scratch = source();
        let hole = File::create(scratch.join("from/hole")).unwrap();
        hole.set_len(1 << 43).unwrap();
        let told = copied(&scratch).unwrap_err();
        assert!(told.contains("hole") && told.contains("out of disk space"), "{told}");
    }

    #[test]
    fn a_folder_without_end_is_refused() {
        let scratch = source();
        let mut deep = scratch.join("from");
        for _ in 0..DEEPEST + 2 {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        assert!(copied(&scratch).unwrap_err().contains("lies too deep"));
    }
}
