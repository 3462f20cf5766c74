//! exo's descriptor 1, where participants' lines go: never waited for in the middle of something.

use crate::lines::PAGE;
use machine::time::Mono;
use std::collections::VecDeque;
use std::time::Duration;
use sys::linux::errno::Errno;
use sys::linux::fd::{self, PollFd};
use sys::linux::file::flags::EAGAIN;
use sys::linux::terminal::is_terminal;
use sys::terminal::escaped_but_tabs;

/// Bytes that wait before participants' output is not read any more.
const HIGH: usize = 64 << 10;
/// Bytes that wait before no item is taken any more: what a dead process left is read all the same.
const FULL: usize = 256 << 10;
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
    /// What reads them is a terminal, which is to get no control byte of a participant's.
    is_screen: bool,
    /// Lines are dropped, since nothing else can be done with them.
    is_closed: bool,
    /// Nothing is written before this.
    again: Option<Mono>,
    /// So much waited that no item is taken until it has gone.
    is_full: bool,
}

impl Log {
    /// Begins without lines.
    pub(super) fn new() -> Self {
        Self { is_screen: is_terminal(STDOUT), ..Self::default() }
    }

    /// Appends whole lines.
    pub(super) fn put(&mut self, lines: &[u8]) {
        if self.is_closed {
            return;
        }
        if !self.is_screen {
            self.waiting.extend(lines);
            return;
        }
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            self.waiting.extend(&*escaped_but_tabs(text));
            self.waiting.push_back(b'\n');
        }
    }

    /// Tells whether more output may be read.
    #[must_use]
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < HIGH
    }

    /// Returns whether no item is to be taken, where that has changed.
    pub(super) fn heed(&mut self) -> Option<bool> {
        let limit = if self.is_full { HIGH } else { FULL };
        let is_full = self.waiting.len() >= limit;
        (std::mem::replace(&mut self.is_full, is_full) != is_full).then_some(is_full)
    }

    /// Tells whether no item is to be taken.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
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

    /// Writes what can be written without waiting, at most a page at once: a pipe that poll(2) calls
    /// writable has room for as many. Whole lines, since others write to the same pipe.
    pub(super) fn flush(&mut self, now: Mono) {
        if self.again.is_some_and(|at| at > now) {
            return;
        }
        self.again = None;
        while !self.waiting.is_empty() && is_writable() {
            let mut page = [0; PAGE];
            match fd::write(STDOUT, self.first_lines(&mut page)) {
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

    fn first_lines<'a>(&self, page: &'a mut [u8; PAGE]) -> &'a [u8] {
        let (first, rest) = self.waiting.as_slices();
        let first = &first[..first.len().min(PAGE)];
        let rest = &rest[..rest.len().min(PAGE - first.len())];
        let len = first.len() + rest.len();
        page[..first.len()].copy_from_slice(first);
        page[first.len()..len].copy_from_slice(rest);
        let whole = page[..len].iter().rposition(|byte| *byte == b'\n');
        // After a page that a file took in part the rest of a line comes first.
        &page[..whole.map_or(len, |end| end + 1)]
    }

    /// Tells whether all of it is out.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_at_once_ends_with_a_line() {
        let mut log = Log::default();
        let line = [b'x'; 999];
        for _ in 0..5 {
            log.put(&[&line[..], b"\n"].concat());
        }
        let mut page = [0; PAGE];
        assert_eq!(log.first_lines(&mut page).len(), 4000);
        log.waiting.drain(..3990);
        assert_eq!(log.first_lines(&mut page).len(), 1010);
    }

    #[test]
    fn lines_for_a_terminal_have_no_control_bytes_but_tabs_and_others_have_all() {
        let lines = b"p_0 -: \x1b[2J\ta\np_0 -: b\n";
        for (is_screen, shown) in [(true, &b"p_0 -: \\x1b[2J\ta\np_0 -: b\n"[..]), (false, lines)] {
            let mut log = Log { is_screen, ..Log::default() };
            log.put(lines);
            assert_eq!(log.waiting, shown);
        }
    }

    #[test]
    fn no_item_is_taken_from_much_waiting_to_little() {
        let mut log = Log::default();
        let mut put = |bytes: usize| {
            log.put(&vec![b'\n'; bytes]);
            log.heed()
        };
        assert_eq!((put(FULL - 1), put(1), put(1)), (None, Some(true), None));
        log.waiting.truncate(HIGH);
        assert_eq!(log.heed(), None);
        log.waiting.truncate(HIGH - 1);
        assert_eq!((log.heed(), log.is_full()), (Some(false), false));
    }
}
