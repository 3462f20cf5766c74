//! svscan's own output through a service: `svscan dir log-service` (daemontools-encore).
//!
//! The service reads a FIFO in its supervise folder; svscan writes to it, and everything that
//! svscan starts inherits that. The FIFO keeps its bytes while the service is away.

use crate::svpath::Paths;
use ondisk::names::LOG_PIPE;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use sys::linux::errno::{Errno, Result};
use sys::linux::fd::{self, Fd};
use sys::linux::file::{self, flags};
use sys::linux::folder::{Absent, Trouble};

/// The service that gets svscan's output.
pub(super) struct LogService {
    /// Its directory.
    pub(super) name: CString,
    /// Becomes its descriptor 0.
    pub(super) reader: Fd,
    /// svscan's output before: becomes the service's own.
    pub(super) output: Fd,
    /// Ours, until the service is to meet the end of its input.
    writer: Option<Fd>,
}

impl LogService {
    /// Makes the FIFO in the supervise folder, that too where it is absent, and turns descriptors 1
    /// and 2 to it.
    ///
    /// # Errors
    /// As the failing call; `EPERM` for a folder that is a symlink which others can have made.
    pub(super) fn open(name: &OsStr, paths: &mut Paths) -> Result<Self> {
        paths.set(name.as_bytes())?;
        let dir = paths.open_dir()?;
        let folder = paths.open_folder(&dir, Absent::Make).map_err(Trouble::errno)?;
        let name = CString::new(name.as_bytes()).map_err(|_| Errno(libc::EINVAL))?;
        file::mkfifo(folder.raw(), LOG_PIPE, 0o600)?;
        let open = |how| {
            let how = how | flags::O_NOFOLLOW | flags::O_NONBLOCK;
            let end = file::open(folder.raw(), LOG_PIPE, how, 0)?;
            if !file::stat_fd(end.raw())?.is_fifo() {
                return Err(Errno(libc::EINVAL));
            }
            fd::set_nonblock(end.raw(), false)?;
            Ok(end)
        };
        let reader = open(flags::O_RDONLY)?;
        // For reading too: our messages never meet a broken pipe.
        let writer = open(flags::O_RDWR)?;
        let output = fd::copy(1)?;
        let log = Self { name, reader, output, writer: Some(writer) };
        log.reopen();
        Ok(log)
    }

    /// Turns descriptors 1 and 2 to the service again.
    pub(super) fn reopen(&self) {
        if let Some(writer) = &self.writer {
            turn(writer);
        }
    }

    /// Turns descriptors 1 and 2 back, so that the service meets the end of its input.
    pub(super) fn close(&mut self) {
        self.hand_over();
        self.writer = None;
    }

    /// Turns descriptors 1 and 2 back for the program that takes our place, which turns them
    /// itself.
    pub(super) fn hand_over(&self) {
        turn(&self.output);
    }
}

fn turn(to: &Fd) {
    for fd in [1, 2] {
        // Both are open, so this cannot fail.
        let _ = fd::dup_to(to.raw(), fd);
    }
}
