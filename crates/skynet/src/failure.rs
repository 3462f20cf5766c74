//! What went wrong, for people and for scripts.

use exo::config;
use std::fmt::Display;
use sys::linux::errno::Errno;
use sys::program::{Program, TROUBLE, USAGE};
use sys::terminal;

/// skynet, as it speaks.
pub const SKYNET: Program = Program("skynet");

/// Exit codes besides 0 (done), 100 (wrong usage) and 111 (trouble).
pub mod code {
    /// Some of what was asked for was not done.
    pub const FAILED: i32 = 1;
    /// A service that was asked about is down.
    pub const DOWN: i32 = 3;
    /// A name that nothing has.
    pub const UNKNOWN: i32 = 4;
}

/// Why a verb cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Exit code.
    pub code: i32,
    /// What to say, a line each, without the program's name.
    pub lines: Vec<String>,
}

impl Failure {
    /// The system, or a file, is not as it should be.
    #[must_use]
    pub fn trouble(line: impl Into<String>) -> Self {
        Self { code: TROUBLE, lines: vec![line.into()] }
    }

    /// The system refused something: `unable to VERB OBJECT: REASON`.
    #[must_use]
    pub fn io(verb: &str, object: impl Display, why: &std::io::Error) -> Self {
        let why = why.raw_os_error().map_or_else(|| why.to_string(), |n| Errno(n).to_string());
        Self::trouble(format!("unable to {verb} {object}: {why}"))
    }

    /// The same with an error of the system's.
    #[must_use]
    pub fn errno(verb: &str, object: impl Display, why: Errno) -> Self {
        Self::trouble(format!("unable to {verb} {object}: {why}"))
    }

    /// The arguments do not make sense.
    #[must_use]
    pub fn usage(line: impl Into<String>) -> Self {
        Self { code: USAGE, lines: vec![line.into()] }
    }

    /// It was asked for and cannot be done.
    #[must_use]
    pub fn refused(line: impl Into<String>) -> Self {
        Self { code: code::FAILED, lines: vec![line.into()] }
    }

    /// Nothing has this name.
    #[must_use]
    pub fn unknown(line: impl Into<String>) -> Self {
        Self { code: code::UNKNOWN, lines: vec![line.into()] }
    }

    /// Says it, and returns the exit code.
    #[must_use]
    pub fn say(&self) -> i32 {
        for line in &self.lines {
            say("fatal", line);
        }
        self.code
    }
}

impl From<config::Trouble> for Failure {
    fn from(trouble: config::Trouble) -> Self {
        let lines = trouble.lines.iter().map(config::Line::to_string).collect();
        Self { code: TROUBLE, lines }
    }
}

impl From<work::Trouble> for Failure {
    fn from(trouble: work::Trouble) -> Self {
        Self::trouble(trouble.to_string())
    }
}

/// What a verb answers: its exit code, or why it cannot go on.
pub type Answer = Result<i32, Failure>;

/// Says a line on descriptor 2: `skynet: SEVERITY: LINE`.
pub fn say(severity: &str, line: &str) {
    let line = terminal::escaped(line.as_bytes());
    sys::linux::message::whole(SKYNET.0, severity, &[&line], None);
}

/// Says that something is not as it should be, and goes on.
pub fn warn(line: &str) {
    say("warning", line);
}
