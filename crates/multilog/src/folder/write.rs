//! How far bytes may be written into `current`.

use super::Folder;
use linux::errno::Result;
use linux::{bytes, fd};
use machine::time::Mono;

/// A line that ends within so many bytes before the size ends the file.
const NEAR_END: u64 = 2000;

/// How far it is to the end of `current`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that may be written without looking at them: no line that ends there ends the file.
    pub free: u64,
    /// Bytes until the file has its size.
    pub tail: u64,
}

impl Room {
    /// Returns how many of `bytes` go into the file, and whether it is to be rotated then: behind
    /// the first line that ends near the end, or at the size.
    #[must_use]
    pub fn share(self, bytes: &[u8]) -> (usize, bool) {
        let len = bytes.len() as u64;
        if len <= self.free {
            return (bytes.len(), false);
        }
        // A line that ends with the last free byte is no end: the next byte is looked at.
        let last = len.min(self.tail) as usize;
        let looked = &bytes[(self.free as usize).min(last)..last];
        match bytes::find(b'\n', looked) {
            Some(at) => (self.free as usize + at + 1, true),
            None => (last, len >= self.tail),
        }
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes that are in the file now.
    pub bytes: usize,
    /// The file has come to its end: [`Folder::rotate`] is due.
    pub full: bool,
}

impl Folder {
    /// Returns how far it is to the end of `current`.
    #[must_use]
    pub fn room(&self) -> Room {
        let size = self.settings.size;
        Room {
            // One less: a newline that makes the file just NEAR_END short of its size ends it.
            free: size.saturating_sub(NEAR_END + 1).saturating_sub(self.len),
            tail: size.saturating_sub(self.len),
        }
    }

    /// Says that `n` bytes were written to [`Folder::current`].
    pub fn wrote(&mut self, n: u64, now: u64) {
        if n == 0 {
            return;
        }
        let now = Mono(now);
        if self.len == 0 {
            self.begin_age(None, now);
        }
        self.len += n;
        if self.settings.sync_ns > 0 && self.sync_at.is_none() {
            self.sync_at = Some(Mono(now.0.saturating_add(self.settings.sync_ns)));
        }
    }

    /// Writes what goes into `current`, and begins the rotation that is due then; returns how many
    /// bytes. Trouble was said, and the folder is not ready until it is over.
    pub fn put(&mut self, bytes: &[u8], now: u64) -> usize {
        match self.write_current(bytes, now) {
            Ok(written) => {
                if written.full {
                    self.rotate();
                }
                written.bytes
            }
            Err(why) => {
                self.failed(why, now);
                0
            }
        }
    }

    /// Writes as many of `bytes` as go into `current`.
    fn write_current(&mut self, bytes: &[u8], now: u64) -> Result<Written> {
        let (share, last) = self.room().share(bytes);
        let written = fd::write(self.current(), &bytes[..share])?;
        self.wrote(written as u64, now);
        Ok(Written { bytes: written, full: last && written == share })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_ends_behind_the_first_line_near_its_end_or_at_its_size() {
        let room = Room { free: 3, tail: 6 };
        let rows: [(&[u8], usize, bool); 8] = [
            (b"", 0, false),
            (b"\n\n\n", 3, false),
            (b"abcd", 4, false),
            (b"abc\nd", 4, true),
            (b"abcd\nefgh", 5, true),
            (b"abcde\n", 6, true),
            (b"abcdefgh\n", 6, true),
            (b"\n\n\n\n\n", 4, true),
        ];
        for (bytes, share, full) in rows {
            assert_eq!(room.share(bytes), (share, full), "{bytes:?}");
        }
        assert_eq!(Room { free: 0, tail: 0 }.share(b"a"), (0, true));
        assert_eq!(Room { free: 0, tail: 2 }.share(b"a"), (1, false));
    }
}
