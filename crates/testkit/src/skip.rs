//! Tests of what is not to be had everywhere.

use std::io::Write;
use std::thread;

/// Tells whether a test is to be left out for want of something. Where it is, that is said on standard
/// error, past the harness, which keeps what a test that passes has printed for itself.
#[must_use]
pub fn skipped(for_want_of: &str, is_there: bool) -> bool {
    if !is_there {
        let test = thread::current();
        let name = test.name().unwrap_or("a test");
        let _ = writeln!(std::io::stderr(), "{name}: skipped for want of {for_want_of}");
    }
    !is_there
}

/// The same of a test that needs root.
#[must_use]
pub fn skipped_without_root() -> bool {
    skipped("root", linux::process::euid() == 0)
}
