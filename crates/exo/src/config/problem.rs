//! What is wrong with a configuration, and where.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

/// A place in a file, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// Line.
    pub line: usize,
    /// Character of the line.
    pub column: usize,
}

/// One thing that is wrong with the text of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where; `None` where something is missing.
    pub at: Option<At>,
    /// The key, those above it in front and apart by dots; empty where it is about none.
    pub key: String,
    /// What is wrong, and where possible what would be right.
    pub why: String,
}

impl Problem {
    /// Something is wrong there.
    pub fn new(at: At, key: impl Into<String>, why: impl Into<String>) -> Self {
        Self { at: Some(at), key: key.into(), why: why.into() }
    }

    /// The same, its key below another.
    #[must_use]
    pub fn below(mut self, key: &str) -> Self {
        self.key = if self.key.is_empty() { key.to_owned() } else { format!("{key}.{}", self.key) };
        self
    }

    /// Something is missing.
    pub fn missing(key: &str, why: impl Into<String>) -> Self {
        Self { at: None, key: key.into(), why: why.into() }
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(At { line, column }) = self.at {
            write!(f, "line {line}, column {column}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", shortened(&self.key))?;
        }
        f.write_str(&self.why)
    }
}

/// A name or text as far as a message shows it.
pub(super) fn shortened(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// One thing because of which a configuration cannot be used. It shows as a complete line:
/// `unable to read PATH: line 3, column 5: tries: ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The file or folder that cannot be used; `None` = it is about none.
    pub path: Option<PathBuf>,
    /// What is wrong.
    pub problem: Problem,
    /// The line of the file, where it is known.
    pub source: Option<String>,
}

impl Line {
    /// A line about no file.
    #[must_use]
    pub fn plain(line: impl Into<String>) -> Self {
        Self { path: None, problem: Problem::missing("", line), source: None }
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "unable to read {}: ", path.display())?;
        }
        self.problem.fmt(f)
    }
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Everything that was found.
    pub lines: Vec<Line>,
}

impl Trouble {
    pub(super) fn reading(path: &Path, why: impl Display) -> Self {
        let problem = Problem::missing("", why.to_string());
        Self { lines: vec![Line { path: Some(path.to_owned()), problem, source: None }] }
    }

    /// What is wrong with a file of these bytes.
    #[must_use]
    pub fn in_file(path: &Path, bytes: &[u8], problems: Vec<Problem>) -> Self {
        let line = |problem: Problem| {
            let lines = bytes.split(|byte| *byte == b'\n');
            let source = problem.at.and_then(|at| lines.clone().nth(at.line.checked_sub(1)?));
            let source = source.map(|line| String::from_utf8_lossy(line).into_owned());
            Line { path: Some(path.to_owned()), problem, source }
        };
        Self { lines: problems.into_iter().map(line).collect() }
    }

    pub(super) fn plain(line: impl Into<String>) -> Self {
        Self { lines: vec![Line::plain(line)] }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub path: PathBuf,
    /// The line of its key.
    pub line: usize,
}

impl Display for Origin {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}
