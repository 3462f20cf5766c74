//! What stands before each line: a stamp, if the script asks for one, and a prefix.
//!
//! Every stamp of a kind has the same length, on which [`crate::spool`] builds.

use ondisk::tai64n::Stamp;

/// The kinds of stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Kind {
    /// None.
    #[default]
    None,
    /// `t`: `@`, 24 hex digits, a space.
    Tai64n,
    /// `T`, from daemontools-encore: Unix seconds, `.`, six digits of microseconds, a space.
    Accustamp,
    /// `:iso`: `2026-11-23T22:54:29.123456Z` in UTC, a space.
    Iso,
}

/// Longest prefix, in bytes.
pub const MOST_PREFIX: usize = 200;
/// Longest stamp with its space.
const MOST_STAMP: usize = 28;

/// The bytes that stand before a line, stamp and prefix.
pub struct Lead {
    bytes: [u8; MOST_STAMP + MOST_PREFIX],
    stamp: usize,
    len: usize,
    kind: Kind,
}

impl Lead {
    /// Prepares a lead of a kind with a prefix, of which the first [`MOST_PREFIX`] bytes count.
    #[must_use]
    pub fn new(kind: Kind, prefix: &[u8]) -> Self {
        let stamp = match kind {
            Kind::None => 0,
            Kind::Tai64n => Stamp::LABEL_LEN + 1,
            Kind::Accustamp => 18,
            Kind::Iso => MOST_STAMP,
        };
        let mut lead = Self { bytes: [b' '; MOST_STAMP + MOST_PREFIX], stamp, len: stamp, kind };
        let prefix = &prefix[..prefix.len().min(MOST_PREFIX)];
        lead.len += prefix.len();
        lead.bytes[stamp..lead.len].copy_from_slice(prefix);
        lead
    }

    /// Puts in a time: Unix seconds and nanoseconds.
    pub fn set(&mut self, (seconds, nanos): (i64, u32)) {
        let out = &mut self.bytes[..self.stamp];
        match self.kind {
            Kind::None => {}
            Kind::Tai64n => {
                let label = Stamp::from_unix(seconds, nanos).to_label();
                out[..label.len()].copy_from_slice(&label);
            }
            Kind::Accustamp => {
                digits(&mut out[..10], seconds.max(0) as u64);
                out[10] = b'.';
                digits(&mut out[11..17], u64::from(nanos / 1000));
            }
            Kind::Iso => iso(out, seconds, nanos),
        }
    }

    /// Returns the bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Writes the last digits of a number, as many as there is room for.
fn digits(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn iso(out: &mut [u8], seconds: i64, nanos: u32) {
    let (year, month, day) = date(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400) as u64;
    out[..27].copy_from_slice(b"0000-00-00T00:00:00.000000Z");
    digits(&mut out[..4], year);
    digits(&mut out[5..7], month);
    digits(&mut out[8..10], day);
    digits(&mut out[11..13], second / 3600);
    digits(&mut out[14..16], second / 60 % 60);
    digits(&mut out[17..19], second % 60);
    digits(&mut out[20..26], u64::from(nanos / 1000));
}

/// Returns year, month and day of a day counted from 1970-01-01, in the Gregorian calendar; years
/// outside 0 to 9999 come out wrong.
///
/// Years are counted from March, so that the odd day is the last of a year.
fn date(days: i64) -> (u64, u64, u64) {
    // Days since 0000-03-01, which begins a cycle of 400 years of 146,097 days.
    let days = (days + 719_468).max(0) as u64;
    let cycle = days / 146_097;
    let day = days % 146_097;
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March: 31 30 31 30 31, 31 30 31 30 31, 31 and the rest.
    let month = (5 * day + 2) / 153;
    let first = (153 * month + 2) / 5;
    let of_next_year = u64::from(month >= 10);
    (400 * cycle + year + of_next_year, (month + 2) % 12 + 1, day - first + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead(kind: Kind, prefix: &str, time: (i64, u32)) -> std::string::String {
        let mut lead = Lead::new(kind, prefix.as_bytes());
        lead.set(time);
        std::string::String::from_utf8(lead.bytes().to_vec()).unwrap()
    }

    #[test]
    fn each_kind_of_stamp_has_its_form() {
        let time = (1_795_474_469, 123_456_789);
        assert_eq!(lead(Kind::None, "", time), "");
        assert_eq!(lead(Kind::None, "web: ", time), "web: ");
        assert_eq!(lead(Kind::Tai64n, "", time), "@400000006b04c42f075bcd15 ");
        assert_eq!(lead(Kind::Accustamp, "a ", time), "1795474469.123456 a ");
        assert_eq!(lead(Kind::Iso, "", time), "2026-11-23T22:54:29.123456Z ");
        assert_eq!(lead(Kind::Iso, "", (-1, 0)), "1969-12-31T23:59:59.000000Z ");
        assert_eq!(lead(Kind::Accustamp, "", (42, 1000)), "0000000042.000001 ");
        assert_eq!(lead(Kind::None, &"x".repeat(300), time).len(), MOST_PREFIX);
    }

    #[test]
    fn every_day_of_eight_centuries_follows_the_day_before() {
        let leap =
            |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
        let (mut y, mut m, mut d) = (1600, 1, 1);
        for day in -135_140..157_054 {
            assert_eq!(date(day), (y, m, d));
            let len = match m {
                2 => 28 + u64::from(leap(y)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            d += 1;
            if d > len {
                (d, m) = (1, m + 1);
            }
            if m > 12 {
                (m, y) = (1, y + 1);
            }
        }
        assert_eq!((y, m, d), (2400, 1, 1));
    }
}
