//! Moments as people write them.

use crate::logs::stamp::{self, leading};
use ondisk::logdir;
use ondisk::tai64n::Stamp;
use sys::linux::local::{self, Local};
use sys::linux::time;

/// Returns the moment that it is now.
#[must_use]
pub fn now() -> Stamp {
    let (seconds, nanos) = time::wall();
    Stamp::from_unix(seconds, nanos)
}

/// Reads a moment; `None` where it is none. `now` is the moment from which `10m` counts back and
/// whose day `12:30` belongs to.
///
/// Known: what a line may begin with (see [`crate::logs::stamp`]), a rotated file's name,
/// `YYYY-MM-DD`, `YYYY-MM-DD HH:MM`, `HH:MM` and `HH:MM:SS` in local time, `90s`, `10m`, `2h`,
/// `1h30m`, `3d`, `1w`, each also with ` ago`, and `now`.
#[must_use]
pub fn read(text: &[u8], now: Stamp) -> Option<Stamp> {
    if text == b"now" {
        return Some(now);
    }
    if let Some((stamp, _)) = logdir::label(text) {
        return Some(stamp);
    }
    if let Some(found) = leading(text).filter(|found| found.len == text.len()) {
        return Some(found.stamp);
    }
    if let Some(seconds) = ago(text) {
        let unix = now.unix_seconds().checked_sub(seconds)?;
        return Some(Stamp::from_unix(unix, now.nanos));
    }
    let unix = local::unix_of_local(calendar(text, now)?)?;
    Some(Stamp::from_unix(unix, 0))
}

/// Reads a date, a time of day, or both without seconds.
fn calendar(text: &[u8], now: Stamp) -> Option<Local> {
    let (date, rest) = match stamp::day(text) {
        Some((date, b"")) => return Some(date),
        Some((date, rest)) => (date, rest.strip_prefix(b" ").or(rest.strip_prefix(b"T"))?),
        None => (local::at(now.unix_seconds())?, text),
    };
    let (hour, rest) = stamp::number(rest, 2)?;
    let (minute, rest) = stamp::number(rest.strip_prefix(b":")?, 2)?;
    let (second, rest) = match rest.strip_prefix(b":") {
        Some(rest) => stamp::number(rest, 2)?,
        None => (0, rest),
    };
    let clock = Local { hour: hour as u8, minute: minute as u8, second: second as u8, ..date };
    rest.is_empty().then_some(clock)
}

/// Reads `1h30m` and the like: seconds.
fn ago(text: &[u8]) -> Option<i64> {
    let mut rest = text.strip_suffix(b" ago").unwrap_or(text);
    let mut seconds = 0_i64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let (digits, behind) = rest.split_at(len);
        let (unit, behind) = behind.split_first()?;
        let unit = match unit {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 7 * 86_400,
            _ => return None,
        };
        let number: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        rest = behind;
    }
    Some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_474_469;

    fn unix(text: &str) -> Option<(i64, u32)> {
        let stamp = read(text.as_bytes(), Stamp::from_unix(NOW, 7))?;
        Some((stamp.unix_seconds(), stamp.nanos))
    }

    #[test]
    fn a_moment_is_read_however_it_is_written() {
        for (text, seconds, nanos) in [
            ("now", NOW, 7),
            ("@400000006b04c42f075bcd15", NOW, 123_456_789),
            ("@400000006b04c42f075bcd15.s", NOW, 123_456_789),
            ("2026-11-23T22:54:29.5Z", NOW, 500_000_000),
            ("2026-11-23 23:54:29+01:00", NOW, 0),
            ("10m", NOW - 600, 7),
            ("2h ago", NOW - 7200, 7),
            ("1h30m", NOW - 5400, 7),
            ("1w2d3s ago", NOW - 9 * 86_400 - 3, 7),
        ] {
            assert_eq!(unix(text), Some((seconds, nanos)), "{text}");
        }
    }

    #[test]
    fn dates_and_times_of_day_are_local() {
        let today = local::at(NOW).unwrap();
        let midnight = Local { hour: 0, minute: 0, second: 0, ..today };
        let half = Local { hour: 12, minute: 30, ..midnight };
        let at = |local: Local| Some((local::unix_of_local(local).unwrap(), 0));
        let Local { year, month, day, .. } = today;
        let date = format!("{year}-{month:02}-{day:02}");
        assert_eq!(unix(&date), at(midnight));
        for text in ["12:30", "12:30:00", &format!("{date} 12:30"), &format!("{date}T12:30:00")] {
            assert_eq!(unix(text), at(half), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            " ",
            "ago",
            "10",
            "m",
            "10x",
            "10m ",
            "10m ago ago",
            "99999999999999999999s",
            "9223372036854775807w",
            "2026-02-30",
            "2026-11-23 25:00",
            "2026-11-23 12",
            "12:60",
            "12:30:00x",
            "@4000",
            "yesterday",
            "-5m",
        ] {
            assert_eq!(unix(text), None, "{text:?}");
        }
    }
}
