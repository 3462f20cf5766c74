//! A small program: its start-up, its arguments, its last words.
//!
//! The programs bring their own `main`: without the runtime's start-up they run sooner, and no
//! signal is ignored behind the back of what they run (std ignores `SIGPIPE`).

use linux::decimal::Decimal;
use linux::errno::Errno;
use linux::{message, program};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

pub use linux::program::{TROUBLE, USAGE};

/// A program by name; knows how it speaks on descriptor 2.
#[derive(Clone, Copy, Debug)]
pub struct Program(pub &'static str);

impl Program {
    /// Returns the same for the calls of `linux`.
    #[must_use]
    pub fn bare(self) -> program::Program {
        program::Program(self.0)
    }

    /// Says `NAME: fatal: PARTS: WHY` and returns 111.
    #[must_use]
    pub fn fatal(self, parts: &[&OsStr], why: Errno) -> i32 {
        self.bare().fatal(&bytes(parts), why)
    }

    /// Says `NAME: fatal: PARTS` and returns 111.
    #[must_use]
    pub fn fatal_plain(self, parts: &[&OsStr]) -> i32 {
        self.bare().fatal_plain(&bytes(parts))
    }

    /// Says `NAME: warning: PARTS: WHY`.
    pub fn warning(self, parts: &[&OsStr], why: Errno) {
        self.bare().warning(&bytes(parts), why);
    }

    /// Says `NAME: warning: PARTS`.
    pub fn warning_plain(self, parts: &[&OsStr]) {
        self.bare().warning_plain(&bytes(parts));
    }

    /// Says `NAME: usage: TEXT` and returns 100. The text is the original's, to the byte.
    #[must_use]
    pub fn usage(self, text: &str) -> i32 {
        self.bare().usage(text)
    }

    /// From now on a bug that panics writes one line, if somebody reads it, and ends the program
    /// with 111. For daemons: whoever started it starts it again.
    pub fn end_on_panic(self) {
        std::panic::set_hook(Box::new(move |info| {
            let (file, line) = info.location().map_or(("", 0), |at| (at.file(), at.line()));
            let line = Decimal::of(u64::from(line));
            let parts: [&[u8]; 4] = [b"bug at ", file.as_bytes(), b":", line.digits()];
            message::plain(self.0, "fatal", &parts);
            linux::process::exit(TROUBLE)
        }));
    }

    /// Answers `--help` and `--version`, which count only as the sole argument.
    #[must_use]
    pub fn standard(self, args: &[&OsStr], usage: &str) -> Option<i32> {
        let [only] = args else { return None };
        self.bare().answer(only.as_bytes(), usage)
    }
}

fn bytes<'a>(parts: &[&'a OsStr]) -> Vec<&'a [u8]> {
    parts.iter().map(|part| part.as_bytes()).collect()
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
