//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// Waits until `condition` holds and tells whether it did within `limit`.
#[must_use]
pub fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= end {
            return false;
        }
        // Short against everything that tests wait for, long enough to leave them the processor.
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Waits until `condition` holds.
///
/// # Panics
/// Where it does not within `seconds`.
#[track_caller]
pub fn until(seconds: u64, condition: impl FnMut() -> bool) {
    let limit = Duration::from_secs(seconds);
    assert!(holds_within(limit, condition), "still not so after {seconds} s");
}
