//! The three clocks.

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

fn clock(id: libc::clockid_t) -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid for writes; the three clocks used here always exist.
    unsafe { libc::clock_gettime(id, &raw mut now) };
    now
}

fn nanos(t: libc::timespec) -> u64 {
    t.tv_sec as u64 * SECOND + t.tv_nsec as u64
}

/// Turns nanoseconds into the kernel's form.
#[must_use]
pub fn timespec(nanos: u64) -> libc::timespec {
    libc::timespec { tv_sec: (nanos / SECOND) as _, tv_nsec: (nanos % SECOND) as _ }
}

/// Returns nanoseconds of `CLOCK_MONOTONIC`, which every delay is measured by.
#[must_use]
pub fn monotonic() -> u64 {
    nanos(clock(libc::CLOCK_MONOTONIC))
}

/// Returns nanoseconds of `CLOCK_BOOTTIME`, which the kernel dates processes by.
#[must_use]
pub fn boottime() -> u64 {
    nanos(clock(libc::CLOCK_BOOTTIME))
}

/// Returns the nanoseconds that a process has computed, all its threads together; `None` where
/// there is none.
#[must_use]
pub fn of_process(pid: i32) -> Option<u64> {
    // As the kernel names the clock that schedules by. clock_getcpuclockid(3) would ask the kernel
    // whether there is such a process, which the next call does in any case.
    const SCHEDULED: i32 = 2;
    let id = (!pid << 3) | SCHEDULED;
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid for writes; a clock of a process that is gone is answered with EINVAL.
    (unsafe { libc::clock_gettime(id, &raw mut now) } == 0).then(|| nanos(now))
}

/// Returns the wall clock: Unix seconds and nanoseconds. For stamps, never for delays.
#[must_use]
pub fn wall() -> (i64, u32) {
    let now = clock(libc::CLOCK_REALTIME);
    (now.tv_sec, now.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_computed_for_some_time_and_a_stranger_for_none() {
        let before = of_process(crate::process::pid()).unwrap();
        let mut sum = 0_u64;
        while of_process(crate::process::pid()).unwrap() == before {
            sum = core::hint::black_box(sum + 1);
        }
        // No pid is as large as this one, the limit of all limits.
        assert_eq!(of_process(1 << 22), None);
    }
}
