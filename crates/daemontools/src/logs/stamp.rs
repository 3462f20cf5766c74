//! The time that a line begins with, whoever wrote it.
//!
//! | form | written by |
//! |---|---|
//! | `@` and 24 hexadecimal digits | multilog `t`, tai64n, s6-log `t`, svlogd `-t` |
//! | `1795474469.123456` | daemontools-encore's multilog `T` |
//! | `2026-11-23T22:54:29.123456Z` | multilog `:iso` |
//! | `2026-11-23_22:54:29.12345`, `2026-11-23T22:54:29.12345` in UTC | svlogd `-tt`, `-ttt` |
//! | `2026-11-23 22:54:29.123456789` in local time | s6-log `T` |
//!
//! What many programs begin their own lines with is near enough: any number of digits, or none,
//! behind a `.` or a `,`; an offset such as `+01:00`.

use ondisk::tai64n::Stamp;
use sys::linux::local::{self, Local};

/// Most bytes that a stamp has.
pub const MOST: usize = 40;

/// A stamp that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The moment.
    pub stamp: Stamp,
    /// Bytes that say it, without the space behind.
    pub len: usize,
    /// Digits behind the second.
    pub digits: usize,
    /// Whether it says a moment in local time, or names its own offset: people can read it.
    pub is_local: bool,
}

/// Returns the stamp that `line` begins with. It ends with the line, or with a space.
#[must_use]
pub fn leading(line: &[u8]) -> Option<Found> {
    let found = match line.first()? {
        b'@' => tai64n(line),
        b'0'..=b'9' => accustamp(line).or_else(|| calendar(line)),
        _ => None,
    }?;
    let ends = matches!(line.get(found.len), None | Some(b' ' | b'\n' | b'\t'));
    ends.then_some(found)
}

/// Tells whether what follows `start` may still make it a stamp that it is not yet.
#[must_use]
pub fn may_become_one(start: &[u8]) -> bool {
    start.len() < MOST && !start.contains(&b'\n') && !start.contains(&b' ')
}

fn tai64n(line: &[u8]) -> Option<Found> {
    let digits = line.get(1..Stamp::LABEL_LEN)?;
    let stamp = Stamp::from_digits(digits)?;
    let sane = stamp.nanos < 1_000_000_000 && stamp.seconds < 1 << 63;
    sane.then_some(Found { stamp, len: Stamp::LABEL_LEN, digits: 9, is_local: false })
}

fn accustamp(line: &[u8]) -> Option<Found> {
    let (seconds, rest) = number(line, 10)?;
    let (nanos, digits) = fraction(rest);
    let stamp = Stamp::from_unix(seconds, nanos);
    (digits > 0).then_some(Found { stamp, len: 11 + digits, digits, is_local: false })
}

/// Reads a date and a time of day, with their offset from UTC if it is there.
fn calendar(line: &[u8]) -> Option<Found> {
    let (date, rest) = day(line)?;
    let (separator, rest) = rest.split_first()?;
    let (moment, rest) = time_of_day(date, rest)?;
    let (nanos, digits) = fraction(rest);
    let rest = rest.get(if digits > 0 { digits + 1 } else { 0 }..)?;
    let read = |rest: &[u8]| line.len() - rest.len();
    let found = |unix: i64, len, is_local| {
        Some(Found { stamp: Stamp::from_unix(unix, nanos), len, digits, is_local })
    };
    match (separator, rest.first()) {
        (b'_', _) => found(local::unix_of_utc(moment)?, read(rest), false),
        (b'T' | b' ', Some(b'Z')) => found(local::unix_of_utc(moment)?, read(rest) + 1, false),
        (b'T' | b' ', Some(b'+' | b'-')) => {
            let (offset, rest) = offset(rest)?;
            found(local::unix_of_utc(moment)? - offset, read(rest), true)
        }
        // svlogd's five digits.
        (b'T', _) if digits == 5 => found(local::unix_of_utc(moment)?, read(rest), false),
        (b'T' | b' ', _) => found(local::unix_of_local(moment)?, read(rest), true),
        _ => None,
    }
}

/// Reads `YYYY-MM-DD` and returns what is behind.
pub(crate) fn day(text: &[u8]) -> Option<(Local, &[u8])> {
    let (year, rest) = number(text, 4)?;
    let (month, rest) = number(rest.strip_prefix(b"-")?, 2)?;
    let (day, rest) = number(rest.strip_prefix(b"-")?, 2)?;
    Some((Local { year, month: month as u8, day: day as u8, ..Local::default() }, rest))
}

/// Reads `HH:MM:SS` and returns what is behind.
fn time_of_day(date: Local, text: &[u8]) -> Option<(Local, &[u8])> {
    let (hour, rest) = number(text, 2)?;
    let (minute, rest) = number(rest.strip_prefix(b":")?, 2)?;
    let (second, rest) = number(rest.strip_prefix(b":")?, 2)?;
    let moment = Local { hour: hour as u8, minute: minute as u8, second: second as u8, ..date };
    Some((moment, rest))
}

/// Reads `.` or `,` and up to nine digits; returns nanoseconds and the number of digits.
fn fraction(text: &[u8]) -> (u32, usize) {
    let Some((b'.' | b',', rest)) = text.split_first() else { return (0, 0) };
    let len = rest.iter().take(9).take_while(|b| b.is_ascii_digit()).count();
    let value = rest[..len].iter().fold(0, |n, b| n * 10 + u32::from(b - b'0'));
    (value * 10_u32.pow(9 - len as u32), len)
}

/// Reads `+HH:MM`, `+HHMM` or the same with `-`; returns seconds and what is behind.
fn offset(text: &[u8]) -> Option<(i64, &[u8])> {
    let (sign, rest) = text.split_first()?;
    let (hours, rest) = number(rest, 2)?;
    let (minutes, rest) = number(rest.strip_prefix(b":").unwrap_or(rest), 2)?;
    let seconds = hours * 3600 + minutes * 60;
    Some((if *sign == b'-' { -seconds } else { seconds }, rest))
}

/// Reads exactly `len` digits and returns what is behind.
pub(crate) fn number(text: &[u8], len: usize) -> Option<(i64, &[u8])> {
    let (digits, rest) = text.split_at_checked(len)?;
    let value = digits
        .iter()
        .try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))?;
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: i64 = 1_795_474_469;

    fn unix(line: &str) -> Option<(i64, u32, usize)> {
        let found = leading(line.as_bytes())?;
        Some((found.stamp.unix_seconds(), found.stamp.nanos, found.len))
    }

    #[test]
    fn every_logger_s_stamp_is_read() {
        for (line, nanos, len) in [
            ("@400000006b04c42f075bcd15 x", 123_456_789, 25),
            ("@400000006b04c42f075bcd15", 123_456_789, 25),
            ("1795474469.123456 x", 123_456_000, 17),
            ("2026-11-23T22:54:29.123456Z x", 123_456_000, 27),
            ("2026-11-23T22:54:29Z\n", 0, 20),
            ("2026-11-23_22:54:29.12345 x", 123_450_000, 25),
            ("2026-11-23T22:54:29.12345 x", 123_450_000, 25),
            ("2026-11-23T23:54:29,123+01:00 x", 123_000_000, 29),
            ("2026-11-23 20:24:29-0230 x", 0, 24),
        ] {
            assert_eq!(unix(line), Some((MOMENT, nanos, len)), "{line}");
        }
    }

    #[test]
    fn a_stamp_without_zone_is_local_time() {
        let local = local::at(MOMENT).unwrap();
        let Local { year, month, day, hour, minute, second } = local;
        let line = format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.5  x");
        let found = leading(line.as_bytes()).unwrap();
        assert_eq!((found.stamp, found.len), (Stamp::from_unix(MOMENT, 500_000_000), 21));
        assert!(found.is_local);
    }

    #[test]
    fn other_lines_have_none() {
        for line in [
            "",
            "@",
            "@400000006b04c42f075bcd1 x",
            "@400000006b04c42f075bcd155 x",
            "@400000006b04c42fffffffff x",
            "@400000006B04C42F075BCD15 x",
            "1795474469 x",
            "1795474469. x",
            "179547446.123456 x",
            "1795474469.123456x",
            "2026-02-30T22:54:29Z x",
            "2026-11-23T24:54:29Z x",
            "2026-11-23x22:54:29 x",
            "2026-11-23T22:54:29.1234567890Z x",
            "2026-11-23T22:54 x",
            "9223372036854775807.1 x",
        ] {
            assert_eq!(unix(line), None, "{line}");
        }
    }

    /// Whatever a daemon writes: the bytes of stamps with some of them changed.
    #[test]
    fn no_bytes_confuse_the_reader_of_stamps() {
        const SEEDS: [&[u8]; 4] = [
            b"@400000006b04c42f075bcd15 x",
            b"1795474469.123456789 x",
            b"2026-11-23T22:54:29.123456789+01:00 x",
            b"9999-12-31_23:59:60,99999\n",
        ];
        const BYTES: &[u8] = b"@09afZ-+:.,_T \n\0\xff";
        let mut n = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..200_000 {
            n ^= n << 13;
            n ^= n >> 7;
            n ^= n << 17;
            let mut line = SEEDS[n as usize % SEEDS.len()].to_vec();
            for shift in [8, 24, 40].into_iter().take(n as usize / 4 % 4) {
                let at = (n >> shift) as usize % line.len();
                line[at] = BYTES[(n >> (shift + 8)) as usize % BYTES.len()];
            }
            line.truncate((n >> 56) as usize);
            let Some(found) = leading(&line) else { continue };
            assert!(found.len <= line.len() && found.len < MOST && found.digits <= 9);
            assert!(found.stamp.nanos < 1_000_000_000, "{line:?}");
            assert_eq!(leading(&line[..found.len]), Some(found), "{line:?}");
        }
    }

    #[test]
    fn a_start_that_is_too_short_may_become_a_stamp() {
        assert!(may_become_one(b""));
        assert!(may_become_one(b"@400000006b04"));
        assert!(!may_become_one(b"@4 "));
        assert!(!may_become_one(b"x\n"));
        assert!(!may_become_one(&[b'x'; MOST]));
    }
}
