//! Leaving items in a drop folder: each under a name that begins with a dot, safe on disk, then
//! renamed.

use crate::failure::Failure;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use sys::linux::errno::{Errno, Result};
use sys::linux::fd::{self, Fd};
use sys::linux::file::flags::{ENOENT, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_WRONLY};
use sys::linux::file::{self, HERE};
use sys::linux::{process, time};
use work::NewJob;

/// The worker reads them by the folder's group.
const MODE: u32 = 0o640;

/// A file that was left.
#[derive(Debug)]
pub struct Left {
    /// What names the job that is made of it: process, and the rest.
    pub name: (String, String),
    /// Its bytes.
    pub item: Vec<u8>,
}

/// A file that has its name but for the dot.
struct Ready {
    hidden: CString,
    name: CString,
    left: Left,
}

/// Leaves items in a folder. None is there before all are written, so what hinders one hinders all.
///
/// # Errors
/// The folder is missing, or a file cannot be made; nothing was left then, unless the system fails
/// in the middle of the renames.
pub fn leave(
    folder: &Path,
    queue: &str,
    items: Vec<Vec<u8>>,
) -> std::result::Result<Vec<Left>, Failure> {
    let unable = |why: Errno| Failure::errno("submit to", folder.display(), why);
    let path = CString::new(folder.as_os_str().as_bytes()).unwrap_or_default();
    let opened = file::open(HERE, &path, O_PATH | O_DIRECTORY, 0).map_err(|why| match why {
        Errno(ENOENT) => {
            let why = "its drop folder is not there, since it never ran; start it, or ask root";
            Failure::trouble(format!("unable to submit to {queue}: {why}"))
        }
        why => unable(why),
    })?;
    let begun = format!("skynet-{}-{}", process::pid(), time::monotonic());
    let mut all: Vec<Ready> = Vec::with_capacity(items.len());
    let mut last = None;
    for (index, item) in items.into_iter().enumerate() {
        match write(&opened, &format!("{begun}-{index}"), queue, item) {
            Ok((ready, file)) => {
                all.push(ready);
                last = Some(file);
            }
            Err(why) => {
                take_back(&opened, &all);
                return Err(unable(why));
            }
        }
    }
    for (at, ready) in all.iter().enumerate() {
        if let Err(why) = file::rename_new(opened.raw(), &ready.hidden, &ready.name) {
            take_back(&opened, &all[at..]);
            return Err(unable(why));
        }
    }
    // Once more, for the names: whoever may only write into a folder cannot sync it.
    if let Some(last) = last {
        file::sync(last.raw()).map_err(unable)?;
    }
    Ok(all.into_iter().map(|ready| ready.left).collect())
}

fn take_back(folder: &Fd, all: &[Ready]) {
    for ready in all {
        let _ = file::unlink(folder.raw(), &ready.hidden);
    }
}

fn write(folder: &Fd, name: &str, queue: &str, item: Vec<u8>) -> Result<(Ready, Fd)> {
    let hidden = CString::new(format!(".{name}")).unwrap_or_default();
    let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    let file = file::open(folder.raw(), &hidden, flags, MODE)?;
    let filled = fill(&file, &item).and_then(|()| file::stat_fd(file.raw()));
    let stat = filled.inspect_err(|_| {
        let _ = file::unlink(folder.raw(), &hidden);
    })?;
    let (inode, [_, (seconds, nanos)]) = (stat.id().1, stat.times());
    // As whoever collects it names it, where it has no name of its own.
    let otherwise = work::drop_name(inode, (seconds, nanos), OsStr::new(name));
    let named = NewJob::from_item(queue, item.clone(), usize::MAX, &otherwise);
    let name_of_job = named.map(|job| (job.wfid, job.identity)).unwrap_or_default();
    let name = CString::new(name).unwrap_or_default();
    Ok((Ready { hidden, name, left: Left { name: name_of_job, item } }, file))
}

fn fill(file: &Fd, item: &[u8]) -> Result<()> {
    // Whatever the umask.
    file::set_mode(file.raw(), MODE)?;
    fd::write_all(file.raw(), item)?;
    file::sync(file.raw())
}
