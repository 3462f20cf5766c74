//! HUP: another exo takes this one's place, the program that is now on disk, once no item is in hand.
//!
//! That program reads the configuration before anything is given up for it, and is asked whether it
//! knows the layout that this one gave the store: after a step back to an older version it may not. Pid, environment,
//! directory and what was blocked stay, so that a signal which comes on the way is seen by the next.

use super::EXO;
use super::priority::Usual;
use crate::order::DRAINED;
use std::ffi::{CStr, CString, OsStr};
use sys::linux::errno::{Errno, Result};
use sys::linux::file::flags::ENOENT;
use sys::linux::process::{self, Ended, Fork};
use sys::linux::signal::{self, Set, numbers};

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replacement {
    /// Nobody wants it.
    Unwanted,
    /// The program on disk reads the configuration; its pid, until it is reaped.
    Checking(i32),
    /// The worker ends once nothing is in hand.
    Due,
}

/// What comes behind a keeper that has served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing; the exit code.
    End(i32),
    /// The exo on disk; `is_drained`: it is to take no items.
    Exo { is_drained: bool },
}

impl Replacement {
    /// Begins, once more where it has not come far.
    pub(super) fn begin(&mut self, usual: Option<Usual>) {
        match *self {
            Self::Due => return,
            Self::Checking(pid) => drop(signal::kill(pid, numbers::SIGKILL)),
            Self::Unwanted => {}
        }
        *self = match check(usual) {
            Ok(pid) => Self::Checking(pid),
            Err(why) => {
                EXO.warning(&[OsStr::new("not replaced: unable to make a process")], why);
                Self::Unwanted
            }
        };
    }

    /// The pid of the check.
    pub(super) const fn pid(self) -> Option<i32> {
        match self {
            Self::Checking(pid) => Some(pid),
            Self::Unwanted | Self::Due => None,
        }
    }

    /// A child is dead and reaped. Tells whether the worker is to be told now.
    pub(super) fn reaped(&mut self, pid: i32, how: Ended) -> bool {
        if self.pid() != Some(pid) {
            return false;
        }
        if how == Ended::Code(0) {
            *self = Self::Due;
            return true;
        }
        *self = Self::Unwanted;
        let what = "not replaced, all goes on as it was: the exo on disk finds fault with the \
                    configuration, or is too old for the store; mend that and send HUP again";
        EXO.warning_plain(&[OsStr::new(what)]);
        false
    }

    /// Returns what follows from the end of the worker, where it was to end for this.
    pub(super) fn next(self, ended: Ended) -> Option<Next> {
        match ended {
            Ended::Code(code @ (0 | DRAINED)) if self == Self::Due => {
                Some(Next::Exo { is_drained: code == DRAINED })
            }
            _ => None,
        }
    }
}

/// Starts the exo on disk, to read the configuration of this directory.
fn check(usual: Option<Usual>) -> Result<i32> {
    match process::fork()? {
        Fork::Parent(pid) => Ok(pid),
        Fork::Child => {
            signal::reset_all();
            Set::of(&[]).block_only();
            let layout = CString::new(work::LAYOUT.to_string()).unwrap_or_default();
            let resumed = usual.map_or(Ok(()), Usual::resume);
            let why = resumed.err().unwrap_or_else(|| exec(&[c"check", c"--layout", &layout]));
            process::exit(EXO.fatal(&[OsStr::new("unable to run the exo on disk")], why))
        }
    }
}

/// Becomes the exo on disk; returns only where that failed, the exit code in hand.
pub(super) fn become_next(is_drained: bool) -> i32 {
    let words: &[&CStr] = if is_drained { &[c"--drained"] } else { &[] };
    let why = exec(words);
    EXO.fatal(&[OsStr::new("unable to become the exo on disk")], why)
}

/// Runs the program that stands where ours stood when it was run.
fn exec(words: &[&CStr]) -> Errno {
    let Some(path) = process::exec_path() else { return Errno(ENOENT) };
    let argv = std::iter::once(&path).chain(words).map(|word| word.as_ptr());
    process::exec(path, &argv.chain([std::ptr::null()]).collect::<Vec<_>>())
}
