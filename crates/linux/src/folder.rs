//! Opening a folder that may be a symlink, where nobody else can lead us astray by it.
//!
//! The link and its target must belong to root or to the caller, and nobody else may be able to
//! write to the target.

use crate::errno::{Errno, Result};
use crate::fd::Fd;
use crate::file::{self, Stat};
use crate::process;
use core::ffi::CStr;

/// Path lengths beyond this are refused; as in the kernel.
pub const PATH_MAX: usize = 4096;

/// Why a folder cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The system says no.
    System(Errno),
    /// It is a symlink that somebody else made, or leads where others can write.
    Untrusted,
}

impl Trouble {
    /// Returns it as an error number: `EPERM` for what is not trusted.
    #[must_use]
    pub fn errno(self) -> Errno {
        match self {
            Self::System(why) => why,
            Self::Untrusted => Errno(libc::EPERM),
        }
    }
}

impl From<Errno> for Trouble {
    fn from(why: Errno) -> Self {
        Self::System(why)
    }
}

/// What is done about a folder that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// `ENOENT`.
    Refuse,
    /// It is made, private: the folder itself, or the target of the link.
    Make,
}

/// Opens a handle on the folder `name` of the directory `dir`, good for names below it.
///
/// # Errors
/// [`Trouble`].
pub fn open(dir: i32, name: &CStr, absent: Absent) -> core::result::Result<Fd, Trouble> {
    match open_directory(dir, name, libc::O_NOFOLLOW, absent) {
        Err(Errno(libc::ENOTDIR | libc::ELOOP)) => follow(dir, name, absent),
        answer => Ok(answer?),
    }
}

fn open_directory(dir: i32, name: &CStr, flags: i32, absent: Absent) -> Result<Fd> {
    let flags = flags | libc::O_PATH | libc::O_DIRECTORY;
    match file::open(dir, name, flags, 0) {
        Err(Errno(libc::ENOENT)) if absent == Absent::Make => {
            match file::mkdir(dir, name, 0o700) {
                // Somebody was faster.
                Ok(()) | Err(Errno(libc::EEXIST)) => file::open(dir, name, flags, 0),
                Err(why) => Err(why),
            }
        }
        answer => answer,
    }
}

// Not inlined: what it needs of the stack is rarely needed.
#[inline(never)]
fn follow(dir: i32, name: &CStr, absent: Absent) -> core::result::Result<Fd, Trouble> {
    // The link that is looked at is the one that is followed, whatever takes its place meanwhile.
    let link = file::open(dir, name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    let stat = file::stat_fd(link.raw())?;
    if !stat.is_symlink() {
        return Err(Trouble::System(Errno(libc::ENOTDIR)));
    }
    if !is_ours(&stat) {
        return Err(Trouble::Untrusted);
    }
    let mut buf = [0; PATH_MAX];
    let target = file::readlink_fd(link.raw(), &mut buf)?;
    let folder = open_directory(dir, target, 0, absent)?;
    let stat = file::stat_fd(folder.raw())?;
    if is_ours(&stat) && stat.mode() & 0o022 == 0 { Ok(folder) } else { Err(Trouble::Untrusted) }
}

fn is_ours(stat: &Stat) -> bool {
    stat.uid() == 0 || stat.uid() == process::euid()
}
