//! A line as it is shown.

use super::place::Place;
use crate::logs::Line;
use crate::logs::stamp::{Found, leading};
use crate::stamps::text;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use sys::linux::errno::Result;
use sys::linux::terminal::is_terminal;
use sys::linux::{fd, local};
use sys::terminal::escaped_but_tabs;

/// Bytes that are kept until they are written at once.
const FULL: usize = 1 << 16;

/// How times are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As they are.
    Raw,
    /// In UTC, ISO 8601.
    Utc,
    /// In local time.
    Local,
}

/// Descriptor 1.
pub struct Show {
    times: Times,
    /// A terminal reads, which must get no control byte.
    person: bool,
    /// What stands before each line, by directory.
    names: Vec<Vec<u8>>,
    out: Vec<u8>,
    /// The last byte was no newline.
    within: bool,
}

impl Show {
    /// Begins with nothing.
    #[must_use]
    pub fn new(style: Style) -> Self {
        let (names, out) = (Vec::new(), Vec::with_capacity(FULL));
        Self { times: Times::new(style), person: is_terminal(1), names, out, within: false }
    }

    /// Has each line begin with its directory's short name, where there are several; with the path
    /// where two have the same name.
    pub fn name_them(&mut self, places: &[Place], nameless: bool) {
        let mut seen = BTreeSet::new();
        let unique = places.iter().all(|place| seen.insert(&place.short));
        let named = places.len() > 1 && !nameless;
        self.names = places
            .iter()
            .map(|place| {
                let name = if unique { &place.short } else { &place.asked };
                let mut bytes = Vec::new();
                if named {
                    self.push_to(&mut bytes, name.as_bytes());
                    bytes.extend_from_slice(b": ");
                }
                bytes
            })
            .collect();
    }

    /// Shows a piece of a line of directory `i`.
    pub fn line(&mut self, i: usize, line: &Line<'_>) {
        let mut rest = line.bytes;
        if line.starts {
            self.end_line();
            if let Some(name) = self.names.get(i) {
                self.out.extend_from_slice(name);
            }
            if let Some(found) = leading(rest)
                && self.times.put(&found, &mut self.out)
            {
                rest = &rest[found.len..];
            }
        }
        self.within = !rest.ends_with(b"\n");
        let mut out = std::mem::take(&mut self.out);
        if let Some(text) = rest.strip_suffix(b"\n") {
            self.push_to(&mut out, text);
            out.push(b'\n');
        } else {
            self.push_to(&mut out, rest);
        }
        self.out = out;
    }

    /// Ends a line that was cut off, if one was.
    pub fn end_line(&mut self) {
        if std::mem::take(&mut self.within) {
            self.out.push(b'\n');
        }
    }

    /// Writes what is kept.
    ///
    /// # Errors
    /// As write(2).
    pub fn flush(&mut self) -> Result<()> {
        let done = fd::write_all(1, &self.out);
        self.out.clear();
        done
    }

    /// Writes what is kept, if that is much.
    ///
    /// # Errors
    /// As write(2).
    pub fn flush_if_full(&mut self) -> Result<()> {
        if self.out.len() >= FULL { self.flush() } else { Ok(()) }
    }

    fn push_to(&self, out: &mut Vec<u8>, bytes: &[u8]) {
        if !self.person {
            out.extend_from_slice(bytes);
            return;
        }
        out.extend_from_slice(&escaped_but_tabs(bytes));
    }
}

/// Puts moments as people read them.
pub struct Times {
    style: Style,
    /// The second that was formatted last, since many lines have the same.
    second: Option<(i64, String)>,
}

impl Times {
    /// Begins with none.
    #[must_use]
    pub fn new(style: Style) -> Self {
        Self { style, second: None }
    }

    /// Appends a moment to `out`; `false` = it stays as it is.
    pub fn put(&mut self, found: &Found, out: &mut Vec<u8>) -> bool {
        if self.style == Style::Raw || found.is_local && self.style == Style::Local {
            return false;
        }
        let unix = found.stamp.unix_seconds();
        if self.second.as_ref().is_none_or(|(second, _)| *second != unix) {
            let utc = self.style == Style::Utc;
            let Some(moment) = (if utc { local::utc(unix) } else { local::at(unix) }) else {
                return false;
            };
            let text = text(moment);
            self.second = Some((unix, if utc { text.replace(' ', "T") } else { text }));
        }
        let Some((_, text)) = &self.second else { return false };
        out.extend_from_slice(text.as_bytes());
        if found.digits > 0 {
            let nanos = format!(".{:09}", found.stamp.nanos);
            out.extend_from_slice(&nanos.as_bytes()[..=found.digits]);
        }
        if self.style == Style::Utc {
            out.push(b'Z');
        }
        true
    }
}
