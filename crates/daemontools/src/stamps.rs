//! tai64n and tai64nlocal: stamping lines, and showing the stamps as local time.

use ondisk::tai64n::Stamp;
use std::ffi::OsStr;
use sys::linux::errno::Errno;
use sys::linux::local::{self, Local};
use sys::linux::terminal::is_terminal;
use sys::linux::{fd, time};
use sys::program::{Program, TROUBLE};
use sys::terminal::escaped_but_tabs;

/// Bytes read at once.
const IN: usize = 8192;
/// Bytes kept until they are written at once.
const OUT: usize = 16384;
/// Digits of a stamp beyond which it is none. The longest that mean anything are 24.
const DIGITS: usize = 1000;

/// Descriptor 1, buffered.
struct Output {
    buf: [u8; OUT],
    len: usize,
}

impl Output {
    fn put(&mut self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            if self.len == OUT {
                self.flush()?;
            }
            let n = bytes.len().min(OUT - self.len);
            self.buf[self.len..self.len + n].copy_from_slice(&bytes[..n]);
            self.len += n;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Errno> {
        let len = std::mem::take(&mut self.len);
        fd::write_all(1, &self.buf[..len])
    }
}

/// Turns standard input into standard output, piece by piece. What is complete is written before
/// the next piece is waited for.
fn filter(each: &mut dyn FnMut(Input<'_>, &mut Output) -> Result<(), Errno>) -> Result<(), Errno> {
    let mut output = Output { buf: [0; OUT], len: 0 };
    let mut buf = [0; IN];
    loop {
        match fd::read(0, &mut buf)? {
            0 => {
                each(Input::End, &mut output)?;
                return output.flush();
            }
            n => each(Input::Piece(&buf[..n]), &mut output)?,
        }
        output.flush()?;
    }
}

enum Input<'a> {
    Piece(&'a [u8]),
    End,
}

/// Silent, as in the original: its output is where somebody reads.
fn code(done: Result<(), Errno>) -> i32 {
    if done.is_ok() { 0 } else { TROUBLE }
}

/// Splits behind the first newline; all of it where there is none.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|b| *b == b'\n').map_or(bytes.len(), |at| at + 1);
    bytes.split_at(end)
}

/// The program tai64n.
#[must_use]
pub fn tai64n(words: &[&'static OsStr]) -> i32 {
    if let Some(code) = Program("tai64n").standard(words, "tai64n") {
        return code;
    }
    let mut at_start = true;
    code(filter(&mut |input, output| {
        let Input::Piece(mut rest) = input else { return Ok(()) };
        while !rest.is_empty() {
            if at_start {
                let (seconds, nanos) = time::wall();
                output.put(&Stamp::from_unix(seconds, nanos).to_label())?;
                output.put(b" ")?;
            }
            let (line, others) = split_line(rest);
            output.put(line)?;
            at_start = line.ends_with(b"\n");
            rest = others;
        }
        Ok(())
    }))
}

/// Where in a line tai64nlocal is.
#[derive(Clone, Copy)]
enum At {
    Start,
    /// Behind `@` and this many digits.
    Stamp(usize),
    Text,
}

/// What tai64nlocal knows of the line at hand.
struct Line {
    at: At,
    digits: [u8; DIGITS],
    /// A terminal reads, which must get no control byte.
    person: bool,
    /// For whom this is the beginning of a character.
    cut: Vec<u8>,
}

/// The program tai64nlocal.
#[must_use]
pub fn tai64nlocal(words: &[&'static OsStr]) -> i32 {
    if let Some(code) = Program("tai64nlocal").standard(words, "tai64nlocal") {
        return code;
    }
    let mut line =
        Line { at: At::Start, digits: [0; DIGITS], person: is_terminal(1), cut: Vec::new() };
    code(filter(&mut |input, output| match input {
        Input::Piece(mut rest) => {
            while !rest.is_empty() {
                rest = translate(&mut line, rest, output)?;
            }
            Ok(())
        }
        Input::End => match line.at {
            // Cut off within the stamp: nobody knows what it would have been.
            At::Stamp(len) => put_raw(&line.digits[..len], output),
            // A character that is cut off likewise.
            At::Start | At::Text => output.put(&escaped_but_tabs(&line.cut)),
        },
    }))
}

/// Takes some bytes, which are not none, and returns the others.
fn translate<'a>(line: &mut Line, bytes: &'a [u8], output: &mut Output) -> Result<&'a [u8], Errno> {
    match line.at {
        At::Start => {
            if let Some(rest) = bytes.strip_prefix(b"@") {
                line.at = At::Stamp(0);
                return Ok(rest);
            }
            line.at = At::Text;
            Ok(bytes)
        }
        At::Stamp(len) => {
            let is_digit = matches!(bytes[0], b'0'..=b'9' | b'a'..=b'f');
            if is_digit && len < DIGITS {
                line.digits[len] = bytes[0];
                line.at = At::Stamp(len + 1);
                return Ok(&bytes[1..]);
            }
            line.at = At::Text;
            if is_digit {
                put_raw(&line.digits, output)?;
            } else {
                put_local(&line.digits[..len], output)?;
            }
            Ok(bytes)
        }
        At::Text => {
            let (text, others) = split_line(bytes);
            let ends = text.ends_with(b"\n");
            if line.person {
                show(&mut line.cut, text, output)?;
            } else {
                output.put(text)?;
            }
            if ends {
                line.at = At::Start;
            }
            Ok(others)
        }
    }
}

/// Puts text for a person. The first bytes of a character whose others come with the next piece wait
/// for these in `cut`.
fn show(cut: &mut Vec<u8>, text: &[u8], output: &mut Output) -> Result<(), Errno> {
    cut.extend_from_slice(text);
    let whole = cut.len() - begun(cut);
    let (shown, rest) = cut.split_at(whole);
    match shown.strip_suffix(b"\n") {
        Some(line) => {
            output.put(&escaped_but_tabs(line))?;
            output.put(b"\n")?;
        }
        None => output.put(&escaped_but_tabs(shown))?,
    }
    *cut = rest.to_vec();
    Ok(())
}

/// Returns how many bytes at the end may be the beginning of a character.
fn begun(bytes: &[u8]) -> usize {
    let is_begun = |n: &usize| {
        let end = bytes.len().checked_sub(*n).map(|at| &bytes[at..]);
        let wrong = end.and_then(|end| std::str::from_utf8(end).err());
        wrong.is_some_and(|wrong| wrong.valid_up_to() == 0 && wrong.error_len().is_none())
    };
    (1..=3).find(is_begun).unwrap_or(0)
}

fn put_raw(digits: &[u8], output: &mut Output) -> Result<(), Errno> {
    output.put(b"@")?;
    output.put(digits)
}

/// Puts the local time, or the stamp as it is where it is beyond every calendar.
fn put_local(digits: &[u8], output: &mut Output) -> Result<(), Errno> {
    let moment = Stamp::from_digits(digits)
        .and_then(|stamp| Some((local::at(stamp.unix_seconds())?, stamp.nanos)));
    match moment {
        Some((local, nanos)) => output.put(format!("{}.{nanos:09}", text(local)).as_bytes()),
        None => put_raw(digits, output),
    }
}

/// Returns `YYYY-MM-DD HH:MM:SS`.
#[must_use]
pub fn text(local: Local) -> String {
    let Local { year, month, day, hour, minute, second } = local;
    // The original counts years without a sign.
    let year = year as u64;
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_character_is_known_and_other_bytes_are_none() {
        for (bytes, n) in [
            (&b""[..], 0),
            (b"a", 0),
            ("\u{fc}".as_bytes(), 0),
            (b"a\xc3", 1),
            (b"\xe2\x82", 2),
            (b"a\xf0\x9f\x98", 3),
            // None of these can become a character.
            (b"\xc3\n", 0),
            (b"\x9b", 0),
            (b"\xff", 0),
            (b"\xe2\x28", 0),
        ] {
            assert_eq!(begun(bytes), n, "{bytes:x?}");
        }
    }
}
