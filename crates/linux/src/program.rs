//! A small program by name: how it speaks.

use crate::entry::Args;
use crate::errno::Errno;
use crate::{fd, message};

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
    pub fn fatal(self, parts: &[&[u8]], why: Errno) -> i32 {
        message::whole(self.0, "fatal", parts, Some(why));
        TROUBLE
    }

    /// Says `NAME: fatal: PARTS` and returns 111.
    #[must_use]
    pub fn fatal_plain(self, parts: &[&[u8]]) -> i32 {
        message::whole(self.0, "fatal", parts, None);
        TROUBLE
    }

    /// Says `NAME: warning: PARTS: WHY`.
    pub fn warning(self, parts: &[&[u8]], why: Errno) {
        message::whole(self.0, "warning", parts, Some(why));
    }

    /// Says `NAME: warning: PARTS`.
    pub fn warning_plain(self, parts: &[&[u8]]) {
        message::whole(self.0, "warning", parts, None);
    }

    /// Says `NAME: usage: TEXT` and returns 100. The text is the original's, to the byte.
    #[must_use]
    pub fn usage(self, text: &str) -> i32 {
        message::whole(self.0, "usage", &[text.as_bytes()], None);
        USAGE
    }

    /// Answers `--help` and `--version`, which count only as the sole argument.
    #[must_use]
    pub fn standard(self, args: Args, usage: &str) -> Option<i32> {
        if args.len() != 2 {
            return None;
        }
        self.answer(args.get(1)?.to_bytes(), usage)
    }

    /// Answers a sole argument, if it is `--help` or `--version`.
    #[must_use]
    pub fn answer(self, only: &[u8], usage: &str) -> Option<i32> {
        const VERSION: &str = concat!(" (skynet) ", env!("CARGO_PKG_VERSION"));
        let (first, second) = match only {
            b"--help" => ("usage: ", usage),
            b"--version" => (self.0, VERSION),
            _ => return None,
        };
        Some(match fd::write_parts(1, &[first.as_bytes(), second.as_bytes(), b"\n"]) {
            Ok(_) => 0,
            Err(why) => self.fatal(&[b"unable to write output"], why),
        })
    }
}
