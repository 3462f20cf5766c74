//! What an attempt used: processor time and memory.
//!
//! While a process lives the kernel is asked; of a dead one the keeper, who reaped it, tells.

use machine::time::Mono;
use std::time::Duration;
use sys::linux::time;

/// How long what was read of a process is good enough for brisk work: reading costs as much as that.
const AGE: Duration = Duration::from_secs(1);
/// The same of what a process has computed, as it waits between two items.
const MOMENT: Duration = Duration::from_micros(20);
/// Work for which a process computed less than this is brisk: it cannot have grown much.
const BRISK: u64 = 1_000_000;
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
type Known = Option<(Mono, u64)>;

/// What an attempt used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    /// Processor time in microseconds.
    pub(super) cpu_us: Option<i64>,
    /// The largest memory that its process had so far, in KiB.
    pub(super) peak_kib: Option<i64>,
}

/// What is known of the process of an instance, and how it stood when the work in hand began.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Resident peak in KiB.
    peak: Known,
    /// Processor time in nanoseconds: its own.
    computed: Known,
    /// That of the children that it has waited for.
    children: Known,
    /// Both when the work began; of the children a moment before.
    computed_before: u64,
    children_before: u64,
}

impl Usage {
    /// A process begins another work.
    pub(super) fn begin(&mut self, pid: Option<i32>, now: Mono) {
        self.computed_before = self.computed(pid, now);
        let children = recent(&mut self.children, now, AGE, || children_of(pid?));
        self.children_before = children.unwrap_or(0);
    }

    /// Returns what the work used that ends now. `used`: known where the process is dead.
    #[must_use]
    pub(super) fn end(&mut self, pid: Option<i32>, used: Option<Used>, now: Mono) -> Spent {
        if let Some(Used { cpu_us, peak_kib }) = used {
            let before = self.computed_before.saturating_add(self.children_before);
            let nanos = (cpu_us * 1000).saturating_sub(before);
            return Spent { cpu_us: micros(nanos), peak_kib: i64::try_from(peak_kib).ok() };
        }
        self.computed = None;
        let nanos = self.computed(pid, now).saturating_sub(self.computed_before);
        if nanos >= BRISK {
            self.peak = None;
        }
        let peak = recent(&mut self.peak, now, AGE, || peak_of(pid?));
        let peak_kib = peak.and_then(|peak| i64::try_from(peak).ok());
        Spent { cpu_us: micros(nanos), peak_kib }
    }

    /// Returns what the process itself has computed so far; 0 where there is none.
    fn computed(&mut self, pid: Option<i32>, now: Mono) -> u64 {
        recent(&mut self.computed, now, MOMENT, || pid.and_then(time::of_process)).unwrap_or(0)
    }
}

fn micros(nanos: u64) -> Option<i64> {
    i64::try_from(nanos / 1000).ok()
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
    fn the_peak_of_whoever_computed_is_read_anew_and_of_brisk_work_when_it_is_old() {
        let pid = Some(sys::linux::process::pid());
        let (mut usage, begin) = (Usage::default(), Mono(1_000_000_000));
        let known = |usage: &mut Usage| {
            usage.peak = Some((begin, 1));
            usage.begin(pid, begin);
        };
        known(&mut usage);
        usage.computed_before = u64::MAX;
        assert_eq!(usage.end(pid, None, begin.after(AGE / 2)).peak_kib, Some(1));
        assert!(usage.end(pid, None, begin.after(AGE)).peak_kib > Some(1));
        known(&mut usage);
        let own = time::of_process(std::process::id().cast_signed()).unwrap();
        usage.computed_before = own.saturating_sub(BRISK);
        let spent = usage.end(pid, None, begin.after(AGE / 2));
        assert!(spent.peak_kib > Some(1) && spent.cpu_us >= Some(1000), "{spent:?}");
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
