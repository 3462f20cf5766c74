//! Why a change is not made.

use super::JobId;
use machine::work::Refusal;
use std::fmt;

/// Why a change was not made. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// There is none: a job, a request, ...
    Absent(&'static str),
    /// Somebody else has the job by now, or nobody.
    Overtaken,
    /// It cannot happen in the state that it is in.
    NotNow(Refusal),
    /// The lock is somebody's.
    Locked(String),
    /// There can be no queue of this name, and why.
    Queue(String, &'static str),
    /// There can be no label of this name, and why.
    Label(String, &'static str),
    /// It is no work item, and why.
    Item(String),
    /// Another item has its name: other bytes, or another owner.
    Named(JobId),
    /// The value makes no sense, and why.
    Senseless(&'static str),
    /// The broker did not take it.
    NotTaken,
    /// It is larger than what the broker takes.
    TooLarge {
        /// How many bytes it has.
        bytes: usize,
        /// How many it may have.
        most: usize,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(what) => write!(f, "there is no such {what}"),
            Self::Overtaken => f.write_str("somebody else has the job by now"),
            Self::NotTaken => f.write_str("the broker did not take it: the queue may be full"),
            Self::TooLarge { bytes, most } => write!(
                f,
                "it has {bytes} bytes, and RabbitMQ takes {most} at most (max_message_size)"
            ),
            Self::NotNow(Refusal::NotNow(state)) => write!(f, "not while it is {}", state.name()),
            Self::NotNow(Refusal::Done) => f.write_str("it is done"),
            Self::NotNow(Refusal::WrongFault) => f.write_str("the code does not mean that"),
            Self::Locked(by) => write!(f, "locked by {by}"),
            Self::Queue(name, flaw) => write!(f, "the name of a queue, {name:?}, {flaw}"),
            Self::Label(name, flaw) => write!(f, "the name of a label, {name:?}, {flaw}"),
            Self::Item(why) => f.write_str(why),
            Self::Named(JobId(job)) => write!(
                f,
                "job {job} has its name (fei and dispatched_at) and is another item or another \
                 user's; give it another name"
            ),
            Self::Senseless(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Refused {}
