//! A `supervise` folder that was deleted under us, or its files: made anew when something is to be
//! written there, so that commands come again, and the next supervise finds the record.

use crate::folder;
use crate::join::{acquire, fifo, make_fifo};
use crate::keep::Kept;
use core::ffi::CStr;
use linux::errno::{OrLasting, Result};
use linux::fd::Fd;
use linux::file::{self, HERE, flags};
use ondisk::names;

impl Kept {
    /// Where the record was deleted, makes anew what is not there any more of the folder and its
    /// files; the publication writes status, record and `ok` behind it.
    ///
    /// # Errors
    /// `EAGAIN` where another supervise has the lock of a new folder; else as the failing call.
    #[inline(never)]
    pub(crate) fn mend(&mut self) -> Result<()> {
        // The cheapest to ask; a folder without it is of no use.
        let it = self.file.as_ref().unwrap_or(&self.folder);
        if !file::stat_fd(it.raw())?.has_no_name() {
            return Ok(());
        }
        let at = self.dir.as_ref().map_or(HERE, Fd::raw);
        let folder = folder::open(at)?;
        let is_there = |held: &Option<Fd>, name| is_named(held.as_ref(), &folder, name);
        // A logger that is a script has none of its own.
        if self.lock.is_some() {
            if !is_there(&self.lock, names::LOCK)? {
                self.lock = Some(acquire(&folder)?);
            }
            if !is_there(&self.control, names::CONTROL)? {
                self.control = Some(fifo(&folder, names::CONTROL, flags::O_RDWR)?);
            }
            make_fifo(&folder, names::OK)?;
            if !is_there(&self.ok, names::OK)? {
                self.ok = None;
            }
        }
        if !is_there(&self.file, self.record_name())? {
            self.file = None;
        }
        self.folder = folder;
        Ok(())
    }
}

/// Tells whether a file that we hold is the one of that name.
fn is_named(held: Option<&Fd>, folder: &Fd, name: &CStr) -> Result<bool> {
    let Some(held) = held else { return Ok(false) };
    let ours = file::stat_fd(held.raw())?.id();
    let named = file::stat(folder.raw(), name, false).or_lasting()?;
    Ok(named.is_some_and(|named| named.id() == ours))
}
