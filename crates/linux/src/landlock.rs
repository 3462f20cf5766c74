//! Landlock: a process gives up, for itself and all that it runs, what it does not need.
//!
//! Source: landlock(7), linux/landlock.h.

use crate::errno::{Result, cvt};
use crate::fd::{self, Fd};

/// `struct landlock_ruleset_attr`. Older kernels know less of it and take the rest where it is zero.
#[repr(C)]
struct RulesetAttr {
    files: u64,
    network: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    fd: i32,
}

/// Least number of the descriptor.
const FIRST: i32 = 32;

/// The first version that knows whom one may reach.
pub const SCOPES: u32 = 6;
/// The first version that knows to which sockets in folders one may connect.
pub const SOCKETS: u32 = 9;
const BARE_NAMES: u64 = 1;
const SIGNALS: u64 = 1 << 1;

/// Reading the list of names in a directory.
const LIST: u64 = 1 << 3;

const VERSION: u32 = 1;
const PATH_BENEATH: u32 = 1;

/// Rights that a file which is no directory can be given: running, writing, reading; cutting,
/// commands to devices and connecting where the kernel knows these.
const OF_FILES: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15 | 1 << 16;

/// Returns which version of Landlock the kernel has; `None` = no Landlock, or switched off.
#[must_use]
pub fn version() -> Option<u32> {
    let none = core::ptr::null::<RulesetAttr>();
    // SAFETY: with this flag and no structure the call only answers.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0, VERSION) };
    u32::try_from(answer).ok().filter(|version| *version > 0)
}

/// What is forbidden, but for what is allowed.
#[derive(Debug)]
pub struct Ruleset {
    fd: Fd,
    files: u64,
}

impl Ruleset {
    /// Returns its descriptor.
    #[must_use]
    pub fn raw(&self) -> i32 {
        self.fd.raw()
    }

    /// Returns one for a kernel with this [`version`] that forbids everything to do with files but to
    /// list the names in a directory, and from 6 on signals and bare-named sockets to whoever does not
    /// live under it.
    ///
    /// # Errors
    /// As `landlock_create_ruleset(2)`.
    pub fn new(version: u32) -> Result<Self> {
        let rights = match version {
            0 | 1 => 13,
            2 => 14,
            3 | 4 => 15,
            5..=8 => 16,
            _ => 17,
        };
        let files = ((1 << rights) - 1) & !LIST;
        let scoped = if version >= SCOPES { BARE_NAMES | SIGNALS } else { 0 };
        Self::of(files, scoped)
    }

    /// Returns one that forbids nothing but signals to whoever does not live under it, and to look
    /// into them, as each does; for a kernel with version [`SCOPES`] at least.
    ///
    /// # Errors
    /// As `landlock_create_ruleset(2)`.
    pub fn of_signals() -> Result<Self> {
        Self::of(0, SIGNALS)
    }

    fn of(files: u64, scoped: u64) -> Result<Self> {
        let attr = RulesetAttr { files, network: 0, scoped };
        let size = size_of::<RulesetAttr>();
        // SAFETY: `attr` is valid for reads of `size` bytes.
        let fd = cvt(unsafe {
            libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attr, size, 0)
        })?;
        // Far behind what a program that will be run under it is given.
        let fd = fd::copy_from(Fd::from_raw(fd as i32).raw(), FIRST)?;
        Ok(Self { fd, files })
    }

    /// Allows everything to do with an open file, or with an open directory and all below it.
    ///
    /// # Errors
    /// As `landlock_add_rule(2)`.
    pub fn allow(&self, fd: i32, is_dir: bool) -> Result<()> {
        let allowed = if is_dir { self.files } else { self.files & OF_FILES };
        let rule = PathBeneath { allowed, fd };
        let (ruleset, rule) = (self.fd.raw(), &raw const rule);
        // SAFETY: `rule` points to the structure that this kind of rule is read from.
        cvt(unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset, PATH_BENEATH, rule, 0) })?;
        Ok(())
    }

    /// Puts this process and all that it will run under the ruleset. It must have given up gaining
    /// rights before.
    ///
    /// # Errors
    /// As `landlock_restrict_self(2)`.
    pub fn restrict(&self) -> Result<()> {
        // SAFETY: the call takes two numbers and touches no memory.
        cvt(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.fd.raw(), 0) })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ruleset_is_behind_the_descriptors_that_a_program_is_given() {
        let Some(version) = version() else { return };
        let rules = [(); 2].map(|()| Ruleset::new(version).unwrap());
        // The numbers that are free, 3 among them, are not taken.
        assert!(rules.iter().all(|rules| rules.fd.raw() >= FIRST), "{rules:?}");
    }
}
