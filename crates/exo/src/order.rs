//! What worker and keeper say to each other: one message of fixed layout a packet.
//!
//! The keeper has rights that the worker has not, so a message can only name what the
//! configuration allows: an instance, one of two signals, three short texts for the environment.

use sys::linux::process::Ended;

/// Most bytes of each text of [`Start`].
pub const TEXT: usize = 256;

/// Bytes of the longest message.
pub const LONGEST: usize = 16 + 3 * (2 + TEXT);

/// Descriptors that come with a start, in this order: 0, 1, 2 and 3 of the participant.
pub const DESCRIPTORS: usize = 4;

/// A start of one instance. Four descriptors come with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Which instance, from 0.
    pub instance: u16,
    /// Names this start of it in orders and reports.
    pub serial: u32,
    /// For `SKYNET_WFID`, where it is started for an item.
    pub wfid: String,
    /// For `SKYNET_ATTEMPT`.
    pub attempt: String,
    /// For `SKYNET_STAGE`.
    pub stage: String,
}

/// Which signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// TERM, to the process group.
    Term,
    /// CONT and KILL, to the process group.
    Kill,
}

/// What the worker wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Start an instance, which must not run.
    Start(Start),
    /// Signal an instance, if this start of it still runs.
    Signal {
        /// Which instance.
        instance: u16,
        /// Which start of it.
        serial: u32,
        /// Which signal.
        signal: Signal,
    },
    /// Tell whoever asked to be told that we are ready.
    Ready,
}

/// Where a start failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// No process could be made.
    Fork,
    /// The descriptors could not be put in place.
    Descriptors,
    /// The working directory could not be entered.
    Directory,
    /// A limit could not be set.
    Limits,
    /// Its user, groups or capabilities could not be set, or not be made sure of.
    User,
    /// It could not be confined.
    Confine,
    /// The program could not be run.
    Run,
}

/// What the keeper says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// An instance runs.
    Started {
        /// Which instance.
        instance: u16,
        /// Which start of it.
        serial: u32,
        /// Its pid, which is its process group and session too.
        pid: i32,
    },
    /// An instance could not be started.
    NotStarted {
        /// Which instance.
        instance: u16,
        /// Which start of it.
        serial: u32,
        /// What failed.
        step: Step,
        /// Why.
        errno: i32,
    },
    /// An instance is dead, and its process group with it.
    Ended {
        /// Which instance.
        instance: u16,
        /// Which start of it.
        serial: u32,
        /// How.
        how: Ended,
        /// Its processor time and that of its reaped children, in microseconds.
        cpu_us: u64,
        /// Its largest memory, in KiB.
        peak_kib: u64,
    },
    /// We are told to shut down.
    Shutdown,
}
