//! History that is old enough, or too much, is removed in small steps, each joined with what is committed
//! anyway; then the room that it took is given back, likewise.

use super::Keep;
use crate::broker::Event;
use crate::change::{Applied, Change, JobId};
use crate::clock::{Now, Wall};
use machine::time::Mono;
use std::time::Duration;

/// From the end of one look through the store to the next.
const PAUSE: Duration = Duration::from_secs(3600);
/// The same where something was written and there is a limit to the size.
const WRITTEN: Duration = Duration::from_secs(60);
/// Jobs in one step: with items of 16 MiB, too, the largest unless more is set, others wait no second
/// for it.
const STEP: u32 = 32;
/// Pages that are moved in one step: each makes changes in others, so that these are a hundred or more.
const MOVED: u32 = 32;

/// What a look is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// All jobs up to this one were looked at.
    Clean(JobId),
    /// Room is given back.
    Compact,
}

/// What is to be removed next, and when.
pub(crate) struct Retention {
    keep: Keep,
    phase: Phase,
    at: Mono,
    /// When the last look ended.
    ended: Mono,
    /// Passes in a row behind which the store was too large.
    full: u32,
}

impl Retention {
    pub(crate) fn new(keep: Keep, now: Mono) -> Self {
        Self { keep, phase: first(keep), at: now, ended: now, full: 0 }
    }

    /// Returns when the next step is to be made.
    pub(crate) const fn deadline(&self) -> Mono {
        self.at
    }

    /// Returns the next step, where it is time for it.
    pub(crate) fn step(&self, now: Now) -> Option<Change> {
        if self.at > now.mono {
            return None;
        }
        let Phase::Clean(after) = self.phase else {
            return Some(Change::Compact { at_most: MOVED });
        };
        let micros = |keep: Duration| i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
        let before = self.keep.age.map(|age| now.wall.0.saturating_sub(micros(age)));
        let before = Wall(before.unwrap_or(i64::MIN));
        let most = self.keep.size.unwrap_or(u64::MAX);
        Some(Change::Clean { before, most, after, at_most: STEP })
    }

    /// A step was made. Returns what is to be told.
    pub(crate) fn stepped(&mut self, came: &Applied, now: Mono) -> Option<Event> {
        match came {
            Applied::Cleaned { next: Some(next), .. } => self.phase = Phase::Clean(*next),
            Applied::Cleaned { next: None, .. } => self.phase = Phase::Compact,
            Applied::Compacted { has_more: true } => {}
            _ => {
                self.phase = first(self.keep);
                (self.at, self.ended) = (now.after(PAUSE), now);
            }
        }
        if let Applied::Cleaned { next: None, is_full, .. } = came {
            self.full = if *is_full { self.full.saturating_add(1) } else { 0 };
            // What stopped within the last minute is removed by the next pass.
            return (self.full == 2).then_some(Event::Full);
        }
        None
    }

    /// Something was written: the store may be too large before the hour is over.
    pub(crate) fn written(&mut self) {
        if self.keep.size.is_some() {
            self.at = self.at.min(self.ended.after(WRITTEN));
        }
    }
}

/// Where nothing is to be removed there may still be room to give back.
const fn first(keep: Keep) -> Phase {
    match keep {
        Keep { age: None, size: None } => Phase::Compact,
        _ => Phase::Clean(JobId(0)),
    }
}
