//! The spool: raw bytes that were taken from the pipe and may not have been written yet.
//!
//! README.md beside this crate says why this loses and doubles nothing, [`ondisk::spool`] what
//! stands where.

use linux::errno::{Errno, Result};
use linux::fd::{self, Fd};
use linux::file::{self, flags};
use linux::pipe;
use ondisk::logdir::{SPOOLS, SPOOLS_KEPT};
use ondisk::spool::{self, Header, Place, RAW, SLOT};

/// The two files and which of them counts.
pub struct Spool {
    files: [Fd; 2],
    active: usize,
    /// [`crate::folder::Folder::entries`] of the directory that has the files.
    entries: u32,
    /// [`Spool::begin`] is due: the files are new, or what is in them is not ours.
    is_new: bool,
    header: Header,
    /// Raw bytes in the active file.
    taken: u64,
    /// What the header says of each log.
    pub places: &'static mut [Place],
    /// For each log, its output since the raw bytes began.
    pub totals: &'static mut [u64],
}

/// What an earlier multilog left.
pub struct Left {
    /// Its header.
    pub header: Header,
    /// Raw bytes behind it.
    pub len: u64,
    /// Logs that it had.
    pub logs: usize,
}

impl Spool {
    /// Opens the files in the directory `dir`, and makes them where they are missing.
    ///
    /// # Errors
    /// As openat(2); `EINVAL` where there is something else of that name.
    pub fn open_files(dir: i32) -> Result<[Fd; 2]> {
        Ok([open(dir, 0)?, open(dir, 1)?])
    }

    /// Makes a spool of files of [`Spool::open_files`]. `script` tells our script from others; the
    /// lists have an item for each log.
    #[must_use]
    pub fn new(
        files: [Fd; 2],
        script: u64,
        places: &'static mut [Place],
        totals: &'static mut [u64],
    ) -> Self {
        let header = Header { script, ..Header::default() };
        Self { files, active: 0, entries: 1, is_new: true, header, taken: 0, places, totals }
    }

    /// Tells whether [`Spool::begin`] must be called, again if it failed, before more is taken.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Goes to the directory `dir`, where it is another than before (by `entries`, see
    /// [`crate::folder::Folder::entries`]): the one before was removed or moved. Tells whether
    /// bytes that another multilog has left in a spool there were put aside: the next one will go
    /// on with ours.
    ///
    /// # Errors
    /// As [`Spool::open_files`] and renameat2(2); `EEXIST` where some were put aside before. Then this
    /// is still the spool of the other directory.
    pub fn follow(&mut self, dir: i32, entries: u32) -> Result<bool> {
        if self.entries == entries {
            return Ok(false);
        }
        let mut any = false;
        let mut fresh = |which| {
            let file = open(dir, which)?;
            if file::stat_fd(file.raw())?.size() as u64 > RAW {
                file::rename_new(dir, SPOOLS[which], SPOOLS_KEPT[which])?;
                any = true;
                return open(dir, which);
            }
            // A higher number than ours may be there; it would count.
            file::cut(file.raw(), 0)?;
            Ok(file)
        };
        self.files = [fresh(0)?, fresh(1)?];
        (self.entries, self.is_new) = (entries, true);
        Ok(any)
    }

    /// Finds what an earlier multilog left, and reads its places. `None` = nothing.
    ///
    /// # Errors
    /// As pread(2).
    #[inline(never)]
    pub fn left(&mut self) -> Result<Option<Left>> {
        let mut best: Option<(Header, usize, usize)> = None;
        let mut slot = [0; SLOT];
        for file in 0..2 {
            for which in 0..2 {
                slot.fill(0);
                fd::read_at(self.files[file].raw(), &mut slot, (which * SLOT) as i64)?;
                let Some((header, logs)) = spool::decode(&slot) else { continue };
                if best.is_none_or(|(known, ..)| header.sequence > known.sequence) {
                    best = Some((header, logs, file));
                    for (i, place) in self.places.iter_mut().enumerate().take(logs) {
                        *place = spool::place(&slot, i);
                    }
                }
            }
        }
        let Some((header, logs, file)) = best else { return Ok(None) };
        let size = file::stat_fd(self.files[file].raw())?.size() as u64;
        self.active = file;
        self.header.sequence = header.sequence;
        self.taken = size.saturating_sub(RAW);
        Ok(Some(Left { header, len: self.taken, logs }))
    }

    /// Moves up to `len` bytes from `pipe` into the spool; 0 = the pipe has ended.
    ///
    /// # Errors
    /// As [`pipe::splice`].
    pub fn take(&mut self, pipe: i32, len: usize) -> Result<usize> {
        let n = pipe::splice_at(pipe, self.files[self.active].raw(), len, RAW + self.taken)?;
        self.taken += n as u64;
        Ok(n)
    }

    /// Reads raw bytes from `offset` on.
    ///
    /// # Errors
    /// As pread(2); `EIO` where the file has fewer: somebody has cut it.
    pub fn load(&self, out: &mut [u8], offset: usize) -> Result<()> {
        let at = (RAW + offset as u64) as i64;
        let n = fd::read_at(self.files[self.active].raw(), out, at)?;
        if n == out.len() { Ok(()) } else { Err(Errno(flags::EIO)) }
    }

    /// Returns how many raw bytes there are.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken as usize
    }

    /// Goes on in the other file, with the raw bytes that are not dealt with yet. The places must
    /// have been set to where each log stands.
    ///
    /// # Errors
    /// As pwrite(2): nothing has changed then.
    pub fn begin(&mut self, tail: &[u8], in_line: bool) -> Result<()> {
        let next = 1 - self.active;
        let file = self.files[next].raw();
        // Whatever is there is older, and so would not count; but its length would.
        file::cut(file, 0)?;
        fd::write_at(file, tail, RAW as i64)?;
        let header =
            Header { sequence: self.header.sequence + 1, in_line, script: self.header.script };
        write(file, &header, self.places)?;
        // From here on the other one is over.
        let before = self.files[self.active].raw();
        (self.active, self.header, self.taken) = (next, header, tail.len() as u64);
        self.is_new = false;
        self.totals.fill(0);
        // It does not count any more; should this fail it only keeps its space.
        let _ = file::cut(before, 0);
        Ok(())
    }

    /// Writes the places anew: a log's next byte goes elsewhere than the header says.
    ///
    /// # Errors
    /// As pwrite(2): nothing has changed then.
    pub fn note(&mut self) -> Result<()> {
        let header = Header { sequence: self.header.sequence + 1, ..self.header };
        write(self.files[self.active].raw(), &header, self.places)?;
        self.header = header;
        Ok(())
    }

    /// Goes on with the spool that was left. Where it `is_same`, of the same script, its line and its
    /// places are ours; else the places are not known before [`Spool::note`] is called.
    pub fn adopt(&mut self, left: &Left, is_same: bool) {
        self.is_new = false;
        self.header.in_line = is_same && left.header.in_line;
        if !is_same {
            self.places.fill(Place::default());
        }
    }

    /// Leaves what is in the files alone until [`Spool::begin`] takes its place.
    pub fn refuse(&mut self) {
        self.taken = 0;
    }

    /// Removes both files: everything was written.
    pub fn remove(&self, dir: i32) {
        for name in SPOOLS {
            // Left behind, an empty one says nothing and a full one is known by its places.
            let _ = file::unlink(dir, name);
        }
    }
}

fn open(dir: i32, which: usize) -> Result<Fd> {
    let how = flags::O_RDWR | flags::O_CREAT;
    let (file, stat) = file::open_regular(dir, SPOOLS[which], how, 0o600)?;
    if stat.has_one_name() { fd::beyond_standard(file) } else { Err(Errno(flags::EINVAL)) }
}

#[inline(never)]
fn write(file: i32, header: &Header, places: &[Place]) -> Result<()> {
    let mut slot = [0; SLOT];
    let len = spool::encode(header, places, &mut slot);
    // The slots take turns, so that a header that counts is never overwritten.
    fd::write_at(file, &slot[..len], (header.sequence % 2) as i64 * SLOT as i64)
}
