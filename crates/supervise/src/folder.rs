//! Finding and opening the `supervise` folder.
//!
//! It may be a symlink, as Debian and runit have it, see [`linux::folder`]. Below it nothing is
//! followed: every file is opened by its name in the folder's descriptor, without following a link.

use core::ffi::CStr;
use linux::errno::{Errno, OrLasting, Result};
use linux::fd::Fd;
use linux::file::{self, HERE, flags};
use linux::folder::{Absent, PATH_MAX, Trouble};
use linux::process;
use ondisk::names;

const DIRECTORY: i32 = flags::O_DIRECTORY | flags::O_PATH;

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

/// Claims the service directory `dir` itself, where the folder lies in it: the lock of a folder that
/// somebody deletes hinders nobody. Where it is elsewhere several supervises may share a directory,
/// each with a folder of its own; each container has its `/run`, say.
///
/// `held` is the directory where it is open, and may be claimed, already. `None` = no claim: this
/// file system has none, or we may not read the directory.
///
/// # Errors
/// `EAGAIN` where another supervise has it; else trouble that passes.
#[inline(never)]
pub(crate) fn claim(dir: i32, held: Option<Fd>) -> Result<Option<Fd>> {
    let elsewhere = process::variable(names::SUPERVISEDIR).is_some_and(|path| !path.is_empty());
    if elsewhere || !file::stat(dir, names::SUPERVISE, false)?.is_dir() {
        return Ok(None);
    }
    let open = || file::open(dir, c".", flags::O_RDONLY | flags::O_DIRECTORY, 0);
    let Some(claim) = held.map_or_else(open, Ok).or_lasting()? else { return Ok(None) };
    match linux::claim::take(claim.raw()) {
        Err(why @ Errno(flags::EAGAIN)) => Err(why),
        answer => Ok(answer.or_lasting()?.map(|()| claim)),
    }
}

fn open_or_make(dir: i32, name: &CStr) -> Result<Fd> {
    linux::folder::open(dir, name, Absent::Make).map_err(Trouble::errno)
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
