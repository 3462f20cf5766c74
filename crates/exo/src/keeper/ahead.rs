//! Starts that are to begin behind the one that runs, one for an instance at the most.
//!
//! The child of such a start is made at once, where that can be, and waits: with its descriptors, its
//! limits and its cgroup, and with all rights, so that it is out of reach for whoever has its user. It
//! has run nothing yet, holds no descriptor and no lock of the keeper's, and dies with it. Where nobody
//! can let it go on any more, it ends.

use super::cgroups::{Cgroups, Seat};
use super::launch::Launcher;
use super::status::Status;
use crate::order::{DESCRIPTORS, Start, Step};
use std::ffi::CStr;
use sys::linux::errno::{self, Errno};
use sys::linux::fd::{self, Fd};
use sys::linux::process;

/// What a child is called until it runs its program.
const NAME: &CStr = c"exo-next";

/// A start that is to begin, behind another for one.
#[derive(Debug)]
pub(super) struct Behind {
    pub(super) start: Start,
    /// Its descriptors 0 to 3.
    fds: [Fd; DESCRIPTORS],
    child: Option<Ahead>,
}

impl Behind {
    pub(super) const fn new(start: Start, fds: [Fd; DESCRIPTORS]) -> Self {
        Self { start, fds, child: None }
    }

    /// Makes its child, too, where that can be. `taken`: where the one before it is.
    pub(super) fn with_child(
        start: Start,
        fds: [Fd; DESCRIPTORS],
        launcher: &mut Launcher,
        cgroups: Option<&mut Cgroups>,
        taken: Seat,
    ) -> Self {
        let raw = fds.each_ref().map(Fd::raw);
        let may_be = raw.iter().all(|fd| is_beyond(*fd));
        let child = cgroups
            .filter(|_| may_be)
            .and_then(|cgroups| launcher.make_ahead(&start, raw, (cgroups, taken.other())).ok());
        Self { start, fds, child }
    }

    /// Returns the pid of its child.
    pub(super) fn pid(&self) -> Option<i32> {
        self.child.as_ref().map(|child| child.pid)
    }

    /// Its child is dead, and about to be reaped.
    pub(super) fn lose(&mut self) {
        self.child = None;
    }

    /// Begins it: returns the pid, where it says how it goes, and its cgroup.
    ///
    /// # Errors
    /// What cannot be done, and why.
    pub(super) fn begin(
        self,
        launcher: &mut Launcher,
        cgroups: Option<&mut Cgroups>,
    ) -> Result<(i32, Status, Seat), (Step, Errno)> {
        // Who was made before has the rules of then.
        let rules = launcher.renew();
        if let Some(child) = self.child.filter(|child| child.rules == rules)
            && fd::write_all(child.go.raw(), b"1").is_ok()
        {
            return Ok((child.pid, child.status, child.seat));
        }
        let fds = beyond_its_own(self.fds).map_err(|why| (Step::Descriptors, why))?;
        let fds = [0, 1, 2, 3].map(|i: usize| fds[i].raw());
        let seat = Seat::first(self.start.instance);
        let cgroups = cgroups.map(|cgroups| (cgroups, seat));
        let begun = launcher.start(&self.start, fds, cgroups);
        let (pid, status) = begun.map_err(|why| (Step::Fork, why))?;
        Ok((pid, status, seat))
    }
}

/// Tells whether a descriptor is none of those that the participant will have.
const fn is_beyond(fd: i32) -> bool {
    fd >= DESCRIPTORS as i32
}

/// Makes room for the descriptors that the participant will have: none of those given may be there.
fn beyond_its_own(fds: [Fd; DESCRIPTORS]) -> errno::Result<Vec<Fd>> {
    fds.into_iter().map(|given| fd::move_beyond(given, DESCRIPTORS as i32)).collect()
}

/// A child that waits. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) pid: i32,
    pub(super) seat: Seat,
    pub(super) status: Status,
    /// By which rules it will be confined.
    pub(super) rules: u64,
    /// The way to its gate.
    pub(super) go: Fd,
}

/// In the child: waits at its gate, with nothing but its own descriptors and those that it `needs`, of
/// which one that is not there is -1; ends where nobody can let it go on any more.
pub(super) fn wait_at(gate: &Fd, needs: [i32; 2]) {
    process::set_name(NAME);
    let mut kept = [gate.raw(), needs[0], needs[1]];
    kept.sort_unstable();
    let mut first = DESCRIPTORS as u32;
    for fd in kept.into_iter().filter(|fd| *fd >= DESCRIPTORS as i32) {
        fd::close_between(first, fd as u32 - 1);
        first = fd as u32 + 1;
    }
    fd::close_between(first, u32::MAX);
    if fd::read(gate.raw(), &mut [0]) != Ok(1) {
        process::exit(111);
    }
}
