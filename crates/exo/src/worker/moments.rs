//! From when to when an item was worked on: as its participant could tell it, not as it was recorded.

use super::now;
use super::slot::Work;
use machine::time::Mono;
use sys::linux::time;
use work::{Lasted, Wall};

/// Nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// Returns a moment as the store has it.
pub(super) fn wall((seconds, nanos): (i64, u32)) -> Wall {
    Wall(seconds.saturating_mul(1_000_000).saturating_add(i64::from(nanos / 1000)))
}

/// Returns what the wall clock showed at a moment of the other one, or a little less: seconds and
/// nanoseconds.
pub(super) fn shown_at(at: Mono) -> (i64, u32) {
    let (seconds, nanos) = time::wall();
    let ago = now().nanos_from(at);
    let (less, back) = (ago / SECOND, (ago % SECOND) as u32);
    let seconds = seconds.saturating_sub(i64::try_from(less).unwrap_or(i64::MAX));
    match nanos.checked_sub(back) {
        Some(nanos) => (seconds, nanos),
        None => (seconds.saturating_sub(1), nanos + SECOND as u32 - back),
    }
}

/// Returns from when to when something was worked on that ended when its participant `died`, or just
/// now.
#[must_use]
pub(super) fn until(died: Option<Mono>, work: &Work) -> Lasted {
    // In this order: what comes between the two must not make it longer.
    let ended = died.unwrap_or_else(now);
    let late = died.map_or(0, |at| now().nanos_from(at));
    let elapsed = ended.nanos_from(work.since);
    let ago = i64::try_from(late / 1000).unwrap_or(i64::MAX);
    let shown = Wall(wall(time::wall()).0.saturating_sub(ago));
    lasted(wall(work.begun), elapsed, shown)
}

/// Returns the same where it took so many nanoseconds. A clock that is set back meanwhile makes it no
/// shorter: the end is told as the clock shows it then, the begin as long before. One that is set on
/// looks like a machine that slept, and is believed.
fn lasted(begun: Wall, elapsed: u64, ended: Wall) -> Lasted {
    let elapsed = i64::try_from(elapsed / 1000).unwrap_or(i64::MAX);
    Lasted { begun: begun.min(Wall(ended.0.saturating_sub(elapsed))), ended }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn a_moment_is_shown_by_the_wall_clock_as_long_ago_as_it_is() {
        for ago in [0, 1, SECOND - 1, SECOND, 3 * SECOND + SECOND / 2] {
            let before = wall(time::wall()).0;
            let at = Mono(now().0.saturating_sub(ago));
            let (seconds, nanos) = shown_at(at);
            let after = wall(time::wall()).0;
            assert!(nanos < SECOND as u32);
            let shown = wall((seconds, nanos)).0 + (ago / 1000) as i64;
            // The clock may be set a little meanwhile, as by NTP.
            assert!(
                (before - 10_000..=after + 10_000).contains(&shown),
                "{before} {shown} {after}"
            );
        }
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_attempt_shorter_than_it_was() {
        let begun = Wall(10 * HOUR);
        for (ended, from) in [
            // As it should be; read a little before the other clock, or after it.
            (Wall(begun.0 + 20_000), begun),
            (Wall(begun.0 + 19_990), Wall(begun.0 - 10)),
            (Wall(begun.0 + 20_010), begun),
            // Set back, by a little and by more than it took.
            (Wall(begun.0 + 5_000), Wall(begun.0 - 15_000)),
            (Wall(begun.0 - HOUR), Wall(begun.0 - HOUR - 20_000)),
            // Set on, or asleep.
            (Wall(begun.0 + HOUR), begun),
        ] {
            assert_eq!(lasted(begun, 20_000_999, ended), Lasted { begun: from, ended });
        }
        let lasts = lasted(Wall(i64::MIN), u64::MAX, Wall(i64::MIN));
        assert_eq!(lasts, Lasted { begun: Wall(i64::MIN), ended: Wall(i64::MIN) });
    }
}
