//! What a participant prints, and the pipes that it writes to.

use super::link::{AT_ONCE, Came, read, readable};
use crate::lines::Lines;
use sys::linux::errno::Result;
use sys::linux::fd::{self, Fd, PollFd};
use sys::linux::file;

/// Output read at once: of empty lines it becomes two hundred times as much, with what stands before
/// each.
const PIECE: usize = 16 << 10;

/// Modes by which a participant's end of a pipe can be opened by name, too (`/dev/stdin`,
/// `/dev/stderr`, `/dev/fd/3`): the pipe is ours, and the participant another user. No others reach
/// a name that leads there, see `proc_pid_fd(5)`.
pub(super) const READ_BY_NAME: u32 = 0o644;
const WRITTEN_BY_NAME: u32 = 0o622;

/// Makes a pipe that a participant writes to: our end, and its own.
///
/// # Errors
/// As pipe2(2), fchmod(2).
pub(super) fn from_participant() -> Result<(Fd, Fd)> {
    let (from, to) = fd::pipe()?;
    fd::set_nonblock(from.raw(), true)?;
    file::set_mode(to.raw(), WRITTEN_BY_NAME)?;
    Ok((from, to))
}

/// One of the two streams that a participant prints to.
#[derive(Debug)]
pub(super) struct Printed {
    from: Option<Fd>,
    /// Bytes that are to be read before what it said counts: they may have been printed before.
    before: usize,
    /// What it printed, in lines.
    pub(super) lines: Lines,
}

impl Printed {
    /// Makes one: ours, and the participant's end of it.
    ///
    /// # Errors
    /// As pipe2(2), fchmod(2).
    pub(super) fn make(line_limit: usize) -> Result<(Self, Fd)> {
        let (from, to) = from_participant()?;
        Ok((Self { from: Some(from), before: 0, lines: Lines::new(line_limit) }, to))
    }

    /// Notes that it said something: what it printed before is in the pipe by now.
    pub(super) const fn expect(&mut self) {
        self.before = AT_ONCE;
    }

    /// Tells whether there is more of what may have been printed before it said something.
    pub(super) const fn is_behind(&self) -> bool {
        self.before > 0
    }

    /// Moves what is there into `out`, as tagged lines, until there is no more or about `most` bytes
    /// have been added.
    pub(super) fn take(&mut self, room: &mut [u8], most: usize, tag: &str, out: &mut Vec<u8>) {
        let piece = room.len().min(PIECE);
        let end = out.len().saturating_add(most);
        while let Some(from) = &self.from
            && out.len() < end
        {
            match read(from, &mut room[..piece]) {
                Came::Bytes(n) => {
                    self.lines.take(&room[..n], tag, out);
                    self.before = self.before.saturating_sub(n);
                }
                Came::Nothing => break,
                Came::End | Came::Unread => self.from = None,
            }
        }
        // Where nothing is left, nothing would wake us for it.
        if self.is_behind() && !self.has_more() {
            self.before = 0;
        }
    }

    /// Tells whether there may be more.
    pub(super) fn has_more(&self) -> bool {
        let is_ready = || fd::poll(&mut [self.interest()], Some(0)).is_ok_and(|ready| ready > 0);
        self.from.is_some() && is_ready()
    }

    /// Returns what to wait for.
    #[must_use]
    pub(super) fn interest(&self) -> PollFd {
        readable(self.from.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_taken_up_to_what_it_becomes() {
        let (mut ours, theirs) = Printed::make(100).unwrap();
        fd::write_all(theirs.raw(), &vec![b'\n'; 60 << 10]).unwrap();
        let (mut room, mut out) = (vec![0; AT_ONCE], Vec::new());
        let tag = "t".repeat(98);
        ours.take(&mut room, 1, &tag, &mut out);
        assert_eq!(out.len(), PIECE * 101);
        assert!(ours.has_more());
        ours.take(&mut room, usize::MAX, &tag, &mut out);
        assert_eq!(out.len(), (60 << 10) * 101);
        assert!(!ours.has_more());
    }

    #[test]
    fn what_was_printed_before_a_word_is_waited_for_and_no_flood_behind_it() {
        let (mut ours, theirs) = Printed::make(100).unwrap();
        let (mut room, mut out) = (vec![0; AT_ONCE], Vec::new());
        let mut take = |ours: &mut Printed| ours.take(&mut room, 1, "t", &mut out);
        fd::write_all(theirs.raw(), &vec![b'\n'; 2 * PIECE]).unwrap();
        take(&mut ours);
        assert!(!ours.is_behind(), "it has said nothing");
        ours.expect();
        fd::write_all(theirs.raw(), &vec![b'\n'; PIECE]).unwrap();
        take(&mut ours);
        assert!(ours.is_behind());
        take(&mut ours);
        assert!(!ours.is_behind(), "all of it is here");
        ours.expect();
        for is_behind in [true, true, true, false] {
            fd::write_all(theirs.raw(), &vec![b'\n'; PIECE + 1]).unwrap();
            take(&mut ours);
            assert_eq!(ours.is_behind(), is_behind);
        }
    }
}
