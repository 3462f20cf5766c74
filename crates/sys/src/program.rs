//! A small program: its start-up, its arguments, its last words.
//!
//! The programs bring their own `main`: without the runtime's start-up they run sooner, and no
//! signal is ignored behind the back of what they run (std ignores `SIGPIPE`).

use crate::terminal;
use linux::errno::Errno;
use linux::message;
use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Exit code for wrong usage.
pub const USAGE: i32 = 100;
/// Exit code for trouble: temporary, or of the system.
pub const TROUBLE: i32 = 111;

/// A program by name; knows how it speaks on descriptor 2.
#[derive(Clone, Copy, Debug)]
pub struct Program(pub &'static str);

impl Program {
    /// Says `NAME: fatal: PARTS: WHY` and returns 111.
    #[must_use]
    pub fn fatal(self, parts: &[&OsStr], why: Errno) -> i32 {
        message::system(self.0, "fatal", &slices(&terminal::safe(2, parts)), why);
        TROUBLE
    }

    /// Says `NAME: fatal: PARTS` and returns 111.
    #[must_use]
    pub fn fatal_plain(self, parts: &[&OsStr]) -> i32 {
        message::plain(self.0, "fatal", &slices(&terminal::safe(2, parts)));
        TROUBLE
    }

    /// Says `NAME: warning: PARTS: WHY`.
    pub fn warning(self, parts: &[&OsStr], why: Errno) {
        message::system(self.0, "warning", &slices(&terminal::safe(2, parts)), why);
    }

    /// Says `NAME: warning: PARTS`.
    pub fn warning_plain(self, parts: &[&OsStr]) {
        message::plain(self.0, "warning", &slices(&terminal::safe(2, parts)));
    }

    /// Says `NAME: usage: TEXT` and returns 100. The text is the original's, to the byte.
    #[must_use]
    pub fn usage(self, text: &str) -> i32 {
        message::plain(self.0, "usage", &[text.as_bytes()]);
        USAGE
    }

    /// Answers `--help` and `--version`, which count only as the sole argument.
    #[must_use]
    pub fn standard(self, args: &[&OsStr], usage: &str) -> Option<i32> {
        let text = match args {
            [only] if *only == "--help" => format!("usage: {usage}\n"),
            [only] if *only == "--version" => {
                format!("{} (skynet) {}\n", self.0, env!("CARGO_PKG_VERSION"))
            }
            _ => return None,
        };
        Some(match linux::fd::write(1, text.as_bytes()) {
            Ok(_) => 0,
            Err(why) => self.fatal(&["unable to write output".as_ref()], why),
        })
    }
}

fn slices<'a>(parts: &'a [Cow<'_, [u8]>]) -> Vec<&'a [u8]> {
    parts.iter().map(AsRef::as_ref).collect()
}

/// Returns the arguments, without the program's name.
#[must_use]
pub fn arguments(args: linux::entry::Args) -> Vec<&'static OsStr> {
    (1..args.len()).filter_map(|i| args.get(i)).map(|a| OsStr::from_bytes(a.to_bytes())).collect()
}

/// Makes `$run`, a `fn(&[&'static OsStr]) -> i32` that gets the arguments without the program's
/// name, the program's `main`; needs `#![no_main]`.
#[macro_export]
macro_rules! program {
    ($run:path) => {
        fn enter(args: $crate::linux::entry::Args) -> i32 {
            $run(&$crate::program::arguments(args))
        }
        $crate::linux::entry!(enter);
    };
}
