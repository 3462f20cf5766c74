//! When `current` is old enough to be closed.

use crate::time::{Mono, earlier};
use core::time::Duration;

const DAY: i64 = 86_400;

/// How old `current` may get. An empty one has no age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Age {
    period: Option<Duration>,
    daily: bool,
    due: Option<Mono>,
    /// The day of the first byte, in days since 1970, UTC.
    day: i64,
    midnight: Option<Mono>,
}

impl Age {
    /// Returns the age of an empty file that may get as old as `period`, or not older than its
    /// day (UTC), or both.
    #[must_use]
    pub fn new(period: Option<Duration>, daily: bool) -> Self {
        Self { period, daily, due: None, day: 0, midnight: None }
    }

    /// Tells whether age matters at all.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.period.is_some() || self.daily
    }

    /// Says that the file is `old` at the moment `now`; `wall`: Unix time in seconds.
    pub fn begin(&mut self, old: Duration, now: Mono, wall: i64) {
        self.due = self.period.map(|period| now.after(period.saturating_sub(old)));
        if self.daily {
            let seconds = i64::try_from(old.as_secs()).unwrap_or(i64::MAX);
            self.day = wall.saturating_sub(seconds).div_euclid(DAY);
            // Its midnight may have passed while nobody was there.
            let is_over = self.day < wall.div_euclid(DAY);
            self.midnight = Some(if is_over { now } else { next_midnight(now, wall) });
        }
    }

    /// Says that the file is empty.
    pub fn end(&mut self) {
        self.due = None;
        self.midnight = None;
    }

    /// Returns when to ask [`Age::is_due`] at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        earlier(self.due, self.midnight)
    }

    /// Tells whether the file is too old. A clock that was set back makes it no older.
    pub fn is_due(&mut self, now: Mono, wall: i64) -> bool {
        if self.due.is_some_and(|due| due <= now) {
            return true;
        }
        if self.midnight.is_none() {
            return false;
        }
        let today = wall.div_euclid(DAY);
        if today > self.day {
            return true;
        }
        self.day = today;
        self.midnight = Some(next_midnight(now, wall));
        false
    }
}

fn next_midnight(now: Mono, wall: i64) -> Mono {
    now.after(Duration::from_secs((DAY - wall.rem_euclid(DAY)) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const HOUR: u64 = 3600;

    #[test]
    fn a_file_is_due_when_its_period_is_over() {
        let mut age = Age::new(Some(Duration::from_secs(60)), false);
        assert_eq!((age.is_due(Mono(99 * S), 0), age.deadline()), (false, None));
        age.begin(Duration::from_secs(10), Mono(100 * S), 0);
        assert_eq!(age.deadline(), Some(Mono(150 * S)));
        assert!(!age.is_due(Mono(150 * S - 1), 1 << 40));
        assert!(age.is_due(Mono(150 * S), 0));
        age.end();
        assert!(!age.is_due(Mono(999 * S), 0));
        age.begin(Duration::from_secs(61), Mono(100 * S), 0);
        assert!(age.is_due(Mono(100 * S), 0));
    }

    #[test]
    fn a_day_ends_at_midnight_and_not_when_the_clock_goes_back() {
        let mut age = Age::new(None, true);
        let noon = 20_000 * DAY + DAY / 2;
        age.begin(Duration::ZERO, Mono(0), noon);
        assert_eq!(age.deadline(), Some(Mono(12 * HOUR * S)));
        assert!(!age.is_due(Mono(HOUR * S), noon - DAY), "set back by a day");
        assert_eq!(age.deadline(), Some(Mono(13 * HOUR * S)));
        assert!(!age.is_due(Mono(12 * HOUR * S), noon - DAY + DAY / 2 - 1));
        assert!(age.is_due(Mono(13 * HOUR * S), noon - DAY / 2));
        age.begin(Duration::from_secs(13 * HOUR), Mono(0), noon);
        assert_eq!(age.deadline(), Some(Mono(0)), "begun yesterday");
        assert!(age.is_due(Mono(0), noon));
        age.begin(Duration::from_secs(12 * HOUR), Mono(0), noon);
        assert_eq!(age.deadline(), Some(Mono(12 * HOUR * S)), "begun at midnight");
        assert!(!age.is_due(Mono(0), noon));
    }
}
