//! Whose turn it is to write: one process at a time, whoever waits longest first.

use crate::place::{Place, open_file};
use crate::trouble::Trouble;
use std::fs::File;
use std::io;
use std::path::PathBuf;

/// How often it is tried to let go of a lock.
const LEAVING: u32 = 10;

/// The two locks of a store, open.
pub(crate) struct Gate {
    lock: File,
    turn: File,
    path: PathBuf,
}

impl Gate {
    pub(crate) fn open(place: &Place) -> Result<Self, Trouble> {
        let path = place.lock();
        Ok(Self { lock: open_file(&path)?, turn: open_file(&place.turn())?, path })
    }

    /// Waits until nobody else writes. The kernel wakes us, and lets go when we die.
    ///
    /// Who has just left cannot come back before whoever waits for the lock: that one has the
    /// turn meanwhile.
    pub(crate) fn enter(&self) -> Result<Entered<'_>, Trouble> {
        let io = |e| Trouble::io("lock", &self.path, e);
        self.turn.lock().map_err(io)?;
        let entered = self.lock.lock();
        let left = leave(&self.turn);
        let entered = entered.map(|()| Entered { gate: self }).map_err(io)?;
        left.map_err(io)?;
        Ok(entered)
    }
}

/// Lets go of a lock. flock(2) fails on no open file but for want of memory: somebody may wait for the
/// lock, and would until we write next.
fn leave(lock: &File) -> io::Result<()> {
    let mut left = lock.unlock();
    for _ in 1..LEAVING {
        if left.is_ok() {
            break;
        }
        left = lock.unlock();
    }
    left
}

/// Nobody else writes while this lives.
pub(crate) struct Entered<'a> {
    gate: &'a Gate,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        // Closing it ends it, too.
        let _ = leave(&self.gate.lock);
    }
}
