//! Names shown to people: a terminal never gets a raw control byte from one.

use linux::errno::Result;
use linux::fd;
use linux::terminal::is_terminal;
use std::borrow::Cow;
use std::fmt::Write;

/// Returns `bytes` with control characters, and bytes that are not UTF-8, as `\xNN`.
///
/// For people: a name that holds a backslash itself is not marked.
#[must_use]
pub fn escaped(bytes: &[u8]) -> Cow<'_, [u8]> {
    let clean = std::str::from_utf8(bytes).is_ok_and(|s| !s.chars().any(char::is_control));
    if clean {
        return Cow::Borrowed(bytes);
    }
    let mut out = String::with_capacity(bytes.len() + 16);
    let hex = |out: &mut String, bytes: &[u8]| {
        for byte in bytes {
            let _ = write!(out, "\\x{byte:02x}");
        }
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                hex(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                out.push(c);
            }
        }
        hex(&mut out, chunk.invalid());
    }
    Cow::Owned(out.into_bytes())
}

/// Writes bytes and a newline to a descriptor: as they are, but escaped where it is a terminal.
///
/// # Errors
/// As write(2).
pub fn put_line(to: i32, bytes: &[u8]) -> Result<()> {
    let shown = if is_terminal(to) { escaped(bytes) } else { Cow::Borrowed(bytes) };
    fd::write_all(to, &[&shown[..], b"\n"].concat())
}

/// Returns a line, or a piece of one without its newline, likewise; tabs stay: they command nothing,
/// and many lines have some.
#[must_use]
pub fn escaped_but_tabs(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.contains(&b'\t') {
        return escaped(bytes);
    }
    let parts: Vec<_> = bytes.split(|b| *b == b'\t').map(escaped).collect();
    Cow::Owned(parts.join(&b'\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_byte_is_left_and_the_rest_stays() {
        assert_eq!(&*escaped("a ü \\ b".as_bytes()), "a ü \\ b".as_bytes());
        assert_eq!(&*escaped(b"a\x1b[2J\n\x7f"), b"a\\x1b[2J\\x0a\\x7f");
        // U+009B is the same as ESC [ to many terminals; 0x9b alone to some.
        assert_eq!(&*escaped("a\u{9b}".as_bytes()), b"a\\xc2\\x9b");
        assert_eq!(&*escaped(b"a\x9b\xff"), b"a\\x9b\\xff");
        for byte in 0..=u8::MAX {
            assert!(escaped(&[byte]).iter().all(|b| (0x20..0x7f).contains(b)));
        }
    }

    #[test]
    fn tabs_of_a_line_stay() {
        assert_eq!(&*escaped_but_tabs(b"\ta\x1b\t\tb\x07\t"), b"\ta\\x1b\t\tb\\x07\t");
        assert_eq!(&*escaped_but_tabs(b"a\x1b"), b"a\\x1b");
    }
}
