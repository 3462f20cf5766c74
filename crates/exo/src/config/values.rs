//! Typed values of a tree, each with the words that say what would be right.

use super::problem::{Problem, shortened};
use super::tree::{Entry, Kind, Node};
use std::ffi::CString;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use work::name;
use work::units;

/// A value that was asked for as one thing and is another.
type Result<T> = std::result::Result<T, Problem>;

/// Characters by which a shell would change the words of a command.
const SHELL: &[char] = &[
    '"', '\'', '\\', '$', '`', '|', '&', ';', '<', '>', '(', ')', '*', '?', '[', ']', '{', '}',
    '~', '#', '\n', '\t',
];

/// A value under its key.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) key: &'a str,
    pub(super) node: &'a Node,
}

impl<'a> Field<'a> {
    pub(super) fn wrong<T>(self, why: impl Into<String>) -> Result<T> {
        Err(Problem::new(self.node.at, self.key, why))
    }

    /// Any text; a number or boolean without quotes is the characters that it was written with.
    pub(super) fn text(self) -> Result<&'a str> {
        let text = match &self.node.kind {
            Kind::Plain(text) if text.is_empty() || matches!(text.as_str(), "~" | "null") => {
                return self.wrong("a value is missing");
            }
            Kind::Plain(text) | Kind::Quoted(text) => text,
            Kind::List(_) => return self.wrong("a text is expected here, not a list"),
            Kind::Map(_) => return self.wrong("a text is expected here, not a mapping"),
        };
        if text.contains('\0') { self.wrong("the text holds a zero byte") } else { Ok(text) }
    }

    /// A text of visible characters that is not empty.
    fn word(self, most: usize) -> Result<&'a str> {
        let text = self.text()?;
        if text.is_empty() {
            self.wrong("the text is empty")
        } else if text.len() > most {
            self.wrong(format!("the text is longer than {most} bytes"))
        } else if text.chars().any(char::is_control) {
            self.wrong("the text holds a control character")
        } else {
            Ok(text)
        }
    }

    pub(super) fn line(self) -> Result<String> {
        self.word(4096).map(str::to_owned)
    }

    /// The name of a queue, which is a file's only where the queue is one of this machine.
    pub(super) fn queue(self) -> Result<String> {
        let text = self.text()?;
        match name::queue_flaw(text) {
            None => Ok(text.to_owned()),
            Some(flaw) => self.wrong(format!("the name {flaw}")),
        }
    }

    /// A name that can be a file's: of a participant, or of a queue.
    pub(super) fn name(self) -> Result<String> {
        let text = self.word(64)?;
        match name::flaw(text) {
            None => Ok(text.to_owned()),
            Some(flaw) => self.wrong(format!("\"{text}\" {flaw}")),
        }
    }

    /// The name of an account.
    pub(super) fn account(self) -> Result<String> {
        let text = self.word(64)?;
        if text.contains([':', '/', ',', ' ']) || text.starts_with(['-', '+']) {
            return self.wrong(format!("\"{text}\" cannot be the name of an account"));
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.wrong(format!("{text} is a number; write the name of the account"));
        }
        Ok(text.to_owned())
    }

    pub(super) fn one_of<T: Copy>(self, words: &[(&str, T)]) -> Result<T> {
        let text = self.text()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.wrong(format!("\"{}\" is none of {}", shortened(text), known.join(", ")))
    }

    pub(super) fn truth(self) -> Result<bool> {
        match &self.node.kind {
            Kind::Plain(text) if text == "true" => Ok(true),
            Kind::Plain(text) if text == "false" => Ok(false),
            _ => self.wrong("true or false is expected, without quotes"),
        }
    }

    pub(super) fn count(self, range: RangeInclusive<u64>) -> Result<u64> {
        let text = self.text()?;
        let (least, most) = (range.start(), range.end());
        let right = format!("a whole number from {least} to {most} is expected");
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.wrong(format!("{right}, not \"{}\"", shortened(text)));
        }
        match text.parse() {
            Ok(count) if range.contains(&count) => Ok(count),
            _ => self.wrong(format!("{right}, not {}", shortened(text))),
        }
    }

    /// Number of a descriptor that is no standard one, or `none`.
    pub(super) fn descriptor_or_none(self) -> Result<Option<i32>> {
        if self.is_none() { Ok(None) } else { self.count(3..=1023).map(|n| Some(n as i32)) }
    }

    pub(super) fn duration(self, least: Duration) -> Result<Duration> {
        let text = self.text()?;
        match units::duration(text) {
            Ok(time) if time >= least => Ok(time),
            Ok(_) => self.wrong(format!("{text} is less than {}", units::Span(least))),
            Err(why) => self.wrong(why.to_string()),
        }
    }

    /// A duration, or `none`.
    pub(super) fn duration_or_none(self, least: Duration) -> Result<Option<Duration>> {
        if self.is_none() { Ok(None) } else { self.duration(least).map(Some) }
    }

    pub(super) fn size(self, range: RangeInclusive<u64>) -> Result<u64> {
        let text = self.text()?;
        let (least, most) = (units::Bytes(*range.start()), units::Bytes(*range.end()));
        match units::size(text) {
            Ok(size) if range.contains(&size) => Ok(size),
            Ok(_) => self.wrong(format!("{text} is not between {least} and {most}")),
            Err(why) => self.wrong(why.to_string()),
        }
    }

    /// A size, or `none`.
    pub(super) fn size_or_none(self, range: RangeInclusive<u64>) -> Result<Option<u64>> {
        if self.is_none() { Ok(None) } else { self.size(range).map(Some) }
    }

    /// Tells whether this is the word that takes a limit away.
    pub(super) fn is_none(self) -> bool {
        matches!(&self.node.kind, Kind::Plain(text) | Kind::Quoted(text) if text == "none")
    }

    pub(super) fn folder(self) -> Result<PathBuf> {
        let text = self.word(4096)?;
        if text.starts_with('/') {
            Ok(PathBuf::from(text))
        } else {
            self.wrong(format!("\"{text}\" must begin with a slash"))
        }
    }

    /// A `$PATH`: absolute folders, apart by colons.
    pub(super) fn search_path(self) -> Result<String> {
        let text = self.word(4096)?;
        match text.split(':').find(|folder| !folder.starts_with('/')) {
            Some(folder) => self.wrong(format!("\"{folder}\" must begin with a slash")),
            None => Ok(text.to_owned()),
        }
    }

    /// Three octal digits behind a zero.
    pub(super) fn mask(self) -> Result<u32> {
        let text = self.text()?;
        let octal = text.len() <= 4 && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        match u32::from_str_radix(text, 8) {
            Ok(mask) if octal && text.starts_with('0') && mask <= 0o777 => Ok(mask),
            _ => self.wrong(format!("\"{}\" is no mask such as \"077\"", shortened(text))),
        }
    }

    /// A program and its arguments: a list, or a text whose words are apart by blanks.
    pub(super) fn command(self) -> Result<Vec<CString>> {
        let words: Vec<CString> = match &self.node.kind {
            Kind::List(list) => list
                .iter()
                .map(|node| Field { key: self.key, node }.argument())
                .collect::<Result<_>>()?,
            _ => self.split()?,
        };
        match words.first() {
            None => self.wrong("the program is missing"),
            Some(first) if first.is_empty() => self.wrong("the program's name is empty"),
            Some(_) => Ok(words),
        }
    }

    fn argument(self) -> Result<CString> {
        let text = self.text()?;
        CString::new(text).or_else(|_| self.wrong("the text holds a zero byte"))
    }

    fn split(self) -> Result<Vec<CString>> {
        let text = self.text()?;
        if let Some(c) = text.chars().find(|c| SHELL.contains(c)) {
            let c = c.escape_debug();
            return self.wrong(format!("no shell reads this, and it holds {c}; write a list"));
        }
        let words = text.split(' ').filter(|word| !word.is_empty());
        words.map(|word| CString::new(word).or_else(|_| self.wrong("a zero byte"))).collect()
    }

    pub(super) fn entries(self) -> Result<&'a [Entry]> {
        match &self.node.kind {
            Kind::Map(entries) => Ok(entries),
            Kind::Plain(_) | Kind::Quoted(_) | Kind::List(_) => {
                self.wrong("keys and values are expected here")
            }
        }
    }
}
