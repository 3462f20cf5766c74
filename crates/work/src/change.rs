//! Every change that there is. A change is a value: nothing in it can be waited for.

mod again;
mod asked;
mod attempt;
mod blob;
mod drops;
mod fault;
mod group;
mod job;
mod lease;
mod line;
mod refused;
mod request;
mod room;
mod row;
mod rule;
mod take;
mod taker;

pub(crate) mod tx;

pub(crate) use again::Again;
pub use asked::{Asked, By};
pub use refused::Refused;
pub(crate) use row::subject as row_subject;
pub use rule::NewRule;
#[cfg(test)]
pub(crate) use take::{ACTIVE_LABELS, FRONTS, OF_LINE};
pub(crate) use take::{SMALL, TOGETHER};

use crate::clock::Wall;
use crate::envelope;
use crate::item::{self, Identity, Invalid};
use machine::time::Mono;
use machine::work::{Backoff, Fault, Limit, Reach};
use std::time::Duration;

/// Number of a job. Never given to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub i64);

impl JobId {
    /// Returns the job that goes by `job-NUMBER`, the process of one whose item names none.
    #[must_use]
    pub fn of_process(wfid: &str) -> Option<Self> {
        wfid.strip_prefix("job-")?.parse().ok().map(Self)
    }
}

/// Number of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub i64);

/// Number of a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DependencyId(pub i64);

/// Number of a taker: one life of a process that takes from one queue. Never given to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TakerId(pub i64);

/// Number of a dead item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadId(pub i64);

/// Number of a rule. Never given to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub i64);

/// Names one taking of a job. It is told what it may by this: who was overtaken has an old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease {
    /// Of which job.
    pub job: JobId,
    /// By whom.
    pub taker: TakerId,
    /// How many times the job had been taken.
    pub number: i64,
}

/// Where a job begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Entry {
    /// To be worked on.
    #[default]
    Ready,
    /// To be accepted first, by [`Steer::Accept`].
    New,
    /// Kept back, until [`Steer::Release`].
    Hold,
}

/// A job to be recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewJob {
    /// Queue that takers of its kind take from: the participant's.
    pub queue: String,
    /// Process that the item belongs to. One that is empty reads as `job-NUMBER` from then on.
    pub wfid: String,
    /// The rest of its name; submitted twice to one queue it is recorded once.
    pub identity: String,
    /// The work item.
    pub item: Vec<u8>,
    /// Name of its label; `""` has priority 0.
    pub label: String,
    /// Among those of its label, highest first.
    pub priority: i32,
    /// Not to be taken before this is over.
    pub delay: Duration,
    /// User id of whoever submitted it, as far as known.
    pub owner: Option<u32>,
    /// Queue that wants the answer.
    pub reply_to: Option<String>,
    /// Name of a lock: no two jobs with it are worked on at once.
    pub key: Option<String>,
    /// A job that waits until this one has stopped.
    pub parent: Option<JobId>,
    /// What must be done before.
    pub dependency: Option<DependencyId>,
    /// How far the work on it came somewhere else.
    pub stage: Option<String>,
    /// How many attempts there were somewhere else: it is told the next number, and counts as untried.
    pub tries: u32,
    /// Where it begins.
    pub entry: Entry,
}

impl NewJob {
    /// Makes a job of a work item, which names it; one without `fei` is named `otherwise`. The item
    /// may be in an envelope that says how it is treated, see participant-protocol(7).
    ///
    /// # Errors
    /// [`Invalid`]: it is no work item, or has more than `limit` bytes.
    pub fn from_item(
        queue: &str,
        item: Vec<u8>,
        limit: usize,
        otherwise: &str,
    ) -> Result<Self, Invalid> {
        let job = envelope::open(item)?;
        let named = item::identity(&job.item, limit)?;
        let unnamed = || Identity { wfid: String::new(), rest: otherwise.to_owned() };
        let Identity { wfid, rest } = named.unwrap_or_else(unnamed);
        Ok(Self { queue: queue.to_owned(), wfid, identity: rest, ..job })
    }

    /// Names it by who sends it and by what it is, too: several may be made of one item, and what is
    /// sent again with the next attempt is recorded once.
    #[must_use]
    pub fn named_apart(mut self, by: &str) -> Self {
        let sum = item::checksum(&self.item);
        self.identity = format!("{}!{by}!{sum:016x}", self.identity);
        self
    }
}

/// A group of jobs to be recorded, all or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRequest {
    /// Names it; recorded twice it is recorded once.
    pub name: String,
    /// Where it came from.
    pub source: String,
    /// Name of its label.
    pub label: String,
    /// User id of whoever wants it, as far as known.
    pub owner: Option<u32>,
    /// What it was made from, or is to be.
    pub payload: Option<Vec<u8>>,
    /// Its jobs. Each has the request's label. Where there is none it is to be parsed, which is told by
    /// [`Change::Expand`] or [`Change::Unparsed`].
    pub jobs: Vec<NewJob>,
    /// To be looked at before it is parsed, or its jobs are worked on.
    pub held: bool,
}

/// How a taker of a queue treats what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How often a job is tried.
    pub limit: Limit,
    /// How long it rests between two tries.
    pub backoff: Backoff,
    /// How long a taker that says nothing keeps what it has.
    pub lease: Duration,
    /// Most bytes of an item that is worked on, wherever it came from. Known of takers of this process
    /// alone, which are the ones that take here.
    pub largest: usize,
    /// What it takes comes from another broker's messages: what is requeued has to be sent there again.
    pub is_remote: bool,
}

impl Default for Policy {
    fn default() -> Self {
        let (limit, backoff) = (Limit::default(), Backoff::default());
        let (lease, largest) = (Duration::from_secs(60), item::LARGEST);
        Self { limit, backoff, lease, largest, is_remote: false }
    }
}

/// Whether a job is begun as it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// To be worked on at once: the attempt is recorded with the taking.
    Now,
    /// To have it at hand.
    Ahead,
}

/// From when to when an item was worked on, as whoever did so says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lasted {
    /// When it was handed over.
    pub begun: Wall,
    /// When it was known how that ended.
    pub ended: Wall,
}

/// How an attempt ended, as whoever worked on it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// 0 done, 1 to 9 to be tried again, 10 and above final.
    pub fault: Fault,
    /// Exit code of the process, where there was one for this item.
    pub code: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// What is wrong, for people.
    pub text: Option<String>,
    /// What is the same about faults with the same cause.
    pub signature: Option<String>,
    /// Where the attempt begins in the log.
    pub log: Option<String>,
    /// When it was; `None` = from when its begin was recorded until its end is.
    pub lasted: Option<Lasted>,
    /// Processor time, in microseconds.
    pub cpu_us: Option<i64>,
    /// Largest memory, in KiB.
    pub peak_kib: Option<i64>,
    /// The item as it came back, with its error where it failed; `None` = as it was handed over, with
    /// `text` as its error where it failed.
    pub output: Option<Vec<u8>>,
    /// The item as it was handed over, from whoever has it: where that is the answer it need not be
    /// read anew.
    pub item: Option<Vec<u8>>,
    /// The item said that nobody is to be answered.
    pub forget: bool,
}

/// What a requeue, a hold or a cancel is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// One job.
    Job(JobId),
    /// A request; its jobs follow where they must.
    Request(RequestId),
    /// Something that jobs wait for.
    Dependency(DependencyId),
}

/// What is done to a subject by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Steer {
    /// From `new` to `ready`.
    Accept,
    /// From `new` to `hold`.
    Hold,
    /// From `hold` to `new`.
    Release,
    /// A request, and its jobs that wait or run, are not wanted any more; a job likewise.
    Cancel(Fault),
    /// Try again from the start, with its count forgotten.
    Requeue(Reach),
}

/// Everything that can happen to a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Records a job. [`Applied::Submitted`], or [`Applied::Known`] where it is recorded.
    Submit(Box<NewJob>),
    /// Records a group of jobs. [`Applied::Requested`] or [`Applied::RequestKnown`].
    Request(Box<NewRequest>),
    /// A request that had none has these jobs, all or none of them. [`Applied::Requested`].
    Expand {
        /// Which.
        request: RequestId,
        /// Each has the request's label.
        jobs: Vec<NewJob>,
    },
    /// A request cannot be parsed: it stays as it is and rests before it is tried again, or it has
    /// stopped. [`Steer::Requeue`] has it parsed anew.
    Unparsed {
        /// Which.
        request: RequestId,
        /// How it failed: 1 to 9 to be tried again, 10 and above final.
        fault: Fault,
    },
    /// Does something to a subject by hand.
    Steer(Subject, Steer),
    /// Does what somebody asks for, and keeps who it was in the same transaction.
    Asked(By, Asked),
    /// Changes a job's place among those of its label.
    Prioritise {
        /// Which.
        job: JobId,
        /// Highest first.
        priority: i32,
    },
    /// Begins a taker's life. [`Applied::Opened`]. Jobs of the queue's dead takers are lost.
    OpenTaker {
        /// From which queue.
        queue: String,
        /// How it treats what it takes.
        policy: Policy,
    },
    /// The class of the errors that are made here for jobs of a queue, from now on.
    SetErrorClass {
        /// Of which queue.
        queue: String,
        /// One that the engine knows.
        class: String,
    },
    /// The taker lives: what it has it keeps for another while.
    Renew(TakerId),
    /// Ends a taker's life: what it still has is lost.
    CloseTaker(TakerId),
    /// Looks for takers of this taker's queue that are dead or silent; what they have is lost.
    Sweep(TakerId),
    /// Takes the first job of the taker's queue. [`Applied::Taken`] or [`Applied::Nothing`].
    Take {
        /// By whom.
        taker: TakerId,
        /// Begun at once or not.
        ask: Ask,
        /// Which instance will work on it.
        instance: String,
    },
    /// Records a job of another broker that was delivered to us, and takes it.
    /// [`Applied::Taken`], [`Applied::Vain`], [`Applied::Elsewhere`] or [`Applied::Finished`].
    Arrive {
        /// What was delivered; its queue is the taker's.
        job: Box<NewJob>,
        /// The job that it is on record as: the item itself need not be there, then.
        known: Option<JobId>,
        /// By whom it is taken.
        taker: TakerId,
        /// Begun at once or not.
        ask: Ask,
        /// Which instance will work on it.
        instance: String,
    },
    /// Records that a job which was only taken is worked on. [`Applied::Begun`].
    Begin {
        /// Which.
        lease: Lease,
        /// By which instance.
        instance: String,
        /// When it began.
        at: Wall,
    },
    /// Gives a job back that was not begun.
    GiveBack(Lease),
    /// Gives a job of another broker back that was not begun, and its message with it: where nobody
    /// ever began it, it is forgotten here. Whoever gets the message next may be elsewhere.
    HandBack(Lease),
    /// Gives a job back that was begun: we are told to shut down. What is said of the attempt is
    /// recorded but for its fault, since there is none.
    Interrupt(Lease, Box<Ended>),
    /// Records how far an attempt has come, for the next.
    Stage {
        /// Of what.
        lease: Lease,
        /// In the participant's words; `None` forgets.
        stage: Option<String>,
    },
    /// Records the end of an attempt and what follows. [`Applied::Ended`].
    End(Lease, Box<Ended>),
    /// Who was asked to stop did not, and was ended. What is said of the attempt is recorded but
    /// for its fault, which is the cancel's.
    CancelOverdue(Lease, Box<Ended>),
    /// The sender has the answer of this attempt for sure, by its number. [`Refused::Overtaken`] where
    /// the job is to be done again, or was.
    Answered(JobId, u32),
    /// The answer of a job that has stopped cannot be sent: this error goes in its place, and the job
    /// has failed by [`Fault::SYSTEM`] where it was done.
    Instead {
        /// Which.
        job: JobId,
        /// What is sent.
        answer: Vec<u8>,
        /// Why, for people.
        why: String,
    },
    /// The broker that these jobs came from will not send them again: they are kept no longer than
    /// others.
    Settled(Vec<JobId>),
    /// The other broker has confirmed what was to be sent again, by its number.
    SentAgain(i64),
    /// Sets a label's priority, and whether its jobs may be taken.
    SetLabel {
        /// Its name.
        name: String,
        /// Highest first.
        priority: i32,
        /// Its jobs may be taken.
        active: bool,
    },
    /// Records what jobs wait for, or finds it. [`Applied::Needed`].
    Need {
        /// What kind of thing.
        kind: String,
        /// Which.
        name: String,
        /// Which part of it.
        component: String,
        /// Queue of the participant that sees to it.
        checker: Option<String>,
    },
    /// What jobs wait for is done, or will never be.
    Resolve(DependencyId, Fault),
    /// Takes a lock for somebody who is no job. [`Refused::Locked`] where it is taken.
    Lock {
        /// Its name.
        name: String,
        /// Who has it.
        holder: String,
        /// It is let go of with this taker's life, or when that is silent for its lease; `None` = only
        /// by [`Change::Unlock`].
        life: Option<TakerId>,
    },
    /// Lets go of a lock that `holder` has.
    Unlock {
        /// Its name.
        name: String,
        /// Who has it.
        holder: String,
    },
    /// Keeps what could not even be recorded as a job. Of one owner there are 1,000 of these at most:
    /// the oldest go. [`Applied::Buried`].
    Bury {
        /// Where it came from.
        queue: String,
        /// From whom, as far as known.
        owner: Option<u32>,
        /// What is wrong with it.
        fault: Fault,
        /// The same, for people.
        reason: String,
        /// As it came.
        bytes: Vec<u8>,
    },
    /// Records what is made of a file of a drop folder, once. [`Applied::Seen`] where that was done,
    /// and what the change comes to otherwise.
    Dropped {
        /// What tells the file from all others.
        file: i64,
        /// What is made of it.
        change: Box<Change>,
    },
    /// Removes jobs that stopped before a moment; where it begins with the first job, also classes of
    /// faults that were not seen since, acts from before, rules that ended before, labels that nobody
    /// has set and nothing has, and dead items from before that never were a job. As long as the
    /// store has more than so many bytes in use, jobs that stopped later are removed as well, but for
    /// those that another broker may send again. [`Applied::Cleaned`]
    Clean {
        /// By the wall clock.
        before: Wall,
        /// Bytes that may be in use.
        most: u64,
        /// Looks at jobs after this one, so that a long clean can be done in small steps.
        after: JobId,
        /// Looks at no more jobs than this.
        at_most: u32,
    },
    /// Gives room that nothing uses back to the file system. [`Applied::Compacted`]
    Compact {
        /// Pages that are moved, at most.
        at_most: u32,
    },
}

/// A job that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Names this taking.
    pub lease: Lease,
    /// Number of the attempt, from 1. The next one's where it is not begun.
    pub attempt: u32,
    /// The attempt is recorded.
    pub begun: bool,
    /// For which instance it was asked.
    pub instance: String,
    /// Process it belongs to; `job-NUMBER` where its item names none.
    pub wfid: String,
    /// The rest of its name.
    pub identity: String,
    /// How far an earlier attempt came, in the participant's words.
    pub stage: Option<String>,
    /// Who submitted it.
    pub owner: Option<u32>,
    /// The work item.
    pub item: Vec<u8>,
}

/// What a change came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Applied {
    /// Nothing more is to be said.
    Done,
    /// A job was recorded.
    Submitted {
        /// Its number.
        job: JobId,
        /// Nobody has set its label's priority: it comes after all others.
        label_unknown: bool,
    },
    /// The job was recorded before.
    Known(JobId),
    /// The file was recorded before: it is to be removed, and nothing else.
    Seen,
    /// A group of jobs was recorded.
    Requested(RequestId),
    /// The group was recorded before.
    RequestKnown(RequestId),
    /// The taker's number.
    Opened(TakerId),
    /// A job.
    Taken(Box<Taken>),
    /// No job can be taken.
    Nothing {
        /// When the earliest delay of the queue ends, or the earliest lease of another taker.
        next: Option<Mono>,
    },
    /// The job was tried in vain before: it is for who begins it at once, not for having at hand.
    Vain(JobId),
    /// Somebody else has the job, or it may not be tried now.
    Elsewhere {
        /// Which.
        job: JobId,
        /// When its delay ends, where it rests.
        until: Option<Mono>,
    },
    /// The job has stopped before.
    Finished {
        /// Which.
        job: JobId,
        /// How.
        fault: Fault,
        /// What is to be sent to the sender, where that is not known to have been received.
        answer: Option<Vec<u8>>,
        /// Number of the attempt that it is the answer of, from 1.
        attempt: u32,
        /// Whose last attempt it was, where that taker is not known to be dead: the answer may be on
        /// its way.
        by: Option<TakerId>,
    },
    /// Number of the attempt, from 1.
    Begun(u32),
    /// An attempt ended.
    Ended {
        /// The job's fault. Not always the attempt's: it may have been cancelled, or exhausted.
        fault: Fault,
        /// When it is tried again; `None` = it has stopped.
        retry: Option<Mono>,
    },
    /// What jobs wait for; `done` or not.
    Needed {
        /// Its number.
        dependency: DependencyId,
        /// How it ended, where it has.
        ended: Option<Fault>,
    },
    /// There is a dead item more.
    Buried {
        /// Its number.
        dead: DeadId,
        /// Older ones of the same owner that went for it.
        gone: usize,
    },
    /// Number of the rule.
    Ruled(RuleId),
    /// Jobs were removed.
    Cleaned {
        /// How many.
        removed: u32,
        /// Where to go on; `None` = all that may be old enough were looked at.
        next: Option<JobId>,
        /// All of these are removed, and more bytes are in use than may be.
        is_full: bool,
    },
    /// Room was given back.
    Compacted {
        /// There is more.
        has_more: bool,
    },
}
