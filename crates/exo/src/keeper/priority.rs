//! The keeper has the processor before those that it keeps.
//!
//! It does a little at a time, and one process begins behind another as soon as it has seen that one's
//! end: where it waited for its turn meanwhile, a processor was idle. Nobody else has that: neither the
//! worker nor what a participant runs.

use sys::linux::errno::Result;
use sys::linux::priority::{self, FIRST};

/// By how much the keeper's nice value is below that of all others. With 2 less came of it, with 10 not
/// more.
const BEFORE: i32 = 5;

/// The nice value that exo was started with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usual(i32);

impl Usual {
    /// Puts this process first. `None`: it has not the right to that, and stays as it is.
    pub(super) fn exceed() -> Option<Self> {
        let usual = priority::get().ok()?;
        priority::set((usual - BEFORE).max(FIRST)).ok()?;
        Some(Self(usual))
    }

    /// Puts this process, or a child that it has made, where all others are. By one system call.
    ///
    /// # Errors
    /// As setpriority(2); to go behind is always allowed.
    pub(super) fn resume(self) -> Result<()> {
        priority::set(self.0)
    }
}
