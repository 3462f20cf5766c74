//! Reading log directories: multilog's, and those of its relatives svlogd and s6-log.
//!
//! | module | subject |
//! |---|---|
//! | [`stamp`] | the time that a line begins with |
//! | [`folder`] | which files there are, each of them once |
//! | [`source`] | the content of a file, compressed or not |
//! | [`order`] | which file comes next while a logger rotates |
//! | [`filter`] | which lines are wanted |
//! | [`seek`] | a moment in a file |
//! | [`forward`] | lines, oldest first; goes on when there are more |
//! | [`backward`] | lines, newest first; turns round where one wants to |
//! | [`follow`] | being told that there is more |
//! | [`merge`] | several directories, by time |
//! | [`deliver`] | handing over what was asked for, and going on |
//!
//! A directory's content is what one gets by putting its files one behind the other: a file that
//! does not end in a newline goes on in the next, unless a stamp begins there.
//!
//! ```no_run
//! use daemontools::logs::{BEGINNING, Backward, Folder, follow};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The last ten lines, and then what comes.
//! let mut folder = Folder::open("log/main".as_ref()).map_err(|why| why.text())?;
//! folder.watch();
//! let mut back = Backward::new(folder).map_err(|trouble| trouble.to_string())?;
//! back.skip_unfinished();
//! for _ in 0..10 {
//!     if back.find(BEGINNING) {
//!         back.take();
//!     }
//! }
//! let mut logs = [back.turn_round()];
//! loop {
//!     while logs[0].advance() {
//!         let line = logs[0].line();
//!         println!("{:?} {:?}", line.time, line.bytes);
//!     }
//!     if !logs[0].go_on() && follow::wait(&mut logs, 1) {
//!         return Ok(());
//!     }
//! }
//! # }
//! ```

pub mod backward;
pub mod deliver;
pub mod filter;
pub mod folder;
pub mod follow;
pub mod forward;
pub mod merge;
pub mod order;
pub mod seek;
pub mod source;
pub mod stamp;

pub use backward::Backward;
pub use filter::Filter;
pub use folder::Folder;
pub use forward::Forward;

#[cfg(test)]
mod tests;

use ondisk::tai64n::Stamp;
use std::ffi::CString;
use sys::linux::errno::Errno;

/// Longest piece of a line that is handed over, in bytes. A longer line comes in several. Few in
/// this crate's own tests, which meet all edges then.
pub const MOST: usize = if cfg!(test) { 100 } else { 1 << 20 };

/// A line, or a piece of one that is longer than [`MOST`].
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The moment that the line begins with, if it does.
    pub time: Option<Stamp>,
    /// When it was written, as far as is known: the line's own moment, else that of the last line
    /// before it in the same file, else when the files were closed.
    pub span: Span,
    /// As on disk, stamp and newline included. Without newline: a piece that is not the last one,
    /// a line that was cut off, or the end of what is there now.
    pub bytes: &'a [u8],
    /// Whether a line begins here.
    pub starts: bool,
    /// The name under which the file was found where the piece begins.
    pub file: &'a CString,
    /// Where it begins in the file's content (decompressed, if it was compressed).
    pub offset: u64,
}

/// A stretch of time, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Not written before.
    pub first: Stamp,
    /// Not written after.
    pub last: Stamp,
}

impl Span {
    /// All time.
    pub const ALWAYS: Self = Self { first: BEGINNING, last: END };

    /// Returns the stretch that is one moment.
    #[must_use]
    pub const fn at(moment: Stamp) -> Self {
        Self { first: moment, last: moment }
    }

    /// Tells whether the two have a moment in common.
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Before every file.
pub const BEGINNING: Stamp = Stamp { seconds: 0, nanos: 0 };
/// After every file.
pub const END: Stamp = Stamp { seconds: u64::MAX, nanos: u32::MAX };

/// Something that could not be read, and is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What was attempted, after "unable to".
    pub verb: &'static str,
    /// The file in the directory; empty = the directory itself.
    pub file: CString,
    /// Why not; `None` where `verb` says it all.
    pub why: Option<Why>,
}

/// What a [`Trouble`] comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The system said so.
    System(Errno),
    /// A compressed file is not as its program makes it: damaged, or not all of it is there.
    Damaged,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::System(why) => why.fmt(f),
            Self::Damaged => f.write_str("damaged or cut short"),
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "unable to {} {}", self.verb, self.file.to_string_lossy())?;
        self.why.map_or(Ok(()), |why| write!(f, ": {why}"))
    }
}
