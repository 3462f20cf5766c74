//! The keeper: starts, signals and reaps participants, and has the rights to do so.
//!
//! It reads no byte that a participant or a sender wrote.

use sys::linux::fd::Fd;

/// What the worker begins with. All descriptors are close-on-exec and do not block; besides them it
/// has 0, 1 and 2.
#[derive(Debug)]
pub struct WorkerEnds {
    /// Orders go out here, reports come in, one a packet: see [`crate::order`]. At its end the
    /// keeper is dead.
    pub keeper: Fd,
    /// The control socket, listening; `None` where it could not be made, which was said.
    pub control: Option<Fd>,
    /// The keeper's pid: every participant, and whatever one of them leaves behind, is a descendant
    /// of this process.
    pub keeper_pid: i32,
    /// User of the participants. Where it is the worker's own, who is at the other end of a socket
    /// is told by [`sys::linux::identity::descends_from`], not by the user.
    pub participant_uid: u32,
}
