//! Whose turn it is to write: one process at a time, whoever waits longest first.

use crate::place::{Place, open_file};
use crate::trouble::Trouble;
use std::fs::File;
use std::path::PathBuf;

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
        let left = self.turn.unlock();
        let entered = entered.map(|()| Entered { gate: self }).map_err(io)?;
        left.map_err(io)?;
        Ok(entered)
    }
}

/// Nobody else writes while this lives.
pub(crate) struct Entered<'a> {
    gate: &'a Gate,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        // flock(2) fails on no open file but for want of memory, and closing it ends it too.
        let _ = self.gate.lock.unlock();
    }
}
