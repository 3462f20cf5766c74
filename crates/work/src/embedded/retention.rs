//! History that is old enough is removed in small steps, each joined with what is committed anyway.

use crate::change::{Change, JobId};
use crate::clock::{Now, Wall};
use machine::time::Mono;
use std::time::Duration;

/// From the end of one look through the store to the next.
const PAUSE: Duration = Duration::from_secs(3600);
/// Jobs in one step: with the largest items that there may be, too, others wait no second for it.
const STEP: u32 = 32;

/// What is to be removed next, and when.
pub(super) struct Retention {
    keep: Option<Duration>,
    /// All up to this one were looked at.
    after: JobId,
    at: Option<Mono>,
}

impl Retention {
    /// `keep`: how long; `None` = for ever.
    pub(super) fn new(keep: Option<Duration>, now: Mono) -> Self {
        Self { keep, after: JobId(0), at: keep.map(|_| now) }
    }

    /// Returns when the next step is to be made.
    pub(super) const fn deadline(&self) -> Option<Mono> {
        self.at
    }

    /// Returns the next step, where it is time for it.
    pub(super) fn step(&self, now: Now) -> Option<Change> {
        let keep = self.keep.filter(|_| self.at.is_some_and(|at| at <= now.mono))?;
        let micros = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
        let before = Wall(now.wall.0.saturating_sub(micros));
        Some(Change::Clean { before, after: self.after, at_most: STEP })
    }

    /// A step was made. `next`: where to go on; `None` = at the beginning, after a pause.
    pub(super) fn stepped(&mut self, next: Option<JobId>, now: Mono) {
        self.after = next.unwrap_or(JobId(0));
        if next.is_none() {
            self.at = Some(now.after(PAUSE));
        }
    }
}
