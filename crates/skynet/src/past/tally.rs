//! Sums over what ended: counts, days, classes of failures, and how long attempts took. However many
//! there are, only what is said of them is kept.

use crate::failure::Failure;
use crate::moment;
use std::collections::BTreeMap;
use work::read::{Past, Span};
use work::{Fault, Kind, Reader, Wall};

/// Classes of durations in each doubling: percentiles are no more than a fifth of a percent above
/// what they stand for.
const BITS: u32 = 9;

/// Most classes of failures that are told apart.
const SIGNATURES: usize = 1000;
const OTHER: &str = "other";

/// How long things took, counted by classes.
#[derive(Clone, Debug, Default)]
pub struct Times {
    counts: Vec<u32>,
    total: u64,
    max: u64,
}

impl Times {
    fn add(&mut self, micros: u64) {
        let class = class(micros);
        if class >= self.counts.len() {
            self.counts.resize(class + 1, 0);
        }
        self.counts[class] = self.counts[class].saturating_add(1);
        self.total += 1;
        self.max = self.max.max(micros);
    }

    /// Returns a duration that so many percent took no longer than, in microseconds; `None` = there was
    /// none.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let wanted = (self.total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (class, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return Some(longest(class).min(self.max));
            }
        }
        None
    }

    /// Returns the longest.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        (self.total > 0).then_some(self.max)
    }

    fn clear(&mut self) {
        self.counts.fill(0);
        (self.total, self.max) = (0, 0);
    }
}

fn class(micros: u64) -> usize {
    if micros < 2 << BITS {
        return micros as usize;
    }
    let shift = u64::BITS - 1 - micros.leading_zeros() - BITS;
    ((shift as usize) << BITS) + (micros >> shift) as usize
}

/// The longest duration of a class.
fn longest(class: usize) -> u64 {
    if class < 2 << BITS {
        return class as u64;
    }
    let shift = (class >> BITS) - 1;
    let mantissa = (class & ((1 << BITS) - 1)) + (1 << BITS);
    ((mantissa as u64 + 1) << shift) - 1
}

/// What ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Jobs that are done.
    pub done: u64,
    /// Jobs that failed.
    pub failed: u64,
    /// Jobs that were cancelled.
    pub cancelled: u64,
    /// Attempts.
    pub attempts: u64,
    /// Attempts with a fault of 1 to 9, after which there is another unless it was the last.
    pub retried: u64,
    /// Attempts that an orderly end of exo interrupted.
    pub interrupted: u64,
    /// Attempts that were lost with whoever worked on them.
    pub lost: u64,
}

/// A day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Day {
    /// What ended on it.
    pub counts: Counts,
    /// How long attempts took in microseconds: half of them, 95 of 100, the longest.
    pub times: [Option<u64>; 3],
}

/// Failures with the same cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// How many.
    pub count: u64,
    /// When the last was.
    pub last: Wall,
    /// Its code.
    pub code: Fault,
}

/// The sums of a queue.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// All of it.
    pub counts: Counts,
    /// How long attempts took that ended by themselves.
    pub times: Times,
    /// Day by day.
    pub days: BTreeMap<String, Day>,
    /// By signature.
    pub failures: BTreeMap<String, Failures>,
}

impl Tally {
    /// Returns the three durations that are shown.
    #[must_use]
    pub fn shown(times: &Times) -> [Option<u64>; 3] {
        [times.percentile(50), times.percentile(95), times.max()]
    }

    /// Returns the failures, the most frequent first.
    #[must_use]
    pub fn failures(&self) -> Vec<(&str, Failures)> {
        let mut all: Vec<_> = self.failures.iter().map(|(s, f)| (s.as_str(), *f)).collect();
        all.sort_by_key(|(_, failures)| std::cmp::Reverse(failures.count));
        all
    }

    fn note(&mut self, past: &Past<'_>) {
        let signature = match past.signature {
            Some(signature) => signature.to_owned(),
            None => format!("fault {}", past.fault.0),
        };
        let is_new = !self.failures.contains_key(&signature);
        let signature =
            if is_new && self.failures.len() >= SIGNATURES { OTHER.into() } else { signature };
        let class = self.failures.entry(signature).or_default();
        *class = Failures { count: class.count + 1, last: past.ended, code: past.fault };
    }
}

/// A day under way: what is told comes in the order of time.
#[derive(Debug, Default)]
struct Today {
    bounds: Option<[Wall; 2]>,
    name: String,
    times: Times,
}

impl Today {
    /// Returns the day of a moment.
    fn at<'a>(&mut self, at: Wall, days: &'a mut BTreeMap<String, Day>) -> &'a mut Day {
        if self.bounds.is_none_or(|[begin, end]| at < begin || at >= end) {
            self.close(days);
            self.bounds = Some(moment::bounds(at));
            self.name = moment::day(at);
        }
        days.entry(self.name.clone()).or_default()
    }

    fn close(&mut self, days: &mut BTreeMap<String, Day>) {
        if self.times.total > 0 {
            days.entry(self.name.clone()).or_default().times = Tally::shown(&self.times);
            self.times.clear();
        }
    }
}

/// Sums up what ended of a queue within a span.
///
/// # Errors
/// The store cannot be used.
pub fn tally(reader: &Reader, queue: &str, span: Span) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    let mut today = Today::default();
    reader.past_attempts(queue, span, |past| {
        add_attempt(&past, &mut tally, &mut today);
    })?;
    today.close(&mut tally.days);
    let mut today = Today::default();
    reader.past_jobs(queue, span, |at, fault| {
        let day = today.at(at, &mut tally.days);
        for counts in [&mut day.counts, &mut tally.counts] {
            match fault.kind() {
                Kind::Done => counts.done += 1,
                Kind::Cancelled => counts.cancelled += 1,
                Kind::Retryable | Kind::Final => counts.failed += 1,
            }
        }
    })?;
    Ok(tally)
}

fn add_attempt(past: &Past<'_>, tally: &mut Tally, today: &mut Today) {
    let kind = past.fault.kind();
    let day = today.at(past.ended, &mut tally.days);
    for counts in [&mut day.counts, &mut tally.counts] {
        counts.attempts += 1;
        counts.interrupted += u64::from(past.how == "interrupted");
        counts.lost += u64::from(past.how == "lost");
        counts.retried += u64::from(kind == Kind::Retryable);
    }
    // What was ended from outside says nothing of how long it would have taken.
    if past.how == "ended" && kind != Kind::Cancelled {
        let micros = moment::between(past.begun, past.ended);
        tally.times.add(micros);
        today.times.add(micros);
    }
    if matches!(kind, Kind::Retryable | Kind::Final) {
        tally.note(past);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_each_other_without_a_gap_and_are_narrow() {
        let mut last = 0;
        for class_at in 1..28_000 {
            let first = last + 1;
            last = longest(class_at);
            assert_eq!((class(first), class(last)), (class_at, class_at));
            assert!((last - first) * 500 <= first, "{class_at}: {first} to {last}");
        }
        assert!(last > 365 * 86_400 * 1_000_000);
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_list_but_for_a_fifth_of_a_percent() {
        let mut times = Times::default();
        assert_eq!((times.percentile(50), times.max()), (None, None));
        // Spread over six powers of ten.
        let mut all: Vec<u64> =
            (0..10_000_u64).map(|n| (n * n * 7919) % 1_000_003 * (n % 97)).collect();
        for micros in &all {
            times.add(*micros);
        }
        all.sort_unstable();
        for percent in [1, 50, 95, 99, 100] {
            let exact = all[(all.len() * percent).div_ceil(100) - 1];
            let found = times.percentile(percent as u64).unwrap();
            assert!(found >= exact && (found - exact) * 500 <= exact, "{percent}: {found} {exact}");
        }
        assert_eq!(times.max(), all.last().copied());
    }

    #[test]
    fn classes_of_failures_do_not_grow_without_end() {
        let mut tally = Tally::default();
        for n in 0..3 * SIGNATURES {
            let signature = n.to_string();
            let (begun, ended) = (Wall(0), Wall(n as i64));
            let signature = Some(signature.as_str());
            tally.note(&Past { begun, ended, fault: Fault(3), how: "ended", signature });
        }
        assert_eq!(tally.failures.len(), SIGNATURES + 1);
        assert_eq!(tally.failures()[0], (OTHER, tally.failures[OTHER]));
        assert_eq!(tally.failures[OTHER].count, 2 * SIGNATURES as u64);
    }
}
