//! From when to when an item was worked on: as its participant could tell it, not as it was recorded.

use super::now;
use super::slot::Work;
use sys::linux::time;
use work::{Lasted, Wall};

/// Returns a moment as the store has it.
pub(super) fn wall((seconds, nanos): (i64, u32)) -> Wall {
    Wall(seconds.saturating_mul(1_000_000).saturating_add(i64::from(nanos / 1000)))
}

/// Returns from when to when something was worked on that has just ended.
#[must_use]
pub(super) fn until_now(work: &Work) -> Lasted {
    // In this order: what comes between the two must not make it longer.
    let elapsed = now().nanos_from(work.since);
    lasted(wall(work.begun), elapsed, wall(time::wall()))
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
