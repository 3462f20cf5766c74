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
}
