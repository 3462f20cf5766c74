//! Where the files of a service directory are: below it, or where `$SUPERVISEDIR` says.

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;
use linux::errno::{Errno, Result};
use linux::fd::Fd;
use linux::file::{self, HERE, PATH_MAX};
use linux::folder::{self, Absent, Trouble};
use linux::process;
use ondisk::names::{SUPERVISE, SUPERVISEDIR};

/// The paths of one service directory's files. The buffers serve one directory after the other.
pub struct Paths {
    /// `supervise`, or the value of `$SUPERVISEDIR`.
    base: &'static [u8],
    /// The service directory and a slash.
    dir: Vec<u8>,
    dir_len: usize,
    /// The supervise folder and a slash.
    folder: Vec<u8>,
    folder_len: usize,
    near: Near,
}

/// The directory in which one service directory after the other lies, held open: the kernel need
/// not go the whole way to it for each file.
#[derive(Default)]
struct Near {
    /// Its path with a slash, as it was named last; empty = none was named.
    path: Vec<u8>,
    /// Open from its second service directory on.
    open: Option<Fd>,
    /// How much of the path of a service directory leads to it; 0 where it is not open.
    len: usize,
}

impl Near {
    /// Goes to the service directory `dir`.
    fn set(&mut self, dir: &[u8]) {
        let parent = dir.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
        // With a slash at the end it is no parent; without one there is no way to spare.
        let parent = dir.get(..parent).filter(|_| parent < dir.len()).unwrap_or_default();
        if parent != self.path {
            self.path.clear();
            self.path.extend_from_slice(parent);
            (self.open, self.len) = (None, 0);
        } else if self.open.is_none() && !parent.is_empty() {
            let path = CString::new(parent).unwrap_or_default();
            let flags = libc::O_PATH | libc::O_DIRECTORY;
            self.open = file::open(HERE, &path, flags, 0).ok();
            self.len = self.open.as_ref().map_or(0, |_| parent.len());
        }
    }

    /// Returns the shortest way for openat(2).
    fn way<'a>(&self, path: &'a CStr) -> (i32, &'a CStr) {
        let rest = path.to_bytes_with_nul().get(self.len..);
        match (&self.open, rest.map(CStr::from_bytes_with_nul)) {
            (Some(near), Some(Ok(rest))) => (near.raw(), rest),
            _ => (HERE, path),
        }
    }
}

impl Paths {
    /// Begins with no directory; reads `$SUPERVISEDIR`.
    #[must_use]
    pub fn from_environment() -> Self {
        let elsewhere = process::variable(SUPERVISEDIR).filter(|value| !value.is_empty());
        Self::new(elsewhere.unwrap_or(SUPERVISE).to_bytes())
    }

    /// Begins with no directory; `base` is the folder's name, or an absolute path below which each
    /// service directory has its folder.
    #[must_use]
    pub fn new(base: &'static [u8]) -> Self {
        let near = Near::default();
        Self { base, dir: Vec::new(), dir_len: 0, folder: Vec::new(), folder_len: 0, near }
    }

    /// Goes to the service directory `dir`. Whether it exists shows when its files are used, see
    /// [`Paths::check`].
    ///
    /// # Errors
    /// As chdir(2), where that is known already.
    pub fn set(&mut self, dir: &[u8]) -> Result<()> {
        if dir.is_empty() {
            return Err(Errno(libc::ENOENT));
        }
        self.dir.clear();
        self.dir.extend_from_slice(dir);
        self.dir.push(b'/');
        self.dir_len = self.dir.len();
        self.near.set(dir);
        self.folder.clear();
        if self.base.starts_with(b"/") {
            self.relocate()?;
        } else {
            self.folder.extend_from_slice(&self.dir);
            self.folder.extend_from_slice(self.base);
        }
        self.folder.push(b'/');
        self.folder_len = self.folder.len();
        Ok(())
    }

    /// Finds the folder below `$SUPERVISEDIR`. Not inlined: its path's room on the stack would cost
    /// everybody a page.
    #[inline(never)]
    fn relocate(&mut self) -> Result<()> {
        self.check()?;
        let mut place = [0; PATH_MAX];
        let cwd = file::real_path(self.in_dir(c""), &mut place)?.to_bytes();
        self.folder.resize(self.base.len() + cwd.len() + 1, 0);
        let len = ondisk::names::relocated(self.base, cwd, &mut self.folder);
        self.folder.truncate(len.unwrap_or(0));
        Ok(())
    }

    /// Returns the path of `name` in the service directory.
    pub fn in_dir(&mut self, name: &CStr) -> &CStr {
        join(&mut self.dir, self.dir_len, name)
    }

    /// Returns the path of `name` in the supervise folder; of the folder itself where it is empty.
    pub fn in_folder(&mut self, name: &CStr) -> &CStr {
        join(&mut self.folder, self.folder_len, name)
    }

    /// Returns the shortest way to `name` in the service directory, as openat(2) takes it.
    pub fn way_in_dir(&mut self, name: &CStr) -> (i32, &CStr) {
        self.near.way(join(&mut self.dir, self.dir_len, name))
    }

    /// Returns the shortest way to `name` in the supervise folder, likewise.
    pub fn way_in_folder(&mut self, name: &CStr) -> (i32, &CStr) {
        let path = join(&mut self.folder, self.folder_len, name);
        if self.base.starts_with(b"/") { (HERE, path) } else { self.near.way(path) }
    }

    /// Returns how svstat names the file `name` of the supervise folder: seen from the service.
    #[must_use]
    pub fn shown(&self, name: &CStr) -> Vec<u8> {
        let from = if self.base.starts_with(b"/") { 0 } else { self.dir_len };
        [self.folder.get(from..self.folder_len).unwrap_or_default(), name.to_bytes()].concat()
    }

    /// Returns how other messages name it: with the service directory.
    #[must_use]
    pub fn shown_with_dir(&self, name: &CStr) -> Vec<u8> {
        let dir = self.dir.get(..self.dir_len).unwrap_or_default();
        let below = !self.base.starts_with(b"/");
        let file = self.shown(name);
        if below { [dir, &file].concat() } else { file }
    }

    /// Tells whether the service directory can be entered.
    ///
    /// # Errors
    /// As chdir(2).
    pub fn check(&mut self) -> Result<()> {
        // The path's final dot asks for a directory, and for the right to search it.
        file::stat(HERE, self.in_dir(c"."), true).map(drop)
    }

    /// Opens a handle on the service directory, good for names below it.
    ///
    /// # Errors
    /// As chdir(2).
    pub fn open_dir(&mut self) -> Result<Fd> {
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let dir = file::open(HERE, self.in_dir(c""), flags, 0)?;
        file::stat(dir.raw(), c".", true)?;
        Ok(dir)
    }

    /// Opens a handle on the supervise folder of `dir` (see [`Paths::open_dir`]).
    ///
    /// # Errors
    /// [`Trouble`], for a symlink too that others can have made.
    pub fn open_folder(&self, dir: &Fd, absent: Absent) -> core::result::Result<Fd, Trouble> {
        let absolute = self.base.starts_with(b"/");
        let from = if absolute { HERE } else { dir.raw() };
        let path = if absolute { &self.folder[..self.folder_len - 1] } else { self.base };
        let path = CString::new(path).map_err(|_| Errno(libc::EINVAL))?;
        folder::open(from, &path, absent)
    }
}

fn join<'a>(buf: &'a mut Vec<u8>, len: usize, name: &CStr) -> &'a CStr {
    buf.truncate(len);
    buf.extend_from_slice(name.to_bytes_with_nul());
    CStr::from_bytes_until_nul(buf).unwrap_or(c"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn files_are_below_the_service_directory() {
        let mut paths = Paths::new(b"supervise");
        paths.set(b"a").unwrap();
        assert_eq!(paths.in_dir(c"down"), c"a/down");
        assert_eq!(paths.in_folder(c"status"), c"a/supervise/status");
        assert_eq!(paths.shown(c"ok"), b"supervise/ok");
        assert_eq!(paths.shown_with_dir(c"ok"), b"a/supervise/ok");
        paths.set(b"/etc/service/longer/").unwrap();
        assert_eq!(paths.in_folder(c"ok"), c"/etc/service/longer//supervise/ok");
        assert_eq!(paths.set(b""), Err(Errno(libc::ENOENT)));
    }

    #[test]
    fn the_way_to_a_second_directory_at_one_place_is_short_and_leads_to_the_same_files() {
        let root = std::env::temp_dir().join(format!("svpath.{}", process::pid()));
        for name in ["a/one/supervise", "a/two/supervise", "b/two/supervise"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        let mut paths = Paths::new(b"supervise");
        let mut short = Vec::new();
        // A name without a directory, one with a slash behind it, and one that does not exist.
        let names = ["a/one", "a/two", "a/none", "a/two/", "b/two", "b/..", "b/two/supervise/.."];
        for name in names {
            paths.set(root.join(name).as_os_str().as_bytes()).unwrap();
            let id = |way: (i32, &CStr)| file::stat(way.0, way.1, true).map(|stat| stat.id());
            let whole = id((HERE, paths.in_folder(c".")));
            assert_eq!(id(paths.way_in_folder(c".")), whole);
            let whole = id((HERE, paths.in_dir(c".")));
            assert_eq!(id(paths.way_in_dir(c".")), whole);
            short.push(paths.way_in_dir(c".").0 != HERE);
        }
        assert_eq!(short, [false, true, true, false, false, true, false]);
        paths.set(b"one").unwrap();
        assert_eq!(paths.way_in_dir(c"down"), (HERE, c"one/down"));
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn supervisedir_puts_them_elsewhere() {
        let mut paths = Paths::new(b"sv/x");
        paths.set(b"a").unwrap();
        assert_eq!(paths.in_folder(c"ok"), c"a/sv/x/ok");
        let mut paths = Paths::new(b"/run/sv");
        paths.set(b"/usr/../usr/.").unwrap();
        assert_eq!(paths.in_folder(c"ok"), c"/run/sv/usr/ok");
        assert_eq!(paths.shown(c"ok"), b"/run/sv/usr/ok");
        assert_eq!(paths.shown_with_dir(c"ok"), b"/run/sv/usr/ok");
        assert_eq!(paths.set(b"/usr/nothing"), Err(Errno(libc::ENOENT)));
        paths.set(b"/").unwrap();
        assert_eq!(paths.in_folder(c"ok"), c"/run/sv//ok");
    }
}
