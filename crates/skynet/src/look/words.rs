//! Times and sizes, as short as a column wants them.

use ondisk::record::Exit;
use sys::linux::errno::Errno;
use sys::linux::local;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// Units of a time, the largest first.
const TIMES: [(u64, &str); 5] = [(YEAR, "y"), (DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (1, "s")];

/// Returns seconds in the largest unit of which there is one: `7s`, `12m`, `3h`, `40d`, `2y`.
#[must_use]
pub fn span(seconds: u64) -> String {
    let (length, unit) = TIMES.iter().find(|(length, _)| seconds >= *length).unwrap_or(&(1, "s"));
    format!("{}{unit}", seconds / length)
}

/// The same with the unit below it: `2h 5m`.
#[must_use]
pub fn span_at_length(seconds: u64) -> String {
    let at = TIMES.iter().position(|(length, _)| seconds >= *length);
    let below = at.and_then(|at| Some((TIMES[at].0, TIMES.get(at + 1)?)));
    match below.map(|(length, (below, unit))| (seconds % length / below, unit)) {
        Some((rest, unit)) if rest > 0 => format!("{} {rest}{unit}", span(seconds)),
        _ => span(seconds),
    }
}

/// Returns bytes with two digits or more: `812K`, `9.5M`, `34M`, `1.2G`.
#[must_use]
pub fn size(bytes: u64) -> String {
    let mut value = bytes.div_ceil(1 << 10).saturating_mul(10);
    for unit in ["K", "M", "G"] {
        match value {
            _ if unit == "K" && value < 10_000 => return format!("{}K", value / 10),
            100..10_000 if unit != "K" => return format!("{}{unit}", value / 10),
            0..100 if unit != "K" => return format!("{}.{}{unit}", value / 10, value % 10),
            _ => value /= 1 << 10,
        }
    }
    format!("{}T", value / 10)
}

/// Returns computing time: `0.3s`, `42s`, and then as [`span`].
#[must_use]
pub fn cpu(nanos: u64) -> String {
    let tenths = nanos / 100_000_000;
    if tenths < 100 { format!("{}.{}s", tenths / 10, tenths % 10) } else { span(tenths / 10) }
}

/// Returns a moment of the wall clock in local time; as seconds since 1970 where no calendar has it.
#[must_use]
pub fn moment(unix_seconds: i64) -> String {
    match local::at(unix_seconds) {
        Some(local) => daemontools::stamps::text(local),
        None => format!("@{unix_seconds}"),
    }
}

/// Says how a process ended, `None` = it has not.
#[must_use]
pub fn exit(exit: Exit) -> Option<String> {
    Some(match exit {
        Exit::None => return None,
        Exit::Code(code) => format!("exit {code}"),
        Exit::Signal(signal) => format!("signal {signal}"),
        Exit::NotRun(errno) => format!("cannot be run: {}", Errno(errno)),
        Exit::Unknown => "ended, nobody knows how".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_in_the_largest_unit_of_which_there_is_one() {
        for (seconds, short, long) in [
            (0, "0s", "0s"),
            (59, "59s", "59s"),
            (60, "1m", "1m"),
            (3599, "59m", "59m 59s"),
            (7500, "2h", "2h 5m"),
            (86_400 * 40 + 3600, "40d", "40d 1h"),
            (YEAR * 2, "2y", "2y"),
        ] {
            assert_eq!((&*span(seconds), &*span_at_length(seconds)), (short, long));
        }
        assert_eq!(span(u64::MAX).len(), 13);
    }

    #[test]
    fn a_size_has_at_most_five_characters() {
        for (bytes, text) in [
            (0, "0K"),
            (1, "1K"),
            (812 << 10, "812K"),
            (1 << 20, "1.0M"),
            (9_961_472, "9.5M"),
            (34 << 20, "34M"),
            (999 << 20, "999M"),
            (1 << 30, "1.0G"),
            (3 << 40, "3T"),
        ] {
            assert_eq!(size(bytes), text);
        }
        for power in 0..54 {
            assert!(size(1 << power).len() <= 5, "{power}: {}", size(1 << power));
            assert!(size((1 << power) - 1).len() <= 5);
        }
    }

    #[test]
    fn computing_time_has_tenths_while_they_matter() {
        assert_eq!(cpu(0), "0.0s");
        assert_eq!(cpu(390_000_000), "0.3s");
        assert_eq!(cpu(9_999_999_999), "9.9s");
        assert_eq!(cpu(42_000_000_000), "42s");
        assert_eq!(cpu(7_500_000_000_000), "2h");
    }
}
