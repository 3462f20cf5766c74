//! The calendar: the wall clock as people read it, of this place or in UTC.

use core::mem::MaybeUninit;

/// A moment in the calendar, in local time unless something else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// The year as people count it.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60.
    pub second: u8,
}

/// Turns a Unix time into local time (`$TZ`, else /etc/localtime, else UTC); `None` where the year
/// is beyond what libc can say.
#[must_use]
pub fn at(unix_seconds: i64) -> Option<Local> {
    let mut out = MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are valid; localtime_r reads the one and fills the other.
    let done = unsafe { libc::localtime_r(&raw const unix_seconds, out.as_mut_ptr()) };
    if done.is_null() {
        return None;
    }
    // SAFETY: localtime_r succeeded and so filled `out`.
    Some(from_tm(&unsafe { out.assume_init() }))
}

/// Turns a Unix time into UTC; `None` where the year is beyond what libc can say.
#[must_use]
pub fn utc(unix_seconds: i64) -> Option<Local> {
    let mut out = MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are valid; gmtime_r reads the one and fills the other.
    let done = unsafe { libc::gmtime_r(&raw const unix_seconds, out.as_mut_ptr()) };
    if done.is_null() {
        return None;
    }
    // SAFETY: gmtime_r succeeded and so filled `out`.
    Some(from_tm(&unsafe { out.assume_init() }))
}

/// Returns the Unix time of a local time; `None` where the calendar has no such day or hour. Of an
/// hour that comes twice it is one of the two; one that is skipped is moved by what is skipped.
#[must_use]
pub fn unix_of_local(local: Local) -> Option<i64> {
    let mut tm = to_tm(local)?;
    // SAFETY: `tm` is a whole structure, which mktime reads and puts right.
    let unix = unsafe { libc::mktime(&raw mut tm) };
    (unix != -1).then_some(unix)
}

/// Returns the Unix time of a moment in UTC; `None` where the calendar has no such day or hour.
#[must_use]
pub fn unix_of_utc(utc: Local) -> Option<i64> {
    let mut tm = to_tm(utc)?;
    // SAFETY: `tm` is a whole structure, which timegm reads and puts right.
    Some(unsafe { libc::timegm(&raw mut tm) })
}

fn from_tm(tm: &libc::tm) -> Local {
    Local {
        year: 1900 + i64::from(tm.tm_year),
        month: tm.tm_mon as u8 + 1,
        day: tm.tm_mday as u8,
        hour: tm.tm_hour as u8,
        minute: tm.tm_min as u8,
        second: tm.tm_sec as u8,
    }
}

/// Checks what libc would put right: it takes February 30 for the second of March.
fn to_tm(local: Local) -> Option<libc::tm> {
    let Local { year, month, day, hour, minute, second } = local;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u8::from(leap),
        _ => return None,
    };
    if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // SAFETY: a tm is numbers and a pointer that may be null.
    let mut tm: libc::tm = unsafe { MaybeUninit::zeroed().assume_init() };
    tm.tm_year = i32::try_from(year - 1900).ok()?;
    tm.tm_mon = i32::from(month) - 1;
    tm.tm_mday = i32::from(day);
    tm.tm_hour = i32::from(hour);
    tm.tm_min = i32::from(minute);
    tm.tm_sec = i32::from(second);
    // Whether summer time is on then, libc finds out.
    tm.tm_isdst = -1;
    Some(tm)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(year: i64, month: u8, day: u8) -> Local {
        Local { year, month, day, hour: 22, minute: 54, second: 29 }
    }

    #[test]
    fn a_moment_survives_the_way_to_unix_time_and_back() {
        assert_eq!(unix_of_utc(moment(2026, 11, 23)), Some(1_795_474_469));
        for unix in [-1, 0, 951_782_400, 1_795_474_469, 4_107_542_400] {
            assert_eq!(unix_of_utc(utc(unix).unwrap()), Some(unix));
        }
        // Not where summer time ends or begins.
        for unix in [951_782_400, 1_795_474_469, 1_782_474_469] {
            assert_eq!(unix_of_local(at(unix).unwrap()), Some(unix));
        }
    }

    #[test]
    fn days_that_are_in_no_calendar_are_none() {
        for (year, month, day) in [(2026, 2, 29), (1900, 2, 29), (2026, 4, 31), (2026, 13, 1)] {
            assert_eq!(unix_of_utc(moment(year, month, day)), None);
        }
        assert_eq!(unix_of_utc(moment(2026, 1, 0)), None);
        assert!(unix_of_utc(moment(2000, 2, 29)).is_some());
        assert_eq!(unix_of_local(Local { hour: 24, ..moment(2026, 1, 1) }), None);
        assert_eq!(utc(i64::MAX), None);
    }
}
