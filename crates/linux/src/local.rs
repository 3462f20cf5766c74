//! The wall clock as people of this place read it.

use core::mem::MaybeUninit;

/// A moment in local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    let tm = unsafe { out.assume_init() };
    Some(Local {
        year: 1900 + i64::from(tm.tm_year),
        month: tm.tm_mon as u8 + 1,
        day: tm.tm_mday as u8,
        hour: tm.tm_hour as u8,
        minute: tm.tm_min as u8,
        second: tm.tm_sec as u8,
    })
}
