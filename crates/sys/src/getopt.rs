//! daemontools' options on the words of a std program; see [`linux::getopt`].

use crate::program::Program;
use linux::getopt;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Reads options one by one, as [`getopt::Options`] does.
pub struct Options<'a> {
    args: &'a [&'static OsStr],
    options: getopt::Options<'a>,
}

/// A letter and its value (empty where it takes none), or a mistake that was reported already.
pub type Found = Result<(u8, &'static OsStr), ()>;

impl<'a> Options<'a> {
    /// Begins with `args`; `letters` as in getopt(3): a `:` behind a letter asks for a value.
    #[must_use]
    pub fn new(args: &'a [&'static OsStr], letters: &'a str) -> Self {
        Self { args, options: getopt::Options::new(0, letters) }
    }

    /// Returns the next option, `None` at the end. A mistake is said on descriptor 2.
    pub fn next(&mut self, program: Program) -> Option<Found> {
        let word = |i: usize| self.args.get(i).map(|arg| arg.as_bytes());
        let found = self.options.next(program.bare(), word)?;
        Some(found.map(|(letter, value)| (letter, OsStr::from_bytes(value))))
    }

    /// Returns the arguments behind the options.
    #[must_use]
    pub fn rest(self) -> &'a [&'static OsStr] {
        &self.args[self.options.rest()..]
    }
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
