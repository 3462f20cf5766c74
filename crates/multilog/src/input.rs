//! Descriptor 0, where lines are looked at: raw bytes in memory, from a spool or read directly.

use crate::spool::Spool;
use crate::{STDIN, ahead, direct};
use linux::errno::{Errno, Result};
use linux::file::flags;
use linux::{fd, memory};

/// Bytes of memory for raw bytes, and so the most that a spool holds.
pub const LEN: usize = 1 << 16;
/// A spool with less room than this is followed by the next.
const LEAST: usize = LEN / 4;
/// Bytes that are moved into a spool at once, see [`direct::MOST`].
const STEP: usize = direct::MOST as usize;

/// What came of asking for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// There are new bytes.
    Some,
    /// None yet.
    NotYet,
    /// There will never be any.
    End,
}

/// Raw bytes, of which the first ones are dealt with.
pub struct Input {
    raw: &'static mut [u8],
    from: usize,
    to: usize,
    /// Where bytes are safe until they are written; `None` = nowhere, they are read.
    pub spool: Option<Spool>,
}

impl Input {
    /// Makes room for raw bytes.
    ///
    /// # Errors
    /// `ENOMEM` where the system has no more memory.
    pub fn new(spool: Option<Spool>) -> Result<Self> {
        Ok(Self { raw: memory::buffer(LEN)?, from: 0, to: 0, spool })
    }

    /// Returns the bytes that are not dealt with yet.
    #[must_use]
    pub fn waiting(&self) -> &[u8] {
        &self.raw[self.from..self.to]
    }

    /// Returns the same, and the spool.
    pub fn parts(&mut self) -> (&[u8], Option<&mut Spool>) {
        (&self.raw[self.from..self.to], self.spool.as_mut())
    }

    /// Says that the first `n` bytes of them are dealt with.
    pub fn done(&mut self, n: usize) {
        self.from += n;
        // A spool's bytes lie in memory where they lie in its file.
        if self.from == self.to && self.spool.is_none() {
            (self.from, self.to) = (0, 0);
        }
    }

    /// Gets more bytes without waiting; only asked when what is waiting cannot be dealt with
    /// without them. `only_line`: no more than up to the next newline.
    ///
    /// # Errors
    /// What went wrong with descriptor 0 or the spool; asked again it goes on.
    pub fn more(&mut self, only_line: bool) -> Result<More> {
        let answer =
            if self.spool.is_some() { self.spooled(only_line) } else { self.read(only_line) };
        match answer {
            Err(Errno(flags::EAGAIN)) => Ok(More::NotYet),
            answer => answer,
        }
    }

    fn read(&mut self, only_line: bool) -> Result<More> {
        self.raw.copy_within(self.from..self.to, 0);
        (self.from, self.to) = (0, self.to - self.from);
        let most = if only_line { self.to + 1 } else { self.raw.len() };
        let n = fd::read(STDIN, &mut self.raw[self.to..most])?;
        self.to += n;
        Ok(if n == 0 { More::End } else { More::Some })
    }

    fn spooled(&mut self, only_line: bool) -> Result<More> {
        let Some(spool) = &mut self.spool else { return Ok(More::NotYet) };
        let mut most = self.raw.len() - self.to;
        if only_line {
            most = most.min(ahead::look(STDIN, most)?.len);
        }
        let mut taken = 0;
        while taken < most {
            let step = (most - taken).min(STEP);
            match spool.take(STDIN, step) {
                Ok(0) if taken == 0 => return Ok(More::End),
                Err(why) if taken == 0 => return Err(why),
                Ok(n) if n == step => taken += n,
                // Also where it ended or failed: asked again it says so.
                _ => break,
            }
        }
        if most == 0 {
            return Ok(More::End);
        }
        // Failing, it is fetched later.
        self.fetch().map(|()| More::Some)
    }

    /// Reads what the spool has taken and could not be read yet.
    ///
    /// # Errors
    /// As [`Spool::load`].
    pub fn fetch(&mut self) -> Result<()> {
        let Some(spool) = &self.spool else { return Ok(()) };
        let taken = spool.taken().min(self.raw.len());
        if self.to < taken {
            spool.load(&mut self.raw[self.to..taken], self.to)?;
            self.to = taken;
        }
        Ok(())
    }

    /// Tells whether the spool is used up: [`Spool::begin`] must be called with what is waiting,
    /// and then [`Input::begun`].
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.spool.is_some() && self.raw.len() - self.to < LEAST
    }

    /// Says that the spool begins with what is waiting.
    pub fn begun(&mut self) {
        self.raw.copy_within(self.from..self.to, 0);
        (self.from, self.to) = (0, self.to - self.from);
    }

    /// Loads all of a spool that was left.
    ///
    /// # Errors
    /// As [`Spool::load`].
    pub fn load_left(&mut self) -> Result<()> {
        (self.from, self.to) = (0, 0);
        self.fetch()
    }

    /// Gives back the memory that a load took, as far as nothing waits in it.
    pub fn shrink(&mut self) {
        // What waits may lie in a page that it shares with what does not.
        let (used, free) = self.raw.split_at_mut(self.to);
        memory::give_back(free);
        memory::give_back(&mut used[..self.from]);
        if self.from == self.to {
            memory::give_back(self.raw);
        }
    }
}
