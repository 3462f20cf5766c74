//! The library behind all that looks at services or controls them; svc, svok and svup stand on it
//! alone, without std: what they take is mostly their start, and so the pages that they touch.
//!
//! | module | subject |
//! |---|---|
//! | [`svpath`] | where the files of a service directory are |
//! | [`observe`] | what they say, and whether it is true |
//! | [`control`] | sending commands |
//! | [`wait`] | waiting for their effect |
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod control;
pub mod observe;
pub mod svpath;
pub mod wait;

/// Tells whether daemontools-encore's way rules by the environment (`DAEMONTOOLS_COMPAT=encore`).
#[must_use]
pub fn encore_rules() -> bool {
    use ondisk::names::{DAEMONTOOLS_COMPAT, ENCORE};
    linux::process::variable(DAEMONTOOLS_COMPAT).is_some_and(|value| value == ENCORE)
}
