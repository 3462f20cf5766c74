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
    pub(super) fn new(at: At, key: impl Into<String>, why: impl Into<String>) -> Self {
        Self { at: Some(at), key: key.into(), why: why.into() }
    }

    /// The same, its key below another.
    pub(super) fn below(mut self, key: &str) -> Self {
        self.key = if self.key.is_empty() { key.to_owned() } else { format!("{key}.{}", self.key) };
        self
    }

    pub(super) fn missing(key: &str, why: impl Into<String>) -> Self {
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

/// Why a configuration cannot be used: one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// The lines, each complete: `unable to read PATH: line 3, column 5: tries: ...`.
    pub lines: Vec<String>,
}

impl Trouble {
    pub(super) fn reading(path: &Path, why: impl Display) -> Self {
        Self { lines: vec![format!("unable to read {}: {why}", path.display())] }
    }

    pub(super) fn in_file(path: &Path, problems: &[Problem]) -> Self {
        let lines = problems.iter().map(|p| format!("unable to read {}: {p}", path.display()));
        Self { lines: lines.collect() }
    }

    pub(super) fn plain(line: impl Into<String>) -> Self {
        Self { lines: vec![line.into()] }
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
