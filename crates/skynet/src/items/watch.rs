//! Waiting for what others write into the store.
//!
//! Nobody tells readers of a commit: the kernel tells of writes to the store's files, the last of
//! which comes a moment before the commit can be seen. So a report is followed by a few looks, each
//! after twice the time of the one before.

use crate::failure::Failure;
use crate::here::Here;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use sys::linux::fd::{self, PollFd};
use sys::linux::time;
use sys::linux::watch::{CHANGED, Watcher};
use work::Reader;

/// The first look after a report, in nanoseconds.
const SOON: u64 = time::SECOND / 1000;
/// The longest time between two looks: a report may be lost.
const LONGEST: u64 = 2 * time::SECOND;

/// Sees when somebody writes to the store.
pub struct Watch {
    watcher: Watcher,
}

impl Watch {
    /// Begins: what is written from now on is seen.
    ///
    /// # Errors
    /// The store's folder cannot be watched.
    pub fn begin(here: &Here) -> Result<Self, Failure> {
        let folder = &here.places().store;
        let path = CString::new(folder.as_os_str().as_bytes()).unwrap_or_default();
        let watcher = Watcher::new().and_then(|watcher| {
            watcher.add(&path, CHANGED)?;
            Ok(watcher)
        });
        let watcher = watcher.map_err(|why| Failure::errno("watch", folder.display(), why))?;
        Ok(Self { watcher })
    }

    /// Looks again and again until there is nothing to look for any more; `false` where `deadline`,
    /// by the monotonic clock, comes first.
    ///
    /// # Errors
    /// A look failed.
    pub fn until(
        &self,
        reader: &Reader,
        deadline: Option<u64>,
        mut look: impl FnMut(&Reader) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let mut rest = SOON;
        loop {
            if look(reader)? {
                return Ok(true);
            }
            let left = deadline.map_or(u64::MAX, |at| at.saturating_sub(time::monotonic()));
            if left == 0 {
                return Ok(false);
            }
            let mut list = [PollFd::readable(self.watcher.raw())];
            let heard = fd::poll(&mut list, Some(rest.min(left)));
            heard.map_err(|why| Failure::errno("wait for", "the store", why))?;
            let mut was_written = false;
            self.watcher.reports(|_| was_written = true);
            rest = if was_written { SOON } else { rest.saturating_mul(2).min(LONGEST) };
        }
    }
}
