//! Environment files: one value a file (`envdir`), or NAME=VALUE lines (`envini`).

/// What a file of an `envdir` folder says of its variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// An empty file: the variable is removed.
    Unset,
    /// The first line without trailing blanks; a NUL in it stands for a newline.
    Set(&'a [u8]),
}

/// Reads the bytes of one `envdir` file.
///
/// Source: envdir(8); daemontools.md 1.7.
#[must_use]
pub fn value(file: &[u8]) -> Value<'_> {
    if file.is_empty() {
        return Value::Unset;
    }
    let line = file.split(|b| *b == b'\n').next().unwrap_or(file);
    let end = line.iter().rposition(|b| !matches!(b, b' ' | b'\t')).map_or(0, |last| last + 1);
    Value::Set(&line[..end])
}

/// One variable of an `envini` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable<'a> {
    /// The section it stands in, `None` before the first one. The variable's full name is the
    /// section, `_`, and the name.
    pub section: Option<&'a [u8]>,
    /// Its name, not empty where there is no section.
    pub name: &'a [u8],
    /// Its value without blanks around it.
    pub value: &'a [u8],
}

/// Reads the variables of an `envini` file, in its order.
///
/// `[s]` opens a section; `n=v`, blanks around either part ignored, is a variable; every other
/// line is none. Names and values end at a NUL, as strings of the environment do.
///
/// Source: daemontools-encore, envini(8).
#[must_use]
pub fn ini(file: &[u8]) -> Ini<'_> {
    Ini { rest: file, section: None }
}

/// The iterator of [`ini`].
#[derive(Clone, Debug)]
pub struct Ini<'a> {
    rest: &'a [u8],
    section: Option<&'a [u8]>,
}

impl<'a> Iterator for Ini<'a> {
    type Item = Variable<'a>;

    fn next(&mut self) -> Option<Variable<'a>> {
        while !self.rest.is_empty() {
            let end = self.rest.iter().position(|b| *b == b'\n').unwrap_or(self.rest.len());
            let line = trim(&self.rest[..end]);
            self.rest = self.rest.get(end + 1..).unwrap_or_default();
            match line {
                [b'[', section @ .., b']'] => self.section = Some(until_nul(section)),
                [b';', ..] => {}
                line => {
                    if let Some(variable) = self.variable(line) {
                        return Some(variable);
                    }
                }
            }
        }
        None
    }
}

impl<'a> Ini<'a> {
    fn variable(&self, line: &'a [u8]) -> Option<Variable<'a>> {
        let at = line.iter().position(|b| *b == b'=')?;
        let whole = trim(&line[..at]);
        let name = until_nul(whole);
        // A name of two words is none: the first blank must be followed by the `=`.
        if whole.iter().any(|b| is_blank(*b)) || name.is_empty() && self.section.is_none() {
            return None;
        }
        let value = until_nul(trim(&line[at + 1..]));
        Some(Variable { section: self.section, name, value })
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn trim(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|b| !is_blank(*b)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|b| !is_blank(*b)).map_or(start, |last| last + 1);
    &bytes[start..end]
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_the_first_line_without_trailing_blanks() {
        assert_eq!(value(b""), Value::Unset);
        assert_eq!(value(b"\n"), Value::Set(b""));
        assert_eq!(value(b" \t\nx"), Value::Set(b""));
        assert_eq!(value(b" a b \t \nnext"), Value::Set(b" a b"));
        assert_eq!(value(b"no newline"), Value::Set(b"no newline"));
        assert_eq!(value(b"a\0b\r\n"), Value::Set(b"a\0b\r"));
    }

    fn check(file: &[u8], expected: &[(Option<&str>, &str, &str)]) {
        let expected = expected.iter().map(|(section, name, value)| Variable {
            section: section.map(str::as_bytes),
            name: name.as_bytes(),
            value: value.as_bytes(),
        });
        assert!(ini(file).eq(expected), "{file:?}");
    }

    #[test]
    fn sections_and_variables_are_found_between_blanks() {
        check(b"a=1\n b\t = two words \r\n", &[(None, "a", "1"), (None, "b", "two words")]);
        check(b"[s]\na=1\n [ t u ] \nb==", &[(Some("s"), "a", "1"), (Some(" t u "), "b", "=")]);
        check(b"[]\n=v\na=", &[(Some(""), "", "v"), (Some(""), "a", "")]);
    }

    #[test]
    fn other_lines_are_none() {
        check(b"\n\n;a=1\n ; a=1\na\na b=1\n=v\n[\n]\n[s\n\0a=1\n", &[]);
        check(b"", &[]);
        check(b"[=x\n", &[(None, "[", "x")]);
    }

    #[test]
    fn a_nul_ends_a_name_and_a_value() {
        check(b"a\0b=c\0d\n[s\0t]\ne=f", &[(None, "a", "c"), (Some("s"), "e", "f")]);
    }

    /// Every file of up to six bytes out of those that mean something: whatever comes out lies in
    /// the file, holds no NUL, no newline and no blank at its ends.
    #[test]
    fn whatever_the_file_says_the_variables_are_clean() {
        const BYTES: &[u8] = b"a=[];\n \0";
        for n in 0..BYTES.len().pow(6) {
            let mut file = [0; 6];
            let mut digits = n;
            for byte in &mut file {
                *byte = BYTES[digits % BYTES.len()];
                digits /= BYTES.len();
            }
            for variable in ini(&file) {
                let full = variable.section.is_some() || !variable.name.is_empty();
                assert!(full || file.contains(&0), "{file:?}");
                assert!(!variable.name.contains(&b'='), "{file:?}");
                for part in [variable.section.unwrap_or_default(), variable.name, variable.value] {
                    assert!(!part.contains(&0) && !part.contains(&b'\n'), "{file:?}");
                }
                assert_eq!(trim(variable.name), variable.name, "{file:?}");
            }
            if let Value::Set(value) = value(&file) {
                assert!(!value.contains(&b'\n') && !value.ends_with(b" "), "{file:?}");
            }
        }
    }
}
