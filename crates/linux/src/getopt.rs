//! daemontools' options: single letters, joined or not, up to the first other argument.

use crate::entry::Args;
use crate::message::Line;
use crate::program::Program;
use core::ffi::CStr;

/// Reads options one by one. `-` alone and what does not begin with `-` end them; so does a word
/// that begins with `--`, which is skipped whatever follows in it.
pub struct Options<'a> {
    letters: &'a str,
    /// The word that is read.
    at: usize,
    /// Position of the next letter in it, 0 = not inside one.
    inside: usize,
}

/// A letter and its value (empty where it takes none), or a mistake that was reported already.
pub type Found = Result<(u8, &'static [u8]), ()>;

impl<'a> Options<'a> {
    /// Begins with word `first`; `letters` as in getopt(3): a `:` behind a letter asks for a value.
    #[must_use]
    pub const fn new(first: usize, letters: &'a str) -> Self {
        Self { letters, at: first, inside: 0 }
    }

    /// Returns the next option in the words that `word` knows by number, `None` at the end. A
    /// mistake is said on descriptor 2 as `PROGRAM: illegal option -- z` or
    /// `PROGRAM: option requires an argument -- z`.
    pub fn next(
        &mut self,
        program: Program,
        word: impl Fn(usize) -> Option<&'static [u8]>,
    ) -> Option<Found> {
        let whole = word(self.at)?;
        if self.inside == 0 {
            if whole.starts_with(b"--") {
                self.at += 1;
                return None;
            }
            if whole.len() < 2 || whole[0] != b'-' {
                return None;
            }
            self.inside = 1;
        }
        let letter = whole[self.inside];
        self.inside += 1;
        let rest = &whole[self.inside..];
        if rest.is_empty() {
            self.leave();
        }
        let known = (letter != b':').then(|| self.letters.bytes().position(|l| l == letter));
        let Some(at) = known.flatten() else {
            complain(program, b": illegal option -- ", letter);
            return Some(Err(()));
        };
        if self.letters.as_bytes().get(at + 1) != Some(&b':') {
            return Some(Ok((letter, b"")));
        }
        if !rest.is_empty() {
            self.leave();
            return Some(Ok((letter, rest)));
        }
        let Some(value) = word(self.at) else {
            complain(program, b": option requires an argument -- ", letter);
            return Some(Err(()));
        };
        self.at += 1;
        Some(Ok((letter, value)))
    }

    /// Returns the next option of a command line, as [`Options::next`] does.
    pub fn next_in(&mut self, program: Program, args: Args) -> Option<Found> {
        self.next(program, |i| args.get(i).map(CStr::to_bytes))
    }

    /// Returns the number of the first word behind the options.
    #[must_use]
    pub fn rest(&self) -> usize {
        self.at
    }

    fn leave(&mut self) {
        self.at += 1;
        self.inside = 0;
    }
}

fn complain(program: Program, text: &[u8], letter: u8) {
    Line::default().with(program.0.as_bytes()).with(text).with(&[letter]).send();
}
