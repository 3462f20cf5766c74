//! Being told of changes in a directory: inotify.

use crate::errno::{Result, cvt};
use crate::fd::{self, Fd};
use core::ffi::CStr;

/// A file was made or renamed into the directory.
pub const APPEARED: u32 = libc::IN_CREATE | libc::IN_MOVED_TO;
/// A file was removed or renamed away from the directory.
pub const VANISHED: u32 = libc::IN_DELETE | libc::IN_MOVED_FROM;
/// A file's owner or mode changed, or what else is known of it without a look into it.
pub const ATTRIBUTES: u32 = libc::IN_ATTRIB;
/// A file's content changed.
pub const CHANGED: u32 = libc::IN_MODIFY;
/// Somebody opened a file.
pub const OPENED: u32 = libc::IN_OPEN;
/// Somebody closed a file that was open for reading only.
pub const READER_CLOSED: u32 = libc::IN_CLOSE_NOWRITE;
/// The directory itself is gone or went elsewhere; always reported.
pub const LOST: u32 = libc::IN_IGNORED | libc::IN_MOVE_SELF;
/// The kernel dropped reports: everything may have changed. Its watch is -1.
pub const OVERFLOW: u32 = libc::IN_Q_OVERFLOW;

/// Watches of directories, read from one descriptor.
#[derive(Debug)]
pub struct Watcher(Fd);

/// What happened.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The number that [`Watcher::add`] answered.
    pub watch: i32,
    /// The constants of this module.
    pub what: u32,
    /// The file in the directory; empty where the directory itself is meant.
    pub name: &'a [u8],
}

impl Watcher {
    /// Makes one that watches nothing yet.
    ///
    /// # Errors
    /// As `inotify_init1(2)`.
    pub fn new() -> Result<Self> {
        // SAFETY: inotify_init1 takes an int and touches no memory.
        cvt(unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) })
            .map(|fd| Self(Fd::from_raw(fd)))
    }

    /// Watches the directory `path` for `what`; returns the watch's number.
    ///
    /// # Errors
    /// As `inotify_add_watch(2)`.
    pub fn add(&self, path: &CStr, what: u32) -> Result<i32> {
        let what = what | libc::IN_MOVE_SELF | libc::IN_ONLYDIR;
        // SAFETY: `path` is NUL-terminated.
        cvt(unsafe { libc::inotify_add_watch(self.0.raw(), path.as_ptr(), what) })
    }

    /// Ends a watch without waiting for what the kernel has to tidy up.
    pub fn remove(&self, watch: i32) {
        // SAFETY: inotify_rm_watch takes two ints; a number that is no watch is answered EINVAL.
        unsafe { libc::inotify_rm_watch(self.0.raw(), watch) };
    }

    /// Returns the descriptor that becomes readable with each report.
    #[must_use]
    pub fn raw(&self) -> i32 {
        self.0.raw()
    }

    /// Hands over all reports that are there; waits for none.
    pub fn reports(&self, mut each: impl FnMut(Report<'_>)) {
        let mut buf = [0; 4096];
        while let Ok(n @ 1..) = fd::read(self.0.raw(), &mut buf) {
            let mut rest = &buf[..n];
            while let Some((report, behind)) = first(rest) {
                each(report);
                rest = behind;
            }
        }
    }
}

/// Reads `struct inotify_event`: watch, mask, cookie, length of the name, the name with NULs.
fn first(bytes: &[u8]) -> Option<(Report<'_>, &[u8])> {
    const HEAD: usize = size_of::<libc::inotify_event>();
    let word = |at: usize| <[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok();
    let end = HEAD + u32::from_ne_bytes(word(12)?) as usize;
    let name = bytes.get(HEAD..end)?.split(|b| *b == 0).next()?;
    let report =
        Report { watch: i32::from_ne_bytes(word(0)?), what: u32::from_ne_bytes(word(4)?), name };
    Some((report, &bytes[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watched_directory_reports_what_appears_in_it() {
        let watcher = Watcher::new().unwrap();
        let mut name = [0; 64];
        let pid = crate::process::pid() as u32;
        // A name of our own in a folder that everybody may write to.
        let path = crate::identity::proc_path(pid, b"", &mut name).unwrap().to_bytes();
        let mut file = [0; 64];
        file[..7].copy_from_slice(b"watched");
        file[7..7 + path.len() - 6].copy_from_slice(&path[6..]);
        file[7] = b'-';
        let file = CStr::from_bytes_until_nul(&file).unwrap();
        let watch = watcher.add(c"/tmp", APPEARED).unwrap();
        let dir = crate::file::open(crate::file::HERE, c"/tmp", libc::O_PATH, 0).unwrap();
        crate::file::mkfifo(dir.raw(), file, 0o600).unwrap();
        let mut seen = false;
        watcher.reports(|report| {
            seen |= report.watch == watch
                && report.what & APPEARED != 0
                && report.name == file.to_bytes();
        });
        crate::file::unlink(dir.raw(), file).unwrap();
        assert!(seen);
    }

    #[test]
    fn half_a_report_is_none() {
        assert!(first(&[]).is_none());
        assert!(first(&[0; 15]).is_none());
        let mut bytes = [0; 20];
        bytes[12] = 5;
        assert!(first(&bytes).is_none());
    }
}
