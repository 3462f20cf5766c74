//! A moment that wakes whoever waits on a descriptor: `timerfd_create(2)`.

use crate::errno::{Result, cvt};
use crate::fd::{self, Fd};
use crate::time::timespec;

/// A timer; its descriptor can be read from the moment on that it is set to.
pub struct Timer {
    fd: Fd,
    at: Option<u64>,
}

impl Timer {
    /// Makes one that is not set.
    ///
    /// # Errors
    /// As `timerfd_create(2)`.
    pub fn new() -> Result<Self> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: timerfd_create takes numbers and touches no memory.
        let fd = cvt(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
        Ok(Self { fd: fd::beyond_standard(Fd::from_raw(fd))?, at: None })
    }

    /// Returns its descriptor.
    #[must_use]
    pub fn raw(&self) -> i32 {
        self.fd.raw()
    }

    /// Makes sure that it goes off at `at` (nanoseconds of the monotonic clock) at the latest, and
    /// that it has not gone off as long as it is not that time. What was set before and is to come
    /// earlier stays: a deadline that is put off again and again costs a call only each time that
    /// it would have been due.
    ///
    /// # Errors
    /// As `timerfd_settime(2)`.
    pub fn set(&mut self, at: Option<u64>, now: u64) -> Result<()> {
        let is_early_enough = match (self.at, at) {
            (Some(set), Some(at)) => now < set && set <= at,
            (Some(set), None) => now < set,
            (None, at) => at.is_none(),
        };
        if is_early_enough {
            return Ok(());
        }
        // Zero would mean never.
        let value = timespec(at.map_or(0, |at| at.max(1)));
        let spec = libc::itimerspec { it_interval: timespec(0), it_value: value };
        let (raw, old) = (self.raw(), core::ptr::null_mut());
        // SAFETY: `spec` is valid for reads during the call; the old setting is not asked for.
        cvt(unsafe { libc::timerfd_settime(raw, libc::TFD_TIMER_ABSTIME, &raw const spec, old) })?;
        self.at = at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fd::PollFd;
    use crate::time::{SECOND, monotonic};

    fn goes_off(timer: &Timer, within: u64) -> bool {
        let mut list = [PollFd::readable(timer.raw())];
        fd::poll(&mut list, Some(within)) == Ok(1)
    }

    #[test]
    fn it_goes_off_at_its_moment_and_is_quiet_once_it_is_set_anew() {
        let mut timer = Timer::new().unwrap();
        assert!(!goes_off(&timer, 0));
        let now = monotonic();
        timer.set(Some(now + 1000), now).unwrap();
        assert!(goes_off(&timer, 10 * SECOND));
        let now = monotonic();
        timer.set(Some(now + 1000 * SECOND), now).unwrap();
        assert!(!goes_off(&timer, 0));
        // Earlier than it was set to.
        timer.set(Some(now), now).unwrap();
        assert!(goes_off(&timer, 10 * SECOND));
        timer.set(None, monotonic()).unwrap();
        assert!(!goes_off(&timer, 0));
    }

    #[test]
    fn a_moment_that_is_put_off_is_set_when_the_one_before_has_come() {
        let mut timer = Timer::new().unwrap();
        let first = monotonic() + SECOND / 50;
        timer.set(Some(first), 1).unwrap();
        timer.set(Some(first + 1000 * SECOND), 2).unwrap();
        timer.set(None, 3).unwrap();
        assert!(goes_off(&timer, 10 * SECOND));
        timer.set(Some(first + 1000 * SECOND), first).unwrap();
        assert!(!goes_off(&timer, 0));
    }
}
