//! Signals: blocked and read from a descriptor; clean again in whatever is run.

use crate::errno::{Result, cvt};
use crate::fd::{self, Fd};
use core::mem::MaybeUninit;

/// A set of signals.
#[derive(Clone, Copy)]
pub struct Set(libc::sigset_t);

impl Set {
    /// Returns the set of `signals`.
    #[must_use]
    pub fn of(signals: &[i32]) -> Self {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises the whole set that it is given.
        let mut set = Self(unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            set.assume_init()
        });
        for &signal in signals {
            set.add(signal);
        }
        set
    }

    /// Adds a signal.
    pub fn add(&mut self, signal: i32) {
        // SAFETY: the set is initialised; a number that is no signal is answered with EINVAL.
        unsafe { libc::sigaddset(&raw mut self.0, signal) };
    }

    /// Makes this the set of blocked signals. Cannot fail: the arguments are valid.
    pub fn block_only(&self) {
        // SAFETY: the set is initialised, the old one is not asked for.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const self.0, core::ptr::null_mut()) };
    }

    /// Opens a descriptor from which these signals, while blocked, can be read.
    ///
    /// # Errors
    /// As signalfd(2).
    pub fn descriptor(&self) -> Result<Fd> {
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the set is initialised.
        cvt(unsafe { libc::signalfd(-1, &raw const self.0, flags) }).map(Fd::from_raw)
    }
}

/// Reads one signal number from a descriptor of [`Set::descriptor`]; `None` = no more.
#[must_use]
pub fn next(fd: &Fd) -> Option<i32> {
    const LEN: usize = size_of::<libc::signalfd_siginfo>();
    let mut info = [0; LEN];
    match fd::read(fd.raw(), &mut info) {
        // The signal number is the first field.
        Ok(LEN) => Some(i32::from_ne_bytes([info[0], info[1], info[2], info[3]])),
        _ => None,
    }
}

/// Gives every signal its default action, so that nothing is ignored in what is run next.
pub fn reset_all() {
    (1..=SIGNALS).for_each(reset);
}

/// Highest number of a signal.
const SIGNALS: usize = 64;

fn reset(signal: usize) {
    // The kernel's own call: libc keeps a few of the real-time signals to itself.
    let default = [0_u64; 4];
    let old = core::ptr::null_mut::<u64>();
    // SAFETY: all zero is the kernel's sigaction for the default action, which has no more than four
    // words; the set in it has 8 bytes. KILL and STOP are answered with EINVAL.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), old, 8_usize) };
}

/// The signals that a process ignores: of what is set for signals, running a program changes all
/// but this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ignored(u64);

impl Ignored {
    /// Returns what this process ignores now.
    #[must_use]
    pub fn now() -> Self {
        let is_ignored = |signal: &usize| {
            let mut action = [0_u64; 4];
            let new = core::ptr::null::<u64>();
            // SAFETY: the kernel's sigaction has no more than four words, of which the handler is
            // the first; nothing is changed.
            let asked = unsafe {
                let old = action.as_mut_ptr();
                libc::syscall(libc::SYS_rt_sigaction, *signal, new, old, 8_usize)
            };
            asked == 0 && action[0] == libc::SIG_IGN as u64
        };
        Self((1..=SIGNALS).filter(is_ignored).fold(0, |all, signal| all | 1 << (signal - 1)))
    }

    /// Gives them their default actions: in a child that has them from here, as [`reset_all`] does,
    /// with fewer calls.
    pub fn reset(self) {
        (1..=SIGNALS).filter(|signal| self.0 & 1 << (signal - 1) != 0).for_each(reset);
    }
}

/// Makes this process ignore a signal.
pub fn ignore(signal: i32) {
    // SAFETY: SIG_IGN installs no handler.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Sends a signal to a process, or, with a negative pid, to a process group.
///
/// # Errors
/// As kill(2). A pid of 0 is refused with `EINVAL`: it would mean our own group.
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    if pid == 0 || pid == -1 {
        return Err(crate::errno::Errno(libc::EINVAL));
    }
    // SAFETY: kill takes two ints and touches no memory.
    cvt(unsafe { libc::kill(pid, signal) })?;
    Ok(())
}

/// Signal numbers.
pub mod numbers {
    pub use libc::{
        SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGPIPE, SIGQUIT, SIGSTOP, SIGTERM,
        SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGWINCH,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_known_until_it_is_reset() {
        // None that another test may have a use for.
        const LAST: Ignored = Ignored(1 << (SIGNALS - 1));
        let is_last = || Ignored::now().0 & LAST.0 != 0;
        assert!(!is_last());
        ignore(SIGNALS as i32);
        assert!(is_last());
        LAST.reset();
        assert!(!is_last());
    }
}
