//! Numbered lines, and the proof that a log directory has each of them once and in order.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Letters that lines are filled with; no digits, so that no piece of a line looks like a number.
const FILL: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-+=.:,;/";
/// The longest filling of a line.
const LONGEST: u64 = 120;

/// Appends line number `n` with its newline. Its length, up to 140 bytes, and every byte of it
/// follow from the number, so a line that was cut, glued or mixed up is known.
pub fn append(n: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(n.to_string().as_bytes());
    out.push(b' ');
    let len = n.wrapping_mul(7919) % LONGEST;
    out.extend((0..len).map(|i| FILL[((n + i) % FILL.len() as u64) as usize]));
    out.push(b'\n');
}

/// Returns the lines of these numbers, one behind the other.
#[must_use]
pub fn lines(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut out = Vec::new();
    for n in numbers {
        append(n, &mut out);
    }
    out
}

/// Returns the text of a program in Python that says the same lines on descriptor 1 as fast as they
/// are taken. Told TERM it ends behind a line, with the number of lines in the file `said`.
#[must_use]
pub fn speaker() -> String {
    let fill = String::from_utf8_lossy(FILL);
    format!(
        r#"#!/usr/bin/env python3
import os, signal
over = []
signal.signal(signal.SIGTERM, lambda *_: over.append(True))
fill = "{fill}"
rows = [(fill[i:] + fill * 3)[:{LONGEST}] for i in range(len(fill))]
n = 0
while not over:
    numbers = range(n, n + 500)
    text = "".join(f"{{i}} {{rows[i % len(fill)][:i * 7919 % {LONGEST}]}}\n" for i in numbers)
    n += 500
    text = text.encode()
    while text:
        text = text[os.write(1, text):]
with open("said", "w") as said:
    said.write(str(n))
"#
    )
}

/// What stands before each line of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// Nothing.
    None,
    /// `t`: `@`, 24 hexadecimal digits, a space.
    Tai64n,
    /// `:iso`: a moment in UTC with microseconds, a space.
    Iso,
}

impl Stamp {
    /// Returns what follows the stamp; `None` where there is no stamp.
    fn strip(self, line: &[u8]) -> Option<&[u8]> {
        let pattern: &[u8] = match self {
            Self::None => b"",
            Self::Tai64n => b"@hhhhhhhhhhhhhhhhhhhhhhhh ",
            Self::Iso => b"dddd-dd-ddTdd:dd:dd.ddddddZ ",
        };
        let (stamp, rest) = line.split_at_checked(pattern.len())?;
        let fits = |(byte, wanted): (&u8, &u8)| match wanted {
            b'h' => byte.is_ascii_digit() || (b'a'..=b'f').contains(byte),
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        };
        stamp.iter().zip(pattern).all(fits).then_some(rest)
    }
}

/// What is wrong with a log; [`Verdict::is_fine`] where nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Lines that are there, each counted once.
    pub found: u64,
    /// Numbers that are not there.
    pub lost: Vec<u64>,
    /// Numbers that are there again.
    pub doubled: Vec<u64>,
    /// Numbers that stand behind a higher one.
    pub misplaced: Vec<u64>,
    /// Lines that nobody wrote.
    pub strange: Vec<String>,
}

impl Verdict {
    /// Tells whether every line is there once and in order, and nothing else.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        *self == Self { found: self.found, ..Self::default() }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = |list: &[u64]| list.iter().take(8).copied().collect::<Vec<_>>();
        write!(f, "{} lines found", self.found)?;
        for (what, list) in
            [("lost", &self.lost), ("doubled", &self.doubled), ("misplaced", &self.misplaced)]
        {
            if !list.is_empty() {
                write!(f, "; {} {what}: {:?}", list.len(), first(list))?;
            }
        }
        if !self.strange.is_empty() {
            let some: Vec<_> = self.strange.iter().take(4).collect();
            write!(f, "; {} strange: {some:?}", self.strange.len())?;
        }
        Ok(())
    }
}

/// Judges a text that should have the lines from 0 to `count` that are `wanted`.
#[must_use]
pub fn judge(text: &[u8], stamp: Stamp, count: u64, wanted: impl Fn(u64) -> bool) -> Verdict {
    let mut verdict = Verdict::default();
    let mut missing = BTreeSet::new();
    let (mut next, mut made) = (0, Vec::new());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let number = stamp.strip(line).and_then(|rest| number_of(rest, &mut made));
        match number.filter(|n| *n < count && wanted(*n)) {
            None => verdict.strange.push(shortened(line)),
            Some(n) if n >= next => {
                missing.extend((next..n).filter(|n| wanted(*n)));
                next = n + 1;
                verdict.found += 1;
            }
            Some(n) if missing.remove(&n) => {
                verdict.misplaced.push(n);
                verdict.found += 1;
            }
            Some(n) => verdict.doubled.push(n),
        }
    }
    missing.extend((next..count).filter(|n| wanted(*n)));
    verdict.lost.extend(missing);
    verdict
}

/// Returns the number of a line that is whole.
fn number_of(line: &[u8], made: &mut Vec<u8>) -> Option<u64> {
    let end = line.iter().position(|byte| *byte == b' ')?;
    let n = std::str::from_utf8(&line[..end]).ok()?.parse().ok()?;
    made.clear();
    append(n, made);
    (line == made).then_some(n)
}

/// Reads a log in pieces of any size and knows at each line whether it is the next one.
pub struct Checker {
    stamp: Stamp,
    next: u64,
    half: Vec<u8>,
    made: Vec<u8>,
}

impl Checker {
    /// Begins with line 0.
    #[must_use]
    pub fn new(stamp: Stamp) -> Self {
        Self { stamp, next: 0, half: Vec::new(), made: Vec::new() }
    }

    /// Reads the next piece.
    ///
    /// # Errors
    /// What stands there instead of the next line.
    pub fn read(&mut self, piece: &[u8]) -> Result<(), String> {
        let mut text = std::mem::take(&mut self.half);
        text.extend_from_slice(piece);
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            if !line.ends_with(b"\n") {
                self.half = line.to_vec();
                break;
            }
            let number = self.stamp.strip(line).and_then(|rest| number_of(rest, &mut self.made));
            if number != Some(self.next) {
                return Err(format!("instead of line {}: {}", self.next, shortened(line)));
            }
            self.next += 1;
        }
        Ok(())
    }

    /// Returns how many whole lines there were.
    ///
    /// # Errors
    /// What is left of a line that is not whole.
    pub fn end(self) -> Result<u64, String> {
        if self.half.is_empty() { Ok(self.next) } else { Err(shortened(&self.half)) }
    }
}

fn shortened(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned()
}

/// Returns the files of a log directory in the order of their content: what was rotated, what is
/// on its way there, and what is being written.
///
/// # Panics
/// Where the directory cannot be read.
#[must_use]
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
    files.retain(|path| path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"@")));
    files.sort();
    let inode = |path: &Path| fs::metadata(path).map(|meta| meta.ino()).ok();
    let previous = dir.join("previous");
    // Linked to its new name and not yet unlinked.
    let known = files.iter().any(|path| inode(path) == inode(&previous));
    if previous.exists() && !known {
        files.push(previous);
    }
    files.extend(Some(dir.join("current")).filter(|path| path.exists()));
    files
}

/// Returns all that a log directory holds, in order; a line that goes on in the next file is whole.
///
/// # Panics
/// Where a file cannot be read.
#[must_use]
pub fn content(dir: &Path) -> Vec<u8> {
    files(dir).iter().flat_map(|path| fs::read(path).expect("read")).collect()
}

/// Proves that a log directory has the lines from 0 to `count` that are `wanted`, each once and in
/// order, and nothing else; `context` is told where it has not.
///
/// # Panics
/// Where that is not so.
#[track_caller]
pub fn assert_holds(
    dir: &Path,
    stamp: Stamp,
    count: u64,
    wanted: impl Fn(u64) -> bool,
    context: &str,
) {
    let verdict = judge(&content(dir), stamp, count, wanted);
    assert!(verdict.is_fine(), "{context}: {}: {verdict}", dir.display());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(numbers: &[u64]) -> Verdict {
        judge(&lines(numbers.iter().copied()), Stamp::None, 6, |_| true)
    }

    #[test]
    fn only_every_line_once_and_in_order_is_fine() {
        assert!(verdict(&[0, 1, 2, 3, 4, 5]).is_fine());
        assert_eq!(verdict(&[0, 1, 2, 4, 5]).lost, [3]);
        assert_eq!(verdict(&[0, 1, 2, 3, 4]).lost, [5]);
        assert_eq!(verdict(&[0, 1, 2, 3, 3, 4, 5]).doubled, [3]);
        assert_eq!(verdict(&[0, 1, 3, 2, 4, 5]).misplaced, [2]);
        assert_eq!(verdict(&[0, 1, 2, 3, 4, 5, 6]).strange.len(), 1);
        assert_eq!(verdict(&[0, 1, 3, 2, 2, 4, 5]).doubled, [2]);
    }

    #[test]
    fn a_line_that_was_cut_or_glued_is_strange() {
        let whole = lines(0..6);
        let judged = |text: &[u8]| judge(text, Stamp::None, 6, |_| true);
        for at in 1..whole.len() {
            assert!(!judged(&whole[..at]).is_fine(), "cut at {at}");
            assert!(!judged(&[&whole[..at], &whole[at + 1..]].concat()).is_fine(), "without {at}");
            assert!(!judged(&[&whole[..at], b"\n", &whole[at..]].concat()).is_fine(), "split");
        }
    }

    #[test]
    fn a_checker_knows_the_first_line_that_is_not_the_next() {
        let read = |numbers: &[u64], piece: usize| {
            let mut checker = Checker::new(Stamp::None);
            for piece in lines(numbers.iter().copied()).chunks(piece) {
                checker.read(piece)?;
            }
            checker.end()
        };
        for piece in [1, 7, 1000] {
            assert_eq!(read(&[0, 1, 2, 3], piece), Ok(4));
            assert!(read(&[0, 1, 3], piece).is_err_and(|why| why.starts_with("instead of line 2")));
            assert!(read(&[0, 1, 1], piece).is_err());
            assert!(read(&[0, 2, 1], piece).is_err());
        }
        let mut checker = Checker::new(Stamp::None);
        checker.read(b"0 \n1 a").expect("a line and a half");
        assert_eq!(checker.end(), Err("1 a".into()));
    }

    #[test]
    fn the_speaker_says_the_same_lines() {
        use std::io::Read;
        let scratch = crate::Scratch::new();
        let dir = scratch.service("speaker", &speaker());
        let mut command = std::process::Command::new(dir.join("run"));
        let child = command.current_dir(&dir).stdout(std::process::Stdio::piped()).spawn();
        let mut child = child.expect("python3");
        let mut out = child.stdout.take().expect("a pipe");
        let mut said = vec![0; 1 << 20];
        out.read_exact(&mut said).expect("lines");
        linux::signal::kill(child.id().cast_signed(), 15).expect("kill");
        out.read_to_end(&mut said).expect("lines");
        assert!(child.wait().expect("wait").success());
        let count = fs::read_to_string(dir.join("said")).expect("said").parse().expect("number");
        assert!(judge(&said, Stamp::None, count, |_| true).is_fine());
    }

    #[test]
    fn stamps_are_required_and_looked_at() {
        let judged = |text: &[u8], stamp| judge(text, stamp, 1, |_| true).is_fine();
        assert!(judged(b"@400000006b04cbc405f91b2c 0 \n", Stamp::Tai64n));
        assert!(judged(b"2026-11-23T22:54:29.123456Z 0 \n", Stamp::Iso));
        assert!(!judged(b"@400000006b04cbc405f91b2c 0 \n", Stamp::None));
        assert!(!judged(b"@400000006b04cbc405f91B2c 0 \n", Stamp::Tai64n));
        assert!(!judged(b"2026-11-23T22:54:29.12345Z 0 \n", Stamp::Iso));
        assert!(!judged(b"0 \n", Stamp::Tai64n));
    }

    #[test]
    fn what_is_not_wanted_is_strange_where_it_is_there() {
        let odd = |n| n % 2 == 1;
        assert!(judge(&lines([1, 3, 5]), Stamp::None, 6, odd).is_fine());
        assert_eq!(judge(&lines([1, 2, 3, 5]), Stamp::None, 6, odd).strange.len(), 1);
    }
}
