//! The content of a file: as it is, or what it was before it was compressed.

use super::Why;
use super::folder::{Id, Opened};
use std::ffi::{CStr, CString};
use std::rc::Rc;
use sys::filter;
use sys::linux::errno::{Errno, Result};
use sys::linux::fd::{self, Fd};
use sys::linux::file::{self, HERE};
use sys::linux::process::{self, Ended};

/// How a compressed file begins, and what writes its content.
struct Compression {
    magic: &'static [u8],
    paths: [&'static CStr; 2],
    words: [&'static CStr; 2],
}

const COMPRESSIONS: [Compression; 5] = [
    compression(b"\x1f\x8b\x08", [c"/usr/bin/gzip", c"/bin/gzip"], [c"gzip", c"-dc"]),
    compression(b"\x28\xb5\x2f\xfd", [c"/usr/bin/zstd", c"/bin/zstd"], [c"zstd", c"-dcq"]),
    compression(b"\xfd7zXZ\0", [c"/usr/bin/xz", c"/bin/xz"], [c"xz", c"-dcq"]),
    // "BZh", the level, then pi: what begins with three letters only may be a line.
    compression(b"BZh?1AY&SY", [c"/usr/bin/bzip2", c"/bin/bzip2"], [c"bzip2", c"-dc"]),
    compression(b"BZh?\x17rE8P\x90", [c"/usr/bin/bzip2", c"/bin/bzip2"], [c"bzip2", c"-dc"]),
];

const fn compression(
    magic: &'static [u8],
    paths: [&'static CStr; 2],
    words: [&'static CStr; 2],
) -> Compression {
    Compression { magic, paths, words }
}

/// A file that is open, and can be read anywhere.
#[derive(Debug)]
pub struct Source {
    fd: Rc<Fd>,
    /// What names the file in the log directory.
    pub id: Id,
    /// The name under which it was found.
    pub name: Rc<CString>,
    /// It may grow.
    pub is_current: bool,
}

impl Source {
    /// Takes a file that is not compressed: nobody has worked on it yet.
    #[must_use]
    pub fn plain(file: Opened, is_current: bool) -> Self {
        Self { fd: file.fd, id: file.id, name: file.name.into(), is_current }
    }

    /// Takes a file that may be compressed; then its content is put into a file without a name, in
    /// `$TMPDIR`, /tmp or /var/tmp, where it takes no more than half of what is free.
    ///
    /// Also returns why that failed. Then the source is as much as could be had, and none if that is
    /// nothing: compressed bytes are no lines.
    #[must_use]
    pub fn new(file: Opened) -> (Option<Self>, Option<Why>) {
        match decompressed(&file.fd) {
            Ok(None) => (Some(Self::plain(file, false)), None),
            Ok(Some((fd, trouble))) => {
                (Some(Self::plain(Opened { fd: fd.into(), ..file }, false)), trouble)
            }
            Err(why) => (None, Some(why)),
        }
    }

    /// Reads from `offset` until `buf` is full or the file ends.
    ///
    /// # Errors
    /// As pread(2).
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        fd::read_at(self.fd.raw(), buf, offset as i64)
    }

    /// Returns how long it is now.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn size(&self) -> Result<u64> {
        file::stat_fd(self.fd.raw()).map(|stat| stat.size().max(0) as u64)
    }
}

/// Returns the content of a compressed file, with the trouble that ended it; `None` where the file
/// is not compressed.
fn decompressed(file: &Fd) -> std::result::Result<Option<(Fd, Option<Why>)>, Why> {
    let mut start = [0; 10];
    // What cannot be read is told by who reads on.
    let Ok(len) = fd::read_at(file.raw(), &mut start, 0) else { return Ok(None) };
    let is = |magic: &[u8]| {
        magic.len() <= len && magic.iter().zip(&start).all(|(m, b)| m == b || *m == b'?')
    };
    let Some(found) = COMPRESSIONS.iter().find(|compression| is(compression.magic)) else {
        return Ok(None);
    };
    let (out, size, trouble) = filtered(found, file).map_err(Why::System)?;
    match trouble {
        Some(why) if size == 0 => Err(why),
        trouble => Ok(Some((out, trouble))),
    }
}

/// Returns what the program makes of the file, how long that is, and the trouble that ended it.
fn filtered(how: &Compression, file: &Fd) -> Result<(Fd, u64, Option<Why>)> {
    let out = nameless_file()?;
    // A few bytes may become any number.
    let most = file::free_bytes(out.raw())? / 2;
    let ended = filter::run(&how.paths, &how.words, [file.raw(), out.raw()], most)?;
    let size = file::stat_fd(out.raw())?.size() as u64;
    let trouble = match ended {
        Ended::Code(0) => None,
        _ if size == most => Some(Why::System(Errno(libc::EFBIG))),
        Ended::Code(_) => Some(Why::Damaged),
        // Somebody ended it.
        Ended::Signal(_) => Some(Why::System(Errno(libc::EINTR))),
    };
    Ok((out, size, trouble))
}

fn nameless_file() -> Result<Fd> {
    let flags = libc::O_TMPFILE | libc::O_RDWR | libc::O_EXCL;
    let named = process::variable(c"TMPDIR");
    let mut answer = Err(Errno(libc::ENOENT));
    for dir in named.into_iter().chain([c"/tmp", c"/var/tmp"]) {
        answer = file::open(HERE, dir, flags, 0o600);
        if answer.is_ok() {
            break;
        }
    }
    answer
}
