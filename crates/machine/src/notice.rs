//! When trouble is told, and when a target that did not take it is tried again.
//!
//! Trouble of one service, kind and signature is a [`Group`]: its first is told at once, what comes
//! within the next hour (or whatever is set) is counted, and the count is told when that is over.
//! Each place that is told is a [`Target`]: one notice at a time, so that one that hangs costs one
//! process, and nobody else waits for it.

use crate::queue::Queue;
use crate::time::Mono;
use core::time::Duration;

/// Notices that wait for one target.
pub const ROOM: u32 = 64;

/// What is to be done about a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Tell it: so many, those that were held back before it included.
    Tell(u64),
    /// Nothing now.
    Hold,
    /// Nothing is left to know about it.
    Forget,
}

/// Trouble with the same cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Group {
    /// Nothing is told before this; `None` = nothing was told yet.
    until: Option<Mono>,
    /// How many were held back since.
    held: u64,
}

impl Group {
    /// Returns one as an earlier life left it.
    #[must_use]
    pub const fn restored(until: Mono, held: u64) -> Self {
        Self { until: Some(until), held }
    }

    /// Returns how many were held back.
    #[must_use]
    pub const fn held(&self) -> u64 {
        self.held
    }

    /// Returns when [`Group::tick`] is due.
    #[must_use]
    pub const fn deadline(&self) -> Option<Mono> {
        self.until
    }

    /// It happened, so many times. `every`: at least so long between two notices.
    pub fn happened(&mut self, times: u64, every: Duration, now: Mono) -> Verdict {
        self.held = self.held.saturating_add(times);
        if self.until.is_some_and(|until| until > now) {
            Verdict::Hold
        } else {
            self.tell(every, now)
        }
    }

    /// The deadline may have passed.
    pub fn tick(&mut self, every: Duration, now: Mono) -> Verdict {
        match self.until {
            Some(until) if until > now => Verdict::Hold,
            _ if self.held > 0 => self.tell(every, now),
            _ => Verdict::Forget,
        }
    }

    fn tell(&mut self, every: Duration, now: Mono) -> Verdict {
        if self.held == 0 {
            return Verdict::Hold;
        }
        self.until = Some(now.after(every));
        Verdict::Tell(core::mem::take(&mut self.held))
    }
}

/// How long a target gets, and when it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// From the start of a try to its KILL.
    pub limit: Duration,
    /// From the first failure to the next try; doubled with each.
    pub first: Duration,
    /// The most that becomes of it.
    pub longest: Duration,
    /// So many tries, and a notice is given up.
    pub tries: u32,
}

/// What happened to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// One more notice is for it.
    Queued,
    /// Answer to `Try`: it took the notice.
    Delivered,
    /// Answer to `Try`: it did not, or could not be started.
    Failed,
    /// The deadline may have passed.
    Tick,
}

/// What is to be done about a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Give it the first notice in line; answered by `Delivered` or `Failed`.
    Try,
    /// End the try that takes too long; the answer is `Failed` all the same.
    Kill,
    /// The first in line is done with.
    Done,
    /// It is given up.
    GiveUp,
    /// The one that was queued is not: too many wait.
    Refuse,
}

/// The actions of a step.
pub type Actions = Queue<Action, 4>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Idle,
    /// It is told; KILL at this moment.
    Trying(Mono),
    /// KILL was sent.
    Killed,
    /// Not before this moment.
    Resting(Mono),
}

/// A place that is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    rules: Rules,
    state: State,
    /// Notices in line.
    waiting: u32,
    /// Tries of the first one that failed.
    tried: u32,
    /// Failures since it last took one.
    failures: u32,
}

impl Target {
    /// Returns one for which nothing waits.
    #[must_use]
    pub const fn new(rules: Rules) -> Self {
        Self { rules, state: State::Idle, waiting: 0, tried: 0, failures: 0 }
    }

    /// Returns when [`Event::Tick`] is due.
    #[must_use]
    pub const fn deadline(&self) -> Option<Mono> {
        match self.state {
            State::Trying(at) | State::Resting(at) => Some(at),
            State::Idle | State::Killed => None,
        }
    }

    /// Returns how many notices wait for it.
    #[must_use]
    pub const fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Decides what follows from an event.
    pub fn step(&mut self, event: Event, now: Mono, out: &mut Actions) {
        match (event, self.state) {
            (Event::Queued, _) if self.waiting >= ROOM => out.push(Action::Refuse),
            (Event::Queued, State::Idle) => {
                self.waiting += 1;
                self.attempt(now, out);
            }
            (Event::Queued, State::Trying(_) | State::Killed | State::Resting(_)) => {
                self.waiting += 1;
            }
            (Event::Delivered, State::Trying(_) | State::Killed) => {
                self.failures = 0;
                self.next(Action::Done, out);
                self.attempt(now, out);
            }
            (Event::Failed, State::Trying(_) | State::Killed) => self.failed(now, out),
            (Event::Tick, State::Trying(at)) if at <= now => {
                self.state = State::Killed;
                out.push(Action::Kill);
            }
            (Event::Tick, State::Resting(at)) if at <= now => self.attempt(now, out),
            (Event::Tick, _) => {}
            // Nothing was tried.
            (Event::Delivered | Event::Failed, State::Idle | State::Resting(_)) => {}
        }
    }

    fn attempt(&mut self, now: Mono, out: &mut Actions) {
        if self.waiting == 0 {
            self.state = State::Idle;
        } else {
            self.state = State::Trying(now.after(self.rules.limit));
            out.push(Action::Try);
        }
    }

    /// The first in line makes room.
    fn next(&mut self, how: Action, out: &mut Actions) {
        out.push(how);
        self.waiting = self.waiting.saturating_sub(1);
        self.tried = 0;
    }

    fn failed(&mut self, now: Mono, out: &mut Actions) {
        self.tried = self.tried.saturating_add(1);
        self.failures = self.failures.saturating_add(1);
        if self.tried >= self.rules.tries {
            self.next(Action::GiveUp, out);
        }
        let doubled = self.rules.first.saturating_mul(1 << self.failures.saturating_sub(1).min(20));
        let delay = doubled.min(self.rules.longest);
        // It rests also where nothing waits: what comes next is not for it either yet.
        self.state = State::Resting(now.after(delay));
    }
}

#[cfg(test)]
mod tests;
