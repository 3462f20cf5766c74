//! Which lines are asked for.

use super::entry::Entry;
use crate::failure::Failure;
use daemontools::logs::Filter;
use exo::lines::{self, Tag};
use regex_lite::{Regex, RegexBuilder};
use std::rc::Rc;

/// What a regular expression is made of beside letters that stand for themselves.
const SPECIAL: [char; 14] = ['\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$'];

/// What a line must have.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The process that the item belongs to, as tags have it.
    wfid: Option<String>,
    instance: Option<Instance>,
    grep: Option<Grep>,
}

/// Which instance is meant.
#[derive(Clone, Debug)]
enum Instance {
    /// The one of this name.
    Named(String),
    /// Those whose name ends so, which is their number.
    Ending(String),
}

#[derive(Clone, Debug)]
struct Grep {
    regex: Regex,
    /// Every line that has it matches, and no other.
    literal: Option<String>,
    /// Those that do not match are asked for.
    is_inverted: bool,
}

impl Asked {
    /// Asks for the lines of items of a process.
    pub fn wfid(&mut self, wfid: &str) {
        self.wfid = Some(lines::plain(wfid));
    }

    /// Asks for the lines of an instance, by its name or its number.
    pub fn instance(&mut self, instance: &str) {
        let is_number = !instance.is_empty() && instance.bytes().all(|b| b.is_ascii_digit());
        self.instance = Some(if is_number {
            Instance::Ending(format!("_{instance}"))
        } else {
            Instance::Named(instance.to_owned())
        });
    }

    /// Asks for the lines whose text matches, or does not.
    ///
    /// # Errors
    /// It is no regular expression.
    pub fn grep(
        &mut self,
        pattern: &str,
        ignore_case: bool,
        is_inverted: bool,
    ) -> Result<(), Failure> {
        let regex = RegexBuilder::new(pattern).case_insensitive(ignore_case).build();
        let regex = regex.map_err(|why| {
            Failure::usage(format!("\"{pattern}\" is no regular expression: {why}"))
        })?;
        let is_literal = !ignore_case && !pattern.contains(SPECIAL);
        let literal = is_literal.then(|| pattern.to_owned());
        self.grep = Some(Grep { regex, literal, is_inverted });
        Ok(())
    }

    /// Tells whether anything is asked for.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.is_by_tag() || self.grep.is_some()
    }

    /// Tells whether only lines with a tag can be meant.
    #[must_use]
    pub fn is_by_tag(&self) -> bool {
        self.wfid.is_some() || self.instance.is_some()
    }

    /// Returns the filter for the log of a service; `None`: every line is asked for.
    #[must_use]
    pub fn filter(&self, is_participant: bool) -> Option<Rc<Filter>> {
        if !self.is_some() {
            return None;
        }
        let needle = self.needle();
        let asked = self.clone();
        let filter = Filter::new(move |line| asked.wants(&Entry::read(line, is_participant)));
        Some(Rc::new(filter.with_needle(needle.as_bytes())))
    }

    fn wants(&self, entry: &Entry<'_>) -> bool {
        let has_tag = !self.is_by_tag() || entry.tag.as_ref().is_some_and(|tag| self.is_from(tag));
        has_tag && self.grep.as_ref().is_none_or(|grep| grep.wants(entry.text))
    }

    fn is_from(&self, tag: &Tag<'_>) -> bool {
        let is_its = |wfid: &String| tag.item.is_some_and(|(there, _)| there == wfid);
        let is_it = |asked: &Instance| match asked {
            Instance::Named(name) => tag.instance == name,
            Instance::Ending(end) => tag.instance.ends_with(end.as_str()),
        };
        self.wfid.as_ref().is_none_or(is_its) && self.instance.as_ref().is_none_or(is_it)
    }

    /// Returns bytes that every line has that is asked for; empty where there are none.
    fn needle(&self) -> String {
        let instance = self.instance.as_ref().map_or("", |instance| match instance {
            Instance::Named(text) | Instance::Ending(text) => text,
        });
        match (&self.wfid, &self.grep) {
            (Some(wfid), _) => format!("{instance} {wfid}/"),
            (None, Some(Grep { literal: Some(text), is_inverted: false, .. })) => text.clone(),
            (None, _) if instance.is_empty() => String::new(),
            (None, _) => format!("{instance} "),
        }
    }
}

impl Grep {
    fn wants(&self, text: &[u8]) -> bool {
        self.regex.is_match(&String::from_utf8_lossy(text)) != self.is_inverted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 8] = [
        "@400000006b04c42f075bcd15 sizer_0 w-1/1: begun\n",
        "@400000006b04c42f075bcd15 sizer_0 w-1/1: it says sizer_0 w-2/1: begun\n",
        "@400000006b04c42f075bcd15 sizer_1 w-2/1: begun w-1/1\n",
        "@400000006b04c42f075bcd15 sizer_1 w-2/1+: and Ended\n",
        "sizer_1 w-1/2: ended\n",
        "sizer_10 -: w-1/1: ended\n",
        "sizer_0 xw-1/1: a tag\n",
        "exo: warning: sizer_0 w-1/1: begun\n",
    ];

    /// Returns which lines a filter wants, having made sure that its needle hides none of them.
    fn wanted(asked: &Asked) -> Vec<usize> {
        let filter = asked.filter(true).unwrap();
        let wanted: Vec<_> = (0..8).filter(|i| filter.wants(LINES[*i].as_bytes())).collect();
        let needle = asked.needle();
        assert!(wanted.iter().all(|i| LINES[*i].contains(&needle)), "{needle:?}");
        wanted
    }

    fn asked(wfid: &str, instance: &str) -> Asked {
        let mut asked = Asked::default();
        if !wfid.is_empty() {
            asked.wfid(wfid);
        }
        if !instance.is_empty() {
            asked.instance(instance);
        }
        asked
    }

    #[test]
    fn a_wfid_and_an_instance_count_in_the_tag_alone() {
        assert_eq!(wanted(&asked("w-1", "")), [0, 1, 4, 7]);
        assert_eq!(wanted(&asked("w-2", "")), [2, 3]);
        assert_eq!(wanted(&asked("w-1", "sizer_1")), [4]);
        assert_eq!(wanted(&asked("w-1", "0")), [0, 1, 7]);
        assert_eq!(wanted(&asked("", "sizer_1")), [2, 3, 4]);
        assert_eq!(wanted(&asked("", "0")), [0, 1, 6, 7]);
        assert_eq!(wanted(&asked("", "sizer")), [0; 0]);
        assert!(Asked::default().filter(true).is_none());
    }

    #[test]
    fn a_service_without_exo_has_no_tags() {
        let filter = asked("w-1", "").filter(false).unwrap();
        assert!(LINES.iter().all(|line| !filter.wants(line.as_bytes())));
    }

    #[test]
    fn an_expression_is_held_against_the_text_behind_stamp_and_tag() {
        let grep = |pattern: &str, ignore_case, is_inverted| {
            let mut asked = Asked::default();
            asked.grep(pattern, ignore_case, is_inverted).unwrap();
            wanted(&asked)
        };
        assert_eq!(grep("begun", false, false), [0, 1, 2, 7]);
        assert_eq!(grep("^begun$", false, false), [0]);
        assert_eq!(grep("sizer_0", false, false), [1, 7]);
        assert_eq!(grep("ENDED", true, false), [3, 4, 5]);
        assert_eq!(grep("begun", false, true), [3, 4, 5, 6]);
        let mut both = asked("w-1", "");
        both.grep("b.gun", false, false).unwrap();
        assert_eq!(wanted(&both), [0, 1, 7]);
        let why = Asked::default().grep("(", false, false).unwrap_err();
        assert_eq!(why.code, sys::program::USAGE);
    }
}
