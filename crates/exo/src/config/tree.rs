//! YAML text as a tree in which every node knows where it stands.
//!
//! A small YAML on purpose: one document of mappings, lists and texts. Anchors, aliases and tags
//! are refused, and a number keeps the characters it was written with.

use super::problem::{At, Problem};
use serde_yaml::granit_parser::{Event, Marker, Options, Parser, ScalarStyle, Span};
use std::collections::HashSet;
use std::mem;

/// Deepest nesting.
const DEEPEST: usize = 64;

/// A value.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it begins.
    pub at: At,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Without quotes: a text, number, boolean or nothing, whoever reads it decides.
    Plain(String),
    /// Within quotes, or as a block: a text.
    Quoted(String),
    /// Values in order.
    List(Vec<Node>),
    /// Keys, each once, and their values.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where the key begins.
    pub at: At,
    /// The key.
    pub key: String,
    /// Its value.
    pub value: Node,
}

/// Reads a document that is a mapping; an empty one has no entries.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse(bytes: &[u8]) -> Result<Vec<Entry>, Problem> {
    let (entries, problem) = parse_beginning(bytes);
    problem.map_or(Ok(entries), Err)
}

/// Reads a document as far as nothing is wrong with it: the keys that are whole before that, and the
/// first thing that is wrong.
#[must_use]
pub(super) fn parse_beginning(bytes: &[u8]) -> (Vec<Entry>, Option<Problem>) {
    let mut builder = Builder::default();
    let problem = builder.read(bytes).err();
    if problem.is_some() {
        let open = builder.open.into_iter().next();
        let Some(Open::Map { entries, .. }) = open else { return (Vec::new(), problem) };
        return (entries, problem);
    }
    match builder.root {
        None => (Vec::new(), None),
        Some(Node { kind: Kind::Map(entries), .. }) => (entries, None),
        Some(Node { kind: Kind::Plain(text), .. }) if text.is_empty() => (Vec::new(), None),
        Some(Node { at, .. }) => {
            let why = "keys and values are expected, as in \"instances: 2\"";
            (Vec::new(), Some(Problem::new(at, "", why)))
        }
    }
}

fn options() -> Options {
    let mut options = Options::default();
    options.disallow_directives = true;
    options.flow_nesting_limit = DEEPEST;
    options.block_nesting_limit = DEEPEST;
    options
}

fn utf8(bytes: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(bytes).map_err(|why| {
        let good = &bytes[..why.valid_up_to()];
        let line = good.split(|byte| *byte == b'\n').count();
        let start = good.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&good[start..]).chars().count() + 1;
        Problem::new(At { line, column }, "", "a byte is not UTF-8")
    })
}

fn at(mark: &Marker) -> At {
    At { line: mark.line(), column: mark.col() + 1 }
}

/// Finds the first tab before a key behind `line`: the parser tells where the text before that begins.
fn tab_behind(text: &str, line: usize) -> Option<At> {
    let mut lines = text.lines().enumerate().skip(line);
    lines.find_map(|(number, text)| {
        let margin = &text[..text.len() - text.trim_start().len()];
        Some(At { line: number + 1, column: margin.find('\t')? + 1 })
    })
}

/// A list or mapping that is not closed yet.
enum Open {
    List(At, Vec<Node>),
    Map { at: At, entries: Vec<Entry>, seen: HashSet<String>, key: Option<(At, String)> },
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
}

impl Builder {
    fn read(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let text = utf8(bytes)?;
        for step in Parser::new_from_str_with_options(text, options()) {
            match step {
                Ok((event, span)) => self.take(event, span)?,
                Err(why) if why.info().ends_with("found a tab") => {
                    let begin = at(why.marker());
                    let found = tab_behind(text, begin.line).unwrap_or(begin);
                    return Err(self.problem(found, "a tab; only blanks may stand before a key"));
                }
                Err(why) => {
                    let why_text = why.info().replace('\n', " ");
                    return Err(self.problem(at(why.marker()), why_text));
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let here = at(&span.start);
        let (anchor, has_tag) = (event.anchor_id(), event.tag().is_some());
        if anchor.is_some_and(|id| id > 0) || event.is_alias() {
            return Err(self.problem(here, "anchors and aliases (& and *) are not known here"));
        }
        if has_tag {
            return Err(self.problem(here, "tags (!) are not known here; quote the text"));
        }
        match event {
            Event::Scalar(text, style, ..) => self.scalar(here, text.into_owned(), style),
            Event::SequenceStart(..) => self.deeper(here, Open::List(here, Vec::new())),
            Event::MappingStart(..) => {
                let (entries, seen) = (Vec::new(), HashSet::new());
                self.deeper(here, Open::Map { at: here, entries, seen, key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(self.problem(here, "a second document begins; a file holds one"))
            }
            _ => Ok(()),
        }
    }

    fn scalar(&mut self, here: At, text: String, style: ScalarStyle) -> Result<(), Problem> {
        let Some(Open::Map { seen, key: key @ None, .. }) = self.open.last_mut() else {
            let is_plain = matches!(style, ScalarStyle::Plain);
            let kind = if is_plain { Kind::Plain(text) } else { Kind::Quoted(text) };
            return self.put(Node { at: here, kind });
        };
        let is_new = seen.insert(text.clone());
        *key = Some((here, text));
        if is_new { Ok(()) } else { Err(self.problem(here, "this key was there before")) }
    }

    fn deeper(&mut self, here: At, open: Open) -> Result<(), Problem> {
        if let Some(Open::Map { key: None, .. }) = self.open.last() {
            return Err(self.problem(here, "a key must be a text, not a list or mapping"));
        }
        if self.open.len() == DEEPEST {
            return Err(self.problem(here, format!("this is more than {DEEPEST} levels deep")));
        }
        self.open.push(open);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        match self.open.pop() {
            Some(Open::List(at, list)) => self.put(Node { at, kind: Kind::List(list) }),
            Some(Open::Map { at, entries, .. }) => self.put(Node { at, kind: Kind::Map(entries) }),
            None => Ok(()),
        }
    }

    fn put(&mut self, value: Node) -> Result<(), Problem> {
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some(Open::List(_, list)) => list.push(value),
            Some(Open::Map { entries, key, .. }) => match mem::take(key) {
                Some((at, key)) => entries.push(Entry { at, key, value }),
                None => return Err(self.problem(value.at, "a key must be a text")),
            },
        }
        Ok(())
    }

    /// A problem below the key that was begun last.
    fn problem(&self, at: At, why: impl Into<String>) -> Problem {
        let keys: Vec<&str> = self
            .open
            .iter()
            .filter_map(|open| match open {
                Open::Map { key: Some((_, key)), .. } => Some(key.as_str()),
                Open::Map { .. } | Open::List(..) => None,
            })
            .collect();
        Problem::new(at, keys.join("."), why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_broken_text_the_keys_before_that_are_read() {
        let keys = |text: &str| {
            let (entries, problem) = parse_beginning(text.as_bytes());
            let keys: Vec<String> = entries.into_iter().map(|entry| entry.key).collect();
            (keys.join(" "), problem.is_some())
        };
        assert_eq!(keys("run: /r\nstore: /s\n"), ("run store".to_owned(), false));
        for (text, whole) in [
            ("run: /r\nstore: [/s\nkeep: 1d\n", "run"),
            ("run: /r\nservices:\n  web: {a: 1\n", "run"),
            ("run: /r\nstore: /s\nrun: /s\n", "run store"),
            ("run: /r\nstore: /s\n&a keep: 1d\n", "run store"),
            ("[1]\n", ""),
            ("run\n", ""),
        ] {
            assert_eq!(keys(text), (whole.to_owned(), true), "{text:?}");
        }
        assert_eq!(parse_beginning(b"run: /r\n\xff").0.len(), 0);
    }
}
