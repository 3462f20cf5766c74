//! What an attempt used: processor time and memory.
//!
//! While a process lives the kernel is asked; of a dead one the keeper, who reaped it, tells.

use super::slot::{Slot, Work};
use machine::time::Mono;
use std::time::Duration;
use sys::linux::time;

/// How long what was read of a process is good enough: reading costs as much as a small item.
const AGE: Duration = Duration::from_secs(1);
/// The same of what a process has computed, as it waits between two items.
const MOMENT: Duration = Duration::from_micros(20);
/// A clock tick in nanoseconds, of which /proc has a hundred a second on each architecture of ours.
const TICK: u64 = 10_000_000;

/// What a dead process used, its children as far as it waited for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    /// Processor time in microseconds.
    pub(super) cpu_us: u64,
    /// Resident peak in KiB.
    pub(super) peak_kib: u64,
}

/// A number that was read of a process, and when.
pub(super) type Known = Option<(Mono, u64)>;

/// Returns the processor time in microseconds that an attempt used.
#[must_use]
pub(super) fn cpu_us(slot: &mut Slot, work: &Work, now: Mono) -> Option<i64> {
    let used = slot.process.as_ref().and_then(|process| process.used);
    let nanos = if let Some(used) = used {
        (used.cpu_us * 1000).saturating_sub(work.children_before)
    } else {
        slot.computed = None;
        computed(slot, now)
    };
    i64::try_from(nanos.saturating_sub(work.cpu_before) / 1000).ok()
}

/// Returns the largest memory that the process of an attempt had so far, in KiB.
#[must_use]
pub(super) fn peak_kib(slot: &mut Slot, now: Mono) -> Option<i64> {
    let process = slot.process.as_ref()?;
    if let Some(used) = process.used {
        return i64::try_from(used.peak_kib).ok();
    }
    let peak = recent(&mut slot.peak, now, AGE, || peak_of(process.pid?))?;
    i64::try_from(peak).ok()
}

/// Returns the processor time of the children that a process has waited for, in nanoseconds.
#[must_use]
pub(super) fn of_children(slot: &mut Slot, now: Mono) -> u64 {
    let pid = slot.process.as_ref().and_then(|process| process.pid);
    recent(&mut slot.children, now, AGE, || children_of(pid?)).unwrap_or(0)
}

/// Returns the processor time of a slot's process itself so far, in nanoseconds; 0 where there is none.
#[must_use]
pub(super) fn computed(slot: &mut Slot, now: Mono) -> u64 {
    let pid = slot.process.as_ref().and_then(|process| process.pid);
    recent(&mut slot.computed, now, MOMENT, || pid.and_then(time::of_process)).unwrap_or(0)
}

/// Returns what is known, read again where it is of that age.
fn recent(
    known: &mut Known,
    now: Mono,
    age: Duration,
    read: impl FnOnce() -> Option<u64>,
) -> Option<u64> {
    if known.is_none_or(|(at, _)| at.after(age) <= now) {
        *known = read().map(|value| (now, value));
    }
    known.map(|(_, value)| value)
}

fn peak_of(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn children_of(pid: i32) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    ticks_of_children(&String::from_utf8_lossy(&stat)).map(|ticks| ticks * TICK)
}

/// Reads cutime and cstime, the sixteenth and seventeenth word. The second is a name in brackets, in
/// which anything may stand.
fn ticks_of_children(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace().skip(13);
    Some(words.next()?.parse::<u64>().ok()? + words.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_children_is_read_whatever_a_process_is_called() {
        let stat = "7 (a) b (1 2 3) S 1 7 7 0 -1 4194304 100 200 0 0 5 6 70 800 20 0 1 0 99";
        assert_eq!(ticks_of_children(stat), Some(870));
        assert_eq!(ticks_of_children("7 (a) S 1"), None);
    }

    #[test]
    fn what_was_read_is_read_again_when_it_is_old() {
        let (mut known, begin) = (None, Mono(1_000_000_000));
        assert_eq!(recent(&mut known, begin, AGE, || Some(1)), Some(1));
        let later = begin.after(AGE / 2);
        assert_eq!(recent(&mut known, later, AGE, || Some(2)), Some(1));
        assert_eq!(recent(&mut known, begin.after(AGE), AGE, || Some(3)), Some(3));
        assert_eq!(recent(&mut known, begin.after(2 * AGE), AGE, || None), None);
    }
}
