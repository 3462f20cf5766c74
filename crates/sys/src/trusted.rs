//! Opening, or looking at, a file that may be obeyed: neither it, nor a folder or symlink on the way
//! to it, can be changed by anybody else.
//!
//! The path is walked by handles, so what was looked at is what is opened.

use linux::errno::{Errno, Result};
use linux::fd::Fd;
use linux::file::flags::{
    EINVAL, EISDIR, ELOOP, ENOENT, ENOTDIR, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY,
};
use linux::file::{self, HERE, Stat};
use linux::process;
use std::collections::VecDeque;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fmt::{self, Display, Formatter};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// Most symlinks on one way, as in the kernel.
const LINKS: u32 = 40;
/// Permission bits that let others write.
const OTHERS: u32 = 0o022;

/// Why somebody else may have a hand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It belongs to this user.
    Owner(u32),
    /// Its permission bits let others write.
    Mode(u32),
}

/// What on the way can be changed by somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The file, folder or symlink.
    pub path: PathBuf,
    /// Why.
    pub how: How,
}

impl Display for Flaw {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.how {
            How::Owner(uid) => {
                let me = process::euid();
                write!(f, "{path} belongs to user {uid}: chown -h {me} {path}")
            }
            How::Mode(mode) => {
                write!(f, "{path} can be written by others (mode {mode:04o}): chmod go-w {path}")
            }
        }
    }
}

/// An open file or folder.
#[derive(Debug)]
pub struct Opened {
    /// Open for reading, close-on-exec.
    pub fd: Fd,
    /// The first thing on the way, or it itself, that somebody else can change.
    pub flaw: Option<Flaw>,
}

/// Opens the regular file at `path` for reading. Trusted are root, and whoever calls.
///
/// A folder in which everybody may write is no flaw where it is sticky, as /tmp is: what is ours
/// there, nobody else can replace.
///
/// # Errors
/// As open(2); `EINVAL` for anything but a regular file.
pub fn open_file(path: &Path) -> Result<Opened> {
    let mut walk = Walk::to(path)?;
    let fd = match &walk.last {
        Some(name) => file::open(walk.at.raw(), name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0)?,
        None => return Err(Errno(EISDIR)),
    };
    let stat = file::stat_fd(fd.raw())?;
    if stat.is_dir() {
        return Err(Errno(EISDIR));
    }
    if !stat.is_file() {
        return Err(Errno(EINVAL));
    }
    walk.judge(&stat);
    Ok(Opened { fd, flaw: walk.flaw })
}

/// Opens the folder at `path` for reading its names, and likewise.
///
/// # Errors
/// As open(2).
pub fn open_folder(path: &Path) -> Result<Opened> {
    let mut walk = Walk::to(path)?;
    let name = walk.last.as_deref().unwrap_or(c".");
    let fd = file::open(walk.at.raw(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)?;
    let stat = file::stat_fd(fd.raw())?;
    walk.judge(&stat);
    Ok(Opened { fd, flaw: walk.flaw })
}

/// Looks for what somebody else can change on the way to `path`, and at what it leads to, without
/// opening that.
///
/// Where nothing is there, it counts whether somebody else could put something there: then a sticky
/// folder, too, is a flaw.
///
/// # Errors
/// As open(2); `ENOENT` where nothing is there and nobody else can change that.
pub fn look(path: &Path) -> Result<Option<Flaw>> {
    let mut walk = Walk::new()?;
    let gone = walk.go(path).and_then(|()| match &walk.last {
        Some(name) => {
            let last = file::open(walk.at.raw(), name, O_PATH | O_NOFOLLOW, 0)?;
            walk.judge(&file::stat_fd(last.raw())?);
            Ok(())
        }
        None => Ok(()),
    });
    if gone == Err(Errno(ENOENT)) {
        let mode = file::stat_fd(walk.at.raw())?.mode();
        if mode & OTHERS != 0 {
            walk.blame(How::Mode(mode));
        }
    }
    match walk.flaw {
        Some(flaw) => Ok(Some(flaw)),
        None => gone.map(|()| None),
    }
}

/// A way through the file system, up to the folder of what it leads to.
struct Walk {
    at: Fd,
    /// Name in the folder of what it leads to, which is no symlink; `None` = the folder itself.
    last: Option<CString>,
    /// Where this is.
    shown: PathBuf,
    /// Names still to go.
    ahead: VecDeque<OsString>,
    links: u32,
    flaw: Option<Flaw>,
}

impl Walk {
    fn to(path: &Path) -> Result<Self> {
        let mut walk = Self::new()?;
        walk.go(path)?;
        Ok(walk)
    }

    fn new() -> Result<Self> {
        Ok(Self {
            at: open_root()?,
            last: None,
            shown: PathBuf::from("/"),
            ahead: VecDeque::new(),
            links: 0,
            flaw: None,
        })
    }

    fn go(&mut self, path: &Path) -> Result<()> {
        self.enter_root()?;
        if !path.is_absolute() {
            let here = std::env::current_dir();
            let here = here.map_err(|why| Errno(why.raw_os_error().unwrap_or(ENOENT)))?;
            self.prepend(&here);
        }
        self.ahead.extend(names(path));
        while let Some(name) = self.ahead.pop_front() {
            self.step(&name)?;
        }
        Ok(())
    }

    /// The names of `path` come next.
    fn prepend(&mut self, path: &Path) {
        for name in names(path).collect::<Vec<_>>().into_iter().rev() {
            self.ahead.push_front(name);
        }
    }

    fn enter_root(&mut self) -> Result<()> {
        self.at = open_root()?;
        self.shown = PathBuf::from("/");
        self.judge(&file::stat_fd(self.at.raw())?);
        Ok(())
    }

    fn step(&mut self, name: &OsStr) -> Result<()> {
        if self.last.is_some() {
            return Err(Errno(ENOTDIR));
        }
        let c_name = CString::new(name.as_bytes()).map_err(|_| Errno(ENOENT))?;
        let next = file::open(self.at.raw(), &c_name, O_PATH | O_NOFOLLOW, 0)?;
        let stat = file::stat_fd(next.raw())?;
        let before = self.shown.clone();
        if name == ".." {
            self.shown.pop();
        } else {
            self.shown.push(name);
        }
        if stat.is_symlink() {
            self.judge_owner(&stat);
            self.shown = before;
            return self.follow(&next);
        }
        if stat.is_dir() {
            self.judge(&stat);
            self.at = next;
        } else {
            self.last = Some(c_name);
        }
        Ok(())
    }

    fn follow(&mut self, link: &Fd) -> Result<()> {
        self.links += 1;
        if self.links > LINKS {
            return Err(Errno(ELOOP));
        }
        let mut buf = [0; linux::folder::PATH_MAX];
        let target: &CStr = file::readlink_fd(link.raw(), &mut buf)?;
        let target = PathBuf::from(OsString::from_vec(target.to_bytes().to_vec()));
        if target.is_absolute() {
            self.enter_root()?;
        }
        self.prepend(&target);
        Ok(())
    }

    fn judge(&mut self, stat: &Stat) {
        const STICKY: u32 = 0o1000;
        self.judge_owner(stat);
        let guarded = stat.is_dir() && stat.mode() & STICKY != 0;
        if stat.mode() & OTHERS != 0 && !guarded {
            self.blame(How::Mode(stat.mode()));
        }
    }

    fn judge_owner(&mut self, stat: &Stat) {
        if stat.uid() != 0 && stat.uid() != process::euid() {
            self.blame(How::Owner(stat.uid()));
        }
    }

    fn blame(&mut self, how: How) {
        if self.flaw.is_none() {
            self.flaw = Some(Flaw { path: self.shown.clone(), how });
        }
    }
}

fn open_root() -> Result<Fd> {
    file::open(HERE, c"/", O_PATH | O_DIRECTORY, 0)
}

/// The steps of a path; what leads nowhere is left out.
fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};
    use testkit::{Scratch, skipped_without_root};

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// A folder `a/b` with a file `f` in it.
    fn tree() -> (Scratch, PathBuf) {
        let scratch = Scratch::new();
        fs::create_dir_all(scratch.join("a/b")).unwrap();
        let file = scratch.join("a/b/f");
        fs::write(&file, "x").unwrap();
        for (name, mode) in [("a", 0o755), ("a/b", 0o755), ("a/b/f", 0o644)] {
            set_mode(&scratch.join(name), mode);
        }
        (scratch, file)
    }

    #[test]
    fn a_file_that_only_we_can_change_has_no_flaw() {
        let (scratch, file) = tree();
        assert_eq!(open_file(&file).unwrap().flaw, None);
        assert_eq!(open_file(&scratch.join("a/../a/./b/f")).unwrap().flaw, None);
        assert_eq!(open_folder(&scratch.join("a/b")).unwrap().flaw, None);
        assert_eq!(open_folder(Path::new("/")).unwrap().flaw, None);
    }

    #[test]
    fn whatever_on_the_way_others_can_write_is_named() {
        for mode in [0o775, 0o757, 0o777] {
            for name in ["a", "a/b", "a/b/f"] {
                let (scratch, file) = tree();
                let wanted = scratch.join(name);
                set_mode(&wanted, mode);
                let flaw = open_file(&file).unwrap().flaw;
                assert_eq!(flaw, Some(Flaw { path: wanted, how: How::Mode(mode) }));
            }
        }
    }

    #[test]
    fn a_sticky_folder_is_no_flaw_but_a_sticky_file_is() {
        let (scratch, file) = tree();
        set_mode(&scratch.join("a"), 0o1777);
        assert_eq!(open_file(&file).unwrap().flaw, None);
        set_mode(&file, 0o1666);
        assert!(open_file(&file).unwrap().flaw.is_some());
    }

    #[test]
    fn what_belongs_to_somebody_else_is_named_be_it_file_folder_or_link() {
        if skipped_without_root() {
            return;
        }
        for name in ["a", "a/b", "a/b/f", "l"] {
            let (scratch, _) = tree();
            symlink("a/b", scratch.join("l")).unwrap();
            lchown(scratch.join(name), Some(12345), None).unwrap();
            let flaw = open_file(&scratch.join("l/f")).unwrap().flaw;
            let path = scratch.join(name);
            assert_eq!(flaw, Some(Flaw { path, how: How::Owner(12345) }));
        }
    }

    #[test]
    fn a_link_is_followed_and_what_it_leads_through_is_looked_at() {
        let (scratch, _) = tree();
        symlink(scratch.join("a/b/f"), scratch.join("absolute")).unwrap();
        symlink("../a/b/../b/f", scratch.join("a/relative")).unwrap();
        for name in ["absolute", "a/relative"] {
            assert_eq!(open_file(&scratch.join(name)).unwrap().flaw, None, "{name}");
        }
        set_mode(&scratch.join("a/b"), 0o777);
        for name in ["absolute", "a/relative"] {
            let flaw = open_file(&scratch.join(name)).unwrap().flaw.unwrap();
            assert_eq!(flaw.path, scratch.join("a/b"), "{name}");
        }
    }

    #[test]
    fn what_is_looked_at_need_not_be_opened_nor_be_there() {
        let (scratch, file) = tree();
        let c_path = CString::new(scratch.join("a/fifo").as_os_str().as_bytes()).unwrap();
        file::mkfifo(HERE, &c_path, 0o600).unwrap();
        symlink("b/later", scratch.join("a/dangling")).unwrap();
        let later = scratch.join("a/dangling");
        for path in [&file, &scratch.join("a"), &scratch.join("a/fifo")] {
            assert_eq!(look(path), Ok(None), "{}", path.display());
        }
        assert_eq!(look(&later), Err(Errno(ENOENT)));
        assert_eq!(look(&file.join("x")), Err(Errno(ENOTDIR)));
        // Whoever may write there can put there what is not.
        for mode in [0o777, 0o1777] {
            set_mode(&scratch.join("a/b"), mode);
            let flaw = Flaw { path: scratch.join("a/b"), how: How::Mode(mode) };
            assert_eq!(look(&later), Ok(Some(flaw.clone())));
            assert_eq!(look(&file), Ok(Some(flaw).filter(|_| mode == 0o777)));
        }
        set_mode(&file, 0o666);
        assert_eq!(look(&file), Ok(Some(Flaw { path: file, how: How::Mode(0o666) })));
    }

    #[test]
    fn what_is_no_file_and_a_link_without_end_are_refused() {
        let (scratch, file) = tree();
        symlink("round", scratch.join("round")).unwrap();
        let c_path = CString::new(scratch.join("fifo").as_os_str().as_bytes()).unwrap();
        file::mkfifo(HERE, &c_path, 0o600).unwrap();
        let rows: [(PathBuf, i32); 6] = [
            (scratch.join("round"), ELOOP),
            (scratch.join("fifo"), EINVAL),
            (scratch.join("a"), EISDIR),
            (scratch.join("a/b/.."), EISDIR),
            (scratch.join("nothing"), ENOENT),
            (file.join("x"), ENOTDIR),
        ];
        for (path, why) in rows {
            assert_eq!(open_file(&path).err(), Some(Errno(why)), "{}", path.display());
        }
        assert_eq!(open_folder(&file).err(), Some(Errno(ENOTDIR)));
    }

    #[test]
    fn the_message_says_what_to_do() {
        let flaw = |how| Flaw { path: "/a/b".into(), how }.to_string();
        let me = process::euid();
        assert_eq!(flaw(How::Owner(7)), format!("/a/b belongs to user 7: chown -h {me} /a/b"));
        let said = flaw(How::Mode(0o777));
        assert_eq!(said, "/a/b can be written by others (mode 0777): chmod go-w /a/b");
    }
}
