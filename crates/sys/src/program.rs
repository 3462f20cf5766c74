//! A small program: its start-up, its arguments, its last words.
//!
//! The programs bring their own `main`: without the runtime's start-up they run sooner, and no
//! signal is ignored behind the back of what they run (std ignores `SIGPIPE`).

use crate::terminal;
use linux::errno::Errno;
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
        self.say("fatal", parts, Some(why));
        TROUBLE
    }

    /// Says `NAME: fatal: PARTS` and returns 111.
    #[must_use]
    pub fn fatal_plain(self, parts: &[&OsStr]) -> i32 {
        self.say("fatal", parts, None);
        TROUBLE
    }

    /// Says `NAME: warning: PARTS: WHY`.
    pub fn warning(self, parts: &[&OsStr], why: Errno) {
        self.say("warning", parts, Some(why));
    }

    /// Says `NAME: warning: PARTS`.
    pub fn warning_plain(self, parts: &[&OsStr]) {
        self.say("warning", parts, None);
    }

    /// Says `NAME: usage: TEXT` and returns 100. The text is the original's, to the byte.
    #[must_use]
    pub fn usage(self, text: &str) -> i32 {
        self.say("usage", &[text.as_ref()], None);
        USAGE
    }

    /// Writes one line, however long, by one call. Nobody may be reading, and then so be it.
    fn say(self, severity: &str, parts: &[&OsStr], why: Option<Errno>) {
        let mut line = [self.0, ": ", severity, ": "].concat().into_bytes();
        for part in &terminal::safe(2, parts) {
            line.extend_from_slice(part);
        }
        if let Some(why) = why {
            line.extend_from_slice(b": ");
            line.extend_from_slice(why.text().as_bytes());
        }
        line.push(b'\n');
        linux::message::put(&line);
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
