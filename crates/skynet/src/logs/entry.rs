//! A line of a log, taken apart.

use daemontools::logs::stamp::{Found, leading};
use exo::lines::{self, Tag};

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The stamp that the logger put before it.
    pub time: Option<Found>,
    /// What exo put before it: whose output it is. Whatever a participant prints comes behind it. Of
    /// a line of exo's own: of whom it speaks.
    pub tag: Option<Tag<'a>>,
    /// What was printed: the rest, and of a line of exo's own all of it.
    pub text: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads a line, as on disk, of a service; only a participant's has tags.
    #[must_use]
    pub fn read(line: &'a [u8], is_participant: bool) -> Self {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let time = leading(line);
        let rest = &line[time.map_or(0, |found| found.len)..];
        let rest = if time.is_some() { rest.strip_prefix(b" ").unwrap_or(rest) } else { rest };
        if !is_participant {
            return Self { time, tag: None, text: rest };
        }
        match lines::read(rest) {
            Some((tag, text)) => Self { time, tag: Some(tag), text },
            None => Self { time, tag: lines::about(rest), text: rest },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_time_a_tag_and_a_text_as_far_as_they_are_there() {
        const STAMP: &str = "@400000006b04c42f075bcd15";
        for (line, is_participant, time, wfid, text) in [
            ("@400000006b04c42f075bcd15 a_0 w/1: x a_0 v/1: y\n", true, STAMP, "w", "x a_0 v/1: y"),
            ("a_0 w/1: \n", true, "", "w", ""),
            ("a_0 -: x", true, "", "", "x"),
            ("@400000006b04c42f075bcd15 a_0 w/1: x\n", false, STAMP, "", "a_0 w/1: x"),
            ("@400000006b04c42f075bcd15\n", true, STAMP, "", ""),
            ("exo: warning: a_0 w/1: x\n", true, "", "w", "exo: warning: a_0 w/1: x"),
            ("exo: warning: a_0 w/1: x\n", false, "", "", "exo: warning: a_0 w/1: x"),
        ] {
            let entry = Entry::read(line.as_bytes(), is_participant);
            assert_eq!(entry.time.map_or(0, |found| found.len), time.len(), "{line:?}");
            let item = entry.tag.and_then(|tag| tag.item);
            assert_eq!(item.map_or("", |(wfid, _)| wfid), wfid, "{line:?}");
            assert_eq!(entry.text, text.as_bytes(), "{line:?}");
        }
    }
}
