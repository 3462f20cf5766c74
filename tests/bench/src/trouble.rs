//! What can go wrong in a run: told once, in one line.

use linux::errno::Errno;
use std::{fmt, io};

/// What was attempted and why it failed.
#[derive(Debug)]
pub(crate) struct Trouble(String);

/// Result of whatever can end a run.
pub(crate) type Result<T> = std::result::Result<T, Trouble>;

impl Trouble {
    /// Says it in words.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Adds what was attempted to an error of the system.
pub(crate) trait Unable<T> {
    /// Turns the error into `unable to WHAT: reason`.
    fn unable(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Reason> Unable<T> for std::result::Result<T, E> {
    fn unable(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Trouble(format!("unable to {}: {}", what(), e.reason())))
    }
}

/// An error with a reason in daemontools' words.
pub(crate) trait Reason {
    /// Returns the words.
    fn reason(&self) -> String;
}

impl Reason for io::Error {
    fn reason(&self) -> String {
        self.raw_os_error().map_or_else(|| self.to_string(), |code| Errno(code).text().into())
    }
}

impl Reason for nix::Error {
    fn reason(&self) -> String {
        Errno(*self as i32).text().into()
    }
}

impl Reason for Errno {
    fn reason(&self) -> String {
        self.text().into()
    }
}
