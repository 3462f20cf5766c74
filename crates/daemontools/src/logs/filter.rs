//! Which lines are wanted, said before anything else is done with them.

use super::stamp::{self, leading};
use memchr::memmem::Finder;
use memchr::memrchr;
use ondisk::tai64n::Stamp;
use std::fmt;

/// Says which lines are wanted.
pub struct Filter {
    needle: Option<Finder<'static>>,
    wants: Box<Judge>,
}

/// Says of a line whether it is wanted.
type Judge = dyn Fn(&[u8]) -> bool;

impl Filter {
    /// Wants the lines of which `wants` says so. It gets a line as on disk, stamp and newline
    /// included; of one longer than [`super::MOST`] the first piece, which decides for all of it.
    #[must_use]
    pub fn new(wants: impl Fn(&[u8]) -> bool + 'static) -> Self {
        Self { needle: None, wants: Box::new(wants) }
    }

    /// Says that `wants` wants no line without these bytes, so that whole blocks can be passed over
    /// unseen. Bytes that no line has, and none at all, say nothing.
    #[must_use]
    pub fn with_needle(mut self, needle: &[u8]) -> Self {
        let is_good = !needle.is_empty() && !needle.contains(&b'\n');
        self.needle = is_good.then(|| Finder::new(needle).into_owned());
        self
    }

    /// Tells whether a line is wanted.
    #[must_use]
    pub fn wants(&self, line: &[u8]) -> bool {
        (self.wants)(line)
    }

    /// Tells whether blocks can be passed over.
    #[must_use]
    pub(super) fn has_needle(&self) -> bool {
        self.needle.is_some()
    }

    /// Returns how many bytes of whole lines are before the first line that may be wanted, where
    /// `bytes` begin with a line.
    #[must_use]
    pub(super) fn unwanted(&self, bytes: &[u8]) -> usize {
        let Some(needle) = &self.needle else { return 0 };
        let end = needle.find(bytes).unwrap_or(bytes.len());
        memrchr(b'\n', &bytes[..end]).map_or(0, |newline| newline + 1)
    }

    /// Returns where the needle is last.
    #[must_use]
    pub(super) fn last(&self, bytes: &[u8]) -> Option<usize> {
        self.needle.as_ref()?.find_iter(bytes).last()
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").field("needle", &self.needle).finish_non_exhaustive()
    }
}

/// Returns the moment of the last of these whole lines that has one.
#[must_use]
pub(super) fn last_stamp(lines: &[u8]) -> Option<Stamp> {
    let mut end = lines.len();
    while end > 0 {
        let start = memrchr(b'\n', &lines[..end - 1]).map_or(0, |newline| newline + 1);
        if let Some(found) = leading(&lines[start..end.min(start + stamp::MOST)]) {
            return Some(found.stamp);
        }
        end = start;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_before_the_needle_are_passed_over_and_no_other() {
        let filter = Filter::new(|_| true).with_needle(b"needle");
        for (bytes, unwanted) in [
            (&b""[..], 0),
            (b"hay", 0),
            (b"hay\nhay\nneed", 8),
            (b"hay\nhay\nneedle\nhay\n", 8),
            (b"a needle\nhay\n", 0),
            (b"hay\na need\nle\n", 14),
        ] {
            assert_eq!(filter.unwanted(bytes), unwanted, "{bytes:?}");
        }
        assert_eq!(filter.last(b"needle needle\nneed"), Some(7));
        for none in [&b""[..], b"a\nb"] {
            let filter = Filter::new(|_| true).with_needle(none);
            assert!(!filter.has_needle() && filter.unwanted(b"hay\nhay\n") == 0);
        }
    }

    #[test]
    fn lines_without_stamp_do_not_hide_the_last_one_that_has_one() {
        let lines = b"@400000006b04c42f075bcd15 a\n@400000006b04c430075bcd15 b\nc\n\nd\n";
        assert_eq!(last_stamp(lines).unwrap().unix_seconds(), 1_795_474_470);
        assert_eq!(last_stamp(b"c\nd\n"), None);
        assert_eq!(last_stamp(b""), None);
    }
}
