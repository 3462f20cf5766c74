//! What a participant prints, and the pipes that it writes to.

use super::link::{Came, read, readable};
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
        Ok((Self { from: Some(from), lines: Lines::new(line_limit) }, to))
    }

    /// Moves what is there into `out`, as tagged lines, until there is no more or `out` has about
    /// `most` bytes.
    pub(super) fn take(&mut self, room: &mut [u8], most: usize, tag: &str, out: &mut Vec<u8>) {
        let piece = room.len().min(PIECE);
        while let Some(from) = &self.from
            && out.len() < most
        {
            match read(from, &mut room[..piece]) {
                Came::Bytes(n) => self.lines.take(&room[..n], tag, out),
                Came::Nothing => return,
                Came::End | Came::Unread => self.from = None,
            }
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
    use super::super::link::AT_ONCE;
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
}
