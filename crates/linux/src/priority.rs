//! The nice value: who has the processor first where there are too few, from -20, first, to 19.

use crate::errno::{Result, cvt};

/// The least.
pub const FIRST: i32 = -20;

/// getpriority(2) itself says 20 for 0 and 1 for 19, so that an answer is never an error.
const ZERO: i64 = 20;

/// Reads that of this process.
///
/// # Errors
/// As getpriority(2).
pub fn get() -> Result<i32> {
    // SAFETY: takes two numbers.
    let said = cvt(unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, 0) })?;
    Ok((ZERO - said) as i32)
}

/// Sets that of this process.
///
/// # Errors
/// As setpriority(2): `EACCES` where it is less than it was, without the right to that.
pub fn set(nice: i32) -> Result<()> {
    // SAFETY: takes three numbers.
    cvt(unsafe { libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, nice) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{self, Ended, Fork, Waited};

    #[test]
    fn what_is_set_is_what_is_read_and_to_go_behind_is_always_allowed() {
        let Fork::Parent(child) = process::fork().unwrap() else {
            let before = get().unwrap_or(FIRST);
            let after = (before + 3).min(19);
            let is_well = set(after).is_ok() && get() == Ok(after);
            process::exit((!is_well).into());
        };
        assert_eq!(process::wait(child, true), Waited::Ended(child, Ended::Code(0)));
    }
}
