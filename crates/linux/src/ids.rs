//! User and group ids, capabilities: changed for the whole process, read back.
//!
//! libc's own functions tell every thread and block signals meanwhile; the programs that drop
//! their rights have one thread, so the bare system calls do. They must not be used where there
//! are more threads.

use crate::errno::{Errno, Result, cvt};

#[cfg(target_pointer_width = "64")]
use libc::{SYS_getgroups, SYS_getresgid, SYS_getresuid};
#[cfg(target_pointer_width = "64")]
use libc::{SYS_setgroups, SYS_setresgid, SYS_setresuid};
// The calls without a number in their names know ids of 16 bits only.
#[cfg(target_pointer_width = "32")]
use libc::{
    SYS_getgroups32 as SYS_getgroups, SYS_getresgid32 as SYS_getresgid,
    SYS_getresuid32 as SYS_getresuid, SYS_setgroups32 as SYS_setgroups,
    SYS_setresgid32 as SYS_setresgid, SYS_setresuid32 as SYS_setresuid,
};

/// Real, effective and saved id.
pub type Three = [u32; 3];

/// Sets the supplementary groups.
///
/// # Errors
/// As setgroups(2).
pub fn set_groups(groups: &[u32]) -> Result<()> {
    // SAFETY: `groups` outlives the call and its length is passed; setgroups(2) only reads it.
    cvt(unsafe { libc::syscall(SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    Ok(())
}

/// Sets all three group ids.
///
/// # Errors
/// `EINVAL` for the id that means "leave as it is"; else as setresgid(2).
pub fn set_gids(gid: u32) -> Result<()> {
    refuse_none(gid)?;
    // SAFETY: setresgid takes three numbers.
    cvt(unsafe { libc::syscall(SYS_setresgid, gid, gid, gid) })?;
    Ok(())
}

/// Sets all three user ids.
///
/// # Errors
/// `EINVAL` for the id that means "leave as it is"; else as setresuid(2).
pub fn set_uids(uid: u32) -> Result<()> {
    refuse_none(uid)?;
    // SAFETY: setresuid takes three numbers.
    cvt(unsafe { libc::syscall(SYS_setresuid, uid, uid, uid) })?;
    Ok(())
}

fn refuse_none(id: u32) -> Result<()> {
    if id == u32::MAX { Err(Errno(libc::EINVAL)) } else { Ok(()) }
}

/// Reads the supplementary groups into `out` and returns them.
///
/// # Errors
/// `EINVAL` where there are more than fit.
pub fn groups(out: &mut [u32]) -> Result<&[u32]> {
    if out.is_empty() {
        // To the kernel, no room is a question for their number.
        return Err(Errno(libc::EINVAL));
    }
    // SAFETY: `out` is valid for writes of the length passed.
    let n = cvt(unsafe { libc::syscall(SYS_getgroups, out.len(), out.as_mut_ptr()) })?;
    Ok(&out[..n as usize])
}

/// Reads the group ids.
///
/// # Errors
/// As getresgid(2).
pub fn gids() -> Result<Three> {
    let mut ids = [u32::MAX; 3];
    let [real, effective, saved] = &mut ids;
    // SAFETY: all three are valid for writes of an id.
    cvt(unsafe {
        libc::syscall(SYS_getresgid, &raw mut *real, &raw mut *effective, &raw mut *saved)
    })?;
    Ok(ids)
}

/// Reads the user ids.
///
/// # Errors
/// As getresuid(2).
pub fn uids() -> Result<Three> {
    let mut ids = [u32::MAX; 3];
    let [real, effective, saved] = &mut ids;
    // SAFETY: all three are valid for writes of an id.
    cvt(unsafe {
        libc::syscall(SYS_getresuid, &raw mut *real, &raw mut *effective, &raw mut *saved)
    })?;
    Ok(ids)
}

/// `struct __user_cap_header_struct` of linux/capability.h.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

/// `_LINUX_CAPABILITY_VERSION_3`: two words a set.
const CAPABILITIES_V3: u32 = 0x2008_0522;

/// Twice effective, permitted, inheritable: the low words, then the high ones.
type CapabilitySets = [[u32; 3]; 2];

/// Empties the effective, permitted and inheritable sets; the kernel then empties the ambient one,
/// which is never more than what is both permitted and inheritable.
///
/// # Errors
/// As capset(2).
pub fn drop_capabilities() -> Result<()> {
    let mut header = CapabilityHeader { version: CAPABILITIES_V3, pid: 0 };
    let none: CapabilitySets = [[0; 3]; 2];
    // SAFETY: the header names the version whose two structures `none` has the layout of.
    cvt(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, none.as_ptr()) })?;
    Ok(())
}

/// Tells whether the effective, permitted and inheritable sets are empty.
///
/// # Errors
/// As capget(2).
pub fn has_no_capabilities() -> Result<bool> {
    let mut header = CapabilityHeader { version: CAPABILITIES_V3, pid: 0 };
    let mut sets: CapabilitySets = [[u32::MAX; 3]; 2];
    // SAFETY: the header names the version whose two structures `sets` has room for.
    cvt(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) })?;
    Ok(sets == [[0; 3]; 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_that_changes_nothing_is_refused() {
        assert_eq!(set_gids(u32::MAX), Err(Errno(libc::EINVAL)));
        assert_eq!(set_uids(u32::MAX), Err(Errno(libc::EINVAL)));
    }

    #[test]
    fn ids_are_read() {
        let euid = crate::process::euid();
        assert_eq!(uids().unwrap()[1], euid);
        assert!(gids().is_ok());
        let mut room = [0; 256];
        assert!(groups(&mut room).is_ok());
        assert_eq!(groups(&mut []).err(), Some(Errno(libc::EINVAL)));
    }
}
