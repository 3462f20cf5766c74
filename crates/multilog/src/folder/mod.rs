//! One log directory: performs what [`machine::logdir`] decides.
//!
//! Everything goes through the directory's descriptor, and no symlink is followed below it. The
//! caller writes into [`Folder::current`] while the folder [is ready](Folder::is_ready), and says
//! so by [`Folder::wrote`]; [`Folder::begin_due`] and [`Folder::check`] decide that `current` is
//! left, and [`Folder::work`] does it: in between the caller can note where it was left.

mod perform;
mod processor;
mod say;
#[cfg(test)]
mod tests;
mod write;

pub use write::{Room, Written};

use core::ffi::CStr;
use core::time::Duration;
use linux::errno::{Errno, Result};
use linux::fd::Fd;
use linux::file::{self, flags};
use linux::{program, time};
use machine::logdir::age::Age;
use machine::logdir::{Call, Failure, Machine, Rules, Verdict};
use machine::time::{Mono, earlier};
use ondisk::logdir::{CURRENT, Code, PREVIOUS, Rotated};
use ondisk::tai64n::Stamp;
use processor::Child;

/// From one look whether everything is still there to the next, in nanoseconds.
const LOOK: u64 = time::SECOND;

/// What the script says about a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes that `current` may grow to.
    pub size: u64,
    /// What ends the name of a file that is complete and on disk.
    pub code: Code,
    /// Fewer rotated files than this remain after a rotation; at least 2.
    pub keep: u32,
    /// Run by /bin/sh on each file before it gets its rotated name; no input is read meanwhile.
    pub processor: Option<&'static CStr>,
    /// Run by /bin/sh on each rotated file while logging goes on.
    pub background: Option<&'static CStr>,
    /// Bytes that the rotated files and a full `current` may have together; 0: any number.
    pub total: u64,
    /// How old the first byte of `current` may get, in nanoseconds; 0: any age.
    pub age_ns: u64,
    /// `current` ends with its day, UTC.
    pub daily: bool,
    /// On a full disk the oldest rotated file is removed; otherwise the disk is waited for.
    pub drop_when_full: bool,
    /// How long a byte may wait until it is put on disk, in nanoseconds; 0: until the file is
    /// closed.
    pub sync_ns: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            size: 99_999,
            code: Code::SAFE,
            keep: 10,
            processor: None,
            background: None,
            total: 0,
            age_ns: 0,
            daily: false,
            drop_when_full: false,
            sync_ns: 0,
        }
    }
}

/// A log directory that is ours until this is dropped.
pub struct Folder {
    /// As the script names it; counts from the directory that multilog was started in.
    path: &'static CStr,
    settings: Settings,
    machine: Machine,
    dir: Option<Fd>,
    /// How often a directory was taken over: more than once where it was removed or moved.
    entries: u32,
    lock: Option<Fd>,
    current: Option<Fd>,
    /// Device and inode of `current`.
    id: (u64, u64),
    /// Bytes in `current`, which is where the next one goes.
    len: u64,
    age: Age,
    /// When the bytes are to be put on disk.
    sync_at: Option<Mono>,
    /// When all was there last.
    looked: Mono,
    /// That somebody cut `current` was said.
    cut_told: bool,
    drops: say::Drops,
    processor: Option<Child>,
    background: Option<Child>,
    /// What a call of several parts failed at.
    part: say::Part,
    /// Why the last call failed that did.
    why: Errno,
}

impl Folder {
    /// Takes a directory over: makes it where it is absent, locks it, and puts in order what the
    /// last logger left. It may not be ready yet, if that left a file to be processed.
    ///
    /// # Errors
    /// The exit code; what was wrong was said.
    pub fn open(path: &'static CStr, settings: Settings) -> core::result::Result<Self, i32> {
        let rules = Rules {
            code: settings.code,
            keep: settings.keep,
            size: settings.size,
            total: settings.total,
            processor: settings.processor.is_some(),
            background: settings.background.is_some(),
            drop_when_full: settings.drop_when_full,
        };
        let period = Some(Duration::from_nanos(settings.age_ns)).filter(|period| !period.is_zero());
        let mut folder = Self {
            path,
            settings,
            machine: Machine::new(rules),
            dir: None,
            entries: 0,
            lock: None,
            current: None,
            id: (0, 0),
            len: 0,
            age: Age::new(period, settings.daily),
            sync_at: None,
            looked: Mono::default(),
            cut_told: false,
            drops: say::Drops::default(),
            processor: None,
            background: None,
            part: say::Part::Whole,
            why: Errno(0),
        };
        if folder.go(Mono(time::monotonic())) == Verdict::Fatal {
            return Err(program::TROUBLE);
        }
        Ok(folder)
    }

    /// Tells whether bytes may be written.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.machine.is_ready()
    }

    /// Does all that was begun and can be done now; `now`: nanoseconds of the monotonic clock.
    /// Reaps processors that have ended: nobody else may.
    pub fn work(&mut self, now: u64) {
        self.go(Mono(now));
    }

    /// Returns when [`Folder::begin_due`] or [`Folder::work`] has something to do, in nanoseconds of
    /// the monotonic clock; `None`: not before the caller or one of [`Folder::poll_fds`] brings
    /// news.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        let mut first = earlier(self.machine.deadline(), self.processors_deadline());
        if self.is_ready() {
            first = earlier(first, earlier(self.age.deadline(), self.sync_at));
        }
        first.map(|moment| moment.0)
    }

    /// Returns the descriptors that become readable when a processor has ended; -1 for none.
    #[must_use]
    pub fn poll_fds(&self) -> [i32; 2] {
        [&self.processor, &self.background].map(|child| child.as_ref().map_or(-1, Child::pidfd))
    }

    /// Returns the directory as the script names it.
    #[must_use]
    pub fn name(&self) -> &'static [u8] {
        self.path.to_bytes()
    }

    /// Returns the descriptor of the directory, -1 while there is none.
    #[must_use]
    pub fn directory(&self) -> i32 {
        self.dir.as_ref().map_or(-1, Fd::raw)
    }

    /// Tells whether the oldest rotated file makes room after this failure: of a disk that is full.
    #[must_use]
    pub fn drops_for(&self, why: Errno) -> bool {
        self.settings.drop_when_full && class(why) == Failure::Full
    }

    /// Returns how often a directory was taken over; with each, it is another one.
    #[must_use]
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// Returns the descriptor of `current`, -1 while there is none. It is written at its offset,
    /// which is its end; it does not append, so that splice(2) takes it.
    #[must_use]
    pub fn current(&self) -> i32 {
        self.current.as_ref().map_or(-1, Fd::raw)
    }

    /// Returns device and inode of `current`.
    #[must_use]
    pub fn id(&self) -> (u64, u64) {
        self.id
    }

    /// Returns how many bytes `current` has. Less than before: it was cut from outside.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Tells whether `current` has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Begins a rotation, unless `current` is empty; [`Folder::work`] performs it.
    pub fn rotate(&mut self) {
        if self.len > 0 {
            self.machine.rotate();
        }
    }

    /// Looks, once a second at most, whether directory and `current` are still what they were,
    /// and each time whether `current` was cut. If not, the folder is not ready until
    /// [`Folder::work`] has made proper ones. To be called before bytes are written: what comes
    /// behind a cut from outside would leave a hole.
    pub fn check(&mut self, now: u64) {
        let now = Mono(now);
        if !self.is_ready() || now.nanos_from(self.looked) < LOOK && !self.is_cut() {
            return;
        }
        self.looked = now;
        self.machine.check();
        while self.machine.is_looking()
            && let Some(call) = self.machine.next(now)
        {
            self.make(call, now);
        }
        // The clock may have been set since the deadline was reckoned.
        if self.is_ready() && (self.is_full() || self.age.deadline().is_some() && self.is_old(now))
        {
            self.machine.rotate();
        }
    }

    /// Begins what is due by size, age or time; [`Folder::work`] performs it. Tells whether
    /// anything is.
    pub fn begin_due(&mut self, now: u64) -> bool {
        let now = Mono(now);
        if !self.is_ready() || self.machine.is_ending() {
            return false;
        }
        let is_due = self.age.deadline().is_some_and(|due| due <= now) && self.is_old(now);
        if self.is_full() || is_due {
            self.machine.rotate();
        } else if self.sync_at.is_some_and(|due| due <= now) {
            self.machine.sync();
        }
        !self.is_ready()
    }

    /// It came as it is: from a logger with another size, or from somebody who added to it.
    fn is_full(&self) -> bool {
        self.len >= self.settings.size
    }

    fn is_cut(&self) -> bool {
        match file::seek_end(self.current()) {
            // Somebody added to it: what we write goes on behind what we wrote.
            Ok(end) if end > self.len => file::seek(self.current(), self.len).is_err(),
            Ok(end) => end < self.len,
            Err(_) => false,
        }
    }

    /// Says that writing to `current` failed: says so, and pauses or makes room.
    pub fn failed(&mut self, why: Errno, now: u64) {
        let verdict = self.machine.write_failed(class(why), Mono(now));
        self.why = why;
        self.say_write_failed(verdict, Mono(now));
        self.go(Mono(now));
    }

    /// Asks for the end: `current` is closed properly. A processor that still runs after five
    /// seconds is told TERM and left; the next logger takes its file up.
    pub fn finish(&mut self, now: u64) {
        self.machine.finish(Mono(now));
        self.go(Mono(now));
    }

    /// Tells whether the end that was asked for has come.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.machine.is_finished()
    }

    /// Finds the file with this device and inode among `current`, `previous` and the rotated
    /// files; returns its size.
    ///
    /// # Errors
    /// The directory cannot be read now.
    pub fn find(&self, id: (u64, u64)) -> Result<Option<u64>> {
        let found = self.with_file(id, |_, stat| Ok(stat.size()))?;
        Ok(found.map(|size| size as u64))
    }

    /// Cuts the file that [`Folder::find`] finds to `size` bytes.
    ///
    /// # Errors
    /// `ENOENT` where there is none; else as ftruncate(2) and fsync(2).
    pub fn cut(&mut self, id: (u64, u64), size: u64) -> Result<()> {
        let cut = self.with_file(id, |name, _| {
            let (fd, stat) = file::open_regular(self.dir()?, name, flags::O_WRONLY, 0)?;
            if stat.id() != id {
                return Err(Errno(flags::ENOENT));
            }
            file::cut(fd.raw(), size as usize)?;
            // Its mode may say that it is on disk.
            file::sync(fd.raw())
        })?;
        cut.ok_or(Errno(flags::ENOENT))?;
        if id == self.id {
            self.len = size;
            file::seek(self.current(), size)?;
        }
        Ok(())
    }

    fn with_file<T>(
        &self,
        id: (u64, u64),
        mut what: impl FnMut(&CStr, file::Stat) -> Result<T>,
    ) -> Result<Option<T>> {
        let dir = self.dir()?;
        let mut look = |name: &CStr| match file::stat(dir, name, false) {
            Ok(stat) if stat.is_file() && stat.id() == id => Some(what(name, stat)),
            _ => None,
        };
        for name in [CURRENT, PREVIOUS] {
            if let Some(answer) = look(name) {
                return answer.map(Some);
            }
        }
        let found = self.for_each_rotated(|_, name| look(name))?;
        found.transpose()
    }

    /// Makes the calls that are to be made now.
    // A frame of its own: the stack it needs is given back behind a rotation.
    #[inline(never)]
    fn go(&mut self, now: Mono) -> Verdict {
        self.reap(now);
        while let Some(call) = self.machine.next(now) {
            let verdict = self.make(call, now);
            if verdict == Verdict::Fatal {
                return verdict;
            }
        }
        Verdict::Fine
    }

    fn make(&mut self, call: Call, now: Mono) -> Verdict {
        let answer = self.perform(call, now);
        let verdict = self.machine.answer(answer, now);
        self.say(call, verdict, now);
        verdict
    }

    fn is_old(&mut self, now: Mono) -> bool {
        self.len > 0 && self.age.is_due(now, time::wall().0)
    }

    /// `current` has bytes: of now, or since the last rotation, or since it was written last.
    fn begin_age(&mut self, last_written: Option<i64>, now: Mono) {
        if !self.age.counts() {
            return;
        }
        let wall = time::wall().0;
        let newest = self.machine.newest().map(Stamp::unix_seconds);
        let since = last_written.map_or(wall, |written| newest.unwrap_or(written).min(written));
        let old = u64::try_from(wall.saturating_sub(since)).unwrap_or(0);
        self.age.begin(Duration::from_secs(old), now, wall);
    }

    fn dir(&self) -> Result<i32> {
        self.dir.as_ref().map(Fd::raw).ok_or(Errno(flags::EBADF))
    }

    /// Calls `each` with every rotated file until it answers something.
    fn for_each_rotated<T>(
        &self,
        mut each: impl FnMut(Rotated, &CStr) -> Option<T>,
    ) -> Result<Option<T>> {
        let dir = file::open(self.dir()?, c".", flags::O_RDONLY | flags::O_DIRECTORY, 0)?;
        linux::directory::for_each(dir.raw(), |name| {
            each(Rotated::from_name(name.to_bytes())?, name)
        })
    }
}

/// How much of a failure the machine needs to know.
fn class(why: Errno) -> Failure {
    match why {
        Errno(flags::ENOSPC | flags::EDQUOT) => Failure::Full,
        Errno(flags::ENOENT) => Failure::Absent,
        Errno(_) => Failure::Other,
    }
}
