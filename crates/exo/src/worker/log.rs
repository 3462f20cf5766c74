//! exo's descriptor 1, where participants' lines go: never waited for in the middle of something.

use machine::time::Mono;
use std::collections::VecDeque;
use std::time::Duration;
use sys::linux::errno::Errno;
use sys::linux::fd::{self, PollFd};
use sys::linux::file::flags::EAGAIN;

/// Bytes that wait before participants' output is not read any more.
const HIGH: usize = 64 << 10;
/// Bytes written at once. A pipe that poll(2) calls writable has room for as many.
const PAGE: usize = 4096;
/// Between two tries at a file that takes nothing.
const AGAIN: Duration = Duration::from_secs(1);
/// Where lines go.
const STDOUT: i32 = 1;
/// No reader is left, and none can come.
const EPIPE: i32 = 32;

/// Lines on their way to descriptor 1.
#[derive(Debug, Default)]
pub(super) struct Log {
    waiting: VecDeque<u8>,
    /// Lines are dropped, since nothing else can be done with them.
    is_closed: bool,
    /// Nothing is written before this.
    again: Option<Mono>,
}

impl Log {
    /// Appends whole lines.
    pub(super) fn put(&mut self, lines: &[u8]) {
        if !self.is_closed {
            self.waiting.extend(lines);
        }
    }

    /// Tells whether more output may be read.
    #[must_use]
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < HIGH
    }

    /// Writes where that is needed for room. Tells whether more output may be read.
    pub(super) fn makes_room(&mut self, now: Mono) -> bool {
        if !self.has_room() {
            self.flush(now);
        }
        self.has_room()
    }

    /// Returns when [`flush`](Self::flush) is due, whatever the descriptor says.
    #[must_use]
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.again.filter(|_| !self.waiting.is_empty())
    }

    /// Writes what can be written without waiting.
    pub(super) fn flush(&mut self, now: Mono) {
        if self.again.is_some_and(|at| at > now) {
            return;
        }
        self.again = None;
        while !self.waiting.is_empty() && is_writable() {
            let (first, _) = self.waiting.as_slices();
            match fd::write(STDOUT, &first[..first.len().min(PAGE)]) {
                Ok(n) => drop(self.waiting.drain(..n)),
                Err(Errno(EAGAIN)) => return,
                Err(Errno(EPIPE)) => {
                    self.is_closed = true;
                    self.waiting.clear();
                }
                // A full disk, where this is a file: it may have room again.
                Err(_) => {
                    self.again = Some(now.after(AGAIN));
                    return;
                }
            }
        }
        if self.waiting.is_empty() {
            self.waiting.shrink_to(PAGE);
        }
    }

    /// Returns what to wait for, if anything waits.
    #[must_use]
    pub(super) fn interest(&self) -> Option<PollFd> {
        let waits = !self.waiting.is_empty() && self.again.is_none();
        waits.then(|| PollFd::writable(STDOUT))
    }
}

fn is_writable() -> bool {
    matches!(fd::poll(&mut [PollFd::writable(STDOUT)], Some(0)), Ok(1..))
}
