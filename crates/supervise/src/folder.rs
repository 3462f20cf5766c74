//! Finding and opening the `supervise` folder.
//!
//! It may be a symlink, as Debian and runit have it, if the link and its target belong to root or
//! to us and nobody else can write to the target. Below it nothing is followed: every file is
//! opened by its name in the folder's descriptor, without following a link.

use core::ffi::CStr;
use linux::errno::{Errno, Result};
use linux::fd::Fd;
use linux::file::{self, HERE, Stat, flags};
use linux::process;
use ondisk::names;

const DIRECTORY: i32 = flags::O_DIRECTORY | flags::O_PATH;
const NO_LINK: i32 = flags::O_PATH | flags::O_NOFOLLOW;

/// Path lengths beyond this are refused; as in the kernel.
const PATH_MAX: usize = 4096;

/// Opens the folder of the service directory `dir` (a descriptor, or [`HERE`]), made if absent.
///
/// # Errors
/// `EPERM` for a symlink or target that others control; else as the failing call.
pub(crate) fn open(dir: i32) -> Result<Fd> {
    match process::variable(names::SUPERVISEDIR) {
        Some(path) if !path.is_empty() => relocated(dir, path),
        _ => open_or_make(dir, names::SUPERVISE),
    }
}

fn open_or_make(dir: i32, name: &CStr) -> Result<Fd> {
    match open_existing(dir, name) {
        Err(Errno(flags::ENOENT)) => {
            match file::mkdir(dir, name, 0o700) {
                // A dangling link is answered with this; `make_target` has seen to it.
                Ok(()) | Err(Errno(flags::EEXIST)) => {}
                Err(why) => return Err(why),
            }
            open_existing(dir, name)
        }
        answer => answer,
    }
}

fn open_existing(dir: i32, name: &CStr) -> Result<Fd> {
    let here = file::open(dir, name, NO_LINK, 0)?;
    let stat = file::stat_fd(here.raw())?;
    if stat.is_symlink() {
        return follow(dir, &here, &stat);
    }
    if stat.is_dir() { Ok(here) } else { Err(Errno(flags::ENOTDIR)) }
}

#[inline(never)]
fn follow(dir: i32, link: &Fd, stat: &Stat) -> Result<Fd> {
    if !is_ours(stat.uid()) {
        return Err(Errno(flags::EPERM));
    }
    let mut buf = [0; PATH_MAX];
    let target = file::readlink_fd(link.raw(), &mut buf)?;
    let opened = match file::open(dir, target, DIRECTORY, 0) {
        Err(Errno(flags::ENOENT)) => {
            file::mkdir(dir, target, 0o700)?;
            file::open(dir, target, DIRECTORY, 0)?
        }
        answer => answer?,
    };
    let stat = file::stat_fd(opened.raw())?;
    if is_ours(stat.uid()) && stat.mode() & 0o022 == 0 {
        Ok(opened)
    } else {
        Err(Errno(flags::EPERM))
    }
}

fn is_ours(uid: u32) -> bool {
    uid == 0 || uid == process::euid()
}

/// `$SUPERVISEDIR`: a name below the service directory, or, absolute, a folder of such folders.
/// Source: daemontools-encore, svc(8), ENVIRONMENT.
#[inline(never)]
fn relocated(dir: i32, path: &CStr) -> Result<Fd> {
    if path.to_bytes()[0] != b'/' {
        return open_or_make(dir, path);
    }
    let mut cwd = [0; PATH_MAX];
    let mut out = [0; PATH_MAX];
    let back = if dir == HERE { None } else { Some(file::open(HERE, c".", DIRECTORY, 0)?) };
    if back.is_some() {
        file::chdir_fd(dir)?;
    }
    let here = file::getcwd(&mut cwd);
    if let Some(back) = back {
        file::chdir_fd(back.raw())?;
    }
    let len = names::relocated(path.to_bytes(), here?.to_bytes(), &mut out);
    let len = len.ok_or(Errno(flags::ENAMETOOLONG))?;
    let name = CStr::from_bytes_with_nul(&out[..=len]).map_err(|_| Errno(flags::EINVAL))?;
    open_or_make(HERE, name)
}
