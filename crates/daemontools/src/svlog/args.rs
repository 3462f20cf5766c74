//! svlog's command line.

use super::show::Style;
use super::when;
use super::{SVLOG, USAGE_TEXT};
use crate::logs::deliver::Wanted;
use crate::logs::{END, Span};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use sys::linux::message::Line;
use sys::linux::terminal::is_terminal;
use sys::program::USAGE;

/// Lines that are shown where a person did not say how many.
const FEW: usize = 10;

/// What the command line asks for.
pub struct Request {
    /// `-f`, `-r`, `-n`, `--since` and `--until`.
    pub wanted: Wanted,
    /// `-h`, `--no-name`
    pub nameless: bool,
    /// How times are shown.
    pub style: Style,
    /// The directories.
    pub dirs: Vec<&'static OsStr>,
}

/// What stands behind `-n`.
#[derive(Clone, Copy)]
enum Count {
    Unsaid,
    All,
    Last(usize),
}

struct Words<'a> {
    rest: std::slice::Iter<'a, &'static OsStr>,
    request: Request,
    count: Count,
}

/// Reads the arguments. What is wrong with them is said; `Err` holds the exit code.
///
/// # Errors
/// The exit code for wrong usage.
pub fn parse(args: &[&'static OsStr]) -> Result<Request, i32> {
    let wanted = Wanted { follow: false, reverse: false, count: None, range: Span::ALWAYS };
    let request = Request { wanted, nameless: false, style: Style::Local, dirs: Vec::new() };
    let mut words = Words { rest: args.iter(), request, count: Count::Unsaid };
    while let Some(word) = words.rest.next() {
        match word.as_bytes() {
            b"--" => words.request.dirs.extend(words.rest.by_ref()),
            [b'-', b'-', ..] => words.long(word)?,
            [b'-', letters @ ..] if !letters.is_empty() => words.letters(letters)?,
            _ => words.request.dirs.push(word),
        }
    }
    words.end()
}

impl Words<'_> {
    fn letters(&mut self, letters: &'static [u8]) -> Result<(), i32> {
        for (i, letter) in letters.iter().enumerate() {
            match letter {
                b'f' => self.request.wanted.follow = true,
                b'h' => self.request.nameless = true,
                b'r' => self.request.wanted.reverse = true,
                b'n' => {
                    let value = match &letters[i + 1..] {
                        b"" => self.value("-n")?,
                        value => OsStr::from_bytes(value),
                    };
                    return self.lines(value);
                }
                _ => {
                    let line = Line::default().with(b"svlog: illegal option -- ");
                    line.with(&[*letter]).send();
                    return Err(SVLOG.usage(USAGE_TEXT));
                }
            }
        }
        Ok(())
    }

    fn long(&mut self, word: &'static OsStr) -> Result<(), i32> {
        let bytes = word.as_bytes();
        let equals = bytes.iter().position(|b| *b == b'=');
        let (name, value) = bytes.split_at(equals.unwrap_or(bytes.len()));
        let value = value.split_first().map(|(_, value)| OsStr::from_bytes(value));
        match (name, value) {
            (b"--since" | b"--until", value) => {
                let value = match value {
                    Some(value) => value,
                    None => self.value(std::str::from_utf8(name).unwrap_or_default())?,
                };
                let Some(moment) = when::read(value.as_bytes(), when::now()) else {
                    return Err(wrong(&["unable to understand the time ".as_ref(), value]));
                };
                let range = &mut self.request.wanted.range;
                *(if name == b"--since" { &mut range.first } else { &mut range.last }) = moment;
            }
            (b"--raw", None) => self.request.style = Style::Raw,
            (b"--utc", None) => self.request.style = Style::Utc,
            (b"--local", None) => self.request.style = Style::Local,
            (b"--no-name", None) => self.request.nameless = true,
            _ => return Err(wrong(&["unknown option ".as_ref(), word])),
        }
        Ok(())
    }

    fn value(&mut self, option: &str) -> Result<&'static OsStr, i32> {
        let value = self.rest.next().copied();
        value.ok_or_else(|| wrong(&[option.as_ref(), " needs a value".as_ref()]))
    }

    fn lines(&mut self, value: &OsStr) -> Result<(), i32> {
        let number = value.to_str().and_then(|text| text.parse().ok());
        self.count = match number {
            Some(number) => Count::Last(number),
            None if value == "all" => Count::All,
            None => {
                let rest = ": neither a number nor all".as_ref();
                return Err(wrong(&["unable to show lines ".as_ref(), value, rest]));
            }
        };
        Ok(())
    }

    fn end(mut self) -> Result<Request, i32> {
        if self.request.dirs.is_empty() {
            return Err(SVLOG.usage(USAGE_TEXT));
        }
        let wanted = &mut self.request.wanted;
        if wanted.follow && (wanted.reverse || wanted.range.last != END) {
            return Err(wrong(&["-f goes with neither -r nor --until".as_ref()]));
        }
        let few = wanted.range == Span::ALWAYS && (wanted.follow || is_terminal(1));
        wanted.count = match self.count {
            Count::Last(count) => Some(count),
            Count::Unsaid if few => Some(FEW),
            Count::Unsaid | Count::All => None,
        };
        Ok(self.request)
    }
}

/// Said like a fatal error, but it is the caller's.
fn wrong(parts: &[&OsStr]) -> i32 {
    let _ = SVLOG.fatal_plain(parts);
    USAGE
}
