//! Resource limits.

use crate::errno::{Result, cvt};
use core::mem::MaybeUninit;

/// No limit.
pub const UNLIMITED: u64 = libc::RLIM_INFINITY;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Bytes of address space.
    AddressSpace,
    /// Bytes of a core file.
    Core,
    /// Bytes of data.
    Data,
    /// Bytes of a file that is written.
    FileSize,
    /// Bytes locked in memory.
    LockedMemory,
    /// Descriptors.
    OpenFiles,
    /// Processes of the user.
    Processes,
    /// Bytes in memory; Linux takes the number and does nothing with it.
    ResidentSet,
    /// Bytes of stack.
    Stack,
    /// Seconds of computing.
    CpuSeconds,
}

/// glibc has a type of its own for the number; musl takes an int.
#[cfg(target_env = "gnu")]
type Number = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Number = libc::c_int;

impl Resource {
    fn number(self) -> Number {
        match self {
            Self::AddressSpace => libc::RLIMIT_AS,
            Self::Core => libc::RLIMIT_CORE,
            Self::Data => libc::RLIMIT_DATA,
            Self::FileSize => libc::RLIMIT_FSIZE,
            Self::LockedMemory => libc::RLIMIT_MEMLOCK,
            Self::OpenFiles => libc::RLIMIT_NOFILE,
            Self::Processes => libc::RLIMIT_NPROC,
            Self::ResidentSet => libc::RLIMIT_RSS,
            Self::Stack => libc::RLIMIT_STACK,
            Self::CpuSeconds => libc::RLIMIT_CPU,
        }
    }
}

/// A soft and a hard limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What holds now.
    pub soft: u64,
    /// What the soft limit may be raised to.
    pub hard: u64,
}

/// Reads a limit.
///
/// # Errors
/// As getrlimit(2).
pub fn get(resource: Resource) -> Result<Limit> {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: `limit` has room for what getrlimit writes.
    cvt(unsafe { libc::getrlimit(resource.number(), limit.as_mut_ptr()) })?;
    // SAFETY: getrlimit succeeded and so filled `limit`.
    let limit = unsafe { limit.assume_init() };
    Ok(Limit { soft: limit.rlim_cur, hard: limit.rlim_max })
}

/// Sets a limit for this process and what it runs.
///
/// # Errors
/// `EPERM` where the hard limit is raised without the right to; else as setrlimit(2).
pub fn set(resource: Resource, limit: Limit) -> Result<()> {
    let limit = libc::rlimit { rlim_cur: limit.soft, rlim_max: limit.hard };
    // SAFETY: setrlimit only reads `limit`, which outlives the call.
    cvt(unsafe { libc::setrlimit(resource.number(), &raw const limit) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soft_limit_is_set_and_read_back() {
        let before = get(Resource::Core).unwrap();
        set(Resource::Core, Limit { soft: 0, ..before }).unwrap();
        assert_eq!(get(Resource::Core), Ok(Limit { soft: 0, ..before }));
        set(Resource::Core, before).unwrap();
    }
}
