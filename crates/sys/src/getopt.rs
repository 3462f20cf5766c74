//! daemontools' options: single letters, joined or not, up to the first other argument.

use crate::program::Program;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Reads options one by one. `-` alone and what does not begin with `-` end them; so does a word
/// that begins with `--`, which is skipped whatever follows in it.
pub struct Options<'a> {
    args: &'a [&'static OsStr],
    letters: &'a str,
    /// Position of the next letter in `args[0]`, 0 = not inside one.
    inside: usize,
}

/// A letter and its value (empty where it takes none), or a mistake that was reported already.
pub type Found = Result<(u8, &'static OsStr), ()>;

impl<'a> Options<'a> {
    /// Begins with `args`; `letters` as in getopt(3): a `:` behind a letter asks for a value.
    #[must_use]
    pub fn new(args: &'a [&'static OsStr], letters: &'a str) -> Self {
        Self { args, letters, inside: 0 }
    }

    /// Returns the next option, `None` at the end. A mistake is said on descriptor 2 as
    /// `PROGRAM: illegal option -- z` or `PROGRAM: option requires an argument -- z`.
    pub fn next(&mut self, program: Program) -> Option<Found> {
        let arg = self.args.first()?.as_bytes();
        if self.inside == 0 {
            if arg.starts_with(b"--") {
                self.args = &self.args[1..];
                return None;
            }
            if arg.len() < 2 || arg[0] != b'-' {
                return None;
            }
            self.inside = 1;
        }
        let letter = arg[self.inside];
        self.inside += 1;
        let whole: &'static OsStr = self.args[0];
        let rest = OsStr::from_bytes(&whole.as_bytes()[self.inside..]);
        if rest.is_empty() {
            self.leave();
        }
        let known = (letter != b':').then(|| self.letters.bytes().position(|l| l == letter));
        let Some(at) = known.flatten() else {
            complain(program, b": illegal option -- ", letter);
            return Some(Err(()));
        };
        if self.letters.as_bytes().get(at + 1) != Some(&b':') {
            return Some(Ok((letter, OsStr::new(""))));
        }
        if !rest.is_empty() {
            self.leave();
            return Some(Ok((letter, rest)));
        }
        let Some((value, rest)) = self.args.split_first() else {
            complain(program, b": option requires an argument -- ", letter);
            return Some(Err(()));
        };
        self.args = rest;
        Some(Ok((letter, value)))
    }

    /// Returns the arguments behind the options.
    #[must_use]
    pub fn rest(self) -> &'a [&'static OsStr] {
        self.args
    }

    fn leave(&mut self) {
        self.args = &self.args[1..];
        self.inside = 0;
    }
}

fn complain(program: Program, text: &[u8], letter: u8) {
    linux::message::Line::default().with(program.0.as_bytes()).with(text).with(&[letter]).send();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(args: &[&'static str], letters: &str) -> (Vec<String>, Vec<String>) {
        let args: Vec<&'static OsStr> = args.iter().map(|arg| OsStr::new(*arg)).collect();
        let mut options = Options::new(&args, letters);
        let mut found = Vec::new();
        while let Some(option) = options.next(Program("test")) {
            found.push(match option {
                Ok((letter, value)) => format!("{}{}", char::from(letter), value.display()),
                Err(()) => "?".into(),
            });
        }
        (found, options.rest().iter().map(|a| a.display().to_string()).collect())
    }

    #[test]
    fn letters_join_and_values_follow_or_stick() {
        assert_eq!(all(&["-dx", "a", "-u"], "dux").0, ["d", "x"]);
        assert_eq!(all(&["-dx", "a", "-u"], "dux").1, ["a", "-u"]);
        assert_eq!(all(&["-nm5", "-m", "6", "x"], "nm:").0, ["n", "m5", "m6"]);
        assert_eq!(all(&["-n", "--", "-m"], "nm:"), (vec!["n".into()], vec!["-m".into()]));
        assert_eq!(all(&["--help", "-m"], "nm:"), (vec![], vec!["-m".into()]));
        assert_eq!(all(&["-", "a"], "n"), (vec![], vec!["-".into(), "a".into()]));
    }

    #[test]
    fn mistakes_are_found_and_the_rest_goes_on() {
        assert_eq!(all(&["-zn"], "n").0, ["?", "n"]);
        assert_eq!(all(&["-:"], "m:").0, ["?"]);
        assert_eq!(all(&["-m"], "m:").0, ["?"]);
    }
}
