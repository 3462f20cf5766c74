//! How a start stands: what its child says on a pipe, which is closed by running the program.
//!
//! Nobody waits for the child: from the change of its user on, others may stop it, and what it
//! enters and runs may be on a file system that does not answer.

use crate::order::{DESCRIPTORS, Step};
use sys::linux::errno::{Errno, Result};
use sys::linux::fd::{self, Fd};

/// A step, one byte, and why it failed, an error number: 0 = it begins.
const RECORD: usize = 1 + size_of::<i32>();

/// The child's end; by nothing but system calls.
#[derive(Debug)]
pub(super) struct Teller {
    to: Fd,
    step: Step,
}

/// The keeper's end.
#[derive(Debug)]
pub(super) struct Status {
    from: Fd,
    step: Step,
    why: Errno,
}

/// What is known of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// This step has begun.
    At(Step),
    /// This step failed, and the child has ended or will at once.
    Failed(Step, Errno),
    /// The program runs, or the child was killed before.
    Over,
}

/// Makes both ends. The first step counts as begun.
pub(super) fn pair() -> Result<(Status, Teller)> {
    let (from, to) = fd::pipe()?;
    fd::set_nonblock(from.raw(), true)?;
    // Not where the child puts its own.
    let to = fd::move_beyond(to, DESCRIPTORS as i32)?;
    let step = Step::Descriptors;
    Ok((Status { from, step, why: Errno(0) }, Teller { to, step }))
}

impl Teller {
    pub(super) fn raw(&self) -> i32 {
        self.to.raw()
    }

    pub(super) fn begin(&mut self, step: Step) {
        self.step = step;
        self.tell(Errno(0));
    }

    pub(super) fn fail(&self, why: Errno) {
        self.tell(why);
    }

    fn tell(&self, Errno(why): Errno) {
        let mut record = [0; RECORD];
        record[0] = self.step as u8;
        record[1..].copy_from_slice(&why.to_ne_bytes());
        // All of them fit into the pipe; where the keeper is dead, so are we.
        let _ = fd::write(self.to.raw(), &record);
    }
}

impl Status {
    /// Becomes hung up, and no more than that is to be waited for, when the start is over.
    pub(super) fn raw(&self) -> i32 {
        self.from.raw()
    }

    /// Returns what has been said so far.
    pub(super) fn progress(&mut self) -> Progress {
        let mut records = [0; 8 * RECORD];
        let is_over = loop {
            match fd::read(self.from.raw(), &mut records) {
                Ok(0) => break true,
                Ok(len) => records[..len].chunks_exact(RECORD).for_each(|one| self.take(one)),
                Err(_) => break false,
            }
        };
        match self.why {
            Errno(0) if is_over => Progress::Over,
            Errno(0) => Progress::At(self.step),
            why => Progress::Failed(self.step, why),
        }
    }

    fn take(&mut self, record: &[u8]) {
        if let [step, why @ ..] = record
            && let (Some(step), Ok(why)) = (Step::from_byte(*step), why.try_into())
        {
            (self.step, self.why) = (step, Errno(i32::from_ne_bytes(why)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_at_its_last_step_until_it_fails_or_the_pipe_is_closed() {
        let (mut status, mut teller) = pair().unwrap();
        assert_eq!(status.progress(), Progress::At(Step::Descriptors));
        for step in [Step::Limits, Step::User, Step::Run] {
            teller.begin(step);
        }
        assert_eq!(status.progress(), Progress::At(Step::Run));
        teller.fail(Errno(2));
        assert_eq!(status.progress(), Progress::Failed(Step::Run, Errno(2)));
        drop(teller);
        assert_eq!(status.progress(), Progress::Failed(Step::Run, Errno(2)));

        let (mut status, mut teller) = pair().unwrap();
        teller.begin(Step::Run);
        drop(teller);
        assert_eq!(status.progress(), Progress::Over);
    }
}
