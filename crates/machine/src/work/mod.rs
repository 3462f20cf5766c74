//! How a request, a job or a dependency may change: one machine for all three.
//!
//! A step is a function from what is stored to what is to be stored. Where the answer is a
//! [`Refusal`] nothing may change. "Waiting" and "backing off" are no states: they are computed
//! from what a job waits for.

use core::time::Duration;

mod fault;
pub use fault::{Fault, Kind};

#[cfg(test)]
mod tests;

/// What is stored of the life of one subject, apart from what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Where it stands.
    pub state: State,
    /// How it ended, or why it was tried again. [`Fault::NONE`] where nothing is wrong.
    pub fault: Fault,
    /// Tries that count against the limit.
    pub count: u32,
    /// A try may have begun of which nothing is known; see [`Event::Lost`].
    pub wary: bool,
}

/// Where a subject stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Kept back by hand.
    Hold,
    /// Not accepted yet.
    New,
    /// To be worked on as soon as nothing it waits for is missing.
    Ready {
        /// In somebody's hand, who may give it back untouched.
        leased: bool,
    },
    /// Being worked on: an attempt is on record.
    Run,
    /// Being worked on by somebody who was asked to stop.
    Cancelling,
    /// Done, failed or cancelled; the fault says which.
    Stop,
}

impl State {
    /// Every state there is.
    pub const ALL: [Self; 7] = [
        Self::Hold,
        Self::New,
        Self::Ready { leased: false },
        Self::Ready { leased: true },
        Self::Run,
        Self::Cancelling,
        Self::Stop,
    ];

    /// Returns the name that is stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::New => "new",
            Self::Ready { .. } => "ready",
            Self::Run => "run",
            Self::Cancelling => "cancelling",
            Self::Stop => "stop",
        }
    }

    /// Returns the state of this name. `leased` is stored apart, and said of ready ones only.
    #[must_use]
    pub fn from_name(name: &str, leased: bool) -> Option<Self> {
        let same = |state: &Self| state.name() == name && state.is_leased() == leased;
        Self::ALL.into_iter().find(same).or_else(|| Self::from_name_unleased(name))
    }

    fn from_name_unleased(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Tells whether somebody has it who has not begun.
    #[must_use]
    pub const fn is_leased(self) -> bool {
        matches!(self, Self::Ready { leased: true })
    }

    /// Tells whether an attempt is under way.
    #[must_use]
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Run | Self::Cancelling)
    }
}

/// What happened, or what somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// It is complete and may be worked on.
    Accepted,
    /// It cannot be made complete, like this: what it was made from is not to be had, or not to be
    /// understood.
    Unaccepted(Fault),
    /// It is to be made complete anew, with its count forgotten; or at once, where it rests between two
    /// tries at that.
    Renewed(Reach),
    /// It is to be kept back.
    Held,
    /// It is to be kept back no longer.
    Released,
    /// Somebody takes it, perhaps only to have it at hand. What was tried in vain, or is wary, may
    /// only be taken to be begun at once.
    Leased,
    /// Who has it begins.
    Begun,
    /// Who has it did not begin and gives it back.
    GivenBack,
    /// Who worked on it was told to shut down. That is nobody's fault.
    Interrupted,
    /// The attempt ended like this.
    Ended(Fault),
    /// Who had it is dead, or its lease ran out.
    Lost,
    /// It is not wanted any more; why is one of the codes of cancelling.
    CancelAsked(Fault),
    /// Who was asked to stop did not within the time it has, and was ended.
    CancelOverdue,
    /// All that it consists of has stopped; like this, what failed first of it.
    Closed(Fault),
    /// It is done, and its sender cannot be told what came of it: this is told instead.
    Untold(Fault),
    /// It is to be tried again from the start, with its count forgotten; or at once, where it rests
    /// between two tries.
    Requeued(Reach),
    /// It failed, and a rule has it tried again from the start, after a delay.
    Reverted,
    /// It stopped so long ago that nobody wants to know any more.
    Expired,
}

/// Which stopped subjects a requeue is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Those that failed or were cancelled.
    Failed,
    /// Also those that are done.
    Any,
}

/// How often a subject is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Tries, the first included; at least one.
    pub tries: u32,
    /// Fault of one that was tried that often.
    pub exhausted: Fault,
}

impl Default for Limit {
    fn default() -> Self {
        Self { tries: 3, exhausted: Fault::EXHAUSTED }
    }
}

/// What is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// This.
    Keep(Subject),
    /// This, and it may not be taken before the delay after its `count`-th try is over; where that is
    /// none, before the rule's. What is not accepted yet may not be tried before.
    Retry(Subject),
    /// This, and what it carried goes to the dead items: it was tried as often as it may.
    Bury(Subject),
    /// Nothing: it is cleaned.
    Remove,
}

impl Next {
    /// Returns what is to be stored, if anything.
    #[must_use]
    pub const fn subject(self) -> Option<Subject> {
        match self {
            Self::Keep(s) | Self::Retry(s) | Self::Bury(s) => Some(s),
            Self::Remove => None,
        }
    }
}

/// Why nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It is not in a state in which this can happen.
    NotNow(State),
    /// It is done; only [`Reach::Any`] takes it up again.
    Done,
    /// The code is not one of those that can end an attempt, or cancel.
    WrongFault,
}

impl Subject {
    /// Returns a subject that nothing has happened to.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::New, fault: Fault::NONE, count: 0, wary: false }
    }

    /// Returns one that is to be tried from the start.
    const fn ready() -> Self {
        Self { state: State::Ready { leased: false }, ..Self::new() }
    }

    const fn with(self, state: State) -> Self {
        Self { state, ..self }
    }

    const fn stopped(self, fault: Fault) -> Self {
        Self { state: State::Stop, fault, wary: false, ..self }
    }

    /// Returns what is to be stored after `event`.
    ///
    /// # Errors
    /// [`Refusal`], and nothing may change.
    pub fn step(self, event: Event, limit: Limit) -> Result<Next, Refusal> {
        let refused = Err(Refusal::NotNow(self.state));
        let keep = |subject| Ok(Next::Keep(subject));
        match event {
            Event::Accepted => match self.state {
                // Why it was not at once is no fault of it any more.
                State::New => {
                    keep(Self { fault: Fault::NONE, ..self.with(State::Ready { leased: false }) })
                }
                _ => refused,
            },
            Event::Unaccepted(fault) => self.unaccepted(fault, limit),
            Event::Renewed(reach) => self.renewed(reach),
            Event::Held => match self.state {
                State::New => keep(self.with(State::Hold)),
                _ => refused,
            },
            Event::Released => match self.state {
                State::Hold => keep(self.with(State::New)),
                _ => refused,
            },
            Event::Leased => match self.state {
                State::Ready { leased: false } => keep(self.with(State::Ready { leased: true })),
                _ => refused,
            },
            Event::Begun => match self.state {
                State::Ready { leased: true } => keep(self.with(State::Run)),
                _ => refused,
            },
            Event::GivenBack => match self.state {
                State::Ready { leased: true } => keep(self.with(State::Ready { leased: false })),
                _ => refused,
            },
            Event::Interrupted => match self.state {
                State::Run => keep(self.with(State::Ready { leased: false })),
                State::Cancelling => keep(self.stopped(self.fault)),
                _ => refused,
            },
            Event::Ended(fault) => self.ended(fault, limit),
            Event::Lost => self.lost(limit),
            Event::CancelAsked(why) => self.cancel(why),
            Event::CancelOverdue => match self.state {
                State::Cancelling => keep(self.counted(1).stopped(self.fault)),
                _ => refused,
            },
            Event::Closed(fault) => self.closed(fault),
            Event::Untold(fault) => match (self.state, self.fault.kind(), fault.kind()) {
                (State::Stop, Kind::Done, Kind::Final) => keep(self.counted(1).stopped(fault)),
                (State::Stop, Kind::Done, _) => Err(Refusal::WrongFault),
                _ => refused,
            },
            Event::Requeued(reach) => self.requeued(reach),
            Event::Reverted => match self.state {
                State::Stop if self.fault.kind() == Kind::Final => Ok(Next::Retry(Self::ready())),
                _ => refused,
            },
            Event::Expired => match self.state {
                State::Stop => Ok(Next::Remove),
                _ => refused,
            },
        }
    }

    /// Tells whether a cancel for this reason changes anything: who was asked to stop can still be
    /// killed.
    #[must_use]
    pub fn can_be_cancelled(self, why: Fault) -> bool {
        match self.state {
            State::Stop => false,
            State::Cancelling => why == Fault::KILLED && self.fault != Fault::KILLED,
            State::Hold | State::New | State::Ready { .. } | State::Run => true,
        }
    }

    const fn counted(self, tries: u32) -> Self {
        Self { count: self.count.saturating_add(tries), ..self }
    }

    fn unaccepted(self, fault: Fault, limit: Limit) -> Result<Next, Refusal> {
        let after = self.counted(1);
        match (self.state, fault.kind()) {
            (State::New, Kind::Done | Kind::Cancelled) => Err(Refusal::WrongFault),
            (State::New, Kind::Retryable) if after.count < limit.tries => {
                Ok(Next::Retry(Self { fault, ..after }))
            }
            (State::New, Kind::Retryable) => Ok(Next::Keep(after.stopped(limit.exhausted))),
            (State::New, Kind::Final) => Ok(Next::Keep(after.stopped(fault))),
            _ => Err(Refusal::NotNow(self.state)),
        }
    }

    fn renewed(self, reach: Reach) -> Result<Next, Refusal> {
        match self.state {
            State::Stop if self.fault.kind() == Kind::Done && reach == Reach::Failed => {
                Err(Refusal::Done)
            }
            State::Stop => Ok(Next::Keep(Self::new())),
            State::New if self.count > 0 => Ok(Next::Keep(Self::new())),
            _ => Err(Refusal::NotNow(self.state)),
        }
    }

    fn closed(self, fault: Fault) -> Result<Next, Refusal> {
        match self.state {
            State::Stop | State::Ready { leased: true } => Err(Refusal::NotNow(self.state)),
            _ if fault.kind() == Kind::Retryable => Err(Refusal::WrongFault),
            // As of one job: where all of it was done nevertheless, it happened.
            State::Cancelling if fault.kind() != Kind::Done => {
                Ok(Next::Keep(self.stopped(self.fault)))
            }
            _ => Ok(Next::Keep(self.stopped(fault))),
        }
    }

    fn ended(self, fault: Fault, limit: Limit) -> Result<Next, Refusal> {
        match self.state {
            State::Run | State::Cancelling if fault.kind() == Kind::Cancelled => {
                Err(Refusal::WrongFault)
            }
            // It happened: saying that it was cancelled would be untrue.
            State::Run | State::Cancelling if fault.kind() == Kind::Done => {
                Ok(Next::Keep(self.stopped(fault)))
            }
            State::Run if fault.kind() == Kind::Retryable => Ok(self.tried(1, fault, limit)),
            State::Run => Ok(Next::Keep(self.counted(1).stopped(fault))),
            State::Cancelling => Ok(Next::Keep(self.counted(1).stopped(self.fault))),
            State::Hold | State::New | State::Ready { .. } | State::Stop => {
                Err(Refusal::NotNow(self.state))
            }
        }
    }

    fn lost(self, limit: Limit) -> Result<Next, Refusal> {
        match self.state {
            // Nobody knows whether the last loss was a try: if another follows, it was.
            State::Run => Ok(self.tried(1 + u32::from(self.wary), Fault::LOST, limit)),
            State::Ready { leased: true } => {
                let ready = self.with(State::Ready { leased: false });
                Ok(Next::Keep(Self { wary: true, ..ready }))
            }
            State::Cancelling => Ok(Next::Keep(self.counted(1).stopped(self.fault))),
            State::Hold | State::New | State::Ready { leased: false } | State::Stop => {
                Err(Refusal::NotNow(self.state))
            }
        }
    }

    fn tried(self, tries: u32, fault: Fault, limit: Limit) -> Next {
        let after = Self { wary: false, ..self.counted(tries) };
        if after.count >= limit.tries {
            Next::Bury(after.stopped(limit.exhausted))
        } else {
            Next::Retry(Self { fault, ..after.with(State::Ready { leased: false }) })
        }
    }

    fn cancel(self, why: Fault) -> Result<Next, Refusal> {
        match self.state {
            _ if why.kind() != Kind::Cancelled => Err(Refusal::WrongFault),
            State::Hold | State::New | State::Ready { .. } => Ok(Next::Keep(self.stopped(why))),
            State::Run => Ok(Next::Keep(Self { fault: why, ..self.with(State::Cancelling) })),
            // Whoever was asked to stop and does not is killed.
            State::Cancelling if self.can_be_cancelled(why) => {
                Ok(Next::Keep(Self { fault: why, ..self }))
            }
            State::Cancelling | State::Stop => Err(Refusal::NotNow(self.state)),
        }
    }

    fn requeued(self, reach: Reach) -> Result<Next, Refusal> {
        match self.state {
            State::Stop if self.fault.kind() == Kind::Done && reach == Reach::Failed => {
                Err(Refusal::Done)
            }
            State::Stop => Ok(Next::Keep(Self::ready())),
            State::Ready { leased: false } if self.count > 0 => Ok(Next::Keep(Self::ready())),
            State::Hold | State::New | State::Ready { .. } | State::Run | State::Cancelling => {
                Err(Refusal::NotNow(self.state))
            }
        }
    }
}

impl Default for Subject {
    fn default() -> Self {
        Self::new()
    }
}

/// How long a subject rests between two tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    /// After the first try.
    pub first: Duration,
    /// Never longer than this.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(10), longest: Duration::from_secs(3600) }
    }
}

impl Backoff {
    /// Returns the longest delay that there is after the `count`-th try.
    #[must_use]
    pub fn most_after(self, count: u32) -> Duration {
        self.first.saturating_mul(1 << count.saturating_sub(1).min(20)).min(self.longest)
    }

    /// Returns the delay after the `count`-th try: doubled with each, never over `longest`, and
    /// of that between half and all, as `seed` decides, so that what failed together is not tried
    /// together.
    #[must_use]
    pub fn after(self, count: u32, seed: u64) -> Duration {
        let whole = self.most_after(count);
        // SplitMix64, Vigna 2015: near seeds give far answers.
        let mut bits =
            seed.wrapping_add(u64::from(count) << 48).wrapping_add(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let share = (bits >> 40) as u32; // of 2^24
        let half = u64::try_from(whole.as_nanos() / 2).unwrap_or(u64::MAX);
        Duration::from_nanos(half) + Duration::from_nanos((half >> 24) * u64::from(share))
    }
}
