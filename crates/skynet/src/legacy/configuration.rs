//! The configuration of an older participant's own: NAME.conf, which its code reads below the site's files.

use super::ini::Section;
use super::{Note, place};
use crate::secrets::{self, is_secret_value};
use crate::tree::{Made, Readers};
use std::borrow::Cow;
use std::fmt::Write;

/// A key's name, and its value as it is written.
type Pair<'a> = (&'a str, Cow<'a, str>);

/// What of it is carried over.
pub(super) struct Configuration<'a> {
    sections: Vec<(&'a str, Vec<Pair<'a>>)>,
    /// Something secret stood in it, which may come back by hand.
    had_secret: bool,
}

impl<'a> Configuration<'a> {
    /// Takes sections without what is secret; `instead` says where that belongs.
    pub(super) fn new(sections: &'a [Section], instead: &str, notes: &mut Vec<Note>) -> Self {
        let mut all = Self { sections: Vec::new(), had_secret: false };
        for section in sections {
            all.keys(&section.name);
            for key in &section.keys {
                if is_secret_value(&key.name, &key.value) {
                    notes.push(Note::left_out(key.line, &place(key), instead));
                    all.had_secret = true;
                } else {
                    notes.extend(Note::of_comment(key));
                    all.add(&section.name, &key.name, Cow::Borrowed(&key.value));
                }
            }
        }
        all
    }

    fn keys(&mut self, section: &'a str) -> &mut Vec<Pair<'a>> {
        let there = self.sections.iter().position(|(name, _)| *name == section);
        let at = there.unwrap_or_else(|| {
            self.sections.push((section, Vec::new()));
            self.sections.len() - 1
        });
        &mut self.sections[at].1
    }

    /// Adds a key to a section. The last of those of a name counts.
    pub(super) fn add(&mut self, section: &'a str, name: &'a str, value: Cow<'a, str>) {
        let keys = self.keys(section);
        keys.retain(|(there, _)| *there != name);
        keys.push((name, value));
    }

    /// Returns the file, if there is anything to stand in it. `is_open` = others may read where it is from.
    pub(super) fn file(&self, name: &str, is_open: bool) -> Option<Made> {
        let text = self.text();
        let is_open = is_open && !self.had_secret && !secrets::is_in(&text);
        let readers = if is_open { Readers::All } else { Readers::Participant };
        let path = format!("{name}.conf");
        (!text.is_empty()).then(|| Made::plain(&path, text).read_by(readers))
    }

    /// Values stand in it as they were, and go on in lines that are indented.
    fn text(&self) -> String {
        let mut text = String::new();
        for (name, keys) in &self.sections {
            let _ = writeln!(text, "{}[{name}]", if text.is_empty() { "" } else { "\n" });
            for (name, value) in keys {
                let _ = writeln!(text, "{name} = {}", value.replace('\n', "\n\t"));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::legacy::ini;

    #[test]
    fn what_is_written_is_read_as_what_it_was_made_of() {
        let text = "[own]\nb =\n  1\n\n   2 ; c\n d: [x]\n[l:m]\n[n]]\no = %(p)s\n    = [q]\n[DEFAULT]\n[r]=\n[=1\n\
            api_key=hush\nb=1\nb=2";
        let values = |sections: &[Section]| {
            let keys = sections.iter().flat_map(|section| &section.keys);
            let values = keys.map(|key| (key.section.clone(), key.name.clone(), key.value.clone()));
            (
                sections.iter().map(|section| section.name.clone()).collect::<Vec<_>>(),
                values.collect::<Vec<_>>(),
            )
        };
        let sections = ini::readable(text);
        let mut notes = Vec::new();
        let own = Configuration::new(&sections[1..], "elsewhere", &mut notes);
        let (names, mut wanted) = values(&sections);
        wanted.retain(|(_, name, value)| name != "api_key" && !(name == "b" && value == "1"));
        assert_eq!(values(&ini::readable(&own.text())), (names, wanted));
        assert_eq!(notes.len(), 1);
        let made = own.file("x", true).unwrap();
        assert_eq!((made.path.as_str(), made.readers), ("x.conf", Readers::Participant));
        let none = Configuration::new(&[], "", &mut notes);
        assert_eq!(none.file("x", true), None);
    }
}
