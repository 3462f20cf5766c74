//! Durations and sizes as people write them: a whole number and its unit, without a blank.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// Units of a duration, in nanoseconds.
const DURATIONS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// A hundred years: every sum of two of them can be counted in nanoseconds.
const LONGEST: u64 = 36_500 * 86_400_000_000_000;

/// Units of a size, in bytes.
const SIZES: [(&str, u64); 5] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// The kernel's offsets end there.
const LARGEST: u64 = u64::MAX >> 1;

/// Other words for a unit that people write.
const MEANT: [(&str, &str); 27] = [
    ("m", "min"),
    ("mins", "min"),
    ("minute", "min"),
    ("minutes", "min"),
    ("sec", "s"),
    ("secs", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("msec", "ms"),
    ("µs", "us"),
    ("hr", "h"),
    ("hour", "h"),
    ("hours", "h"),
    ("day", "d"),
    ("days", "d"),
    ("b", "B"),
    ("bytes", "B"),
    ("k", "KiB"),
    ("kb", "KiB"),
    ("kib", "KiB"),
    ("mb", "MiB"),
    ("mib", "MiB"),
    ("g", "GiB"),
    ("gb", "GiB"),
    ("gib", "GiB"),
    ("tb", "TiB"),
    ("tib", "TiB"),
];

/// What is wrong with a duration or a size, with one that would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong(String);

impl Display for Wrong {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads a duration: `30s`, `10min`, `1500ms`; units are ns, us, ms, s, min, h and d.
///
/// # Errors
/// No whole number, no unit, another unit, or more than 36500d.
pub fn duration(text: &str) -> Result<Duration, Wrong> {
    number(text, &DURATIONS, LONGEST, "s", "30s, 10min or 2h").map(Duration::from_nanos)
}

/// Reads a size in bytes: `512MiB`, `8KiB`, `100B`; units are B, KiB, MiB, GiB and TiB.
///
/// # Errors
/// No whole number, no unit, another unit, or more than a file can have.
pub fn size(text: &str) -> Result<u64, Wrong> {
    number(text, &SIZES, LARGEST, "B", "512MiB, 8KiB or 100B")
}

fn number(
    text: &str,
    units: &[(&str, u64)],
    most: u64,
    usual: &str,
    right: &str,
) -> Result<u64, Wrong> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if digits.is_empty() || unit.starts_with(['.', ',']) {
        return Err(Wrong(format!("\"{text}\" is no whole number with a unit, such as {right}")));
    }
    if unit.is_empty() {
        return Err(Wrong(format!(
            "{text} has no unit; write {text}{usual}, or another of {right}"
        )));
    }
    let Some((unit, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(Wrong(unknown(text, digits, unit.trim(), units, right)));
    };
    let product = digits.parse().ok().and_then(|count: u64| count.checked_mul(*factor));
    product
        .filter(|product| *product <= most)
        .ok_or_else(|| Wrong(format!("{text} is more than {}{unit}", most / factor)))
}

fn unknown(text: &str, digits: &str, unit: &str, units: &[(&str, u64)], right: &str) -> String {
    let is_ours = |name: &str| units.iter().any(|(known, _)| *known == name);
    // "30 s", "10Min": the unit is right but for a blank or its case; a month is no unit here.
    let same = units.iter().find(|(known, _)| known.eq_ignore_ascii_case(unit));
    let lower = unit.to_ascii_lowercase();
    let meant = MEANT.iter().filter(|(word, _)| *word == unit || *word == lower);
    let meant = meant.map(|(_, name)| *name).find(|name| is_ours(name));
    let meant = same.map(|(name, _)| *name).or(meant);
    // "512M" is a size where a size is asked for.
    let meant = meant.or_else(|| (lower == "m" && is_ours("MiB")).then_some("MiB"));
    let meant = meant.or_else(|| (lower == "t" && is_ours("TiB")).then_some("TiB"));
    if let Some(name) = meant {
        return format!("\"{text}\" has no unit of ours; write {digits}{name}");
    }
    let names: Vec<_> = units.iter().map(|(name, _)| *name).collect();
    format!("\"{text}\" has no unit of {}; write {right}, say", names.join(", "))
}

/// A duration that shows itself as [`duration`] reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let nanos = u64::try_from(self.0.as_nanos()).unwrap_or(LONGEST);
        show(f, nanos, &DURATIONS, "s")
    }
}

/// A size that shows itself as [`size`] reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        show(f, self.0, &SIZES, "B")
    }
}

/// In the largest unit that leaves a whole number.
fn show(f: &mut Formatter<'_>, n: u64, units: &[(&str, u64)], zero: &str) -> fmt::Result {
    match units.iter().rfind(|(_, factor)| n >= *factor && n.is_multiple_of(*factor)) {
        Some((unit, factor)) => write!(f, "{}{unit}", n / factor),
        None => write!(f, "0{zero}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_and_shown_again() {
        for (unit, nanos) in DURATIONS {
            for count in [1, 2, 7, 999] {
                let wanted = Duration::from_nanos(count * nanos);
                assert_eq!(duration(&format!("{count}{unit}")), Ok(wanted));
                assert_eq!(duration(&Span(wanted).to_string()), Ok(wanted));
            }
            assert_eq!(Span(Duration::from_nanos(nanos)).to_string(), format!("1{unit}"));
        }
        for (unit, bytes) in SIZES {
            for count in [1, 2, 7, 999] {
                assert_eq!(size(&format!("{count}{unit}")), Ok(count * bytes));
                assert_eq!(size(&Bytes(count * bytes).to_string()), Ok(count * bytes));
            }
            assert_eq!(Bytes(bytes).to_string(), format!("1{unit}"));
        }
    }

    #[test]
    fn what_is_shown_is_in_the_largest_whole_unit() {
        for (nanos, text) in [
            (0, "0s"),
            (1_500_000_000, "1500ms"),
            (90_000_000_000, "90s"),
            (3_600_000_000_000, "1h"),
            (172_800_000_000_000, "2d"),
        ] {
            assert_eq!(Span(Duration::from_nanos(nanos)).to_string(), text);
        }
        assert_eq!(Span(Duration::MAX).to_string(), "36500d");
        for (bytes, text) in [(0, "0B"), (1023, "1023B"), (16 << 20, "16MiB"), (3 << 39, "1536GiB")]
        {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn the_largest_is_taken_and_one_more_is_not() {
        assert_eq!(duration("36500d"), Ok(Duration::from_nanos(LONGEST)));
        assert_eq!(size("9223372036854775807B"), Ok(LARGEST));
        for (text, why) in [
            ("36501d", "36501d is more than 36500d"),
            ("3153600001s", "3153600001s is more than 3153600000s"),
            ("99999999999999999999999999s", "99999999999999999999999999s is more than 3153600000s"),
        ] {
            assert_eq!(duration(text), Err(Wrong(why.into())));
        }
        for text in ["9223372036854775808B", "8388608TiB", "18446744073709551616TiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_plain_number_is_refused_with_one_that_is_right() {
        let why = duration("30").unwrap_err().to_string();
        assert_eq!(why, "30 has no unit; write 30s, or another of 30s, 10min or 2h");
        let why = size("0").unwrap_err().to_string();
        assert_eq!(why, "0 has no unit; write 0B, or another of 512MiB, 8KiB or 100B");
    }

    #[test]
    fn other_words_for_a_unit_are_refused_with_ours() {
        for (text, right) in [
            ("5m", "5min"),
            ("5 min", "5min"),
            ("5MIN", "5min"),
            ("30sec", "30s"),
            ("2Hours", "2h"),
            ("1day", "1d"),
            ("3S", "3s"),
        ] {
            let why = duration(text).unwrap_err().to_string();
            assert_eq!(why, format!("\"{text}\" has no unit of ours; write {right}"));
        }
        for (text, right) in [
            ("512M", "512MiB"),
            ("512m", "512MiB"),
            ("1GB", "1GiB"),
            ("8K", "8KiB"),
            ("2T", "2TiB"),
        ] {
            let why = size(text).unwrap_err().to_string();
            assert_eq!(why, format!("\"{text}\" has no unit of ours; write {right}"));
        }
        // Nobody is told to write a size where a duration is asked for.
        for text in ["1MiB", "1fortnight", "1y"] {
            let why = duration(text).unwrap_err().to_string();
            assert!(why.contains("no unit of ns, us, ms, s, min, h, d"), "{why}");
        }
        assert!(size("1min").unwrap_err().to_string().contains("no unit of B, KiB"));
    }

    #[test]
    fn nothing_else_is_a_number_with_a_unit() {
        for text in
            ["", "s", "-1s", "+1s", "1.5s", "1,5h", " 1s", "1s ", "1s1s", "0x1s", "½h", "1e3s"]
        {
            assert!(duration(text).is_err(), "{text:?}");
        }
        for text in ["", "MiB", "-1B", "1.5GiB", " 1B", "1 B", "1B\n"] {
            assert!(size(text).is_err(), "{text:?}");
        }
    }
}
