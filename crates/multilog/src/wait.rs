//! Waiting for input, signals and processors.

use crate::STDIN;
use crate::folder::Folder;
use linux::errno::Result;
use linux::fd::{self, Fd, PollFd};
use linux::signal::{self, Set, numbers};

/// Entries before those of the logs.
const OWN: usize = 2;
/// Descriptors of each log.
pub const PER_LOG: usize = 2;

/// What woke us.
#[derive(Clone, Copy, Debug, Default)]
pub struct Events {
    /// There is input, or its end.
    pub input: bool,
    /// TERM.
    pub stop: bool,
    /// ALRM.
    pub rotate: bool,
}

/// What is waited on.
pub struct Wait {
    signals: Fd,
    list: &'static mut [PollFd],
}

/// Returns the length of the list that [`Wait::new`] takes.
#[must_use]
pub const fn list_len(logs: usize) -> usize {
    OWN + PER_LOG * logs
}

impl Wait {
    /// Makes signals wait until they are asked for.
    ///
    /// # Errors
    /// As signalfd(2).
    pub fn new(list: &'static mut [PollFd]) -> Result<Self> {
        signal::ignore(numbers::SIGPIPE);
        let set = Set::of(&[numbers::SIGTERM, numbers::SIGALRM]);
        set.block_only();
        Ok(Self { signals: set.descriptor().and_then(fd::beyond_standard)?, list })
    }

    /// Waits up to `timeout` nanoseconds; for input only where it is wanted.
    pub fn wait(&mut self, input: bool, logs: &[Folder], timeout: Option<u64>) -> Events {
        self.list[0] = PollFd::readable(self.signals.raw());
        self.list[1] = if input { PollFd::readable(STDIN) } else { PollFd::none() };
        let mut len = OWN;
        for fd in logs.iter().flat_map(Folder::poll_fds).filter(|fd| *fd >= 0) {
            self.list[len] = PollFd::readable(fd);
            len += 1;
        }
        let mut events = Events::default();
        // Failing, it has not waited: what is there is looked for all the same.
        let failed = fd::poll(&mut self.list[..len], timeout).is_err();
        events.input = input && (failed || self.list[1].is_ready());
        if failed || self.list[0].is_ready() {
            while let Some(signal) = signal::next(&self.signals) {
                events.stop |= signal == numbers::SIGTERM;
                events.rotate |= signal == numbers::SIGALRM;
            }
        }
        events
    }
}
