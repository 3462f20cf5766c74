//! Lines that go from the pipe into one file without being looked at.

use crate::folder::Folder;
use crate::input::More;
use crate::{STDIN, ahead};
use linux::errno::{Errno, Result};
use linux::file::flags;
use linux::{fd, pipe};

/// Most bytes moved at once. The kernel keeps the pipe to itself while it moves them: with a pipe's
/// 64 KiB at once reader and writer would only take turns.
pub(crate) const MOST: u64 = 1 << 14;

/// Moves bytes from descriptor 0 into the current file of a log.
#[derive(Default)]
pub struct Direct {
    /// The file before the current one ended within a line.
    was_split: bool,
}

impl Direct {
    /// Moves what is there, up to the end of the file or, with `only_line`, of the line. Begins a
    /// rotation where the file is full.
    ///
    /// # Errors
    /// As splice(2); nothing is lost.
    pub fn more(&mut self, log: &mut Folder, now: u64, only_line: bool) -> Result<More> {
        let room = log.room();
        let answer = if room.free > 0 && !only_line {
            pipe::splice(STDIN, log.current(), room.free.min(MOST) as usize).map(|n| (n, false))
        } else {
            step(log.current(), if room.free > 0 { room.free } else { room.tail })
        };
        let (n, is_line) = match answer {
            Ok((0, _)) => return Ok(More::End),
            Err(Errno(flags::EAGAIN)) => return Ok(More::NotYet),
            answer => answer?,
        };
        log.wrote(n as u64, now);
        if room.free == 0 && (is_line || n as u64 == room.tail) {
            self.was_split = !is_line;
            log.rotate();
        }
        Ok(More::Some)
    }

    /// Tells whether what was moved last ended within a line.
    #[must_use]
    pub fn is_in_line(&self, log: &Folder) -> bool {
        let mut last = [b'\n'];
        match log.len().checked_sub(1) {
            None => self.was_split,
            // Not to be read: then there is no newline to be sure of.
            Some(at) => fd::read_at(log.current(), &mut last, at as i64) != Ok(1) || last != *b"\n",
        }
    }

    /// Says that the log is about to be rotated at the administrator's wish.
    pub fn rotates(&mut self, log: &Folder) {
        self.was_split = self.is_in_line(log);
    }
}

/// Moves no more than the rest of a line; tells whether it was all of it.
fn step(to: i32, most: u64) -> Result<(usize, bool)> {
    let ahead = ahead::look(STDIN, most.min(ahead::MOST as u64) as usize)?;
    if ahead.len == 0 {
        return Ok((0, false));
    }
    let n = pipe::splice(STDIN, to, ahead.len)?;
    Ok((n, ahead.has_newline && n == ahead.len))
}
