//! Moments of the monotonic clock, which every delay is measured by.

use core::time::Duration;

/// A moment of `CLOCK_MONOTONIC`, in nanoseconds. Time in suspend does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// Returns the moment `delay` later; the end of time where that is too far.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Returns the nanoseconds from `now` to this moment, 0 where it is past.
    #[must_use]
    pub fn nanos_from(self, now: Self) -> u64 {
        self.0.saturating_sub(now.0)
    }
}

/// Returns the earlier of two moments that may not come.
#[must_use]
pub fn earlier(a: Option<Mono>, b: Option<Mono>) -> Option<Mono> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
