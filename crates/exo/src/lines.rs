//! A participant's output, as lines of the log that nothing can be mistaken for.

use crate::say::EXO;

/// Last lines that are kept to say what went wrong.
const KEPT: usize = 8;
/// Bytes of each of them.
const KEPT_LEN: usize = 400;

/// Bytes of the longest line, with tag and end: a pipe takes as many in one piece, so that what
/// others write to the same pipe never stands inside a line.
pub const PAGE: usize = 4096;
/// Bytes of the longest tag, and more: an instance's name, a wfid, an attempt.
const TAG: usize = 256;

/// Splits one stream into tagged lines.
///
/// A line longer than the limit goes on in a line of its own, whose tag has the mark `+`.
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    partial: Vec<u8>,
    /// What is in `partial` goes on from a line that was begun.
    goes_on: bool,
    last: Vec<Vec<u8>>,
}

impl Lines {
    /// Begins a stream; `limit` bytes of a line stay in one line of the log, unless that becomes
    /// longer than a [`PAGE`] with its tag.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit.clamp(1, PAGE - TAG),
            partial: Vec::new(),
            goes_on: false,
            last: Vec::new(),
        }
    }

    /// Takes bytes; appends the lines that they complete to `out`, each behind `tag`.
    pub fn take(&mut self, bytes: &[u8], tag: &str, out: &mut Vec<u8>) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            self.extend(text, tag, out);
            if ends {
                self.put(tag, out);
                self.goes_on = false;
            }
        }
    }

    /// Ends a line that has no end yet.
    pub fn end(&mut self, tag: &str, out: &mut Vec<u8>) {
        if !self.partial.is_empty() {
            self.put(tag, out);
        }
        self.goes_on = false;
        self.partial.shrink_to(256);
    }

    fn extend(&mut self, mut text: &[u8], tag: &str, out: &mut Vec<u8>) {
        while self.partial.len() + text.len() > self.limit {
            let (here, rest) = text.split_at(self.limit - self.partial.len());
            self.partial.extend_from_slice(here);
            self.put(tag, out);
            self.goes_on = true;
            text = rest;
        }
        self.partial.extend_from_slice(text);
    }

    fn put(&mut self, tag: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(tag.as_bytes());
        out.extend_from_slice(if self.goes_on { b"+: " } else { b": " });
        out.extend_from_slice(&self.partial);
        out.push(b'\n');
        if !self.partial.trim_ascii().is_empty() {
            if self.last.len() == KEPT {
                self.last.remove(0);
            }
            self.last.push(self.partial[..self.partial.len().min(KEPT_LEN)].to_vec());
        }
        self.partial.clear();
    }

    /// Returns the last line that says something, since [`forget`](Self::forget).
    #[must_use]
    pub fn last(&self) -> Option<String> {
        self.last.last().map(|line| String::from_utf8_lossy(line.trim_ascii()).into_owned())
    }

    /// Forgets what was kept: another item's.
    pub fn forget(&mut self) {
        self.last.clear();
    }
}

/// Returns what stands before a line: the instance, and the item that it has in hand.
#[must_use]
pub fn tag(instance: &str, item: Option<(&str, u32)>) -> String {
    match item {
        Some((wfid, attempt)) => format!("{instance} {}/{attempt}", plain(wfid)),
        None => format!("{instance} -"),
    }
}

/// Returns an identity from outside as a word: visible ASCII without what tags are made of.
#[must_use]
pub fn plain(wfid: &str) -> String {
    /// Longer ones are cut.
    const LONGEST: usize = 128;
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '+');
    let word: String =
        wfid.chars().take(LONGEST).map(|c| if is_plain(c) { c } else { '?' }).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}

/// What a tag says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    /// The instance.
    pub instance: &'a str,
    /// The item that it had in hand, as [`plain`] has it, and which try that was.
    pub item: Option<(&'a str, u32)>,
    /// The line goes on from the one before of the same instance.
    pub goes_on: bool,
}

/// Reads the tag that a line begins with; returns it with what the participant printed. `None`: the
/// line is no participant's.
#[must_use]
pub fn read(line: &[u8]) -> Option<(Tag<'_>, &[u8])> {
    // A tag has a colon only at its end: names and identities have none.
    let end = line.iter().take(TAG).position(|byte| *byte == b':')?;
    let text = line[end..].strip_prefix(b": ")?;
    let tag = std::str::from_utf8(&line[..end]).ok()?;
    let (tag, goes_on) = match tag.strip_suffix('+') {
        Some(tag) => (tag, true),
        None => (tag, false),
    };
    let (instance, item) = tag.split_once(' ').filter(|(instance, _)| !instance.is_empty())?;
    let item = match item {
        "-" => None,
        item => {
            let is_word = |wfid: &str| !wfid.is_empty() && !wfid.contains(' ');
            let (wfid, attempt) = item.split_once('/').filter(|(wfid, _)| is_word(wfid))?;
            Some((wfid, attempt.parse().ok()?))
        }
    };
    Some((Tag { instance, item, goes_on }, text))
}

/// Reads the tag in a line of exo's own, which says of whom it speaks. `None`: it speaks of nobody
/// in particular, or is not exo's; what a participant prints begins with a tag, never with this.
#[must_use]
pub fn about(line: &[u8]) -> Option<Tag<'_>> {
    let line = line.strip_prefix(EXO.0.as_bytes())?.strip_prefix(b": ")?;
    let end = line.iter().position(|byte| *byte == b':')?;
    if !line[..end].iter().all(u8::is_ascii_lowercase) {
        return None;
    }
    read(line[end..].strip_prefix(b": ")?).map(|(tag, _)| tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_exo_s_own_says_of_whom_it_speaks() {
        let tag = |item| Some(Tag { instance: "sizer_0", item, goes_on: false });
        for (line, wanted) in [
            ("exo: warning: sizer_0 w-1/2: fault 3: x", tag(Some(("w-1", 2)))),
            ("exo: info: sizer_0 -: exit 1", tag(None)),
            ("exo: warning: unable to read x/1: y", None),
            ("exo: sizer_0 w-1/2: x", None),
            ("sizer_0 w-1/2: exo: warning: sizer_0 w-2/2: x", None),
            ("exo: warning: sizer_0 w-1/2", None),
            ("exo: ", None),
        ] {
            assert_eq!(about(line.as_bytes()), wanted, "{line}");
        }
    }

    #[test]
    fn what_was_tagged_is_read_again_and_other_lines_are_nobody_s() {
        let long = "x".repeat(1000);
        for item in [None, Some(("w-1", 1)), Some((&*long, u32::MAX)), Some(("a b/c:d+", 7))] {
            for bytes in [&b"other_0 w/1: y"[..], b"", b": ", b"\xff\0 b", b"a line of many bytes"]
            {
                let (mut lines, mut out) = (Lines::new(16), Vec::new());
                lines.take(bytes, &tag("sizer_12", item), &mut out);
                lines.end(&tag("sizer_12", item), &mut out);
                let mut printed = Vec::new();
                for (n, line) in out.split_inclusive(|byte| *byte == b'\n').enumerate() {
                    let (tag, text) = read(line).unwrap();
                    let plain = item.map(|(wfid, _)| plain(wfid));
                    let item = plain.as_deref().zip(item.map(|(_, attempt)| attempt));
                    assert_eq!(tag, Tag { instance: "sizer_12", item, goes_on: n > 0 });
                    printed.extend_from_slice(text.strip_suffix(b"\n").unwrap());
                }
                assert_eq!(printed, bytes);
            }
        }
        for line in [
            "",
            ":",
            "exo: warning: sizer_0 w/1: x",
            "sizer_0: x",
            "sizer_0 w/1:x",
            "sizer_0 w/1 x",
            "sizer_0 w/: x",
            "sizer_0 /1: x",
            "sizer_0 w/1/2: x",
            "sizer_0 a w/1: x",
            "sizer_0 w/4294967296: x",
            " w/1: x",
            "sizer_0 : x",
        ] {
            assert_eq!(read(line.as_bytes()), None, "{line:?}");
        }
    }

    fn split(limit: usize, pieces: &[&[u8]]) -> String {
        let (mut lines, mut out) = (Lines::new(limit), Vec::new());
        for piece in pieces {
            lines.take(piece, "t", &mut out);
        }
        lines.end("t", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        let text = b"one\n\ntwo and more\nthree";
        let whole = split(9, &[text]);
        assert_eq!(whole, "t: one\nt: \nt: two and m\nt+: ore\nt: three\n");
        for cut in 0..text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(split(9, &[a, b]), whole);
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(split(9, &single), whole);
    }

    #[test]
    fn every_line_has_the_tag_whatever_is_printed() {
        let hostile = b"exo: fatal: x\r\nother_0 w/1: y\n\0\x1b[2Jlong long long long\n";
        for line in split(10, &[hostile]).lines() {
            assert!(line.starts_with("t: ") || line.starts_with("t+: "), "{line:?}");
        }
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory_than_the_limit() {
        let (mut lines, mut out) = (Lines::new(PAGE), Vec::new());
        let mut total = 0;
        for _ in 0..1000 {
            lines.take(&[b'x'; 4096], "t", &mut out);
            total += String::from_utf8_lossy(&out).matches('x').count();
            out.clear();
            assert!(lines.partial.capacity() <= 2 * PAGE);
        }
        assert_eq!(total + lines.partial.len(), 1000 * 4096);
    }

    #[test]
    fn no_line_is_longer_than_what_a_pipe_takes_in_one_piece() {
        let long = "x".repeat(1000);
        let tag = tag(&format!("{}_999", &long[..64]), Some((&long, u32::MAX)));
        assert!(tag.len() + "+: \n".len() <= TAG, "{}", tag.len());
        let (mut lines, mut out) = (Lines::new(usize::MAX), Vec::new());
        lines.take(&[b'x'; 3 * PAGE], &tag, &mut out);
        lines.end(&tag, &mut out);
        let lengths: Vec<usize> = out.split_inclusive(|b| *b == b'\n').map(<[u8]>::len).collect();
        assert!(lengths.len() >= 3 && lengths.iter().all(|len| *len <= PAGE), "{lengths:?}");
    }

    #[test]
    fn the_last_line_that_says_something_is_kept() {
        let (mut lines, mut out) = (Lines::new(100), Vec::new());
        lines.take(b"Traceback\nValueError: bad\n  \n\n", "t", &mut out);
        assert_eq!(lines.last().as_deref(), Some("ValueError: bad"));
        lines.forget();
        assert_eq!(lines.last(), None);
    }

    #[test]
    fn an_identity_from_outside_cannot_end_the_tag() {
        assert_eq!(tag("a_0", Some(("w\n x/1: exo:", 2))), "a_0 w??x?1??exo?/2");
        assert_eq!(tag("a_0", Some(("", 1))), "a_0 -/1");
        assert_eq!(tag("a_0", None), "a_0 -");
        assert_eq!(plain(&"x".repeat(1000)).len(), 128);
    }
}
