//! Waiting for input, signals and processors.

use crate::STDIN;
use crate::folder::Folder;
use linux::epoll::Epoll;
use linux::errno::Result;
use linux::fd::{self, Fd, PollFd};
use linux::signal::{self, Set, numbers};
use linux::timer::Timer;

/// Entries of the list before those of the logs.
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
    /// HUP.
    pub replace: bool,
    /// ALRM.
    pub rotate: bool,
}

/// What is waited on.
///
/// A line that comes alone costs little more than its wait. So what is always waited on stays with
/// the kernel; processors, which come and go, are waited on the ordinary way while there are any.
pub struct Wait {
    always: Epoll,
    signals: Signals,
    timer: Timer,
    input: Input,
    list: &'static mut [PollFd],
}

/// TERM, HUP and ALRM, which wait until they are asked for.
pub struct Signals(Fd);

impl Signals {
    /// Makes them wait from now on.
    ///
    /// # Errors
    /// As signalfd(2).
    pub fn wait() -> Result<Self> {
        signal::ignore(numbers::SIGPIPE);
        let set = Set::of(&[numbers::SIGTERM, numbers::SIGHUP, numbers::SIGALRM]);
        set.block_only();
        set.descriptor().and_then(fd::beyond_standard).map(Self)
    }
}

/// How descriptor 0 is waited on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    /// Not at all, now.
    Unwanted,
    /// Beside the signals.
    Always,
    /// Beside the processors: it is a file, or there was no memory.
    Refused,
}

/// Returns the length of the list that [`Wait::new`] takes.
#[must_use]
pub const fn list_len(logs: usize) -> usize {
    OWN + PER_LOG * logs
}

impl Wait {
    /// Prepares the wait.
    ///
    /// # Errors
    /// As `timerfd_create(2)` and `epoll_create1(2)`.
    pub fn new(signals: Signals, list: &'static mut [PollFd]) -> Result<Self> {
        let (always, timer) = (Epoll::new()?, Timer::new()?);
        always.add(signals.0.raw())?;
        always.add(timer.raw())?;
        Ok(Self { always, signals, timer, input: Input::Unwanted, list })
    }

    /// Waits until `deadline` at the latest, nanoseconds of the monotonic clock; for input only
    /// where it is wanted.
    pub fn wait(
        &mut self,
        input: bool,
        logs: &[Folder],
        deadline: Option<u64>,
        now: u64,
    ) -> Events {
        self.want(input);
        // Failing, the wait might have no end: then there is none.
        let has_end = self.timer.set(deadline, now).is_ok();
        let is_refused = input && self.input == Input::Refused;
        self.list[1] = if is_refused { PollFd::readable(STDIN) } else { PollFd::none() };
        let mut len = OWN;
        for fd in logs.iter().flat_map(Folder::poll_fds).filter(|fd| *fd >= 0) {
            self.list[len] = PollFd::readable(fd);
            len += 1;
        }
        let ready = if has_end && !is_refused && len == OWN {
            self.always.wait()
        } else {
            self.list[0] = PollFd::readable(self.always.raw());
            // Failing, it has not waited: what is there is looked for all the same.
            let _ = fd::poll(&mut self.list[..len], (!has_end).then_some(0));
            self.always.look()
        };
        let (failed, ready) = (ready.is_err(), ready.unwrap_or_default());
        let has_input = failed || ready.has(STDIN) || self.list[1].is_ready();
        let mut events = Events { input: input && has_input, ..Events::default() };
        if failed || ready.has(self.signals.0.raw()) {
            while let Some(signal) = signal::next(&self.signals.0) {
                events.stop |= signal == numbers::SIGTERM;
                events.replace |= signal == numbers::SIGHUP;
                events.rotate |= signal == numbers::SIGALRM;
            }
        }
        events
    }

    fn want(&mut self, input: bool) {
        self.input = match (self.input, input) {
            (Input::Unwanted, true) => match self.always.add(STDIN) {
                Ok(()) => Input::Always,
                Err(_) => Input::Refused,
            },
            (Input::Always, false) => {
                // It was added.
                let _ = self.always.remove(STDIN);
                Input::Unwanted
            }
            (as_before, _) => as_before,
        };
    }
}
